//! The command line: its arguments, its exit codes, and one file for each command.

#[cfg(feature = "bulk")]
mod bulk;
#[cfg(feature = "bulk")]
mod bulk_args;
mod convert;
#[cfg(feature = "bulk")]
mod convert_vectors;
#[cfg(feature = "bulk")]
mod dialect_args;
#[cfg(feature = "bulk")]
mod digest;
#[cfg(feature = "bulk")]
mod duplicates;
mod embed;
#[cfg(feature = "bulk")]
mod embed_files;
mod failure;
#[cfg(feature = "bulk")]
mod hits;
mod hyphens;
#[cfg(feature = "bulk")]
mod index_files;
mod info;
#[cfg(feature = "bulk")]
mod interrupt;
#[cfg(feature = "bulk")]
mod merge;
mod options;
mod output;
#[cfg(feature = "bulk")]
mod output_file;
mod packed;
#[cfg(feature = "bulk")]
mod progress;
#[cfg(feature = "bulk")]
mod queries;
#[cfg(feature = "bulk")]
mod recall;
mod report;
mod rerank;
#[cfg(feature = "bulk")]
mod results;
#[cfg(feature = "bulk")]
mod rss;
#[cfg(feature = "bulk")]
mod search;
#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "serve")]
mod served_model;
#[cfg(feature = "bulk")]
mod similar;
mod similarity;
mod texts;
mod tokenize;
#[cfg(feature = "bulk")]
mod verify;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use failure::Failure;
use lanewise::internals::gguf;

const AFTER_HELP: &str = "\
Examples:
  lanewise embed \"Hello world\"
  printf 'one text\\nanother\\n' | lanewise embed --format jsonl
  lanewise embed --prompt document --title Moons \"Jupiter carries four large moons.\"
  lanewise similarity --query \"largest moons\" \"Jupiter has four.\" \"A river arrives.\"
  lanewise rerank -m reranker.gguf \"largest moons\" \"Jupiter has four.\" \"A river arrives.\"
  lanewise search corpus.arrow \"largest moons\"
  lanewise duplicates corpus.arrow --above 0.95
  lanewise serve --index corpus.arrow
  lanewise tokenize \"Hello world\"
  lanewise info
  lanewise report --svg times.svg
  lanewise convert all-MiniLM-L6-v2 minilm.gguf
  lanewise convert vectors.parquet vectors.arrow

Model file: -m FILE, else the environment variable LANEWISE_MODEL, else the one that
tools/get-model put into $XDG_CACHE_HOME/lanewise or ~/.cache/lanewise. Instead of a path,
both take the name of a model there: embeddinggemma, minilm, e5-small, or a file's name
without .gguf.
A directory as Hugging Face has it becomes such a file with `lanewise convert`.

Environment:
  LANEWISE_MODEL     the model file, where -m is not given
  LANEWISE_THREADS   the number of threads, where -t is not given
  LANEWISE_ISA       scalar, avx2, avx-vnni, avx512 or avx512-zen4: the instruction
                     set, instead of the fastest
  LANEWISE_PACKED_WEIGHTS
                     off, use or write: whether packed weights, which make short texts faster, are
                     read from the cache directory, and written there if they are absent

Exit codes:
  0  everything asked for was done (also if the reader of the output went away)
  1  some texts could not be used, each named on standard error and the others done; or rows
     that verify checked are different, each named;
     or reading the input or writing the output failed, or memory ran out; or report found
     INT8 and f32 the same
  2  an argument or environment variable cannot be used
  3  the model file is missing, cannot be used, or was changed while in use
130  Ctrl-C ended the work on whole files; of embed and merge, the command that goes on with
     it is printed";

/// Text embeddings with EmbeddingGemma, on the CPU
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Embed(Box<embed::Arguments>),
    #[cfg(feature = "bulk")]
    Merge(merge::Arguments),
    #[cfg(feature = "bulk")]
    Verify(Box<verify::Arguments>),
    #[cfg(feature = "bulk")]
    Search(Box<search::Arguments>),
    #[cfg(feature = "bulk")]
    Similar(similar::Arguments),
    #[cfg(feature = "bulk")]
    Duplicates(duplicates::Arguments),
    #[cfg(feature = "bulk")]
    Recall(Box<recall::Arguments>),
    #[cfg(feature = "serve")]
    Serve(Box<serve::Arguments>),
    Similarity(similarity::Arguments),
    Rerank(rerank::Arguments),
    Tokenize(tokenize::Arguments),
    Info(info::Arguments),
    Convert(convert::Arguments),
    Report(report::Arguments),
}

/// What a command did, if nothing stopped it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Complete,
    /// Some texts were left out, and each was reported.
    SomeTextsFailed,
}

#[cfg(feature = "bulk")]
impl Outcome {
    /// The outcome of a run or merge that may have rejected rows.
    fn of_rejects(has_rejects: bool) -> Self {
        match has_rejects {
            true => Self::SomeTextsFailed,
            false => Self::Complete,
        }
    }
}

/// The command line, for tests of its messages.
#[cfg(test)]
fn command() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}

/// Runs the command that the process's arguments name.
pub fn main() -> ExitCode {
    let start = Instant::now();
    lanewise::exit_on_lost_page(failure::MODEL);
    gguf::report_file_size_limit();
    let result = match hyphens::parse::<Arguments>().command {
        Command::Embed(arguments) => embed::run(&arguments, start),
        #[cfg(feature = "bulk")]
        Command::Merge(arguments) => merge::run(&arguments),
        #[cfg(feature = "bulk")]
        Command::Verify(arguments) => verify::run(&arguments),
        #[cfg(feature = "bulk")]
        Command::Search(arguments) => search::run(&arguments),
        #[cfg(feature = "bulk")]
        Command::Similar(arguments) => similar::run(&arguments),
        #[cfg(feature = "bulk")]
        Command::Duplicates(arguments) => duplicates::run(&arguments),
        #[cfg(feature = "bulk")]
        Command::Recall(arguments) => recall::run(&arguments),
        #[cfg(feature = "serve")]
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Similarity(arguments) => similarity::run(&arguments),
        Command::Rerank(arguments) => rerank::run(&arguments),
        Command::Tokenize(arguments) => tokenize::run(&arguments),
        Command::Info(arguments) => info::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
    };
    match result {
        Ok(Outcome::Complete) | Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Ok(Outcome::SomeTextsFailed) => ExitCode::from(failure::PARTIAL),
        Err(Failure::Stopped { code, message }) => {
            failure::report(format_args!("{message}"));
            ExitCode::from(code)
        }
    }
}
