//! The clients that people have. `crates/serve/tests/clients/install target/serve_clients` makes the environment;
//! `LANEWISE_SERVE_PYTHON` names the Python of another one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lanewise_testkit::assets;
use serde_json::json;

use crate::fake::{Server, ids, vector};

/// The Python of the environment.
fn python() -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../serve_clients/bin/python");
    let python = std::env::var_os("LANEWISE_SERVE_PYTHON").map_or(installed, PathBuf::from);
    if !python.exists() {
        let install = "crates/serve/tests/clients/install target/serve_clients makes it";
        assets::skip(format!("{} is missing: {install}", python.display()));
        return None;
    }
    Some(python)
}

#[track_caller]
fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{text}");
}

#[test]
fn real_clients_get_the_vectors_bit_for_bit() {
    let Some(python) = python() else {
        return;
    };
    let server = Server::start();
    let prompts = [("raw", ""), ("query", "q: "), ("document", "d: ")];
    let texts = [
        "largest moons",
        "Ganymede",
        "größte Monde",
        "月",
        " spaces ",
        "a",
    ];
    let lines = prompts.into_iter().flat_map(|(name, prompt)| {
        texts.map(|text| {
            let vector = vector(&ids(&format!("{prompt}{text}")));
            format!(
                "{}\n",
                json!({"text": text, "prompt": name, "vector": vector})
            )
        })
    });
    let directory = tempfile::tempdir().unwrap();
    let expected = directory.path().join("expected.jsonl");
    fs::write(&expected, lines.collect::<String>()).unwrap();
    succeeds(
        Command::new(python)
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/clients/check.py"
            ))
            .args([&format!("http://{}", server.address), "fake"])
            .arg(expected),
    );
}

#[test]
fn schemathesis_finds_nothing_the_document_denies() {
    let Some(python) = python() else {
        return;
    };
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    succeeds(
        Command::new(python.with_file_name("schemathesis"))
            .current_dir(directory.path())
            .args([
                "run",
                "--checks",
                "all",
                "--continue-on-failure",
                "--warnings",
                "off",
            ])
            .args([
                "--phases",
                "examples,coverage,fuzzing",
                "--max-examples",
                "20",
                "--seed",
                "1",
            ])
            // They are refused whatever they say.
            .args([
                "--exclude-path-regex",
                "^/(embed_all|embed_sparse|rerank|predict)$",
            ])
            .arg(format!("http://{}/openapi.json", server.address)),
    );
}
