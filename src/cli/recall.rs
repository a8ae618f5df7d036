//! `lanewise recall`: how much the two stages of `search --approximate` find.

use std::time::Duration;

use clap::Args;
use console::Style;
use serde::Serialize;

use super::Outcome;
use super::failure::Failure;
use super::hits::failed;
use super::index_files::IndexFiles;
use super::progress::shown_if_long;
use super::queries::QueryOptions;
use super::results::{Field, Item, ResultOptions};

const AFTER_HELP: &str = "\
Example:
  lanewise embed --prompt document --input notes.txt --keep text --precision i8+binary --output corpus.arrow
  lanewise recall corpus.arrow --queries queries.txt

One hundred queries of the kind that users will ask are enough to choose N. It takes as long as one exact
search of each query, and some short ones.";

/// The settings that are measured where none is given.
const SETTINGS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// Measure how much of the exact result `search --approximate N` finds, and how long it takes
///
/// The index has i8 and binary vectors. Each query is searched exactly and in two stages.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    #[command(flatten)]
    index: IndexFiles,
    #[command(flatten)]
    queries: QueryOptions,
    /// How many rows a search finds
    #[arg(short, default_value_t = 10)]
    k: usize,
    /// The settings to measure, with commas between them [default: 1,2,4,8,16,32,64]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    approximate: Vec<usize>,
    #[command(flatten)]
    results: ResultOptions,
}

/// A point of the curve.
#[derive(Serialize)]
struct Point {
    /// N, or nothing for the exact search.
    approximate: Option<usize>,
    k: usize,
    queries: usize,
    /// The part of the exact rows that was found.
    recall: f64,
    /// Of a query, in the mean.
    milliseconds: f64,
    /// How many times as fast as the exact search.
    speedup: f64,
}

const HEADER: [&str; 6] = [
    "approximate",
    "k",
    "queries",
    "recall",
    "milliseconds",
    "speedup",
];

impl Item for Point {
    fn cells(&self) -> Vec<String> {
        let approximate = self.approximate.map(|n| n.to_string());
        vec![
            approximate.unwrap_or_default(),
            self.k.to_string(),
            self.queries.to_string(),
            self.recall.to_string(),
            self.milliseconds.to_string(),
            self.speedup.to_string(),
        ]
    }

    fn fields(&self) -> Vec<Field> {
        let name = self
            .approximate
            .map_or_else(|| "exact".into(), |n| format!("N = {n}"));
        vec![
            Field::styled(name, Style::new().bold()).at_least(8),
            Field::styled(
                format!("recall@{} {:.4}", self.k, self.recall),
                Style::new().green(),
            ),
            Field::plain(format!("{:.3} ms a query", self.milliseconds)).at_least(18),
            Field::plain(format!("{:.1} × the speed", self.speedup)).at_least(16),
        ]
    }
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let Arguments {
        index: files,
        queries,
        k,
        ..
    } = arguments;
    let index = files.open(&queries.builder())?;
    let read = files.paths().into_iter().chain(queries.file());
    let mut results = arguments.results.open(&read.collect::<Vec<_>>())?;
    let mut vectors: Vec<Vec<f32>> = Vec::new();
    let outcome = queries.for_each_batch(
        &index,
        files.first(),
        |_| Ok(()),
        |embedded, ()| {
            vectors.extend(embedded.vectors.iter().map(|vector| vector.to_vec()));
            Ok(())
        },
    )?;
    let settings = match &*arguments.approximate {
        [] => &SETTINGS,
        settings => settings,
    };
    let measure = || index.recall(&vectors, *k, settings);
    let curve = shown_if_long("searching exactly and in two stages", measure).map_err(failed)?;
    let milliseconds = |time: Duration| 1e3 * time.as_secs_f64() / vectors.len() as f64;
    let exact = curve.first().map(|point| Point {
        approximate: None,
        k: *k,
        queries: vectors.len(),
        recall: 1.0,
        milliseconds: milliseconds(point.exact_time),
        speedup: 1.0,
    });
    let points = curve.iter().map(|point| Point {
        approximate: Some(point.approximate),
        k: *k,
        queries: vectors.len(),
        recall: point.recall,
        milliseconds: milliseconds(point.time),
        speedup: point.exact_time.as_secs_f64() / point.time.as_secs_f64().max(1e-9),
    });
    for point in exact.into_iter().chain(points) {
        results.item(&point, &HEADER)?;
    }
    results.finish()?;
    Ok(outcome)
}
