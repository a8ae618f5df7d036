//! `lanewise search`: the rows of an index that are nearest to texts.

use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use clap::{Args, ValueEnum};
use lanewise::internals::RuntimeOptions;
use lanewise::{Embedder, EmbedderBuilder, Input, Prompt};
use lanewise_bulk::Space;
use lanewise_search::{Filter, Index, OpenOptions, Search, Where};

use super::embed::encode;
use super::failure::{self, Failure, report};
use super::hits::{Format, Output, failed};
use super::options::{ModelOptions, RunOptions};
use super::texts::Texts;
use super::{Outcome, bulk, packed};

const AFTER_HELP: &str = "\
Examples:
  lanewise embed --prompt document --input notes.txt --keep text --precision i8 --output corpus.arrow
  lanewise search corpus.arrow \"largest moons\"
  lanewise search corpus.arrow --where language=en -k 3 --format jsonl <queries.txt

The index is the file that embed wrote. Arrow files are searched where they lie on the disk; Parquet
and JSONL are read into memory first. Scores are cosines, up to the rounding of the precision stored.";

/// What is said where a page of a file in use is lost.
const LOST_PAGE: &str = "lanewise: a page of the index or of the model file cannot be read: the file was cut short while it was in use, or \
     its disk failed; make the file whole again, and run the same command\n";

/// Find the rows of an embedded corpus that are nearest to texts
///
/// The index is an output of `lanewise embed`. Queries are embedded with its model, which must be the
/// one in use, and compared with every row: the result is exact. Without a query as an argument,
/// queries are read from standard input, one a line.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The index: Arrow, Parquet or JSONL as embed wrote it
    index: PathBuf,
    /// What is looked for. A query that begins with a hyphen comes after --
    queries: Vec<String>,
    /// What the queries are for (see `lanewise embed --help`) [default: query, or raw if the model knows none]
    #[arg(short, long, value_name = "NAME")]
    prompt: Option<Prompt>,
    /// Give the best rows the scores of vectors of higher precision, of files that have them as well
    #[arg(long, value_enum, value_name = "PRECISION")]
    rescore: Option<Rescore>,
    #[command(flatten)]
    search: SearchOptions,
    /// How results are written
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    run: RunOptions,
}

/// Which rows, and how many.
#[derive(Debug, Args)]
pub struct SearchOptions {
    /// Another file of the same space that is searched with it, such as a shard; may be given several times
    #[arg(long, value_name = "FILE")]
    also: Vec<PathBuf>,
    /// How many rows to find for each query
    #[arg(short, default_value_t = 10)]
    k: usize,
    /// Find only rows whose column has this value; may be given several times
    #[arg(long = "where", value_name = "COLUMN=VALUE", value_parser = parse_condition)]
    conditions: Vec<Where>,
    /// Two stages, of files that have binary vectors as well: compare N × k of them exactly, those that are
    /// nearest by their bits. Faster, and may miss rows
    #[arg(long, value_name = "N")]
    approximate: Option<usize>,
}

impl SearchOptions {
    /// The index in the file `first` and the others, on the threads and instruction set of `builder`.
    pub fn open(&self, first: &PathBuf, builder: &EmbedderBuilder) -> Result<Index, Failure> {
        lanewise_map::exit_on_lost_page(failure::PARTIAL, LOST_PAGE);
        let paths: Vec<&PathBuf> = [first].into_iter().chain(&self.also).collect();
        let RuntimeOptions { threads, isa, .. } = builder.runtime_options()?;
        let options = OpenOptions { threads, isa };
        let index = Index::open_all(&paths, &options).map_err(failed)?;
        for note in index.notes() {
            report(format_args!(
                "{note} (`lanewise convert FILE OUT.arrow` makes one)"
            ));
        }
        Ok(index)
    }

    /// The settings of a search.
    pub fn settings(&self) -> Search<'_> {
        Search {
            approximate: self.approximate,
            filter: match &*self.conditions {
                [] => Filter::All,
                conditions => Filter::Where(conditions),
            },
            ..Search::exact(self.k)
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Rescore {
    /// 32-bit floats
    F32,
}

fn parse_condition(condition: &str) -> Result<Where, String> {
    match condition.split_once('=') {
        Some((column, value)) if !column.is_empty() => Ok(Where {
            column: column.into(),
            value: value.into(),
        }),
        _ => Err("give a column and its value, as in language=en".into()),
    }
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    bulk::silence_caught_panics();
    let builder = arguments.run.builder();
    let index = arguments.search.open(&arguments.index, &builder)?;
    let space = index.space();
    let embedder = builder
        .dims(space.dims)
        .dense_heads(space.dense_heads)
        .open(arguments.model.path()?)
        .map_err(|error| of_other_model(error, &arguments.index, space))?;
    packed::report_ignored(embedder.packed_state());
    let prompt = prompt(arguments.prompt, &embedder)?;
    let search = Search {
        rescore: arguments.rescore.is_some(),
        ..arguments.search.settings()
    };
    thread::scope(|scope| {
        // The digest of a large model takes longer than a query: nothing is printed before it is there.
        let model = embedder.model().gguf();
        let mut identity = Some(scope.spawn(move || bulk::model_identity(model)));
        let mut check = || match identity.take() {
            None => Ok(()),
            Some(thread) => {
                let identity = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
                check_space(&arguments.index, space, &embedder, &identity?.1)
            }
        };
        let mut out = Output::new(arguments.format);
        let mut texts = Texts::new(&arguments.queries, 1);
        let mut outcome = Outcome::Complete;
        while let Some(batch) = texts.next_batch()? {
            let (usable, encoded) = encode(&embedder, &batch, |text| Input::new(prompt, text));
            if usable.len() < batch.len() {
                outcome = Outcome::SomeTextsFailed;
            }
            let mut vectors = vec![0.0; encoded.len() * embedder.dims()];
            embedder.embed_encoded(&encoded, &mut vectors)?;
            let vectors: Vec<&[f32]> = vectors.chunks_exact(embedder.dims()).collect();
            let found = index.search_batch(&vectors, &search).map_err(failed)?;
            check()?;
            for (text, hits) in usable.iter().zip(&found) {
                out.query(&index, text.index, hits)?;
            }
        }
        check()?;
        out.finish()?;
        Ok(outcome)
    })
}

/// The prompt given, or that of queries if the model has one.
fn prompt(given: Option<Prompt>, embedder: &Embedder) -> Result<Prompt, Failure> {
    let prompt = match given {
        Some(prompt) => prompt,
        None if embedder.prompt_text(Prompt::Query, None).is_ok() => Prompt::Query,
        None => Prompt::Raw,
    };
    embedder.prompt_text(prompt, None)?;
    Ok(prompt)
}

/// Of a model that gives no vectors of the index's length it is said that it is another one.
fn of_other_model(error: lanewise::Error, index: &Path, space: &Space) -> Failure {
    match &error {
        lanewise::Error::Argument { name, .. } if name == "dims" => other_model(index, space),
        _ => error.into(),
    }
}

fn other_model(index: &Path, space: &Space) -> Failure {
    let Space {
        model,
        model_sha256,
        dims,
        ..
    } = space;
    Failure::Stopped {
        code: failure::USAGE,
        message: format!(
            "{}: has vectors of {dims} values of another model than the one in use; give its model by -m: \
             {model}, with SHA-256 {model_sha256}",
            index.display()
        ),
    }
}

/// Refuses a model whose vectors do not compare with those of the index.
fn check_space(
    index: &Path,
    space: &Space,
    embedder: &Embedder,
    digest: &str,
) -> Result<(), Failure> {
    if space.model_sha256 != digest {
        return Err(other_model(index, space));
    }
    let pooling = embedder.model().summary().pooling.name();
    if space.pooling != pooling {
        let stated = &space.pooling;
        let problem = format!("its vectors have pooling {stated}, the model in use has {pooling}");
        return Err(Failure::file(
            index,
            problem,
            format!("use --pooling {stated}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_a_column_and_a_value() {
        let condition = parse_condition("title=a=b").unwrap();
        assert_eq!((&*condition.column, &*condition.value), ("title", "a=b"));
        assert!(parse_condition("title").is_err());
        assert!(parse_condition("=b").is_err());
    }
}
