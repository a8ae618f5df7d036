//! `lanewise embed --input … --output …`: whole files to vectors.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use lanewise::Overflow;
use lanewise_bulk::{Job, Precision, Precisions, Shard, Space};

use super::Outcome;
use super::bulk::{self, Model};
use super::bulk_args::{InputFormat, OutputFormat, Resume, parse_bytes};
use super::dialect_args::DialectArgs;
use super::failure::Failure;
use super::interrupt::{self, resume_command};
use super::options::{ModelOptions, OverflowPolicy, PromptOptions, RunOptions, VectorOptions};
use super::packed;
use super::progress::{ProgressDisplay, ProgressKind, report_end};

/// Files in, a file out.
#[derive(Debug, Args)]
#[command(next_help_heading = "Whole files")]
pub struct FileOptions {
    /// Files of rows to embed, compressed (gzip, zstd, bzip2, xz) or not; - is standard input
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["texts", "format", "timings"], requires = "output")]
    pub input: Vec<PathBuf>,
    /// File for the vectors, in the order of the rows; .jsonl and .csv also compressed, as .jsonl.gz
    /// or .csv.zst. While the run lasts, its rows are in FILE.partial, which takes about as much
    /// room again
    #[arg(long, value_name = "FILE", requires = "input")]
    output: Option<PathBuf>,
    /// Format of the input [default: what the file's name says]
    #[arg(long, value_enum, value_name = "FORMAT", requires = "input")]
    input_format: Option<InputFormat>,
    #[command(flatten)]
    dialect: DialectArgs,
    /// Format of the output [default: what the file's name says]
    #[arg(long, value_enum, value_name = "FORMAT", requires = "input")]
    output_format: Option<OutputFormat>,
    /// Column or JSON field with the text; dots lead into nested ones
    #[arg(long, value_name = "NAME", default_value = "text", requires = "input")]
    field: String,
    /// Column with the id, which the output has as `id`
    #[arg(long, value_name = "NAME", requires = "input")]
    id_field: Option<String>,
    /// Columns to carry along, separated by commas, with the types that the input gives them. One
    /// named like a column that the output has by itself, such as `index`, becomes `input_index`
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "input")]
    keep: Vec<String>,
    /// How the values of vectors are stored: f32, as they are; f16; i8, which times the row's `scale`
    /// are the values; or binary, one bit a value, 1 for values above 0, eight to a byte, the first
    /// one highest. Several joined by +, such as i8+binary, lie side by side: the first as
    /// `embedding`, the others as `embedding_binary` and so on; .csv and .npy hold one
    #[arg(long, value_name = "PRECISION", default_value_t = Precision::F32.into(), requires = "input")]
    precision: Precisions,
    /// Memory that the run may use, the pages of the model file counted
    #[arg(long, value_name = "BYTES", default_value = "1G", value_parser = parse_bytes, allow_hyphen_values = true, requires = "input")]
    max_memory: u64,
    /// Continue a run that was interrupted, if settings, model and input are the same; the output is
    /// the same, byte for byte. --resume=verify compares all of the input, and not samples of it
    #[arg(long, value_enum, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "compare", requires = "input", conflicts_with = "force")]
    resume: Option<Resume>,
    /// Replace the output and the files beside it, and an unfinished run's rows
    #[arg(long, requires = "input")]
    force: bool,
    /// Take the vectors of texts that an earlier output has already from there, instead of computing
    /// them: Parquet, Arrow, JSONL or .npy of the same model and settings; may be given several times
    #[arg(long, value_name = "FILE", requires = "input")]
    reuse: Vec<PathBuf>,
    /// Embed part i of n only, into FILE.shard-i-of-n for `lanewise merge`
    #[arg(long, value_name = "i/n", default_value_t = Shard::WHOLE, hide_default_value = true, requires = "input")]
    shard: Shard,
    /// How progress is shown
    #[arg(long, value_enum, default_value_t = ProgressKind::Auto, requires = "input")]
    progress: ProgressKind,
    /// Show neither progress nor summary; rejected rows are counted all the same
    #[arg(long, requires = "input")]
    quiet: bool,
}

impl FileOptions {
    fn job(&self, model: &ModelOptions) -> Result<Job, Failure> {
        let Some(output) = &self.output else {
            return Err(Failure::usage("--input goes with --output"));
        };
        Ok(Job {
            input: self.input.clone(),
            input_format: self.input_format.map(Into::into),
            dialect: (&self.dialect).into(),
            output: output.clone(),
            output_format: self.output_format.map(Into::into),
            field: self.field.clone(),
            id_field: self.id_field.clone(),
            keep: self.keep.clone(),
            reuse: self.reuse.clone(),
            max_memory: self.max_memory,
            resume: self.resume.map(Into::into),
            force: self.force,
            shard: self.shard,
            // Without a model, the error comes when it is opened.
            model: model.path().ok(),
        })
    }
}

/// The arguments of the command.
pub struct Arguments<'a> {
    /// Those for whole files.
    pub files: &'a FileOptions,
    /// The prompt.
    pub prompt: &'a PromptOptions,
    /// The title of every document.
    pub title: Option<&'a str>,
    /// What is done with texts that are too long.
    pub overflow: OverflowPolicy,
    /// What vectors are like.
    pub vector: &'a VectorOptions,
    /// The model.
    pub model: &'a ModelOptions,
    /// How it runs.
    pub run: &'a RunOptions,
}

/// Runs the command.
pub fn run(arguments: &Arguments<'_>) -> Result<Outcome, Failure> {
    let failed = |error| bulk::failure(error, resume_command);
    let files = arguments.files;
    let job = files.job(arguments.model)?.check().map_err(failed)?;
    bulk::silence_caught_panics();
    let model = Arc::new(open_model(arguments)?);
    // Before there is anything that a signal might leave behind: this takes a while.
    let space = space(arguments, &model)?;
    let run = job.open(Arc::clone(&model)).map_err(failed)?;
    let cancel = interrupt::listen();
    let mut progress = ProgressDisplay::new(files.progress, files.quiet);
    let done = run.execute(space, &cancel, &mut progress).map_err(failed)?;
    report_end(&done, files.quiet);
    Ok(Outcome::of_rejects(done.tally.rejected > 0))
}

fn open_model(arguments: &Arguments<'_>) -> Result<Model, Failure> {
    let run = arguments.run;
    let builder = arguments.prompt.apply(run.builder_that_writes_later()?)?;
    let builder = arguments.vector.apply(builder);
    let embedder = builder
        .overflow(Overflow::Truncate)
        .open(arguments.model.path()?)?;
    packed::report_ignored(embedder.packed_state());
    packed::write(&embedder, run.packed_weights()?);
    let prefix = embedder.prompt_text(arguments.prompt.prompt, arguments.title)?;
    if arguments.overflow == OverflowPolicy::Split {
        let most = embedder.context() / 2;
        let tokenizer = embedder.tokenizer();
        if !tokenizer.encode_limited(&prefix, most, &mut Vec::new()) {
            return Err(Failure::usage(
                "the prompt with its --title or --instruction: takes more than half of what the model reads; shorten it, or do without --overflow split",
            ));
        }
    }
    Ok(Model {
        prefix: prefix.into_owned(),
        embedder,
    })
}

/// What the vectors are.
fn space(arguments: &Arguments<'_>, model: &Model) -> Result<Space, Failure> {
    let (name, digest) = bulk::model_identity(model.embedder.model().gguf())?;
    Ok(Space {
        version: env!("CARGO_PKG_VERSION").into(),
        model: name,
        model_sha256: digest,
        prompt: arguments.prompt.prompt.name().into(),
        prompt_text: model.prefix.clone(),
        pooling: model.embedder.model().summary().pooling.name().into(),
        dense_heads: arguments.vector.dense_heads(),
        dims: model.embedder.dims(),
        precision: arguments.files.precision,
        overflow: arguments.overflow.into(),
    })
}
