//! `lanewise serve`, over real connections.
#![cfg(feature = "serve")]

mod bulk_support;
mod cli_support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bulk_support::Directory;
use serde_json::{Value, json};

/// A server at work, which ends with this value.
struct Server {
    process: Child,
    address: String,
    /// What it says after the first line.
    messages: BufReader<std::process::ChildStderr>,
}

impl Server {
    /// Starts the command on a free port.
    fn start(directory: &Directory, arguments: &str) -> Self {
        let mut command = directory.command();
        command.args(["serve", "--port", "0", "--log", "off"]);
        command.args(arguments.split_whitespace());
        let mut process = command.spawn().unwrap();
        let mut messages = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        messages.read_line(&mut line).unwrap();
        let address = line
            .split("http://")
            .nth(1)
            .unwrap_or_else(|| panic!("{line}"));
        let address = address.split(',').next().unwrap().to_owned();
        Self {
            process,
            address,
            messages,
        }
    }

    /// The status, the headers and the body of the answer to a request; a body makes it a POST.
    fn ask(&self, path: &str, body: Option<&Value>) -> (u16, String, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let method = if body.is_some() { "POST" } else { "GET" };
        let body = body.map(Value::to_string).unwrap_or_default();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = serde_json::from_str(body).unwrap_or(Value::Null);
        (status, head.to_lowercase(), body)
    }

    /// Sends a signal.
    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success());
    }

    /// The exit code, and what was said until then.
    fn end(mut self) -> (i32, String) {
        let mut said = String::new();
        self.messages.read_to_string(&mut said).unwrap();
        (self.process.wait().unwrap().code().unwrap_or(-1), said)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The vectors that `embed` prints for texts.
fn vectors(directory: &Directory, arguments: &str, texts: &[&str]) -> Vec<Vec<f32>> {
    let run = directory.run_with(
        &format!("embed --format jsonl {arguments}"),
        texts.join("\n").as_bytes(),
    );
    assert_eq!(run.code, 0, "{}", run.err);
    let lines = run.out.lines();
    lines
        .map(|line| floats(&serde_json::from_str::<Value>(line).unwrap()["embedding"]))
        .collect()
}

fn floats(values: &Value) -> Vec<f32> {
    let values = values
        .as_array()
        .unwrap_or_else(|| panic!("{values}"))
        .iter();
    values.map(|value| value.as_f64().unwrap() as f32).collect()
}

const TEXTS: [&str; 4] = [
    "largest moons",
    "",
    "東京 🙂",
    "a river does not hurry and yet it arrives",
];

#[test]
fn vectors_are_those_of_embed_through_every_interface() {
    let directory = Directory::new();
    let server = Server::start(&directory, "--name tiny");
    let raw = vectors(&directory, "--prompt raw", &TEXTS);
    let query = vectors(&directory, "--prompt query", &TEXTS);
    let (status, head, answer) = server.ask(
        "/v1/embeddings",
        Some(&json!({ "input": TEXTS, "model": "tiny" })),
    );
    assert_eq!(status, 200, "{answer}");
    assert!(head.contains("x-lanewise-space: lw1-"), "{head}");
    for (at, raw) in raw.iter().enumerate() {
        assert_eq!(floats(&answer["data"][at]["embedding"]), *raw);
    }
    let (status, _, answer) = server.ask(
        "/v1/embeddings",
        Some(&json!({ "input": TEXTS, "model": "tiny:query" })),
    );
    assert_eq!(status, 200, "{answer}");
    for (at, query) in query.iter().enumerate() {
        assert_eq!(floats(&answer["data"][at]["embedding"]), *query);
    }
    let (status, _, answer) = server.ask(
        "/embed",
        Some(&json!({ "inputs": TEXTS, "prompt_name": "query" })),
    );
    assert_eq!(status, 200, "{answer}");
    for (at, query) in query.iter().enumerate() {
        assert_eq!(floats(&answer[at]), *query);
    }
    let (status, _, answer) = server.ask(
        "/api/embed",
        Some(&json!({ "input": TEXTS, "model": "tiny" })),
    );
    assert_eq!(status, 200, "{answer}");
    for (at, raw) in raw.iter().enumerate() {
        assert_eq!(floats(&answer["embeddings"][at]), *raw);
    }
    let (status, _, answer) = server.ask(
        "/v1/embeddings",
        Some(&json!({ "input": "x", "model": "tiny", "dimensions": 100_000 })),
    );
    assert_eq!(status, 400, "{answer}");
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("dimensions")
    );
}

#[test]
fn shorter_vectors_are_those_of_embed_with_dims() {
    let directory = Directory::new();
    let server = Server::start(&directory, "--name tiny");
    let (_, _, info) = server.ask("/info", None);
    let shortest = info["dimensions"].as_array().unwrap().last().unwrap();
    let expected = vectors(&directory, &format!("--dims {shortest}"), &TEXTS[..1]);
    let (status, _, answer) = server.ask(
        "/v1/embeddings",
        Some(&json!({ "input": TEXTS[0], "model": "tiny", "dimensions": shortest })),
    );
    assert_eq!(status, 200, "{answer}");
    assert_eq!(floats(&answer["data"][0]["embedding"]), expected[0]);
}

#[test]
fn an_index_is_searched_as_the_command_does() {
    let directory = Directory::with_corpus(30);
    directory.embed(
        "--prompt document --output v.arrow --precision i8 --keep text,number --id-field id",
    );
    let server = Server::start(&directory, "--index v.arrow");
    let (status, _, answer) = server.ask("/search", Some(&json!({ "query": "river", "k": 5 })));
    assert_eq!(status, 200, "{answer}");
    let run = directory.run("search v.arrow river -k 5 --format jsonl");
    let hits = answer["hits"].as_array().unwrap();
    assert_eq!(hits.len(), 5);
    for (hit, line) in hits.iter().zip(run.out.lines()) {
        let expected: Value = serde_json::from_str(line).unwrap();
        for field in ["row", "score", "id", "text"] {
            assert_eq!(hit[field], expected[field], "{field} of {hit}");
        }
    }
    directory.embed("--output other.arrow --no-dense-head");
    let run = directory.run("serve --port 0 --index other.arrow");
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.err.contains("give --no-dense-head"), "{}", run.err);
}

#[cfg(unix)]
#[test]
fn signals_end_it_and_open_the_model_anew() {
    let directory = Directory::new();
    let mut server = Server::start(&directory, "--name tiny");
    server.signal("HUP");
    let mut line = String::new();
    server.messages.read_line(&mut line).unwrap();
    assert!(line.contains("opened anew"), "{line}");
    let request = json!({ "input": "after", "model": "tiny" });
    assert_eq!(server.ask("/v1/embeddings", Some(&request)).0, 200);
    let start = Instant::now();
    server.signal("TERM");
    let (code, said) = server.end();
    assert_eq!(code, 0, "{said}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn what_cannot_be_served_is_said_at_the_start() {
    let directory = Directory::new();
    let server = Server::start(&directory, "");
    let port = server.address.rsplit(':').next().unwrap().to_owned();
    for (arguments, code, message) in [
        (format!("serve --port {port}"), 2, "give another port"),
        ("serve -m none.gguf".into(), 3, "none.gguf"),
        ("serve --index none.arrow --port 0".into(), 1, "none.arrow"),
        ("serve --budget 5".into(), 2, "50ms"),
    ] {
        let mut command = directory.command();
        command
            .args(arguments.split_whitespace())
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {err}");
        assert!(err.contains(message), "{arguments}: {err}");
    }
}

/// The clients that people have get the vectors of `embed`: `crates/serve/tests/clients/install
/// target/serve_clients` makes what this needs.
#[test]
fn real_clients_get_the_vectors_of_embed() {
    let installed = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/target/serve_clients/bin/python"
    );
    let python = std::env::var_os("LANEWISE_SERVE_PYTHON").unwrap_or_else(|| installed.into());
    if !std::path::Path::new(&python).exists() {
        lanewise_testkit::assets::skip(format!(
            "{} is missing: crates/serve/tests/clients/install target/serve_clients makes it",
            std::path::Path::new(&python).display()
        ));
        return;
    }
    let directory = Directory::new();
    let texts = ["largest moons", "größte Monde", "月", " spaces ", "a"];
    let mut expected = String::new();
    for prompt in ["raw", "query", "document"] {
        let vectors = vectors(&directory, &format!("--prompt {prompt}"), &texts);
        for (text, vector) in texts.iter().zip(vectors) {
            expected += &json!({ "text": text, "prompt": prompt, "vector": vector }).to_string();
            expected.push('\n');
        }
    }
    directory.write("expected.jsonl", expected.as_bytes());
    let server = Server::start(&directory, "--name tiny");
    let check = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/crates/serve/tests/clients/check.py"
    );
    let output = Command::new(python)
        .args([check, &format!("http://{}", server.address), "tiny"])
        .arg(directory.path("expected.jsonl"))
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}
