//! What an engine is: a process that reads a job and writes an answer.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::text_of;

/// The hidden command that makes this program one of the engines.
pub const ENGINE_COMMAND: &str = "compare-engine";

/// What an engine's process reads from its standard input.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// The GGUF file.
    pub model: PathBuf,
    /// Threads to run with.
    pub threads: usize,
    /// Timed runs of each case at most, after one of its first text that is not timed.
    pub runs: u32,
    /// Seconds of a case after which no further run begins.
    pub seconds: f64,
    /// Texts, as ids, that are timed together: one, or a batch.
    pub cases: Vec<Vec<Vec<u32>>>,
    /// Texts whose vectors are asked for.
    pub embedded: Vec<Vec<u32>>,
}

/// What it writes to its standard output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The runs of each case.
    pub times_ms: Vec<Vec<f64>>,
    /// Peak resident memory after the cases, file pages included.
    pub peak_mb: f64,
    /// Vectors of any length, as they are compared by their direction.
    pub vectors: Vec<Vec<f32>>,
}

/// What engines other than Lanewise need.
#[derive(Debug)]
pub struct Peers {
    /// A Python with their packages.
    pub python: PathBuf,
    /// OpenVINO's model.
    pub openvino: Option<PathBuf>,
}

/// An engine and how to start its process.
pub struct Engine {
    /// As `--engines` takes it.
    pub name: &'static str,
    /// As the table shows it.
    pub title: &'static str,
    start: Start,
}

enum Start {
    /// This program, with an instruction set or, if empty, the one it chooses.
    Lanewise(&'static str),
    /// A Python program, and its arguments.
    Python(&'static str, fn(&Peers) -> Result<Vec<String>, String>),
}

macro_rules! python {
    ($file:literal) => {
        concat!(include_str!($file), include_str!("harness.py"))
    };
}

/// Every engine there is. Another one takes a line here and a file like `llama.py`, which is some
/// lines of Python around its load and embed calls; see the head of `harness.py`.
pub const ENGINES: [Engine; 8] = [
    Engine {
        name: "lanewise",
        title: "Lanewise",
        start: Start::Lanewise(""),
    },
    Engine {
        name: "lanewise-avx2",
        title: "Lanewise AVX2",
        start: Start::Lanewise("avx2"),
    },
    Engine {
        name: "lanewise-avx-vnni",
        title: "Lanewise AVX-VNNI",
        start: Start::Lanewise("avx-vnni"),
    },
    Engine {
        name: "lanewise-scalar",
        title: "Lanewise scalar",
        start: Start::Lanewise("scalar"),
    },
    Engine {
        name: "llama",
        title: "llama.cpp",
        start: Start::Python(python!("llama.py"), |_| Ok(vec!["0".into()])),
    },
    Engine {
        name: "llama-flash",
        title: "llama.cpp flash",
        start: Start::Python(python!("llama.py"), |_| Ok(vec!["1".into()])),
    },
    Engine {
        name: "openvino",
        title: "OpenVINO 384",
        start: Start::Python(python!("openvino.py"), |peers| openvino(peers, "384")),
    },
    Engine {
        name: "openvino-128",
        title: "OpenVINO 128",
        start: Start::Python(python!("openvino.py"), |peers| openvino(peers, "128")),
    },
];

fn openvino(peers: &Peers, group: &str) -> Result<Vec<String>, String> {
    let model = peers
        .openvino
        .as_ref()
        .ok_or("name its model with --openvino")?;
    Ok(vec![model.to_string_lossy().into_owned(), group.into()])
}

impl Engine {
    /// Whether it needs a Python.
    pub fn is_python(&self) -> bool {
        matches!(self.start, Start::Python(..))
    }

    fn command(&self, peers: &Peers) -> Result<Command, String> {
        match self.start {
            Start::Lanewise(isa) => {
                let mut command = Command::new(std::env::current_exe().map_err(text_of)?);
                command.arg(ENGINE_COMMAND);
                if !isa.is_empty() {
                    command.env("LANEWISE_ISA", isa);
                }
                Ok(command)
            }
            Start::Python(program, arguments) => {
                let mut command = Command::new(&peers.python);
                command.args(["-c", program]).args(arguments(peers)?);
                Ok(command)
            }
        }
    }

    /// Does one job, in a process that has ended when this returns.
    pub fn run(&self, peers: &Peers, job: &Job) -> Result<Answer, String> {
        let mut command = self.command(peers)?;
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                format!("cannot start {}: {error}", command.get_program().display())
            })?;
        let input = serde_json::to_vec(job).map_err(text_of)?;
        // An engine that fails early closes its end; its exit status says more than the broken
        // pipe.
        let sent = process
            .stdin
            .take()
            .map(|mut stdin| stdin.write_all(&input));
        let output = process.wait_with_output().map_err(text_of)?;
        if !output.status.success() || !matches!(sent, Some(io::Result::Ok(()))) {
            return Err(format!(
                "its process ended with {}; what it wrote to standard error says why",
                output.status
            ));
        }
        let answer: Answer = serde_json::from_slice(&output.stdout).map_err(text_of)?;
        let complete = answer.times_ms.len() == job.cases.len()
            && answer.times_ms.iter().all(|times| !times.is_empty())
            && answer.vectors.len() == job.embedded.len();
        complete
            .then_some(answer)
            .ok_or_else(|| "its answer is not complete".into())
    }
}
