//! `lanewise similar`: the rows of an index that are nearest to one of its rows.

use clap::Args;

use super::Outcome;
use super::failure::Failure;
use super::hits::{Hits, failed};
use super::index_files::IndexFiles;
use super::options::ThreadOptions;
use super::results::ResultOptions;
use super::search::SearchOptions;

/// Find the rows of an embedded corpus that are nearest to one of them
///
/// The index is an output of `lanewise embed`; no model is needed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lanewise similar corpus.arrow --row 42 -k 5")]
pub struct Arguments {
    #[command(flatten)]
    index: IndexFiles,
    /// The row, counted from 0 through all files
    #[arg(long, value_name = "N")]
    row: u64,
    #[command(flatten)]
    search: SearchOptions,
    #[command(flatten)]
    threads: ThreadOptions,
    #[command(flatten)]
    results: ResultOptions,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let index = arguments.index.open(&arguments.threads.builder())?;
    let mut hits = Hits::new(&index, arguments.results.open(&arguments.index.paths())?);
    let found = index.similar(arguments.row, &arguments.search.settings());
    hits.query(0, None, &found.map_err(failed)?)?;
    hits.finish()?;
    Ok(Outcome::Complete)
}
