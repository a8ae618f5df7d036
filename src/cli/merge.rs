//! `lanewise merge`: the shards of a run put together.

use std::path::PathBuf;

use clap::Args;
use lanewise_bulk::MergeJob;

use super::bulk_args::OutputFormat;
use super::failure::Failure;
use super::progress::report_end;
use super::{Outcome, bulk, interrupt};

const AFTER_HELP: &str = "\
Example:
  printf 'one\\ntwo\\nthree\\n' >corpus.txt
  for i in 1 2; do lanewise embed --input corpus.txt --output vectors.parquet --shard $i/2; done
  lanewise merge vectors.parquet.shard-*-of-2 --output vectors.parquet";

/// Join the shards that `embed --shard` has written
///
/// The output is the same, byte for byte, as without --shard. The shards must be all of one run, of
/// the same input, model and settings; they are left in place.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// All shards, in any order
    #[arg(required = true, value_name = "SHARD")]
    shards: Vec<PathBuf>,
    /// File for the vectors, in the order of the rows
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Format of the output [default: what the file's name says]
    #[arg(long, value_enum, value_name = "FORMAT")]
    output_format: Option<OutputFormat>,
    /// Replace the output
    #[arg(long)]
    force: bool,
    /// Show no summary; rejected rows are counted all the same
    #[arg(long)]
    quiet: bool,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let job = MergeJob {
        shards: arguments.shards.clone(),
        output: arguments.output.clone(),
        output_format: arguments.output_format.map(Into::into),
        force: arguments.force,
    };
    let cancel = interrupt::listen();
    let done = job
        .run(&cancel)
        .map_err(|error| bulk::failure(error, interrupt::command))?;
    report_end(&done, arguments.quiet);
    Ok(Outcome::of_rejects(done.tally.rejected > 0))
}
