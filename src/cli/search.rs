//! `lanewise search`: the rows of an index that are nearest to texts.

use std::path::Path;

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use lanewise_search::{CANDIDATES, Filter, Search, Where};

use super::failure::Failure;
use super::hits::{Hits, failed};
use super::index_files::IndexFiles;
use super::queries::QueryOptions;
use super::results::ResultOptions;
use super::{Outcome, interrupt};

const AFTER_HELP: &str = "\
Examples:
  lanewise embed --prompt document --input notes.txt --keep text --precision i8 --output corpus.arrow
  lanewise search corpus.arrow \"largest moons\"
  lanewise search corpus.arrow --where language=en -k 3 --format jsonl <queries.txt
  lanewise search corpus.arrow --queries queries.txt --output hits.csv

The index is the file that embed wrote. Arrow files are searched where they lie on the disk; Parquet,
.npy and JSONL are read into memory first. Scores are cosines, up to the rounding of the precision stored.";

/// Find the rows of an embedded corpus that are nearest to texts
///
/// The index is an output of `lanewise embed`. Queries are embedded with its model, which must be the
/// one in use, and compared with every row: the result is exact.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    #[command(flatten)]
    index: IndexFiles,
    #[command(flatten)]
    queries: QueryOptions,
    /// Give the best rows the scores of vectors of higher precision, of files that have them as well
    #[arg(long, value_enum, value_name = "PRECISION")]
    rescore: Option<Rescore>,
    #[command(flatten)]
    search: SearchOptions,
    #[command(flatten)]
    results: ResultOptions,
}

/// Which rows, and how many.
#[derive(Debug, Args)]
pub struct SearchOptions {
    /// How many rows to find for each query
    #[arg(short, default_value_t = 10)]
    k: usize,
    /// Find only rows whose column has this value; may be given several times
    #[arg(long = "where", value_name = "COLUMN=VALUE", value_parser = parse_condition)]
    conditions: Vec<Where>,
    /// Two stages, of files that have binary vectors as well: compare N × k of them exactly, those that are
    /// nearest by their bits. Faster, and may miss rows: `lanewise recall` says how many [default N: 32]
    #[arg(long, value_name = "N", num_args = 0..=1, value_parser = parse_candidates)]
    approximate: Option<Option<usize>>,
}

impl SearchOptions {
    /// The settings of a search.
    pub fn settings(&self) -> Search<'_> {
        Search {
            approximate: self.approximate.map(|n| n.unwrap_or(CANDIDATES)),
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

fn parse_candidates(text: &str) -> Result<usize, String> {
    let problem = |_| "give a whole number above 0; without a number it comes after the queries or before an option";
    text.parse().map_err(problem).map_err(String::from)
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let Arguments {
        index: files,
        queries,
        results,
        ..
    } = arguments;
    let index = files.open(&queries.builder())?;
    let read: Vec<&Path> = files.paths().into_iter().chain(queries.file()).collect();
    let is_single = queries.is_single();
    let mut hits = Hits::new(&index, results.open(&read)?);
    let search = Search {
        rescore: arguments.rescore.is_some(),
        ..arguments.search.settings()
    };
    // Results on standard output show by themselves how far it is.
    let (cancel, bar) = match results.is_file() {
        true => (Some(interrupt::listen()), ProgressBar::no_length()),
        false => (None, ProgressBar::hidden()),
    };
    let outcome = queries.for_each_batch(
        &index,
        files.first(),
        |embedded| {
            index
                .search_batch(&embedded.vectors, &search)
                .map_err(failed)
        },
        |embedded, found| {
            for (text, found) in embedded.texts.iter().zip(&found) {
                let title = text.content.as_deref().ok().filter(|_| !is_single);
                hits.query(text.index, title, found)?;
                bar.inc(1);
            }
            match &cancel {
                Some(cancel) if cancel.is_cancelled() => Err(interrupt::ended()),
                _ => Ok(()),
            }
        },
    )?;
    bar.finish_and_clear();
    hits.finish()?;
    Ok(outcome)
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
