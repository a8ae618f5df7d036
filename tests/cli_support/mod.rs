//! Runs the `lanewise` command and looks at what it did.
#![allow(dead_code, reason = "each test program compiles this and uses a part")]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use lanewise_testkit::gguf_writer::Encoding;
use lanewise_testkit::scratch;
use lanewise_testkit::tiny_model::{self, Options};

/// A tiny model of width 64 and context 256, written once for each test program.
pub static TINY: LazyLock<PathBuf> = LazyLock::new(|| tiny("tiny", &Options::default()));

/// The same model without the dense heads.
pub static TINY_WITHOUT_HEADS: LazyLock<PathBuf> = LazyLock::new(|| {
    let options = Options {
        no_dense: true,
        encoding: Encoding::F32,
        ..Options::default()
    };
    tiny("tiny-without-heads", &options)
});

fn tiny(name: &str, options: &Options) -> PathBuf {
    tiny_model::written(scratch(name), options)
}

/// A path that no other test program uses.
pub fn scratch(name: &str) -> PathBuf {
    scratch!(format!("{name}.gguf"))
}

/// The command with nothing of the caller's environment that changes what it does.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lanewise"));
    command
        .env_remove("LANEWISE_MODEL")
        .env_remove("LANEWISE_THREADS")
        .env_remove("LANEWISE_ISA")
        // Whoever runs as root could write even there.
        .env("LANEWISE_PACKED_WEIGHTS", "off")
        .env("XDG_CACHE_HOME", "/nonexistent");
    command
}

/// What the command did, its output as text.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("no signal ended it"),
            out: String::from_utf8(output.stdout).expect("the output is UTF-8"),
            err: String::from_utf8(output.stderr).expect("the messages are UTF-8"),
        }
    }
}

/// Runs the command with the tiny model and nothing on standard input.
pub fn run(arguments: &[&str]) -> Run {
    run_with(arguments, b"")
}

/// Runs the command with the tiny model and `input` on standard input.
pub fn run_with(arguments: &[&str], input: &[u8]) -> Run {
    let mut command = command();
    command
        .env("LANEWISE_MODEL", TINY.as_path())
        .args(arguments);
    feed(command, input)
}

/// Runs a command with `input` on standard input.
pub fn feed(mut command: Command, input: &[u8]) -> Run {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // On a thread of its own, so that neither side waits for a full pipe; a command that does not
    // read its input is no error.
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.into()
}

/// The numbers of a line.
pub fn numbers(line: &str) -> Vec<f32> {
    line.split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect()
}

#[track_caller]
pub fn assert_unit_length(vector: &[f32]) {
    let squares: f32 = vector.iter().map(|x| x * x).sum();
    assert!((squares - 1.0).abs() < 1e-5, "sum of squares {squares}");
}
