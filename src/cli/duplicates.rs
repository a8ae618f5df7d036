//! `lanewise duplicates`: all pairs of rows of an index that are alike.

use std::ops::ControlFlow;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::failure::Failure;
use super::hits::{failed, pair};
use super::index_files::IndexFiles;
use super::options::ThreadOptions;
use super::results::ResultOptions;
use super::{Outcome, interrupt};

const AFTER_HELP: &str = "\
Examples:
  lanewise duplicates corpus.arrow --above 0.95
  lanewise duplicates corpus.arrow --above 0.9 --output pairs.csv

Every row is compared with every other: twice the rows take four times as long.";

/// Find all pairs of rows of an embedded corpus that are alike
///
/// The index is an output of `lanewise embed`; no model is needed. A pair is written once, the row with the
/// lower number first.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    #[command(flatten)]
    index: IndexFiles,
    /// The least score of a pair, as `similar` prints it: 1 for texts that are the same
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true)]
    above: f32,
    #[command(flatten)]
    threads: ThreadOptions,
    #[command(flatten)]
    results: ResultOptions,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let index = arguments.index.open(&arguments.threads.builder())?;
    let mut results = arguments.results.open(&arguments.index.paths())?;
    let cancel = interrupt::listen();
    let bar = bar();
    let mut written = Ok(());
    let done = index.duplicates(
        arguments.above,
        &cancel,
        |compared, total| {
            bar.set_length(total);
            bar.set_position(compared);
        },
        |found| {
            written = bar.suspend(|| pair(&index, &found, &mut results));
            match written {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        },
    );
    bar.finish_and_clear();
    written?;
    done.map_err(failed)?;
    results.finish()?;
    Ok(Outcome::Complete)
}

/// Progress on a terminal.
fn bar() -> ProgressBar {
    let bar = ProgressBar::no_length();
    match ProgressStyle::with_template("{bar:30} {percent:>3}% of all pairs, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
