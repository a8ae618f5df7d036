//! The command with models of Qwen3's kind and of ModernBERT's.

mod cli_support;

use std::path::{Path, PathBuf};

use cli_support::{Run, assert_unit_length, command, feed, numbers, scratch};
use lanewise_testkit::tiny_pre_norm::{self, Options};

fn model(name: &str, options: &Options) -> PathBuf {
    tiny_pre_norm::written(scratch(name), options)
}

fn run(model: &Path, arguments: &[&str]) -> Run {
    let mut command = command();
    command.env("LANEWISE_MODEL", model).args(arguments);
    feed(command, b"")
}

#[test]
fn an_instruction_changes_what_is_read_before_queries() {
    let model = model("instruction", &Options::qwen3());
    let asked = ["--prompt", "query", "--instruction", "Find a moon"];
    for command in ["embed", "tokenize"] {
        let given = run(&model, &[&[command][..], &asked, &["hello"]].concat());
        assert_eq!(given.code, 0, "{}", given.err);
        let plain = run(&model, &[command, "Instruct: Find a moon\nQuery:hello"]);
        assert_eq!(given.out, plain.out);
        let default = run(&model, &[command, "--prompt", "query", "hello"]);
        assert_eq!(default.code, 0, "{}", default.err);
        assert_ne!(given.out, default.out);
        let document = run(&model, &[command, "--instruction", "Find a moon", "hello"]);
        assert_eq!(document.code, 2);
        let expected = "--instruction goes with --prompt query only";
        assert!(document.err.contains(expected), "{}", document.err);
    }
}

#[test]
fn an_instruction_is_refused_where_none_is_read() {
    let model = model("no-instruction", &Options::modern_bert());
    for command in ["embed", "tokenize", "similarity"] {
        let asked = ["--prompt", "query", "--instruction", "Find a moon", "hello"];
        let refused = run(&model, &[&[command][..], &asked].concat());
        assert_eq!((refused.code, refused.out.as_str()), (2, ""));
        let expected = "instruction: the model reads no instructions";
        assert!(refused.err.contains(expected), "{}", refused.err);
    }
}

#[test]
fn similarity_takes_an_instruction_for_its_query() {
    let model = model("similarity", &Options::qwen3());
    let asked = [
        "similarity",
        "--instruction",
        "Find a moon",
        "hello",
        "moon",
    ];
    let given = run(&model, &[&asked[..], &["--query"]].concat());
    assert_eq!(given.code, 0, "{}", given.err);
    // Documents have no prompt.
    let instructed = "Instruct: Find a moon\nQuery:hello";
    let plain = run(&model, &["similarity", instructed, "moon"]);
    assert_eq!(given.out, plain.out);
    let default = run(&model, &["similarity", "--query", "hello", "moon"]);
    assert_ne!(given.out, default.out);
    let queries = run(&model, &[&asked[..], &["--prompt", "query"]].concat());
    let other = "Instruct: Find a moon\nQuery:moon";
    let both = run(&model, &["similarity", instructed, other]);
    let cosine = |run: &Run| numbers(run.out.split('\t').next().unwrap());
    assert_eq!((queries.code, cosine(&queries)), (0, cosine(&both)));
    for prompt in [&[][..], &["--prompt", "document"]] {
        let refused = run(&model, &[&asked[..], prompt].concat());
        assert_eq!((refused.code, refused.out.as_str()), (2, ""));
        let expected = "--instruction goes with --query or --prompt query only";
        assert!(refused.err.contains(expected), "{}", refused.err);
    }
}

#[test]
fn vectors_have_the_width_of_the_model_or_less() {
    for (name, options) in [
        ("qwen3", Options::qwen3()),
        ("modern-bert", Options::modern_bert()),
    ] {
        let model = model(name, &options);
        for (dims, width) in [(&[][..], 96), (&["--dims", "32"], 32)] {
            let run = run(&model, &[&["embed", "Hello world"], dims].concat());
            assert_eq!(run.code, 0, "{}", run.err);
            let vector = numbers(&run.out);
            assert_eq!(vector.len(), width);
            assert_unit_length(&vector);
        }
    }
}
