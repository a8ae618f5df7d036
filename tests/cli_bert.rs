//! The command with models of BERT's kind.

mod cli_support;

use std::path::{Path, PathBuf};

use cli_support::{Run, assert_unit_length, command, feed, numbers, scratch};
use lanewise_testkit::gguf_writer::Value;
use lanewise_testkit::tiny_bert::{self, Options};

fn bert(name: &str, options: &Options) -> PathBuf {
    tiny_bert::written(scratch(name), options)
}

fn run(model: &Path, arguments: &[&str]) -> Run {
    let mut command = command();
    command.env("LANEWISE_MODEL", model).args(arguments);
    feed(command, b"")
}

#[test]
fn a_text_has_a_vector_of_the_model_s_width() {
    let model = bert("vector", &Options::default());
    let run = run(&model, &["embed", "Hello world"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let vector = numbers(&run.out);
    assert_eq!(vector.len(), 96);
    assert_unit_length(&vector);
}

#[test]
fn a_file_that_says_no_pooling_needs_the_option() {
    let model = bert(
        "no-pooling",
        &Options {
            pooling: None,
            ..Options::default()
        },
    );
    let refused = run(&model, &["embed", "a"]);
    assert_eq!(refused.code, 3);
    for part in [
        "bert.pooling_type: is missing",
        "mean, cls or last",
        "(--pooling)",
    ] {
        assert!(refused.err.contains(part), "no {part} in {}", refused.err);
    }
    for arguments in [&["embed", "a"][..], &["info"], &["similarity", "a", "b"]] {
        let told = run(&model, &[arguments, &["--pooling", "cls"]].concat());
        assert_eq!(told.code, 0, "{}", told.err);
    }
    let unknown = run(&model, &["embed", "--pooling", "max", "a"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.err.contains("mean, cls or last"), "{}", unknown.err);
}

#[test]
fn a_prompt_that_the_model_does_not_know_is_refused_once() {
    let model = bert("prompts", &Options::default());
    let input = scratch("rows").with_extension("jsonl");
    std::fs::write(&input, "{\"text\":\"a\"}\n").unwrap();
    let output = scratch("rows-out").with_extension("jsonl");
    let [input, output] = [&input, &output].map(|path| path.to_str().unwrap());
    for arguments in [
        &["embed", "-p", "clustering", "a", "b"][..],
        &["tokenize", "-p", "clustering", "a", "b"],
        &[
            "embed",
            "-p",
            "clustering",
            "--input",
            input,
            "--output",
            output,
        ],
    ] {
        let run = run(&model, arguments);
        assert_eq!(run.code, 2, "{arguments:?}: {}", run.err);
        let count = run.err.matches("'clustering'").count();
        assert!(
            count == 1 && run.err.contains("use one of raw"),
            "{}",
            run.err
        );
    }
}

#[test]
fn info_shows_the_pooling_and_the_prompts() {
    let path = scratch("e5");
    let mut file = tiny_bert::build(&Options::default());
    file.set("general.name", Value::String("E5 Small v2".into()));
    file.write(&path).unwrap();
    let shown = run(&path, &["info"]);
    assert_eq!(shown.code, 0, "{}", shown.err);
    for part in ["mean", "query: \"query: \"", "document: \"passage: \""] {
        assert!(shown.out.contains(part), "no {part} in {}", shown.out);
    }
    assert!(!shown.out.contains("dense heads"), "{}", shown.out);
    let json: serde_json::Value =
        serde_json::from_str(&run(&path, &["info", "--json"]).out).unwrap();
    assert_eq!(json["pooling"], "mean");
    assert_eq!(json["prompts"]["query"], "query: ");
    assert!(json["dense_heads"].is_null() && json["sliding_window"].is_null());
}

#[test]
fn a_file_s_own_prompts_are_known_by_their_names() {
    let path = scratch("stella");
    let mut file = tiny_bert::build(&Options::default());
    let strings = |values: [&str; 2]| Value::Strings(values.map(|text| text.into()).into());
    file.set("lanewise.prompt.names", strings(["s2p_query", "query"]));
    file.set("lanewise.prompt.texts", strings(["hello ", "world "]));
    file.write(&path).unwrap();
    let vector = |arguments: &[&str]| {
        let run = run(&path, &[&["embed"], arguments].concat());
        assert_eq!(run.code, 0, "{}", run.err);
        run.out
    };
    assert_eq!(vector(&["-p", "S2P query", "a"]), vector(&["hello a"]));
    assert_eq!(vector(&["-p", "query", "a"]), vector(&["world a"]));
    let help = run(&path, &["embed", "--help"]).out;
    for part in ["s2p-query", "\"hello \"", "stella"] {
        assert!(help.contains(part), "no {part} in {help}");
    }
    assert!(!help.contains("fact-checking"), "{help}");
    let joined = format!("--model={}", path.display());
    let joined = command()
        .args(["embed", &joined, "--help"])
        .output()
        .unwrap();
    let joined = String::from_utf8(joined.stdout).unwrap();
    assert!(joined.contains("s2p-query"), "{joined}");
    let refused = run(&path, &["embed", "-p", "s2s_query", "a"]);
    assert_eq!(refused.code, 2);
    let known = "raw, s2p-query, query";
    assert!(refused.err.contains(known), "{}", refused.err);
}

#[cfg(feature = "bulk")]
#[test]
fn windows_of_a_long_text_end_where_words_do() {
    assert_windows_cover_long_texts("windows", false);
}

#[cfg(feature = "bulk")]
#[test]
fn windows_of_unigram_cover_texts_without_white_space() {
    assert_windows_cover_long_texts("windows-unigram", true);
}

#[cfg(feature = "bulk")]
fn assert_windows_cover_long_texts(name: &str, unigram: bool) {
    let options = Options {
        context: 16,
        unigram,
        ..Options::default()
    };
    let model = bert(name, &options);
    let input = scratch(&format!("{name}-in")).with_extension("jsonl");
    let text = "Unaffable wörlds, one of the 日本 and\u{a0}a test\u{301}ed hello. ".repeat(9);
    let rows = [&text[..], "", &"a".repeat(500), "\u{301}\u{200b}"];
    let rows = rows.map(|text| serde_json::json!({ "text": text }).to_string());
    std::fs::write(&input, rows.join("\n")).unwrap();
    let output = scratch(&format!("{name}-out")).with_extension("jsonl");
    let [input, output] = [&input, &output].map(|path| path.to_str().unwrap());
    let arguments = ["embed", "--input", input, "--output", output, "--force"];
    let run = run(&model, &[&arguments[..], &["--overflow", "split"]].concat());
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(std::fs::read_to_string(output).unwrap().lines().count(), 4);
}
