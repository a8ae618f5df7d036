//! How close the forward pass comes to what the machine allows, at every length of text; the limit
//! is that of [`lanewise::internals`].

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lanewise::internals::Limits;
use lanewise::internals::Runtime;
use lanewise::internals::engine::Phase;
use lanewise::internals::models::Model;
use lanewise::{Embedder, Result, find_model};
use lanewise_testkit::texts::{LENGTHS, text, texts};
use serde::Serialize;

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
    let mut builder = Embedder::builder();
    if let Some(threads) = options.threads {
        builder = builder.threads(threads);
    }
    let settings = builder.runtime_options()?;
    let (model, _) = builder.open_model(path, &settings)?;
    let mut runtime = Runtime::new(model.clone(), &settings)?;
    let limits = Limits::measure(&*model, &runtime)?;
    let machine = Machine {
        isa: runtime.isa().name(),
        threads: runtime.threads().cpus.len(),
        weight_bytes: limits.weight_bytes,
        bandwidth_gb_per_s: limits.bytes_per_s / 1e9,
        peak_gmac_per_s: limits.multiply_adds_per_s / 1e9,
    };

    let vocabulary = model.shape().vocabulary;
    let mut time = |texts: &[Vec<u32>]| -> Result<Case> {
        // A batch takes seconds, and short disturbances weigh less in it.
        let runs = if texts.len() == 1 {
            options.runs
        } else {
            options.runs.min(3)
        };
        let width = model.shape().width;
        let median = median_time(&mut runtime, width, texts, runs)?;
        let mut case = Case::new(&limits, &*model, texts, median);
        if options.phases {
            case.phases = phase_times(&mut runtime, width, texts, runs)?;
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

impl Case {
    fn new(limits: &Limits, model: &dyn Model, texts: &[Vec<u32>], median: Duration) -> Self {
        let tokens: usize = texts.iter().map(Vec::len).sum();
        let limit = limits.forward_pass(model, texts.iter().map(Vec::len));
        Case {
            texts: texts.len(),
            tokens,
            median_ms: median.as_secs_f64() * 1e3,
            tokens_per_s: tokens as f64 / median.as_secs_f64(),
            limit_ms: limit.as_secs_f64() * 1e3,
            fraction: limit.as_secs_f64() / median.as_secs_f64(),
            phases: Vec::new(),
        }
    }
}

/// The median time of a forward pass over `texts`, after one that grows the scratch.
fn median_time(
    runtime: &mut Runtime,
    width: usize,
    texts: &[Vec<u32>],
    runs: u32,
) -> Result<Duration> {
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let mut vectors = vec![0.0; texts.len() * width];
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
    width: usize,
    texts: &[Vec<u32>],
    runs: u32,
) -> Result<Vec<PhaseTime>> {
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let mut vectors = vec![0.0; texts.len() * width];
    let mut phases: Vec<PhaseTime> = Phase::ALL
        .iter()
        .map(|phase| PhaseTime {
            phase: phase.name(),
            ms: vec![0.0; runtime.threads().cpus.len()],
        })
        .collect();
    for _ in 0..runs {
        for (thread, times) in runtime
            .embed_profiled(&texts, &mut vectors)?
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
