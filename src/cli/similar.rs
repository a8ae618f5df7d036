//! `lanewise similar`: the rows of an index that are nearest to one of its rows.

use std::path::PathBuf;

use clap::Args;
use lanewise::Embedder;

use super::failure::Failure;
use super::hits::{Format, Output, failed};
use super::search::SearchOptions;
use super::{Outcome, bulk};

/// Find the rows of an embedded corpus that are nearest to one of them
///
/// The index is an output of `lanewise embed`; no model is needed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lanewise similar corpus.arrow --row 42 -k 5")]
pub struct Arguments {
    /// The index: Arrow, Parquet or JSONL as embed wrote it
    index: PathBuf,
    /// The row, counted from 0 through all files
    #[arg(long, value_name = "N")]
    row: u64,
    #[command(flatten)]
    search: SearchOptions,
    /// How results are written
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    bulk::silence_caught_panics();
    let index = arguments
        .search
        .open(&arguments.index, &Embedder::builder())?;
    let hits = index.similar(arguments.row, &arguments.search.settings());
    let mut out = Output::new(arguments.format);
    out.query(&index, 0, &hits.map_err(failed)?)?;
    out.finish()?;
    Ok(Outcome::Complete)
}
