//! `lanewise verify`: rows of an output embedded again, and compared bit for bit.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use lanewise::Overflow;
use lanewise_bulk::{ReadBudget, ReadOptions, Space, VerifyJob};

use super::bulk::{self, Model};
use super::bulk_args::InputFormat;
use super::dialect_args::DialectArgs;
use super::failure::{Failure, report};
use super::options::{ModelOptions, RunOptions};
use super::progress::{ProgressDisplay, ProgressKind};
use super::{Outcome, interrupt, packed};

/// A longer text is refused, as `embed` refuses it.
const MAX_ROW_BYTES: usize = 64 << 20;
/// The memory for a page or a record batch of the files that are read.
const READ_BYTES: u64 = 1 << 30;

const AFTER_HELP: &str = "\
Examples:
  lanewise embed --input corpus.jsonl --keep text --output vectors.parquet
  lanewise verify vectors.parquet
  lanewise verify vectors.parquet --sample all --input corpus.jsonl

Exit codes:
  0  every vector that was looked at has the bits that it would have now
  1  some have others, the first 20 of which are named on standard output; or a file cannot
     be read
  2  an argument cannot be used
  3  the model file cannot be used";

/// Embed rows of an output again, and compare every bit
///
/// The settings are taken from the output, which is Parquet, Arrow or JSONL. The texts are those that
/// it carries, which is what `embed --keep text` does, or those of --input.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The output to verify
    #[arg(value_name = "FILE")]
    output: PathBuf,
    /// How many rows: a number, taken at random but always the same, or `all`
    #[arg(long, value_name = "N", default_value = "100", value_parser = parse_sample)]
    sample: Sample,
    /// What was embedded, for an output that does not carry its texts
    #[arg(long, value_name = "FILE", num_args = 1..)]
    input: Vec<PathBuf>,
    /// Format of the input [default: what the file's name says]
    #[arg(long, value_enum, value_name = "FORMAT", requires = "input")]
    input_format: Option<InputFormat>,
    #[command(flatten)]
    dialect: DialectArgs,
    /// Column or JSON field with the text [default: the one that it was embedded from]
    #[arg(long, value_name = "NAME")]
    field: Option<String>,
    /// Show neither progress nor summary
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    run: RunOptions,
}

/// How many rows; `None` for all.
#[derive(Debug, Clone, Copy)]
struct Sample(Option<u64>);

fn parse_sample(text: &str) -> Result<Sample, String> {
    match text {
        "all" => Ok(Sample(None)),
        number => match number.parse() {
            Ok(number) if number > 0 => Ok(Sample(Some(number))),
            _ => Err("give a number above 0, or all".into()),
        },
    }
}

impl Arguments {
    fn job(&self) -> VerifyJob {
        let budget = ReadBudget {
            bytes: READ_BYTES,
            rest_bytes: 0,
        };
        let options = ReadOptions {
            format: self.input_format.map(Into::into),
            // That of the output, unless it is given.
            field: self.field.clone().unwrap_or_default(),
            dialect: (&self.dialect).into(),
            id_field: None,
            keep: Vec::new(),
            max_row_bytes: MAX_ROW_BYTES,
            budget,
        };
        VerifyJob {
            output: self.output.clone(),
            input: (!self.input.is_empty()).then(|| (self.input.clone(), options)),
            field: self.field.clone(),
            sample: self.sample.0,
            budget,
        }
    }

    /// The model, opened as the output says.
    fn open_model(&self, space: &Space) -> Result<Model, Failure> {
        let builder = self.run.builder_that_writes_later()?;
        let embedder = builder
            .dims(space.dims)
            .dense_heads(space.dense_heads)
            .overflow(Overflow::Truncate)
            .open(self.model.path()?)?;
        packed::report_ignored(embedder.packed_state());
        Ok(Model {
            embedder,
            prefix: space.prompt_text.clone(),
        })
    }
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let failed = |error| bulk::failure(error, interrupt::command);
    bulk::silence_caught_panics();
    let job = arguments.job();
    let stated = job.space().map_err(failed)?;
    let model = arguments.open_model(&stated)?;
    let (name, digest) = bulk::whole_model_identity(model.embedder.model().gguf())?;
    let space = Space {
        version: env!("CARGO_PKG_VERSION").into(),
        model: name,
        model_sha256: digest,
        pooling: model.embedder.model().summary().pooling.name().into(),
        ..stated
    };
    let cancel = interrupt::listen();
    let mut progress = ProgressDisplay::new(ProgressKind::Auto, arguments.quiet);
    let verified = job.run(&model, &space, &cancel, &mut progress);
    let verified = verified.map_err(failed)?;
    let mut out = io::stdout().lock();
    let mut names = verified.named.iter();
    names
        .try_for_each(|row| writeln!(out, "{row}"))
        .map_err(Failure::output)?;
    if !arguments.quiet {
        report(format_args!(
            "{}: {} of {} rows embedded again, {} differ; space {}",
            arguments.output.display(),
            verified.checked,
            verified.rows,
            verified.different,
            space.fingerprint()
        ));
    }
    Ok(Outcome::of_rejects(verified.different > 0))
}
