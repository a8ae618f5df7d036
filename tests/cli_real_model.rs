//! The command on the real model, which it finds by itself.

mod cli_support;

use std::path::PathBuf;

use cli_support::{Run, command, feed};
use lanewise_testkit::assets;
use serde_json::Value;

/// The real model as the command finds it, or `None` if it is missing.
fn real_model() -> Option<PathBuf> {
    lanewise::find_model().map_err(assets::skip).ok()
}

fn run(arguments: &[&str]) -> Option<Run> {
    let mut command = command();
    command.env("LANEWISE_MODEL", real_model()?).args(arguments);
    Some(feed(command, b""))
}

#[test]
fn hello_world_is_two_tokens() {
    let Some(run) = run(&["tokenize", "--format", "jsonl", "Hello world"]) else {
        return;
    };
    assert_eq!(run.code, 0, "{}", run.err);
    let row: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(row["ids"], serde_json::json!([9259, 1902]));
    assert_eq!(row["pieces"], serde_json::json!(["Hello", "\u{2581}world"]));
}

#[test]
fn info_shows_heads_and_context() {
    let Some(run) = run(&["info", "--json"]) else {
        return;
    };
    let info: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(info["dense_heads"], true);
    assert_eq!(info["context"], 2048);
}

#[test]
fn vectors_have_the_trained_lengths_and_no_others() {
    for (dims, code) in [("768", 0), ("512", 0), ("256", 0), ("128", 0), ("300", 2)] {
        let Some(run) = run(&["embed", "--dims", dims, "Hello world"]) else {
            return;
        };
        assert_eq!(run.code, code, "{}", run.err);
        if code == 0 {
            let vector = cli_support::numbers(&run.out);
            assert_eq!(vector.len().to_string(), dims);
            cli_support::assert_unit_length(&vector);
        } else {
            assert!(run.err.contains("768, 512, 256 or 128"), "{}", run.err);
        }
    }
}
