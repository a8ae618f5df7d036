//! `lanewise tokenize`, `info` and the help.

mod cli_support;

use cli_support::{TINY, TINY_WITHOUT_HEADS, command, feed, run, run_with, scratch};
use lanewise::Isa;
use serde_json::Value;

#[test]
fn tokenize_shows_ids_and_pieces_of_every_text() {
    let text = run(&["tokenize", "a b", ""]);
    assert_eq!(text.code, 0, "{}", text.err);
    assert_eq!(text.out.lines().count(), 2);
    assert_eq!(text.out.lines().last(), Some(""));
    assert!(text.out.contains('"'), "{}", text.out);

    let jsonl = run(&["tokenize", "--format", "jsonl", "a b", ""]);
    let rows: Vec<Value> = jsonl
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let pieces: String = rows[0]["pieces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|piece| piece.as_str().unwrap())
        .collect();
    assert_eq!(pieces, "a\u{2581}b");
    assert_eq!(
        rows[0]["ids"].as_array().unwrap().len(),
        rows[0]["pieces"].as_array().unwrap().len()
    );
    assert_eq!(rows[1]["index"], 1);
    assert_eq!(rows[1]["ids"], Value::Array(vec![]));
}

#[test]
fn tokenize_names_lines_that_are_not_utf8() {
    let run = run_with(&["tokenize", "--format", "jsonl"], b"a\n\xff\nb\n");
    assert_eq!((run.code, run.out.lines().count()), (1, 2));
    assert!(run.err.contains("line 2"), "{}", run.err);
}

#[test]
fn info_shows_the_file_and_what_would_run_it() {
    let run = run(&["info", "--verify"]);
    assert_eq!(run.code, 0, "{}", run.err);
    for part in [
        TINY.to_str().unwrap(),
        "gemma-embedding",
        "256 tokens",
        "Q8_0",
        "F32",
        "present",
        "all finite",
        "the fastest supported",
        "threads",
    ] {
        assert!(run.out.contains(part), "no {part} in {}", run.out);
    }
}

#[test]
fn info_as_json_names_the_same_facts() {
    let run = run(&["info", "--json"]);
    let info: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(info["context"], 256);
    assert_eq!(info["dense_heads"], true);
    assert_eq!(info["instruction_set"], Isa::detect().name());
}

#[test]
fn info_warns_that_the_dense_heads_are_absent() {
    let run = run(&["info", "-m", TINY_WITHOUT_HEADS.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.contains("ABSENT"), "{}", run.out);
}

#[test]
fn info_says_that_an_instruction_set_is_forced() {
    let mut command = command();
    command
        .env("LANEWISE_ISA", "scalar")
        .args(["info", "-m"])
        .arg(&*TINY);
    let run = feed(command, b"");
    assert!(
        run.out.contains("scalar: set by LANEWISE_ISA"),
        "{}",
        run.out
    );
}

#[test]
fn help_explains_models_variables_and_exit_codes() {
    let help = run(&["--help"]);
    assert_eq!(help.code, 0);
    for part in ["Examples", "LANEWISE_ISA", "tools/get-model", "Exit codes"] {
        assert!(help.out.contains(part), "no {part} in {}", help.out);
    }
    let embed = run(&["embed", "--help"]);
    for part in [
        "PairClassification",
        "task: fact checking | query: ",
        "--overflow",
    ] {
        assert!(embed.out.contains(part), "no {part} in {}", embed.out);
    }
}

#[test]
fn the_examples_of_the_help_run_as_they_stand() {
    let help = run(&["--help"]).out;
    let examples: Vec<&str> = help
        .lines()
        .map(str::trim)
        .filter(|line| {
            let runs = line.contains("lanewise ") && line.contains(['"', '\'']);
            // That one needs a reranker.
            runs && !line.contains("rerank") || *line == "lanewise info"
        })
        .collect();
    assert!(examples.len() >= 6, "{examples:?}");
    let directory = std::path::Path::new(env!("CARGO_BIN_EXE_lanewise"))
        .parent()
        .unwrap();
    let path = std::env::join_paths(
        std::iter::once(directory.to_path_buf())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let path = path.unwrap();
    let working = scratch("help").with_extension("directory");
    std::fs::create_dir_all(&working).unwrap();
    // What is searched is an output of `embed`.
    let corpus = "printf 'moons\nrivers\n' | lanewise embed --input - --input-format lines \
                  --keep text --output corpus.arrow --force && echo";
    for example in [corpus].into_iter().chain(examples) {
        let output = std::process::Command::new("sh")
            .args(["-c", example])
            .current_dir(&working)
            .env("PATH", &path)
            .env("LANEWISE_MODEL", &*TINY)
            .env("LANEWISE_PACKED_WEIGHTS", "off")
            .output()
            .unwrap();
        assert!(output.status.success(), "{example}: {output:?}");
        assert!(!output.stdout.is_empty(), "{example}");
    }
}
