//! How close exact vector search comes to what the machine allows: to the memory's speed with few
//! queries, to the multipliers' with many. Each thread scans its share of random vectors with the
//! kernels and keeps each query's best row.

mod faiss;
mod vectors;

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lanewise_kernels::{Kernels, Line, peak, score_stride};
use lanewise_pool::partition::chunks;
use lanewise_pool::{CachePadded, Pool, ThreadPlan};

use self::vectors::Vectors;

/// Bytes of rows of one kernel call: their scores are read while they are in the cache.
const CALL_BYTES: usize = 128 << 10;

/// Bytes of rows of one task: hundreds of tasks, so that no thread waits for another at the end.
const TASK_BYTES: usize = 1 << 20;

/// Rounds of multiply-adds of a measurement of the peak: some tens of milliseconds.
const PEAK_ROUNDS: u64 = 4_000_000;

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Vectors to search
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    rows: u32,
    /// Values of a vector
    #[arg(long, default_value_t = 768, value_parser = clap::value_parser!(u32).range(8..=65536))]
    dims: u32,
    /// Threads [default: as many as the machine allows]
    #[arg(short, long)]
    threads: Option<usize>,
    /// Timed rounds over all cases, after one that is not timed; the median counts
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Time FAISS as well, on vectors of the same kind, with this Python
    #[arg(long, value_name = "PYTHON")]
    faiss: Option<PathBuf>,
}

/// What limits a case.
#[derive(Clone, Copy)]
enum Limit {
    /// The bytes of the rows, read once.
    Memory,
    /// The multiply-adds.
    Peak,
}

/// One kind of search.
struct Case {
    kind: &'static str,
    queries: usize,
    limit: Limit,
}

const CASES: [Case; 7] = [
    Case::new("f32", 1, Limit::Memory),
    Case::new("i8", 1, Limit::Memory),
    Case::new("i8", 16, Limit::Memory),
    Case::new("i8", 256, Limit::Peak),
    Case::new("binary", 1, Limit::Memory),
    Case::new("binary", 16, Limit::Memory),
    Case::new("binary", 256, Limit::Memory),
];

impl Case {
    const fn new(kind: &'static str, queries: usize, limit: Limit) -> Self {
        Case {
            kind,
            queries,
            limit,
        }
    }
}

/// What was measured.
pub struct Report {
    isa: &'static str,
    threads: usize,
    rows: usize,
    dims: usize,
    bytes_per_s: f64,
    multiply_adds_per_s: f64,
    /// For each case.
    times: Vec<Duration>,
    faiss: Vec<faiss::Measured>,
}

/// Measures the limits and every case in turns, then FAISS.
///
/// # Errors
///
/// If there are no threads to be had, the vectors do not fit into memory, or Python fails.
pub fn measure(options: &Options) -> Result<Report, String> {
    let plan = ThreadPlan::choose(options.threads).map_err(|error| error.to_string())?;
    let mut pool = Pool::new(&plan).map_err(|error| error.to_string())?;
    let kernels = Kernels::detect();
    let (rows, dims) = (options.rows as usize, options.dims as usize);
    let most_queries = CASES.iter().map(|case| case.queries).max().unwrap_or(1);
    let vectors = Vectors::random(&mut pool, rows, dims)?;
    let queries = Vectors::random(&mut pool, most_queries, dims)?;

    // As large as the INT8 rows.
    let region = vec![1; (rows * dims).div_ceil(size_of::<u64>())];
    let mut limits = [Vec::new(), Vec::new()];
    let mut times = vec![Vec::new(); CASES.len()];
    for round in 0..=options.runs {
        let read = time(|| read_all(&mut pool, kernels, &region));
        let multiplied = multiply(&mut pool, kernels);
        let cases = CASES.iter().map(|case| {
            let mut best = Vec::new();
            time(|| best = search(&mut pool, kernels, case, &vectors, &queries))
        });
        let cases: Vec<Duration> = cases.collect();
        if round > 0 {
            limits[0].push(size_of_val(&*region) as f64 / read.as_secs_f64());
            limits[1].push(multiplied);
            for (times, time) in times.iter_mut().zip(cases) {
                times.push(time);
            }
        }
    }
    drop((vectors, queries));
    let [bytes_per_s, multiply_adds_per_s] = limits.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    });
    for times in &mut times {
        times.sort();
    }
    let faiss = match &options.faiss {
        Some(python) => faiss::measure(python, rows, dims, pool.threads())?,
        None => Vec::new(),
    };
    Ok(Report {
        isa: kernels.isa().name(),
        threads: pool.threads(),
        rows,
        dims,
        bytes_per_s,
        multiply_adds_per_s,
        times: times.iter().map(|times| times[times.len() / 2]).collect(),
        faiss,
    })
}

fn time(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

/// Reads all of a region, on all threads.
fn read_all(pool: &mut Pool, kernels: Kernels, region: &[u64]) {
    const TASK: usize = TASK_BYTES / size_of::<u64>();
    let tasks = region.len().div_ceil(TASK);
    pool.for_each(tasks, |task, _| {
        let task = &region[task * TASK..region.len().min((task + 1) * TASK)];
        std::hint::black_box(peak::read(kernels.isa(), task));
    });
}

/// The multiply-adds a second of all threads together.
fn multiply(pool: &mut Pool, kernels: Kernels) -> f64 {
    let threads = pool.threads();
    let mut counts = vec![CachePadded(0); threads];
    let time = time(|| {
        pool.for_each_part(
            chunks(&mut counts, 1),
            &mut vec![(); threads],
            |_, count, ()| {
                count[0].0 = peak::int8_peak(kernels.isa(), PEAK_ROUNDS);
            },
        );
    });
    counts.iter().map(|count| count.0).sum::<u64>() as f64 / time.as_secs_f64()
}

/// Scores of a call, and the best score of each query.
struct Scratch {
    f32: Vec<f32>,
    i32: Vec<i32>,
    u32: Vec<u32>,
    best: Vec<i32>,
}

/// The best score of each query; of f32 as bits.
fn search(
    pool: &mut Pool,
    kernels: Kernels,
    case: &Case,
    vectors: &Vectors,
    queries: &Vectors,
) -> Vec<i32> {
    let (dims, count) = (vectors.dims, case.queries);
    let (row_bytes, binary) = match case.kind {
        "f32" => (dims * size_of::<f32>(), false),
        "i8" => (dims, false),
        _ => (vectors.binary_bytes(), true),
    };
    let mut packed = Vec::new();
    if count > 1 && binary {
        packed.resize(kernels.binary_query_lines(row_bytes, count), Line::ZERO);
        let queries = &queries.binary[..count * row_bytes];
        kernels.pack_binary_queries(queries, row_bytes, &mut packed);
    } else if count > 1 {
        packed.resize(kernels.query_lines(dims, count), Line::ZERO);
        kernels.pack_queries(&queries.i8[..count * dims], dims, &mut packed);
    }
    let scratch = || Scratch {
        f32: Vec::new(),
        i32: Vec::new(),
        u32: Vec::new(),
        best: vec![i32::MIN; count],
    };
    let mut scratch: Vec<Scratch> = (0..pool.threads()).map(|_| scratch()).collect();
    let task_rows = (TASK_BYTES / row_bytes).max(1);
    let call_rows = (CALL_BYTES / row_bytes).max(1);
    // A partition of nothing but numbers.
    let mut tasks: Vec<usize> = (0..vectors.rows.div_ceil(task_rows)).collect();
    pool.for_each_part(chunks(&mut tasks, 1), &mut scratch, |task, _, scratch| {
        let end = vectors.rows.min((task + 1) * task_rows);
        for start in (task * task_rows..end).step_by(call_rows) {
            let rows = start..end.min(start + call_rows);
            let scores = rows.len() * if count == 1 { 1 } else { score_stride(count) };
            let values = |width: usize| rows.start * width..rows.end * width;
            let best = &mut scratch.best;
            match (case.kind, count) {
                ("f32", _) => {
                    scratch.f32.resize(scores, 0.0);
                    let query = &queries.f32[..dims];
                    kernels.dot_f32(&vectors.f32[values(dims)], query, &mut scratch.f32);
                    let largest = scratch.f32.iter().fold(0.0f32, |a, &b| a.max(b));
                    best[0] = best[0].max(largest.to_bits() as i32);
                }
                ("i8", 1) => {
                    scratch.i32.resize(scores, 0);
                    let query = &queries.i8[..dims];
                    kernels.dot_i8(&vectors.i8[values(dims)], query, &mut scratch.i32);
                    keep_best(&scratch.i32, 1, best);
                }
                ("i8", _) => {
                    scratch.i32.resize(scores, 0);
                    let rows = &vectors.i8[values(dims)];
                    kernels.gemm_i8(rows, dims, &packed, count, &mut scratch.i32);
                    keep_best(&scratch.i32, score_stride(count), best);
                }
                (_, 1) => {
                    scratch.u32.resize(scores, 0);
                    let rows = &vectors.binary[values(row_bytes)];
                    kernels.hamming(rows, &queries.binary[..row_bytes], &mut scratch.u32);
                    keep_nearest(&scratch.u32, 1, best);
                }
                _ => {
                    scratch.u32.resize(scores, 0);
                    let rows = &vectors.binary[values(row_bytes)];
                    kernels.hamming_many(rows, row_bytes, &packed, count, &mut scratch.u32);
                    keep_nearest(&scratch.u32, score_stride(count), best);
                }
            }
        }
    });
    scratch
        .into_iter()
        .map(|scratch| scratch.best)
        .reduce(|mut all, best| {
            keep_best(&best, best.len(), &mut all);
            all
        })
        .unwrap_or_default()
}

fn keep_best(scores: &[i32], stride: usize, best: &mut [i32]) {
    for row in scores.chunks_exact(stride) {
        for (best, score) in best.iter_mut().zip(row) {
            *best = (*best).max(*score);
        }
    }
}

/// Distances, of which the smallest is best, as negative scores.
fn keep_nearest(distances: &[u32], stride: usize, best: &mut [i32]) {
    for row in distances.chunks_exact(stride) {
        for (best, distance) in best.iter_mut().zip(row) {
            *best = (*best).max(-(*distance as i32));
        }
    }
}

impl Report {
    /// Seconds that the limits of the machine allow at least.
    fn limit(&self, case: &Case) -> f64 {
        let values = (self.rows * self.dims) as f64;
        let bytes = match case.kind {
            "f32" => 4.0 * values,
            "i8" => values,
            _ => (self.rows * self.dims.div_ceil(8)) as f64,
        };
        match case.limit {
            Limit::Memory => bytes / self.bytes_per_s,
            Limit::Peak => case.queries as f64 * values / self.multiply_adds_per_s,
        }
    }
}

/// A table for people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}, threads: {}; {} vectors of {}; {:.1} GB/s read, {:.0} G INT8 multiply-adds/s\n",
            self.isa,
            self.threads,
            self.rows,
            self.dims,
            self.bytes_per_s / 1e9,
            self.multiply_adds_per_s / 1e9,
        )?;
        writeln!(
            f,
            "vectors  queries  median ms  of one query  limit ms  by      fraction"
        )?;
        for (case, time) in CASES.iter().zip(&self.times) {
            let one = CASES
                .iter()
                .position(|one| one.kind == case.kind && one.queries == 1)
                .map_or(*time, |one| self.times[one]);
            let (time, limit) = (time.as_secs_f64(), self.limit(case));
            writeln!(
                f,
                "{:7} {:8} {:10.2} {:13.2} {:9.2}  {:6} {:9.2}",
                case.kind,
                case.queries,
                time * 1e3,
                time / one.as_secs_f64(),
                limit * 1e3,
                match case.limit {
                    Limit::Memory => "memory",
                    Limit::Peak => "peak",
                },
                limit / time,
            )?;
        }
        for measured in &self.faiss {
            if measured.queries == 1 {
                writeln!(f)?;
            }
            let case = CASES.iter().zip(&self.times).find(|(case, _)| {
                case.kind == measured.vectors && case.queries == measured.queries
            });
            write!(
                f,
                "{:7} {:8} {:10.2}  {}",
                measured.vectors, measured.queries, measured.median_ms, measured.engine,
            )?;
            match case {
                Some((_, time)) => {
                    let times = measured.median_ms / (time.as_secs_f64() * 1e3);
                    writeln!(f, ", {times:.1} times as long")?;
                }
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}
