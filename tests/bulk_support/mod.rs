//! A directory with a small corpus, and runs of the command in it.
#![allow(dead_code, reason = "each test program compiles this and uses a part")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use lanewise_bulk::internals::tempfile::{TempDir, tempdir_in};
use serde_json::Value;

use crate::cli_support::{Run, TINY, command, feed};

/// A directory that is removed at the end.
pub struct Directory(TempDir);

impl Directory {
    pub fn new() -> Self {
        Self(tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap())
    }

    /// A directory with `corpus.jsonl` of `rows` rows with id, text, number and nested language.
    pub fn with_corpus(rows: usize) -> Self {
        let directory = Self::new();
        let lines: String = (0..rows).map(|row| line(row) + "\n").collect();
        directory.write("corpus.jsonl", lines.as_bytes());
        directory
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    #[track_caller]
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The objects of a file of JSON lines.
    #[track_caller]
    pub fn objects(&self, name: &str) -> Vec<Value> {
        let text = String::from_utf8(self.read(name)).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The names of all files, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The command in this directory with the tiny model and one thread, all that a test needs.
    pub fn command(&self) -> Command {
        let mut command = command();
        command
            .current_dir(self.0.path())
            .env("LANEWISE_MODEL", TINY.as_path())
            .env("LANEWISE_THREADS", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `lanewise` with arguments that spaces separate.
    pub fn run(&self, arguments: &str) -> Run {
        let mut command = self.command();
        command.args(arguments.split_whitespace());
        command.output().unwrap().into()
    }

    /// The same with something on standard input.
    pub fn run_with(&self, arguments: &str, input: &[u8]) -> Run {
        let mut command = self.command();
        command.args(arguments.split_whitespace());
        feed(command, input)
    }

    /// Runs `lanewise` with a limit on the size of files, in blocks of 512 bytes or 1 KB.
    #[cfg(unix)]
    pub fn run_limited(&self, blocks: usize, arguments: &str) -> Run {
        let command = self.command();
        let program = command.get_program().to_str().unwrap();
        let script = format!("ulimit -f {blocks}; exec '{program}' {arguments}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).current_dir(self.path("."));
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.output().unwrap().into()
    }

    /// Embeds the corpus and expects that it works.
    #[track_caller]
    pub fn embed(&self, arguments: &str) -> Run {
        let run = self.run(&format!("embed --input corpus.jsonl {arguments}"));
        assert_eq!((run.code, run.out.as_str()), (0, ""), "{}", run.err);
        run
    }
}

/// A row of the corpus, of 1 to 40 words.
fn line(row: usize) -> String {
    let words = [
        "river", "Mond", "жить", "東京", "la", "vie", "é", "🙂", "code",
    ];
    let text: Vec<&str> = (0..1 + row * 7 % 40)
        .map(|word| words[(row + word * word) % words.len()])
        .collect();
    serde_json::json!({
        "id": format!("d{row}"),
        "text": text.join(" "),
        "number": row,
        "meta": {"language": if row.is_multiple_of(3) { None } else { Some("xx") }},
    })
    .to_string()
}

/// The vector in an object.
#[track_caller]
pub fn embedding(object: &Value) -> Vec<f32> {
    let numbers = object["embedding"].as_array().unwrap().iter();
    numbers
        .map(|number| number.as_f64().unwrap() as f32)
        .collect()
}
