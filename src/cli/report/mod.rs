//! `lanewise report`: the three measurements that the project set out from, on this machine.

mod accuracy;
mod forward;
mod go_engine;
mod lengths;
mod machine;
mod memory;
mod svg;
mod text;
mod vectors;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use lanewise::internals::{Runtime, RuntimeOptions};
use serde::Serialize;

use self::accuracy::{Accuracy, ToVectors};
use self::forward::Forward;
use self::go_engine::GoEngine;
use self::lengths::Lengths;
use self::machine::Machine;
use self::memory::{Memory, Snapshot};
use super::Outcome;
use super::failure::{self, Failure};
use super::options::{ModelOptions, RunOptions};

/// The text of the published figures, whose ids of EmbeddingGemma are 2 9259 1902 1.
const TEXT: &str = "Hello world";

/// Measure this machine: time of the forward pass, memory, and accuracy of INT8
///
/// Measures "Hello world" as the model reads it. Of EmbeddingGemma, whose ids are 2 9259 1902 1, each
/// figure stands beside that of the Go engine which Lanewise replaces. Run it on a machine that does
/// nothing else. Weights are packed in each pass, also where `lanewise embed` would read them packed
/// from the cache directory.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Draw the time against the length of text, with the machine's limit, into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Also compare with float32 vectors: JSON Lines of text, prompt (or none) and embedding; or
    /// without embedding, and a .npy file of the same name beside it
    #[arg(long, value_name = "FILE")]
    vectors: Option<PathBuf>,
    /// Timed forward passes
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    run: RunOptions,
}

/// Everything shown, under the names of the JSON object.
#[derive(Serialize)]
struct Report {
    forward_int8: Forward,
    memory_usage: Option<Memory>,
    int8_accuracy: Accuracy,
    machine: Machine,
    #[serde(skip_serializing_if = "Option::is_none")]
    lengths: Option<Lengths>,
    #[serde(skip_serializing_if = "Option::is_none")]
    go_engine: Option<GoEngine>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let path = arguments.model.path()?;
    let options = arguments.run.builder().runtime_options()?;
    if let Some(svg) = &arguments.svg {
        let mut read = std::iter::once(&path).chain(&arguments.vectors);
        if read.any(|read| is_same_file(read, svg)) {
            let svg = svg.display();
            let message = format!("--svg {svg}: this file is read as well; take another name");
            return Err(Failure::usage(message));
        }
    }
    // Read before anything is loaded, and reported when a file cannot be used before minutes are
    // spent.
    let given = arguments
        .vectors
        .as_deref()
        .map(vectors::read)
        .transpose()?;

    let mut snapshots = vec![Snapshot::take()];
    let model = arguments.run.open(&path)?;
    if model.score_function().is_some() {
        let path = path.display();
        return Err(Failure::Stopped {
            code: failure::MODEL,
            message: format!(
                "{path}: is a reranker, of which there is no report; use an embedding model"
            ),
        });
    }
    snapshots.push(Snapshot::take());
    let tokenizer = (model.family().tokenizer)(Arc::clone(model.gguf()))?;
    snapshots.push(Snapshot::take());
    let options = RuntimeOptions {
        // Vectors without the heads are in another space, but both paths are in the same.
        dense_heads: model.dense_heads() == Some(true),
        ..options
    };
    let mut runtime = Runtime::new(Arc::clone(&model), &options)?;
    snapshots.push(Snapshot::take());
    let (ids, _) = tokenizer.encode_between_ends(TEXT, model.shape().context);
    let mut vector = vec![0.0; model.shape().width];
    runtime.embed(&[&ids], &mut vector)?;
    snapshots.push(Snapshot::take());
    let memory_usage = Memory::new(&snapshots, &*model);

    let forward_int8 = Forward::measure(&mut runtime, &ids, &mut vector, arguments.count)?;
    let mut int8_accuracy = Accuracy::measure(&*model, &ids, &vector)?;
    if let Some(given) = &given {
        let compared = ToVectors::measure(&mut runtime, &*model, &*tokenizer, given)?;
        int8_accuracy.to_float32_vectors = Some(compared);
    }
    let lengths = match &arguments.svg {
        Some(_) => Some(Lengths::measure(&*model, &*tokenizer, &mut runtime)?),
        None => None,
    };
    let report = Report {
        forward_int8,
        memory_usage,
        int8_accuracy,
        machine: Machine::new(&*model, &runtime),
        lengths,
        go_engine: go_engine::published(model.family()),
    };
    if let (Some(path), Some(lengths)) = (&arguments.svg, &report.lengths) {
        let drawing = svg::draw(lengths, &report.machine);
        fs::write(path, drawing).map_err(|error| Failure::Stopped {
            code: failure::PARTIAL,
            message: format!("{}: cannot write: {error}", path.display()),
        })?;
    }
    report.print(arguments.json).map_err(Failure::output)?;
    report.int8_accuracy.check()?;
    Ok(Outcome::Complete)
}

/// Whether two names lead to one file, by hard or symbolic links.
pub fn is_same_file(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let id = |path| {
            fs::metadata(path)
                .ok()
                .map(|found| (found.dev(), found.ino()))
        };
        id(a).is_some() && id(a) == id(b)
    }
    #[cfg(not(unix))]
    {
        let path = |path| fs::canonicalize(path).ok();
        path(a).is_some() && path(a) == path(b)
    }
}

impl Report {
    fn print(&self, json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if json {
            serde_json::to_writer_pretty(&mut out, self)?;
            writeln!(out)?;
        } else {
            write!(out, "{self}")?;
        }
        out.flush()
    }
}
