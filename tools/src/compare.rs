//! Lanewise beside other engines: same file, same token ids, same number of threads.
//!
//! The idle worker threads of one engine would slow the next, so each runs in a process of its own that ends before
//! the next one starts; and they run in turns, so that a slow minute of the machine meets all of them. To add an
//! engine, add a line to `ENGINES` and a program that reads a `Job` and writes an `Answer`.

mod golden;
mod setup;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use lanewise::model::Model;
use lanewise::runtime::{Runtime, threads::ThreadPlan};
use lanewise::{Embedder, find_model};
use serde::{Deserialize, Serialize};

use crate::texts::{LENGTHS, text};

/// What to compare.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Lengths of text, in tokens, both ends counted
    #[arg(long, value_delimiter = ',', default_values_t = LENGTHS.map(|length| length as u32), value_parser = clap::value_parser!(u32).range(2..=2048))]
    pub lengths: Vec<u32>,
    /// Threads of each engine [default: as many as the machine allows]
    #[arg(short, long)]
    pub threads: Option<usize>,
    /// The model file [default: as `lanewise embed` finds it]
    #[arg(short, long)]
    pub model: Option<PathBuf>,
    /// Timed runs of each length in a turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// Turns of each engine
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub turns: u32,
    /// A folder with embeddings.jsonl and embeddings.npy: texts and their float32 vectors
    #[arg(long)]
    pub golden: Option<PathBuf>,
    /// A Python that has llama-cpp-python and numpy [default: a virtual environment made in the cache folder]
    #[arg(long)]
    pub python: Option<PathBuf>,
}

/// What an engine's process reads from its standard input.
#[derive(Debug, Serialize, Deserialize)]
struct Job {
    model: PathBuf,
    threads: usize,
    /// Timed runs of each text, after one that is not timed.
    runs: u32,
    /// Ids of the texts to time, one at a time.
    timed: Vec<Vec<u32>>,
    /// Ids of the texts whose vectors are asked for.
    embedded: Vec<Vec<u32>>,
}

/// What it writes to its standard output.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    /// The runs of each timed text.
    times_ms: Vec<Vec<f64>>,
    /// Peak resident memory after the timed texts, file pages included.
    peak_mb: f64,
    /// Vectors of any length, as they are compared by their direction.
    vectors: Vec<Vec<f32>>,
}

/// An engine and how to start its process.
struct Engine {
    name: &'static str,
    command: fn(python: &Path) -> io::Result<Command>,
}

/// Lanewise first: the others' times are divided by its.
const ENGINES: [Engine; 3] = [
    Engine {
        name: "Lanewise",
        command: |_| lanewise(),
    },
    Engine {
        name: "llama.cpp",
        command: |python| Ok(llama(python, "0")),
    },
    Engine {
        name: "llama.cpp flash",
        command: |python| Ok(llama(python, "1")),
    },
];

/// The hidden command that makes this program one of the engines.
pub const ENGINE_COMMAND: &str = "compare-engine";

fn lanewise() -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ENGINE_COMMAND);
    Ok(command)
}

fn llama(python: &Path, flash: &str) -> Command {
    let mut command = Command::new(python);
    command.args(["-c", include_str!("compare/llama.py"), flash]);
    command
}

/// Runs all engines in turns and returns the tables to print.
///
/// # Errors
///
/// A message that names the engine or file that failed, and why.
pub fn compare(options: &Options) -> Result<String, String> {
    let model = options
        .model
        .clone()
        .map_or_else(find_model, Ok)
        .map_err(text_of)?;
    let vocabulary = Model::open(&model).map_err(text_of)?.config().vocabulary;
    let golden = match &options.golden {
        Some(folder) => golden::read(folder, &model)?,
        None => golden::Golden::default(),
    };
    let python = match &options.python {
        Some(python) => python.clone(),
        None => setup::python()?,
    };
    let plan = ThreadPlan::choose(options.threads).map_err(text_of)?;
    let mut job = Job {
        model,
        threads: plan.cpus.len(),
        runs: options.runs,
        timed: options
            .lengths
            .iter()
            .map(|&tokens| text(tokens as usize, vocabulary, 0))
            .collect(),
        embedded: golden.ids,
    };
    let mut columns: Vec<Column> = ENGINES
        .iter()
        .map(|engine| Column::new(engine.name, job.timed.len()))
        .collect();
    for turn in 1..=options.turns {
        for (engine, column) in ENGINES.iter().zip(&mut columns) {
            eprintln!("turn {turn} of {}: {}", options.turns, engine.name);
            let answer = run(engine, &python, &job)
                .map_err(|problem| format!("{}: {problem}", engine.name))?;
            column.take(answer, &golden.vectors);
        }
        // Vectors do not change from turn to turn.
        job.embedded.clear();
    }
    Ok(table(&job, &mut columns))
}

/// Runs one engine on one job, in a process that has ended when this returns.
fn run(engine: &Engine, python: &Path, job: &Job) -> Result<Answer, String> {
    let mut command = (engine.command)(python).map_err(text_of)?;
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", command.get_program().display()))?;
    let input = serde_json::to_vec(job).map_err(text_of)?;
    // An engine that fails early closes its end; its exit status says more than the broken pipe.
    let sent = process
        .stdin
        .take()
        .map(|mut stdin| stdin.write_all(&input));
    let output = process.wait_with_output().map_err(text_of)?;
    if !output.status.success() || !matches!(sent, Some(Ok(()))) {
        return Err(format!("its process ended with {}", output.status));
    }
    let answer: Answer = serde_json::from_slice(&output.stdout).map_err(text_of)?;
    let complete = answer.times_ms.len() == job.timed.len()
        && answer.times_ms.iter().all(|times| !times.is_empty())
        && answer.vectors.len() == job.embedded.len();
    if complete {
        Ok(answer)
    } else {
        Err("its answer is not complete".into())
    }
}

/// Answers one job from standard input with Lanewise: what [`ENGINE_COMMAND`] does.
///
/// # Errors
///
/// If the job cannot be read, or Lanewise cannot do it.
pub fn serve() -> Result<(), String> {
    let job: Job = serde_json::from_reader(io::stdin().lock()).map_err(text_of)?;
    let settings = Embedder::builder()
        .threads(job.threads)
        .settings()
        .map_err(text_of)?;
    let model = Arc::new(Model::open(&job.model).map_err(text_of)?);
    let hidden = model.config().hidden;
    let mut runtime = Runtime::new(model, &settings).map_err(text_of)?;
    let mut embed = |ids: &[u32]| {
        let mut vector = vec![0.0; hidden];
        runtime.embed(&[ids], &mut vector).map_err(text_of)?;
        Ok::<_, String>(vector)
    };
    let mut times_ms = Vec::new();
    for ids in &job.timed {
        embed(ids)?;
        let mut times = Vec::new();
        for _ in 0..job.runs {
            let start = Instant::now();
            embed(ids)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        times_ms.push(times);
    }
    let peak_mb = peak_mb().ok_or("/proc/self/status has no VmHWM; compare needs Linux")?;
    let vectors = job
        .embedded
        .iter()
        .map(|ids| embed(ids))
        .collect::<Result<_, _>>()?;
    let answer = Answer {
        times_ms,
        peak_mb,
        vectors,
    };
    serde_json::to_writer(io::stdout().lock(), &answer).map_err(text_of)
}

fn peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

/// All that is known of one engine.
struct Column {
    name: &'static str,
    /// For each timed text, the runs of all turns.
    times_ms: Vec<Vec<f64>>,
    peak_mb: f64,
    cosines: Vec<f32>,
}

impl Column {
    fn new(name: &'static str, timed: usize) -> Self {
        Column {
            name,
            times_ms: vec![Vec::new(); timed],
            peak_mb: 0.0,
            cosines: Vec::new(),
        }
    }

    fn take(&mut self, answer: Answer, golden: &[Vec<f32>]) {
        for (times, more) in self.times_ms.iter_mut().zip(answer.times_ms) {
            times.extend(more);
        }
        self.peak_mb = self.peak_mb.max(answer.peak_mb);
        self.cosines.extend(
            answer
                .vectors
                .iter()
                .zip(golden)
                .map(|(vector, golden)| direction_cosine(vector, golden)),
        );
    }

    fn median_ms(&mut self, index: usize) -> f64 {
        let times = &mut self.times_ms[index];
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }
}

/// The cosine of vectors of any length: [`lanewise::cosine`] takes unit ones.
fn direction_cosine(left: &[f32], right: &[f32]) -> f32 {
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    product(left, right) / (product(left, left) * product(right, right)).sqrt()
}

fn table(job: &Job, columns: &mut [Column]) -> String {
    // Writing to a String cannot fail.
    let mut out = format!(
        "{} threads; median ms, and how many times Lanewise's that is\n\n tokens",
        job.threads
    );
    for column in &*columns {
        let _ = write!(out, " {:>22}", column.name);
    }
    for (index, ids) in job.timed.iter().enumerate() {
        let _ = write!(out, "\n{:7}", ids.len());
        let own = columns[0].median_ms(index);
        for column in &mut *columns {
            let median = column.median_ms(index);
            let _ = write!(out, " {median:12.2} ({:5.2} x)", median / own);
        }
    }
    out.push_str("\n\npeak MB");
    for column in &*columns {
        let _ = write!(out, " {:22.0}", column.peak_mb);
    }
    if !columns[0].cosines.is_empty() {
        out.push_str("\ncosine, mean and minimum\n       ");
        for Column { cosines, .. } in &*columns {
            let mean = cosines.iter().sum::<f32>() / cosines.len() as f32;
            let minimum = cosines.iter().copied().fold(f32::INFINITY, f32::min);
            let _ = write!(out, " {:>22}", format!("{mean:.5} {minimum:.5}"));
        }
    }
    out.push('\n');
    out
}

fn text_of(error: impl std::fmt::Display) -> String {
    error.to_string()
}
