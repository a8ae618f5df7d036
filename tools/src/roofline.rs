//! How close the forward pass comes to what the machine allows, at every length of text.
//!
//! The limit of a forward pass is the greater of two times: that of reading the layers' weights once at the measured
//! bandwidth, and that of all multiply-adds at the measured INT8 peak. Everything else, from norms to waiting, counts
//! as loss.

use std::fmt;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanewise::model::{Config, Layer, Model};
use lanewise::runtime::phases::Phase;
use lanewise::runtime::{Runtime, pool::Pool};
use lanewise::{Embedder, Isa, Result, find_model};
use lanewise_kernels::peak;
use serde::Serialize;

use crate::texts::{LENGTHS, text, texts};

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Lengths of text, in tokens, both ends counted
    #[arg(long, value_delimiter = ',', default_values_t = LENGTHS.map(|length| length as u32), value_parser = clap::value_parser!(u32).range(2..))]
    pub lengths: Vec<u32>,
    /// Threads [default: as many as the machine allows]
    #[arg(short, long)]
    pub threads: Option<usize>,
    /// The model file [default: as `lanewise embed` finds it]
    #[arg(short, long)]
    pub model: Option<PathBuf>,
    /// Timed runs of each length, after one that is not timed; of a batch, 3 at most
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// Leave the two batches of many texts out
    #[arg(long)]
    pub no_batches: bool,
    /// Say where the time goes, from as many runs again with the clock read in every task
    #[arg(long)]
    pub phases: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: Machine,
    lengths: Vec<Case>,
    batches: Vec<Case>,
}

/// The two limits of the machine, on the threads that run the forward pass.
#[derive(Debug, Serialize)]
struct Machine {
    isa: &'static str,
    threads: usize,
    /// Bytes of the layers' weights, and of the region whose reading gives the bandwidth.
    weight_bytes: usize,
    bandwidth_gb_per_s: f64,
    peak_gmac_per_s: f64,
}

/// One forward pass.
#[derive(Debug, Serialize)]
struct Case {
    texts: usize,
    tokens: usize,
    median_ms: f64,
    tokens_per_s: f64,
    limit_ms: f64,
    fraction: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    phases: Vec<PhaseTime>,
}

/// What one phase takes of a forward pass.
#[derive(Debug, Serialize)]
struct PhaseTime {
    phase: &'static str,
    /// By thread, the mean of the runs.
    ms: Vec<f64>,
}

/// Measures the machine, then the forward pass.
///
/// # Errors
///
/// If the model or the threads cannot be had, or a length is above the model's context.
pub fn measure(options: &Options) -> Result<Report> {
    let path = options.model.clone().map_or_else(find_model, Ok)?;
    let model = Arc::new(Model::open(path)?);
    let mut builder = Embedder::builder();
    if let Some(threads) = options.threads {
        builder = builder.threads(threads);
    }
    let mut runtime = Runtime::new(model.clone(), &builder.settings()?)?;
    let layers = &model.weights().layers;
    let weight_bytes = matrices(layers).map(|matrix| matrix.range.len()).sum();
    let machine = Machine::measure(&runtime, weight_bytes)?;

    let vocabulary = model.config().vocabulary;
    let mut time = |texts: &[Vec<u32>]| -> Result<Case> {
        // A batch takes seconds, and short disturbances weigh less in it.
        let runs = if texts.len() == 1 {
            options.runs
        } else {
            options.runs.min(3)
        };
        let hidden = model.config().hidden;
        let median = median_time(&mut runtime, hidden, texts, runs)?;
        let mut case = machine.case(&model, texts, median);
        if options.phases {
            case.phases = phase_times(&mut runtime, hidden, texts, runs)?;
        }
        Ok(case)
    };
    let lengths = options
        .lengths
        .iter()
        .map(|&tokens| time(&[text(tokens as usize, vocabulary, 0)]));
    let lengths = lengths.collect::<Result<_>>()?;
    let batches = if options.no_batches {
        Vec::new()
    } else {
        vec![
            time(&texts(64, 128, 128, vocabulary))?,
            time(&texts(256, 8, 256, vocabulary))?,
        ]
    };
    Ok(Report {
        machine,
        lengths,
        batches,
    })
}

impl Machine {
    fn measure(runtime: &Runtime, weight_bytes: usize) -> Result<Self> {
        let isa = runtime.isa();
        let mut pool = Pool::new(runtime.threads())?;
        let threads = pool.threads();
        // Ones and not zeros: untouched zeros would all be one page.
        let region = vec![1u64; weight_bytes / size_of::<u64>()];
        let share = region.len().div_ceil(threads).max(1);
        let reading = shortest(30, || {
            pool.for_each(threads, |task, _| {
                let part = region.chunks(share).nth(task).unwrap_or_default();
                black_box(peak::read(isa, part));
            });
        });
        let iterations = iterations_for(isa, Duration::from_millis(10));
        let multiplying = shortest(20, || {
            pool.for_each(threads, |_, _| {
                peak::int8_peak(isa, iterations);
            });
        });
        let multiply_adds = peak::int8_peak(isa, 1) * iterations * threads as u64;
        Ok(Machine {
            isa: isa.name(),
            threads,
            weight_bytes,
            bandwidth_gb_per_s: size_of_val(&region[..]) as f64 / reading.as_secs_f64() / 1e9,
            peak_gmac_per_s: multiply_adds as f64 / multiplying.as_secs_f64() / 1e9,
        })
    }

    fn case(&self, model: &Model, texts: &[Vec<u32>], median: Duration) -> Case {
        let tokens: usize = texts.iter().map(Vec::len).sum();
        let of_layers = matrices(&model.weights().layers)
            .map(|matrix| matrix.rows as u64 * matrix.columns as u64)
            .sum::<u64>()
            * tokens as u64;
        let of_attention = texts
            .iter()
            .map(|text| attention_multiply_adds(model.config(), text.len()));
        let multiply_adds = of_layers + of_attention.sum::<u64>();
        let reading_ms = self.weight_bytes as f64 / self.bandwidth_gb_per_s / 1e6;
        let multiplying_ms = multiply_adds as f64 / self.peak_gmac_per_s / 1e6;
        let limit_ms = reading_ms.max(multiplying_ms);
        let median_ms = median.as_secs_f64() * 1e3;
        Case {
            texts: texts.len(),
            tokens,
            median_ms,
            tokens_per_s: tokens as f64 / median.as_secs_f64(),
            limit_ms,
            fraction: limit_ms / median_ms,
            phases: Vec::new(),
        }
    }
}

fn matrices(layers: &[Layer]) -> impl Iterator<Item = &lanewise::model::Matrix> {
    layers.iter().flat_map(Layer::matrices)
}

/// Multiply-adds of attention over one text: queries by keys and weights by values, for each pair of positions that see
/// each other.
fn attention_multiply_adds(config: &Config, tokens: usize) -> u64 {
    let n = tokens as u64;
    // Of the n² pairs, the band |i - j| <= w leaves two triangles of side n - 1 - w out.
    let outside = n.saturating_sub(1 + config.sliding_window as u64 / 2);
    let local = n * n - outside * (outside + 1);
    let global_layers = (config.layers / config.sliding_window_pattern) as u64;
    let pairs = global_layers * n * n + (config.layers as u64 - global_layers) * local;
    pairs * config.heads as u64 * (config.head_dim + config.value_dim) as u64
}

/// Iterations of [`peak::int8_peak`] that take about `time` on one thread.
fn iterations_for(isa: Isa, time: Duration) -> u64 {
    let mut iterations = 1000;
    loop {
        let start = Instant::now();
        peak::int8_peak(isa, iterations);
        if start.elapsed() >= time {
            return iterations;
        }
        iterations *= 2;
    }
}

/// A limit is what the machine can do, so the shortest of several runs counts.
fn shortest(runs: u32, mut body: impl FnMut()) -> Duration {
    let timed = (0..runs).map(|_| {
        let start = Instant::now();
        body();
        start.elapsed()
    });
    timed.min().unwrap_or_default()
}

/// The median time of a forward pass over `texts`, after one that grows the scratch.
fn median_time(
    runtime: &mut Runtime,
    hidden: usize,
    texts: &[Vec<u32>],
    runs: u32,
) -> Result<Duration> {
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let mut vectors = vec![0.0; texts.len() * hidden];
    runtime.embed(&texts, &mut vectors)?;
    let mut times = Vec::new();
    for _ in 0..runs {
        let start = Instant::now();
        runtime.embed(&texts, &mut vectors)?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2])
}

/// Where the time of a forward pass goes, on each thread.
fn phase_times(
    runtime: &mut Runtime,
    hidden: usize,
    texts: &[Vec<u32>],
    runs: u32,
) -> Result<Vec<PhaseTime>> {
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let mut vectors = vec![0.0; texts.len() * hidden];
    let mut phases: Vec<PhaseTime> = Phase::ALL
        .iter()
        .map(|phase| PhaseTime {
            phase: phase.name(),
            ms: vec![0.0; runtime.threads().cpus.len()],
        })
        .collect();
    for _ in 0..runs {
        for (thread, times) in runtime
            .embed_timed(&texts, &mut vectors)?
            .iter()
            .enumerate()
        {
            for (phase, time) in phases.iter_mut().zip(times) {
                phase.ms[thread] += time.as_secs_f64() * 1e3 / f64::from(runs);
            }
        }
    }
    Ok(phases)
}

/// A table for people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        writeln!(
            f,
            "{}, threads: {}; {:.1} GB/s over {:.1} MB, {:.0} G INT8 multiply-adds/s\n",
            machine.isa,
            machine.threads,
            machine.bandwidth_gb_per_s,
            machine.weight_bytes as f64 / 1e6,
            machine.peak_gmac_per_s,
        )?;
        writeln!(
            f,
            "texts  tokens   median ms  tokens/s    limit ms  fraction"
        )?;
        for case in self.lengths.iter().chain(&self.batches) {
            writeln!(
                f,
                "{:5} {:7} {:11.2} {:9.0} {:11.2} {:9.2}",
                case.texts,
                case.tokens,
                case.median_ms,
                case.tokens_per_s,
                case.limit_ms,
                case.fraction
            )?;
        }
        self.write_phases(f)
    }
}

impl Report {
    /// A row a phase, a column a case: milliseconds, the mean of the threads.
    fn write_phases(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cases: Vec<&Case> = self.lengths.iter().chain(&self.batches).collect();
        let phases = cases.first().map_or(&[][..], |case| &case.phases);
        if phases.is_empty() {
            return Ok(());
        }
        write!(f, "\nms a thread, tokens:")?;
        for case in &cases {
            write!(f, " {:8}", case.tokens)?;
        }
        for (index, phase) in phases.iter().enumerate() {
            write!(f, "\n{:19}", phase.phase)?;
            for case in &cases {
                let ms = &case.phases[index].ms;
                write!(f, " {:8.3}", ms.iter().sum::<f64>() / ms.len() as f64)?;
            }
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_in_the_band_are_counted_exactly() {
        for (tokens, window) in [(1, 8), (5, 8), (6, 8), (40, 8), (7, 0)] {
            let half = window / 2;
            let config = Config {
                layers: 3,
                sliding_window: window,
                sliding_window_pattern: 3,
                ..tiny()
            };
            let pairs = |reach: usize| {
                let all = (0..tokens).flat_map(|i| (0..tokens).map(move |j| usize::abs_diff(i, j)));
                all.filter(|&distance| distance <= reach).count() as u64
            };
            let expected = (2 * pairs(half) + pairs(tokens)) * 3 * 2 * 32;
            assert_eq!(
                attention_multiply_adds(&config, tokens),
                expected,
                "{tokens} tokens"
            );
        }
    }

    fn tiny() -> Config {
        Config {
            layers: 0,
            hidden: 64,
            feed_forward: 96,
            heads: 3,
            kv_heads: 1,
            head_dim: 32,
            value_dim: 32,
            context: 64,
            rms_norm_eps: 1e-6,
            sliding_window: 0,
            sliding_window_pattern: 1,
            rope_base_global: 1e6,
            rope_base_local: 1e4,
            vocabulary: 300,
        }
    }
}
