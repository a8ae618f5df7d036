//! How close exact vector search comes to what the machine allows: to the memory's speed with few
//! queries, to the multipliers' with many. What is timed are searches of an [`Index`] over a file of
//! random vectors, to the last hit in order.

mod cases;
mod faiss;
mod files;
mod limits;
mod report;

use std::fmt;
use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lanewise_kernels::Kernels;
use lanewise_pool::{Pool, ThreadPlan};
use lanewise_search::{CANDIDATES, CancelToken, Index, Search};

use self::cases::{CASES, Case, Kind};
use self::files::Vectors;
pub use self::report::Report;

/// How many rows are found.
const K: usize = 10;

/// Rows among which duplicates are looked for, at most.
const DUPLICATE_ROWS: usize = 100_000;

/// The score from which rows are duplicates. No two random ones are.
const ABOVE: f32 = 0.95;

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Vectors to search
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    rows: u32,
    /// Values of a vector, a multiple of 8
    #[arg(long, default_value_t = 768, value_parser = clap::value_parser!(u32).range(8..=65536))]
    dims: u32,
    /// Threads [default: as many as the machine allows]
    #[arg(short, long)]
    threads: Option<usize>,
    /// Timed rounds over all cases, after one that is not timed; the median counts
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// How many times as many rows two stages compare exactly as they find
    #[arg(long, value_name = "N", default_value_t = CANDIDATES as u32, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    approximate: u32,
    /// Where the files of vectors are made, 4 GB for a million of 768 values, and removed afterwards [default:
    /// the directory of temporary files]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Time FAISS as well, on vectors of the same kind, with this Python
    #[arg(long, value_name = "PYTHON")]
    faiss: Option<PathBuf>,
}

/// The files of vectors, opened.
struct Indexes {
    /// In f32.
    f32: Index,
    /// In INT8, and the bits for two stages.
    i8: Index,
    binary: Index,
    /// The first rows in INT8.
    first: Index,
}

/// Measures the limits and every case in turns, then duplicates and FAISS.
///
/// # Errors
///
/// If there are no threads to be had, the files cannot be written, or Python fails.
pub fn measure(options: &Options) -> Result<Report, String> {
    let plan = ThreadPlan::choose(options.threads).map_err(|error| error.to_string())?;
    let mut pool = Pool::new(&plan).map_err(|error| error.to_string())?;
    let kernels = Kernels::detect();
    let (rows, dims) = (options.rows as usize, options.dims as usize);
    if !dims.is_multiple_of(8) {
        return Err(format!(
            "--dims {dims} is no multiple of 8, as binary vectors must be"
        ));
    }
    let directory = options.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let directory = tempfile::tempdir_in(&directory)
        .map_err(|error| format!("cannot write to {}: {error}", directory.display()))?;
    let mut index = |rows: usize, precisions: &str| {
        let vectors = Vectors { rows, dims };
        let progress = |written| {
            say(
                format_args!("writing vectors in {precisions}"),
                written,
                rows,
            );
        };
        vectors.index(directory.path(), precisions, &mut pool, progress)
    };
    let indexes = Indexes {
        f32: index(rows, "f32")?,
        i8: index(rows, "i8+binary")?,
        binary: index(rows, "binary")?,
        first: index(rows.min(DUPLICATE_ROWS), "i8")?,
    };
    let most = CASES.iter().map(|case| case.queries).max().unwrap_or(1);
    // Rows that no file has.
    let queries: Vec<_> = (0..most)
        .map(|query| files::vector(usize::MAX - query, dims))
        .collect();

    // As large as the INT8 rows.
    let region = vec![1; (rows * dims).div_ceil(size_of::<u64>())];
    let rounds = options.runs as usize + 1;
    let mut limits = [Vec::new(), Vec::new()];
    let mut times = vec![Vec::new(); CASES.len()];
    for round in 0..rounds {
        say(format_args!("searching"), round, rounds);
        let read = limits::read(&mut pool, kernels, &region);
        let multiplied = limits::multiply(&mut pool, kernels);
        let cases = CASES.iter().map(|case| {
            let start = Instant::now();
            case.run(&indexes, &queries, options)?;
            Ok(start.elapsed())
        });
        let cases = cases.collect::<Result<Vec<_>, String>>()?;
        if round > 0 {
            limits[0].push(read);
            limits[1].push(multiplied);
            for (times, time) in times.iter_mut().zip(cases) {
                times.push(time);
            }
        }
    }
    drop(region);
    let duplicates = duplicates(&indexes.first)?;
    let [bytes_per_s, multiply_adds_per_s] = limits.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    });
    for times in &mut times {
        times.sort();
    }
    drop(indexes);
    drop(directory);
    let faiss = match &options.faiss {
        Some(python) => {
            say(format_args!("FAISS: adding vectors and searching"), 0, 1);
            faiss::measure(python, rows, dims, pool.threads())?
        }
        None => Vec::new(),
    };
    say(format_args!("measured"), 1, 1);
    Ok(Report {
        isa: kernels.isa().name(),
        threads: pool.threads(),
        rows,
        dims,
        approximate: options.approximate,
        bytes_per_s,
        multiply_adds_per_s,
        times: times.iter().map(|times| times[times.len() / 2]).collect(),
        least: times.iter().map(|times| times[0]).collect(),
        duplicate_rows: rows.min(DUPLICATE_ROWS),
        duplicates,
        faiss,
    })
}

impl Case {
    fn run(
        &self,
        indexes: &Indexes,
        queries: &[Vec<f32>],
        options: &Options,
    ) -> Result<(), String> {
        let index = match self.kind {
            Kind::F32 => &indexes.f32,
            Kind::I8 | Kind::TwoStages => &indexes.i8,
            Kind::Binary => &indexes.binary,
        };
        let search = Search {
            approximate: (self.kind == Kind::TwoStages).then_some(options.approximate as usize),
            ..Search::exact(K)
        };
        let found = index.search_batch(&queries[..self.queries], &search);
        std::hint::black_box(found.map_err(|error| error.to_string())?);
        Ok(())
    }
}

/// How long all pairs of rows take.
fn duplicates(index: &Index) -> Result<Duration, String> {
    let start = Instant::now();
    let mut said = Instant::now();
    let progress = |done: u64, of: u64| {
        if said.elapsed() > Duration::from_millis(500) {
            said = Instant::now();
            say(
                format_args!("comparing all pairs"),
                done as usize,
                of as usize,
            );
        }
    };
    let found = index.duplicates(ABOVE, &CancelToken::new(), progress, |_| {
        ControlFlow::Continue(())
    });
    found.map_err(|error| error.to_string())?;
    Ok(start.elapsed())
}

/// Says on a terminal how far something is, in the place of what was said before.
fn say(what: fmt::Arguments<'_>, done: usize, of: usize) {
    let mut out = std::io::stderr().lock();
    if out.is_terminal() {
        let percent = done as f64 / of.max(1) as f64 * 100.0;
        let end = if done == of { "\n" } else { "" };
        // Progress that nobody reads is no error.
        let _ = write!(out, "\r\x1b[K{what}: {percent:.0} %{end}");
    }
}
