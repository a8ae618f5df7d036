//! Lanewise beside other engines: same file, same token ids, same number of threads.
//!
//! The idle worker threads of one engine would slow the next, so each runs in a process of its own
//! that ends before the next one starts; and they run in turns, so that a slow minute of the
//! machine meets all of them. How to add an engine is said at `ENGINES` in `compare/engine.rs`.

mod engine;
mod golden;
mod lanewise;
mod report;
mod setup;

use std::path::PathBuf;
use std::sync::Arc;

use ::lanewise::internals::models::{self, Model};
use ::lanewise::internals::{Limits, Runtime, RuntimeOptions};
use ::lanewise::{Isa, find_model};
pub use engine::ENGINE_COMMAND;
use engine::{ENGINES, Engine, Job, Peers};
pub use lanewise::serve;
use lanewise_pool::ThreadPlan;
use lanewise_testkit::texts::{text, texts};
use report::{Limit, Report};

/// Said after the options.
pub const AFTER_HELP: &str = "\
The first run builds llama.cpp for this machine in the cache directory, which takes some minutes. Examples:
  compare                                     everything, about six minutes
  compare --lengths 4,128,512 --no-batches    about half a minute
  compare --golden ../shared/golden --lengths 4 --no-batches    with cosines to float32 vectors
  compare --engines lanewise,lanewise-avx-vnni,lanewise-avx2 --lengths 128,512 --no-batches
  compare --engines lanewise,openvino --openvino MODEL.xml --python PYTHON_WITH_OPENVINO";

/// What to compare.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Engines, Lanewise or whatever the others are to be divided by first
    #[arg(long, value_delimiter = ',', default_value = "lanewise,llama,llama-flash", value_parser = ENGINES.map(|engine| engine.name))]
    pub engines: Vec<String>,
    /// Lengths of text, in tokens, both ends counted
    #[arg(long, value_delimiter = ',', default_value = "4,16,64,128,512,2048", value_parser = clap::value_parser!(u32).range(2..=2048))]
    pub lengths: Vec<u32>,
    /// Leave the two batches out: 64 texts of 128 tokens, and 256 texts of 8 to 256
    #[arg(long)]
    pub no_batches: bool,
    /// Threads of each engine [default: as many as the machine allows]
    #[arg(short, long)]
    pub threads: Option<usize>,
    /// The model file [default: as `lanewise embed` finds it]
    #[arg(short, long)]
    pub model: Option<PathBuf>,
    /// Turns of each engine
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub turns: u32,
    /// Timed runs of each length or batch in a turn, at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// Seconds after which no further run of a length or batch begins
    #[arg(long, default_value_t = 1.0)]
    pub seconds: f64,
    /// A directory with embeddings.jsonl and embeddings.npy: texts and their float32 vectors
    #[arg(long)]
    pub golden: Option<PathBuf>,
    /// A Python that has numpy and the engines' packages [default: a virtual environment with
    /// llama-cpp-python, made in the cache directory]
    #[arg(long)]
    pub python: Option<PathBuf>,
    /// The same model as OpenVINO reads it, an .xml file; the engine `openvino` needs it
    #[arg(long)]
    pub openvino: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Runs all engines in turns and returns what to print.
///
/// # Errors
///
/// A message that names the engine or file that failed, and why.
pub fn compare(options: &Options) -> Result<String, String> {
    let engines: Vec<&Engine> = options
        .engines
        .iter()
        .filter_map(|name| ENGINES.iter().find(|engine| engine.name == name))
        .collect();
    let model = options
        .model
        .clone()
        .map_or_else(find_model, Ok)
        .map_err(text_of)?;
    let opened = models::open(&model).map_err(text_of)?;
    let vocabulary = opened.shape().vocabulary;
    let plan = ThreadPlan::choose(options.threads).map_err(text_of)?;
    let golden = match &options.golden {
        Some(directory) => golden::read(directory, &model)?,
        None => golden::Golden::default(),
    };
    let peers = Peers {
        python: match &options.python {
            Some(python) => python.clone(),
            None if engines.iter().any(|engine| engine.is_python()) => setup::python()?,
            None => PathBuf::new(),
        },
        openvino: options.openvino.clone(),
    };

    let mut cases: Vec<Vec<Vec<u32>>> = options
        .lengths
        .iter()
        .map(|&tokens| vec![text(tokens as usize, vocabulary, 0)])
        .collect();
    if !options.no_batches {
        cases.push(texts(64, 128, 128, vocabulary));
        cases.push(texts(256, 8, 256, vocabulary));
    }
    let mut job = Job {
        model,
        threads: plan.cpus.len(),
        runs: options.runs,
        seconds: options.seconds,
        cases,
        embedded: golden.ids,
    };
    let mut answers = vec![Vec::new(); engines.len()];
    let mut limits = Vec::new();
    for turn in 1..=options.turns {
        limits.push(limits_of(&opened, plan.cpus.len())?);
        for (engine, answers) in engines.iter().zip(&mut answers) {
            eprintln!("turn {turn} of {}: {}", options.turns, engine.title);
            let answer = engine
                .run(&peers, &job)
                .map_err(|problem| format!("{}: {problem}", engine.title))?;
            answers.push(answer);
        }
        // Vectors do not change from turn to turn.
        job.embedded.clear();
    }
    let titles = engines.iter().map(|engine| engine.title);
    let limit = Limit::new(&*opened, &limits, &job.cases);
    let report = Report::new(&job, limit, titles.zip(&answers), &golden.vectors);
    if options.json {
        serde_json::to_string_pretty(&report)
            .map(|json| json + "\n")
            .map_err(text_of)
    } else {
        Ok(report.to_string())
    }
}

/// What the machine allows, on its fastest instruction set. The threads that measured it have ended
/// when this returns.
fn limits_of(model: &Arc<dyn Model>, threads: usize) -> Result<Limits, String> {
    let options = RuntimeOptions {
        threads: Some(threads),
        isa: Some(Isa::detect()),
        dense_heads: false,
    };
    let runtime = Runtime::new(Arc::clone(model), &options).map_err(text_of)?;
    Limits::measure(&**model, &runtime).map_err(text_of)
}

fn text_of(error: impl std::fmt::Display) -> String {
    error.to_string()
}
