//! What a busy neighbor costs: the latency of a short text while another thread takes one CPU.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use lanewise::{Embedder, Encoded, Error, Result, find_model};

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The text
    #[arg(long, default_value = "Hello world")]
    pub text: String,
    /// Timed runs, idle and beside each neighbor
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(100..))]
    pub runs: u32,
    /// Milliseconds between two runs
    #[arg(long, default_value_t = 0)]
    pub pause: u64,
    /// Threads [default: as many as the machine allows]
    #[arg(short, long)]
    pub threads: Option<usize>,
    /// The model file [default: as `lanewise embed` finds it]
    #[arg(short, long)]
    pub model: Option<PathBuf>,
}

/// Latencies of one text.
#[derive(Debug)]
pub struct Report {
    tokens: usize,
    idle: Latency,
    /// Beside a thread that computes without end, by its CPU.
    busy: Vec<(CoreId, Latency)>,
}

#[derive(Clone, Copy, Debug)]
struct Latency {
    median: Duration,
    p99: Duration,
}

/// Times the text on an idle machine, then beside a busy thread on each CPU in turn.
///
/// # Errors
/// If the model cannot be used or the CPUs of this process are not known.
pub fn measure(options: &Options) -> Result<Report> {
    let mut builder = Embedder::builder();
    if let Some(threads) = options.threads {
        builder = builder.threads(threads);
    }
    let path = match &options.model {
        Some(path) => path.clone(),
        None => find_model()?,
    };
    let embedder = builder.open(path)?;
    let text = embedder.encode(options.text.as_str())?;
    let latency = || latency(&embedder, &text, options);
    let cpus = core_affinity::get_core_ids().ok_or_else(|| Error::Argument {
        name: "affinity".into(),
        problem: "the system does not tell which CPUs this process may use".into(),
        remedy: "measure on another system".into(),
    })?;
    let idle = latency()?;
    let busy = cpus
        .into_iter()
        .map(|cpu| Ok((cpu, beside(cpu, latency)?)))
        .collect::<Result<_>>()?;
    Ok(Report {
        tokens: text.ids().len(),
        idle,
        busy,
    })
}

fn latency(embedder: &Embedder, text: &Encoded, options: &Options) -> Result<Latency> {
    let mut vector = vec![0.0; embedder.dims()];
    let mut run = || {
        let start = Instant::now();
        embedder.embed_encoded(std::slice::from_ref(text), &mut vector)?;
        let time = start.elapsed();
        std::thread::sleep(Duration::from_millis(options.pause));
        Ok(time)
    };
    for _ in 0..options.runs / 10 {
        run()?;
    }
    let mut times: Vec<Duration> = (0..options.runs).map(|_| run()).collect::<Result<_>>()?;
    times.sort();
    Ok(Latency {
        median: times[times.len() / 2],
        p99: times[times.len() * 99 / 100],
    })
}

/// Runs `body` while a thread pinned to `cpu` does nothing but take its time.
fn beside<T>(cpu: CoreId, body: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            core_affinity::set_for_current(cpu);
            let mut work = 1_u64;
            while !done.load(Relaxed) {
                work = std::hint::black_box(work).rotate_left(1);
            }
        });
        let result = body();
        done.store(true, Relaxed);
        result
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| 1e3 * time.as_secs_f64();
        let idle = ms(self.idle.median);
        writeln!(
            f,
            "{} tokens   median ms   p99 ms   p99 / idle median",
            self.tokens
        )?;
        let mut line = |name: &str, latency: &Latency| {
            let (median, p99) = (ms(latency.median), ms(latency.p99));
            writeln!(
                f,
                "{name:<10} {median:>9.2} {p99:>8.2} {:>19.2}",
                p99 / idle
            )
        };
        line("idle", &self.idle)?;
        self.busy
            .iter()
            .try_for_each(|(cpu, latency)| line(&format!("CPU {} busy", cpu.id), latency))
    }
}
