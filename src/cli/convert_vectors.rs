//! `lanewise convert VECTORS OUT`: an output of embed in another format or precision.

use std::path::Path;

use clap::Args;
use lanewise_bulk::{ConvertJob, Precisions};

use super::bulk_args::{OutputFormat, parse_bytes};
use super::failure::Failure;
use super::progress::{ProgressDisplay, ProgressKind, report_end};
use super::{Outcome, bulk, interrupt};

/// The memory that is used at most where none is given, as for `embed`.
const MAX_MEMORY: u64 = 1 << 30;

/// What is asked of the file.
#[derive(Debug, Args)]
#[command(next_help_heading = "Vectors")]
pub struct VectorArguments {
    /// Format of the output [default: what the file's name says]
    #[arg(long, value_enum, value_name = "FORMAT")]
    output_format: Option<OutputFormat>,
    /// How values are stored, as for embed: f32, f16, i8, binary, or several joined by +. From a
    /// file with f32 any, else those that it has [default: those of the file]
    #[arg(long, value_name = "PRECISION")]
    precision: Option<Precisions>,
    /// Memory that may be used [default: 1G]
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, allow_hyphen_values = true)]
    max_memory: Option<u64>,
    /// How progress is shown [default: auto]
    #[arg(long, value_enum)]
    progress: Option<ProgressKind>,
}

impl VectorArguments {
    /// The first argument that was given.
    pub fn given(&self) -> Option<&'static str> {
        let given = [
            (self.output_format.is_some(), "--output-format"),
            (self.precision.is_some(), "--precision"),
            (self.max_memory.is_some(), "--max-memory"),
            (self.progress.is_some(), "--progress"),
        ];
        given
            .iter()
            .find(|(given, _)| *given)
            .map(|(_, name)| *name)
    }

    /// Writes the vectors of `input` to `output`.
    pub fn run(
        &self,
        input: &Path,
        output: &Path,
        force: bool,
        quiet: bool,
    ) -> Result<Outcome, Failure> {
        bulk::silence_caught_panics();
        let job = ConvertJob {
            input: input.into(),
            output: output.into(),
            output_format: self.output_format.map(Into::into),
            precision: self.precision,
            max_memory: self.max_memory.unwrap_or(MAX_MEMORY),
            force,
        };
        let cancel = interrupt::listen();
        let progress = self.progress.unwrap_or(ProgressKind::Auto);
        let mut progress = ProgressDisplay::new(progress, quiet);
        let done = job
            .run(&cancel, &mut progress)
            .map_err(|error| bulk::failure(error, interrupt::command))?;
        report_end(&done, quiet);
        Ok(Outcome::Complete)
    }
}
