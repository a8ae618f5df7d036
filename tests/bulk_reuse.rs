//! Vectors that are not computed again: `embed --reuse`, and texts that occur more than once.
#![cfg(feature = "bulk")]

mod bulk_support;
mod cli_support;

use bulk_support::Directory;
use serde_json::Value;

/// Formats that give every bit of a vector back.
const FORMATS: [&str; 4] = ["jsonl", "parquet", "arrow", "npy"];

/// The corpus with some rows changed, added, removed and moved.
fn changed(corpus: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(corpus.to_vec()).unwrap();
    let mut lines: Vec<String> = text.lines().map(String::from).collect();
    lines[3] = r#"{"id":"d3","text":"this text is new","number":3}"#.into();
    lines.remove(7);
    lines.swap(10, 20);
    lines.insert(0, r#"{"id":"new","text":"a row at the beginning"}"#.into());
    lines.push(r#"{"id":"bad","text":5}"#.into());
    lines.join("\n").into_bytes()
}

#[test]
fn the_output_is_that_of_a_full_run_byte_for_byte() {
    for precision in ["f32", "f16", "i8", "binary", "i8+binary+f32"] {
        for format in FORMATS {
            if format == "npy" && precision.contains('+') {
                continue;
            }
            let directory = Directory::with_corpus(60);
            let settings =
                format!("--keep number --id-field id --precision {precision} --overflow split");
            directory.embed(&format!("--output old.{format} {settings}"));
            let corpus = changed(&directory.read("corpus.jsonl"));
            directory.write("corpus.jsonl", &corpus);
            let embed = format!("embed --input corpus.jsonl {settings} --output");
            let full = directory.run(&format!("{embed} full.parquet"));
            assert_eq!(full.code, 1, "{}", full.err);
            let run = directory.run(&format!("{embed} new.parquet --reuse old.{format}"));
            assert_eq!(run.code, 1, "{}", run.err);
            assert!(run.err.contains("; 58 vectors reused"), "{}", run.err);
            for suffix in ["", ".rejects.jsonl"] {
                let name = |name: &str| format!("{name}.parquet{suffix}");
                let (full, new) = (directory.read(&name("full")), directory.read(&name("new")));
                assert!(full == new, "{precision} {format}{suffix}");
            }
        }
    }
}

#[test]
fn texts_that_come_twice_are_computed_once() {
    let directory = Directory::with_corpus(50);
    directory.embed("--output once.jsonl");
    let corpus = directory.read("corpus.jsonl").repeat(3);
    directory.write("corpus.jsonl", &corpus);
    let run = directory.embed("--output thrice.jsonl --max-memory 345M");
    // Some of the 50 rows have the same text themselves.
    let once = directory.objects("once.jsonl");
    let texts: std::collections::HashSet<&Value> =
        once.iter().map(|row| &row["text_digest"]).collect();
    let repeated = format!("; {} vectors of texts that came before", 150 - texts.len());
    assert!(run.err.contains(&repeated), "{}", run.err);
    let thrice = directory.objects("thrice.jsonl");
    for (index, row) in thrice.iter().enumerate() {
        let mut expected = once[index % 50].clone();
        expected["index"] = index.into();
        assert_eq!(*row, expected);
    }
}

#[test]
fn a_text_split_into_windows_is_reused_as_a_whole() {
    let directory = Directory::new();
    let long = |word: &str| format!("{{\"text\":\"{}\"}}\n", format!("{word} ").repeat(3000));
    let corpus = [long("river"), long("Mond"), long("river")].concat();
    directory.write("corpus.jsonl", corpus.as_bytes());
    let run = directory.embed("--output a.jsonl --overflow split");
    assert!(run.err.contains("; 1 vector of texts"), "{}", run.err);
    let rows = directory.objects("a.jsonl");
    assert!(rows[0]["windows"].as_u64().unwrap() > 1);
    assert_eq!(rows[0]["embedding"], rows[2]["embedding"]);
    assert_ne!(rows[0]["embedding"], rows[1]["embedding"]);
    // Only its beginning is the same text.
    let run = directory.embed("--output b.jsonl --reuse a.jsonl");
    assert!(!run.err.contains("reused"), "{}", run.err);
}

#[test]
fn several_outputs_are_reused_one_of_them_being_replaced() {
    let directory = Directory::with_corpus(40);
    directory.embed("--output full.jsonl");
    let corpus = directory.read("corpus.jsonl");
    let lines: Vec<&[u8]> = corpus.split_inclusive(|&byte| byte == b'\n').collect();
    directory.write("corpus.jsonl", &lines[..10].concat());
    directory.embed("--output a.jsonl");
    directory.write("corpus.jsonl", &lines[8..30].concat());
    directory.embed("--output b.parquet");
    directory.write("corpus.jsonl", &corpus);
    let run = directory.embed("--output a.jsonl --force --reuse a.jsonl --reuse b.parquet");
    assert!(run.err.contains("; 30 vectors reused"), "{}", run.err);
    assert!(directory.read("a.jsonl") == directory.read("full.jsonl"));
}

#[test]
fn a_reused_output_is_replaced_as_the_output_only() {
    let directory = Directory::with_corpus(5);
    directory.embed("--output v.jsonl");
    let before = directory.read("v.jsonl");
    for (name, output) in [("v.jsonl.meta.json", "v.jsonl"), ("w.csv.partial", "w.csv")] {
        directory.write(name, &before);
        let reuse = format!("embed --input corpus.jsonl --output {output} --force --reuse {name}");
        let run = directory.run(&reuse);
        assert_eq!(run.code, 1, "{}", run.err);
        let problem = "is an output that is reused, and would be replaced or removed";
        assert!(run.err.contains(problem), "{}", run.err);
        assert!(directory.read(name) == before);
    }
    assert!(directory.read("v.jsonl") == before);
}

#[test]
fn outputs_of_another_space_are_refused_by_what_differs() {
    let directory = Directory::with_corpus(5);
    directory.embed("--output old.parquet");
    for (settings, difference) in [
        ("--dims 32", "dims is 64 there and 32 here"),
        ("--prompt query", "prompt_text is"),
        ("--precision i8", "precision is f32 there and i8 here"),
    ] {
        let run = directory.run(&format!(
            "embed --input corpus.jsonl --output new.parquet --reuse old.parquet {settings}"
        ));
        assert_eq!(run.code, 1, "{}", run.err);
        let beginning = "lanewise: old.parquet: its vectors are of another space: ";
        assert!(run.err.contains(beginning), "{}", run.err);
        assert!(run.err.contains(difference), "{}", run.err);
        assert_eq!(directory.names(), ["corpus.jsonl", "old.parquet"]);
    }
}

#[test]
fn what_is_no_output_of_a_run_is_refused() {
    let directory = Directory::with_corpus(5);
    directory.embed("--output old.jsonl");
    directory.embed("--output old.csv");
    let rows = String::from_utf8(directory.read("old.jsonl")).unwrap();
    let metadata = String::from_utf8(directory.read("old.jsonl.meta.json")).unwrap();
    for (name, rows, metadata, problem) in [
        ("rows", "{}\n", metadata.clone(), "line 1 has no field"),
        (
            "cut",
            &rows[..rows.len() - 9],
            metadata.clone(),
            "line 5 is no JSON object",
        ),
        (
            "short",
            &rows.replacen("\"embedding\":[", "\"embedding\":[0.5,", 1),
            metadata.clone(),
            "line 1 has",
        ),
        (
            "names",
            &rows.replacen("\"embedding\":[", "\"embedding\":[NaN,", 1),
            metadata.clone(),
            "line 1 is no JSON object",
        ),
        (
            "space",
            &rows,
            metadata.replace("\"64\"", "\"32\""),
            "its metadata contradict each other",
        ),
        ("empty", &rows, "{}".into(), "does not say of which run"),
    ] {
        directory.write(&format!("{name}.jsonl"), rows.as_bytes());
        directory.write(&format!("{name}.jsonl.meta.json"), metadata.as_bytes());
        let run = directory.run(&format!(
            "embed --input corpus.jsonl --output new.csv --reuse {name}.jsonl"
        ));
        assert_eq!(run.code, 1, "{name}: {}", run.err);
        let beginning = format!("lanewise: {name}.jsonl: ");
        assert!(run.err.starts_with(&beginning), "{name}: {}", run.err);
        assert!(run.err.contains(problem), "{name}: {}", run.err);
    }
    for (name, problem) in [
        ("old.csv", "is not Parquet, Arrow IPC, JSONL or .npy"),
        ("nowhere.parquet", "cannot open"),
        ("corpus.jsonl", "corpus.jsonl.meta.json: cannot read"),
    ] {
        let run = directory.run(&format!(
            "embed --input corpus.jsonl --output new.csv --reuse {name}"
        ));
        assert_eq!(run.code, 1, "{name}: {}", run.err);
        assert!(run.err.contains(problem), "{name}: {}", run.err);
    }
}
