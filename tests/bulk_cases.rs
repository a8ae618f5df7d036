//! Inputs that real tools write and real people have: lines, JSON, CSV, TSV, compressed or not.
//!
//! Each file of `../shared/cases` is embedded as its owner would do it, and its siblings beside it.
#![cfg(feature = "bulk")]

mod bulk_support;
mod cli_support;

use std::fs;
use std::io::Write;

use bulk_support::Directory;
use cli_support::Run;
use lanewise_bulk::internals::flate2::{self, write::GzEncoder};
use lanewise_testkit::assets::shared;
use serde_json::{Value, json};

/// Puts an input into the directory under its own name; `None` if it is not there.
fn copy(directory: &Directory, case: &str) -> Option<String> {
    let path = shared(&format!("cases/{case}"))?;
    let name = path.file_name()?.to_str()?.to_owned();
    directory.write(&name, &fs::read(path).unwrap());
    Some(name)
}

/// Embeds a file, carrying its texts along.
fn embed(directory: &Directory, arguments: &str) -> Run {
    let run = format!("embed --quiet --output o.jsonl --force --keep text {arguments}");
    directory.run(&run)
}

/// The index and text of each row of the output.
fn texts(directory: &Directory) -> Vec<(u64, String)> {
    let rows = directory.objects("o.jsonl").into_iter();
    rows.map(|row| {
        let text = row["text"].as_str().unwrap().to_owned();
        (row["index"].as_u64().unwrap(), text)
    })
    .collect()
}

/// Index, line and reason of each row without a vector.
fn rejects(directory: &Directory) -> Vec<(u64, u64, String)> {
    let rows = directory.objects("o.jsonl.rejects.jsonl").into_iter();
    rows.map(|row| {
        let reason = row["reason"].as_str().unwrap().to_owned();
        (
            row["index"].as_u64().unwrap(),
            row["line"].as_u64().unwrap(),
            reason,
        )
    })
    .collect()
}

/// Embeds a file of the cases; all its rows have these texts.
#[track_caller]
fn check(case: &str, expected: &[&str]) {
    let directory = Directory::new();
    let Some(name) = copy(&directory, case) else {
        return;
    };
    let run = embed(&directory, &format!("--input {name}"));
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{case}");
    let expected: Vec<_> = (0..)
        .zip(expected.iter().map(|text| text.to_string()))
        .collect();
    assert_eq!(texts(&directory), expected, "{case}");
}

/// The same bytes on standard input give the same output.
#[track_caller]
fn check_piped(directory: &Directory, name: &str, format: &str) {
    let expected = directory.read("o.jsonl");
    let arguments = format!(
        "embed --quiet --output o.jsonl --force --keep text --input - --input-format {format}"
    );
    let run = directory.run_with(&arguments, &directory.read(name));
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(directory.read("o.jsonl") == expected, "{name}");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn json_is_read_as_programs_lay_it_out() {
    check("07-json-pretty/in.json", &["hello"]);
    check("08-json-array/in.json", &["a", "b"]);
    let directory = Directory::new();
    let pretty = "[\n  {\n    \"text\": \"a\"\n  },\n  {\n    \"text\": \"b\"\n  }\n]\n{\"text\":\"c\"} {\"text\":\"d\"}\n";
    for name in ["in.json", "in.jsonl", "in.json.gz"] {
        let bytes = if name.ends_with("gz") {
            gzip(pretty.as_bytes())
        } else {
            pretty.into()
        };
        directory.write(name, &bytes);
        let run = embed(&directory, &format!("--input {name}"));
        assert_eq!(run.code, 0, "{}", run.err);
        let found: Vec<String> = texts(&directory)
            .into_iter()
            .map(|(_, text)| text)
            .collect();
        assert_eq!(found, ["a", "b", "c", "d"]);
        check_piped(&directory, name, "jsonl");
    }
}

#[test]
fn an_open_quote_in_csv_costs_its_row_alone() {
    let directory = Directory::new();
    let Some(name) = copy(&directory, "13-csv-unclosed-quote/in.csv") else {
        return;
    };
    directory.write("in.csv.gz", &gzip(&directory.read(&name)));
    for name in ["in.csv", "in.csv.gz"] {
        let run = embed(&directory, &format!("--input {name} --id-field id"));
        assert_eq!(run.code, 1, "{}", run.err);
        assert_eq!(
            texts(&directory),
            [(1, "second".into()), (2, "third".into())]
        );
        let rejects = rejects(&directory);
        assert_eq!((rejects.len(), rejects[0].0, rejects[0].1), (1, 0, 2));
        assert!(
            rejects[0].2.contains("a quote that is not closed"),
            "{rejects:?}"
        );
    }
    // What the message advises gives all rows.
    let run = embed(&directory, "--input in.csv --quote none");
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(texts(&directory)[0], (0, "\"i am unclosed".into()));
}

#[test]
fn quotes_in_tsv_are_text() {
    check(
        "59-tsv-stray-quote/in.tsv",
        &[
            "\"To be\" or not",
            "5\" screen",
            "\"quoted start only",
            "last \"one\"",
            "five",
        ],
    );
    let directory = Directory::new();
    directory.write("in.tsv", b"id\ttext\n1\t\"a\tb\"\n");
    let mut command = directory.command();
    command.args([
        "embed", "--input", "in.tsv", "--output", "o.jsonl", "--keep", "text", "--quote", "\"",
    ]);
    let run = Run::from(command.output().unwrap());
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(texts(&directory), [(0, "a\tb".into())]);
}

#[test]
fn a_blank_line_of_one_column_keeps_its_place() {
    check("71-csv-one-column-empty/in.csv", &["a", "", "b", ""]);
    let directory = Directory::new();
    directory.write("in.tsv", b"text\na\n\nb\n");
    let run = embed(&directory, "--input in.tsv");
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(texts(&directory)[2], (2, "b".into()));
}

#[test]
fn compressed_rows_are_read_whatever_the_name() {
    check("31-gz-trailing-zeros/in.jsonl.gz", &["a"]);
    check("37-bz2/in.jsonl.bz2", &["a"]);
    check("37c-xz-disguised/in.jsonl", &["a", "b"]);
    for (case, format) in [
        ("31-gz-trailing-zeros/in.jsonl.gz", "jsonl"),
        ("37-bz2/in.jsonl.bz2", "jsonl"),
        ("37c-xz-disguised/in.jsonl", "jsonl"),
    ] {
        let directory = Directory::new();
        let Some(name) = copy(&directory, case) else {
            return;
        };
        assert_eq!(embed(&directory, &format!("--input {name}")).code, 0);
        check_piped(&directory, &name, format);
        // Cut short, it is damaged, and is not read as text.
        let bytes = directory.read(&name);
        directory.write(&name, &bytes[..24]);
        let run = embed(&directory, &format!("--input {name}"));
        assert_eq!(run.code, 1);
        assert!(run.err.contains("damaged or cut short"), "{}", run.err);
    }
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    let directory = Directory::new();
    let refused = |name: &str, expected: &str| {
        let run = embed(&directory, &format!("--input {name} --input-format jsonl"));
        assert_eq!(run.code, 1, "{name}: {}", run.err);
        assert!(run.err.contains(expected), "{name}: {}", run.err);
        assert!(!run.err.contains("damaged"), "{name}: {}", run.err);
        let arguments = "embed --output o.jsonl --force --input - --input-format jsonl";
        let piped = directory.run_with(arguments, &directory.read(name));
        assert!(piped.err.contains(expected), "{name}: {}", piped.err);
        assert_eq!(directory.names(), [name], "nothing is left");
        fs::remove_file(directory.path(name)).unwrap();
    };
    if let Some(name) = copy(&directory, "38-gz-in-gz/in.jsonl.gz") {
        refused(
            &name,
            "compressed twice: gzip data inside of gzip data; decompress it once (gzip -d)",
        );
    }
    for (case, expected) in [
        (
            "40-pq-dup-columns/in.parquet",
            "is a Parquet file; give --input-format parquet",
        ),
        (
            "40b-arrow-dup-columns/in.arrow",
            "is an Arrow file; give --input-format arrow",
        ),
        ("55-feather-v1/in.feather", "is a Feather file of version 1"),
        ("61b-pq-encrypted/in.parquet", "is a Parquet file"),
    ] {
        if let Some(name) = copy(&directory, case) {
            refused(&name, expected);
        }
    }
    let utf_16: Vec<u8> = "{\"text\":\"a\"}\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    directory.write("in.jsonl", &utf_16);
    refused(
        "in.jsonl",
        "is UTF-16LE text; convert it with iconv -f UTF-16LE -t UTF-8",
    );
    directory.write("in.jsonl.gz", &gzip(&utf_16));
    refused("in.jsonl.gz", "is UTF-16LE text");
    let mut tar = vec![0; 1024];
    tar[..8].copy_from_slice(b"in.jsonl");
    tar[257..262].copy_from_slice(b"ustar");
    directory.write("in.jsonl.gz", &gzip(&tar));
    refused("in.jsonl.gz", "is a tar archive");
    directory.write("in.jsonl", b"PK\x03\x04\x14\0\0\0\x08\0in.jsonl");
    refused("in.jsonl", "is a zip archive");
    directory.write("in.jsonl", b"\x04\x22\x4d\x18\x64\x40\xa7\0\0\0\0");
    refused("in.jsonl", "is compressed with lz4");
}

#[test]
fn a_field_that_no_row_has_is_refused() {
    let directory = Directory::new();
    let Some(name) = copy(&directory, "92d-keep-missing-jsonl/in.jsonl") else {
        return;
    };
    let run =
        |arguments: &str| directory.run(&format!("embed --quiet --output v.jsonl {arguments}"));
    let refused = run(&format!("--input {name} --keep ulr"));
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(
        refused
            .err
            .contains("no row has the field \"ulr\" (--keep)"),
        "{}",
        refused.err
    );
    assert!(
        refused.err.contains("did you mean \"url\"?"),
        "{}",
        refused.err
    );
    assert_eq!(directory.names(), [name.as_str()], "nothing is left");
    // Of a pipe, only the end tells.
    let piped = directory.run_with(
        "embed --quiet --input - --input-format jsonl --output v.jsonl --keep ulr",
        &directory.read(&name),
    );
    assert_eq!(piped.code, 2, "{}", piped.err);
    assert!(
        piped
            .err
            .contains("standard input: no row has the field \"ulr\""),
        "{}",
        piped.err
    );
    assert!(!directory.path("v.jsonl").exists());
    // The same code as for a column that a header does not name.
    directory.write("in.csv", b"text,url\na,u\n");
    let csv = run("--input in.csv --keep ulr");
    assert_eq!(csv.code, 2, "{}", csv.err);
    assert!(csv.err.contains("did you mean \"url\"?"), "{}", csv.err);
}

#[test]
fn a_field_is_found_a_thousand_rows_later() {
    let directory = Directory::new();
    let lines = "{\"text\":\"a\"}\n".repeat(1500);
    directory.write(
        "in.jsonl",
        (lines.clone() + "{\"text\":\"b\",\"url\":7}\n").as_bytes(),
    );
    let run = directory.run("embed --quiet --input in.jsonl --output v.jsonl --keep url");
    assert_eq!(run.code, 0, "{}", run.err);
    let rows = directory.objects("v.jsonl");
    assert_eq!(
        (&rows[0]["url"], &rows[1500]["url"]),
        (&Value::Null, &json!(7))
    );
}

#[test]
fn whole_numbers_are_carried_along_as_they_are() {
    let directory = Directory::new();
    let Some(name) = copy(&directory, "92-keep-mixed-bigint/in.jsonl") else {
        return;
    };
    let run = directory.run(&format!(
        "embed --quiet --input {name} --output v.jsonl --keep n"
    ));
    assert_eq!(run.code, 0, "{}", run.err);
    let numbers: Vec<Value> = directory
        .objects("v.jsonl")
        .iter()
        .map(|row| row["n"].clone())
        .collect();
    assert_eq!(numbers[0].to_string().trim_matches('"'), "9007199254740993");
    assert_eq!(numbers[3], Value::Null);
}

#[test]
fn a_dialect_is_given_by_options() {
    let directory = Directory::new();
    directory.write("in.csv", b"1;a, b;x\n2;'c;d';y\n");
    let run = directory.run(
        "embed --quiet --input in.csv --output o.jsonl --delimiter ; --quote ' --no-header --field 2 --id-field 1 --keep 3",
    );
    assert_eq!(run.code, 0, "{}", run.err);
    let rows = directory.objects("o.jsonl");
    assert_eq!((&rows[1]["id"], &rows[1]["3"]), (&json!("2"), &json!("y")));
    directory.write("in.csv", b"text\\tid\n");
    let run = directory.run("embed --input in.csv --output o.jsonl --force --delimiter ab");
    assert_eq!(run.code, 2);
    assert!(run.err.contains("one ASCII character"), "{}", run.err);
    // Never ignored: neither for another format, nor by a run that is resumed.
    directory.write("in.jsonl", b"{\"text\":\"a\"}\n");
    for option in [
        "--delimiter ;",
        "--quote none",
        "--escape \\",
        "--no-header",
    ] {
        let run = directory.run(&format!("embed --input in.jsonl --output v.jsonl {option}"));
        assert_eq!(run.code, 2, "{}", run.err);
        let name = option.split(' ').next().unwrap();
        assert!(
            run.err.contains(&format!("{name} is for CSV and TSV only")),
            "{}",
            run.err
        );
    }
    let help = directory.run("embed --help");
    assert!(help.out.contains("--delimiter") && help.out.contains("--no-header"));
}

#[test]
fn a_run_is_not_resumed_with_another_dialect() {
    let directory = Directory::new();
    directory.write("in.csv", b"text\na\n\"b\"\n");
    let shard = |number: u32, option: &str| {
        let run = directory.run(&format!(
            "embed --quiet --input in.csv --output v.jsonl --shard {number}/2 {option}"
        ));
        assert_eq!(run.code, 0, "{}", run.err);
    };
    shard(1, "");
    shard(2, "--quote none");
    let run = directory.run("merge v.jsonl.shard-1-of-2 v.jsonl.shard-2-of-2 --output v.jsonl");
    assert_ne!(run.code, 0);
    assert!(run.err.contains("no quotes"), "{}", run.err);
}
