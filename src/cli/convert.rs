//! `lanewise convert`: a model's directory, as Hugging Face has it, to a GGUF file; or a file of
//! vectors to another format.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use lanewise_convert::{ConvertJob, Error};

use super::Outcome;
use super::failure::{self, Failure, report};

/// Write a model's directory as one GGUF file, or a file of vectors in another format
///
/// A directory, as Hugging Face has it, has config.json, tokenizer.json and model.safetensors, or
/// several safetensors files with their index, and of Sentence Transformers modules.json with
/// 1_Pooling and the like. Nothing in it is run. Memory does not grow with the model.
///
/// A file of vectors is one that embed has written: Parquet, Arrow, JSONL, or .npy with the files
/// beside it. Nothing is embedded again: the output has the bytes that embed would have written, as
/// far as the file has kept what the rows were.
#[derive(Debug, Args)]
#[command(after_help = after_help())]
pub struct Arguments {
    /// The model's directory, or the file of vectors
    #[arg(value_name = "DIRECTORY|VECTORS")]
    input: PathBuf,
    /// The file to write: OUT.gguf, or the vectors as .parquet, .arrow, .jsonl, .npy or .csv
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Replace the output
    #[arg(long)]
    force: bool,
    /// Show no progress and no summary
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    model: ModelArguments,
    #[cfg(feature = "bulk")]
    #[command(flatten)]
    vectors: super::convert_vectors::VectorArguments,
}

/// What is asked of a model's file.
#[derive(Debug, Args)]
#[command(next_help_heading = "Models")]
struct ModelArguments {
    /// How matrices are stored [default: q8_0]
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    weights: Option<WeightType>,
    /// How the vectors of tokens become one, where the directory does not say it
    #[arg(long, value_enum, value_name = "POOLING")]
    pooling: Option<Pooling>,
    /// The model's name in the file [default: the directory's]
    #[arg(long)]
    name: Option<String>,
    /// Leave out the two dense heads of EmbeddingGemma: such vectors compare with each other only
    #[arg(long)]
    no_dense_head: bool,
}

#[cfg(feature = "bulk")]
impl ModelArguments {
    /// The first argument that was given.
    fn given(&self) -> Option<&'static str> {
        let given = [
            (self.weights.is_some(), "--type"),
            (self.pooling.is_some(), "--pooling"),
            (self.name.is_some(), "--name"),
            (self.no_dense_head, "--no-dense-head"),
        ];
        given
            .iter()
            .find(|(given, _)| *given)
            .map(|(_, name)| *name)
    }
}

/// How matrices are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum WeightType {
    /// Blocks of 32 int8 with one f16 scale
    #[default]
    #[value(name = "q8_0")]
    Q8_0,
    /// Half precision
    F16,
    /// Single precision
    F32,
    /// Blocks of 32 four-bit integers with one f16 scale; token embeddings as q8_0
    #[value(name = "q4_0")]
    Q4_0,
}

/// How the vectors of tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Pooling {
    /// Their mean
    Mean,
    /// The first
    Cls,
    /// The last
    Last,
}

/// The models that are converted.
fn after_help() -> String {
    let mut help = String::from("Models, by `architectures` in config.json:\n");
    for (name, architectures) in lanewise_convert::supported() {
        help += &format!("  {}: {name}\n", architectures.join(", "));
    }
    help += "\nExamples:\n  lanewise convert all-MiniLM-L6-v2 minilm.gguf --type q8_0\n  lanewise embed -m minilm.gguf \"Hello world\"";
    if cfg!(feature = "bulk") {
        help += "\n  lanewise convert vectors.parquet vectors.arrow --precision i8+binary";
    }
    help
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    #[cfg(feature = "bulk")]
    {
        // What is neither is no directory for the other converter to speak of.
        let is_directory = arguments.input.is_dir() || !arguments.input.exists();
        let (given, what) = match is_directory {
            true => (arguments.vectors.given(), "a file of vectors"),
            false => (arguments.model.given(), "a model's directory"),
        };
        if let Some(option) = given {
            let input = arguments.input.display();
            let problem = format!("{option} is for {what}, which {input} is not; leave it out");
            return Err(Failure::usage(problem));
        }
        if !is_directory {
            let Arguments {
                input,
                output,
                force,
                quiet,
                ..
            } = arguments;
            return arguments.vectors.run(input, output, *force, *quiet);
        }
    }
    let model = &arguments.model;
    let job = ConvertJob {
        directory: arguments.input.clone(),
        output: arguments.output.clone(),
        weights: match model.weights.unwrap_or_default() {
            WeightType::F32 => lanewise_convert::WeightType::F32,
            WeightType::F16 => lanewise_convert::WeightType::F16,
            WeightType::Q8_0 => lanewise_convert::WeightType::Q8_0,
            WeightType::Q4_0 => lanewise_convert::WeightType::Q4_0,
        },
        name: model.name.clone(),
        pooling: model.pooling.map(|pooling| match pooling {
            Pooling::Mean => lanewise_convert::Pooling::Mean,
            Pooling::Cls => lanewise_convert::Pooling::Cls,
            Pooling::Last => lanewise_convert::Pooling::Last,
        }),
        dense_heads: !model.no_dense_head,
        force: arguments.force,
    };
    let mut display = Display {
        quiet: arguments.quiet,
        output: &arguments.output,
        on_terminal: io::stderr().is_terminal(),
        shown: 0,
    };
    // Ctrl-C ends it in order, so that no temporary file is left.
    #[cfg(feature = "bulk")]
    let cancel = super::interrupt::listen();
    let converted = job.run(&mut |done, total| {
        display.show(done, total);
        #[cfg(feature = "bulk")]
        if cancel.is_cancelled() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    if !arguments.quiet {
        let output = arguments.output.display();
        let (tensors, bytes) = (converted.tensors, converted.bytes);
        report(format_args!("{output}: {tensors} tensors, {bytes} bytes"));
    }
    Ok(Outcome::Complete)
}

/// Shows how much is written: on a terminal in one line, else in a line for each tenth.
struct Display<'a> {
    quiet: bool,
    output: &'a Path,
    on_terminal: bool,
    /// The percentage shown last.
    shown: u64,
}

impl Display<'_> {
    fn show(&mut self, done: u64, total: u64) {
        let step = if self.on_terminal { 1 } else { 10 };
        let percent = done.saturating_mul(100) / total.max(1) / step * step;
        if self.quiet || percent <= self.shown {
            return;
        }
        self.shown = percent;
        let output = self.output.display();
        if !self.on_terminal {
            report(format_args!("{output}: {percent} % written"));
            return;
        }
        let end = if percent == 100 { "\n" } else { "" };
        let mut err = io::stderr().lock();
        let _ = write!(err, "\rlanewise: {output}: {percent} % written{end}");
        let _ = err.flush();
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (code, hint) = match error {
            Error::Write { .. } => (failure::PARTIAL, ""),
            #[cfg(feature = "bulk")]
            Error::Stopped => (failure::INTERRUPTED, ""),
            Error::OutputExists { .. } => (failure::USAGE, " (--force)"),
            Error::UnknownPooling { .. } => (failure::MODEL, " (--pooling mean, cls or last)"),
            Error::MissingDenseHeads { .. } => (failure::MODEL, " (--no-dense-head)"),
            _ => (failure::MODEL, ""),
        };
        Self::Stopped {
            code,
            message: format!("{error}{hint}"),
        }
    }
}
