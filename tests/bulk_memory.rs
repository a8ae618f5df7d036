//! Memory stays below `--max-memory`, for many short rows and for rows of 10 MB.
//!
//! `LANEWISE_ROWS=10000000 cargo test --release --test bulk_memory` streams ten million rows, which
//! takes half an hour: the model is tiny, since the real one would need a day.
#![cfg(target_os = "linux")]
#![cfg(feature = "bulk")]

mod bulk_support;
mod cli_support;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use bulk_support::Directory;
use cli_support::Run;
use lanewise_bulk::internals::arrow_array::{ArrayRef, RecordBatch, StringArray};
use lanewise_bulk::internals::flate2::Compression;
use lanewise_bulk::internals::flate2::write::GzEncoder;
use lanewise_bulk::internals::parquet::arrow::ArrowWriter;
use lanewise_bulk::internals::parquet::file::properties::WriterProperties;

const LARGE_ROWS: usize = 8;
const LARGE_BYTES: usize = 10_000_000;
/// What the tiny model may use at least; a test below has it from the message.
const LEAST: u64 = 331;

/// How many short rows; `LANEWISE_ROWS=10000000` for what the README states.
fn short_rows() -> usize {
    std::env::var("LANEWISE_ROWS").map_or(30_000, |rows| rows.parse().unwrap())
}

/// The peak in megabytes, as the summary states it: `VmHWM`, the model's pages included.
#[track_caller]
fn peak(run: &Run) -> u64 {
    let (_, rest) = run.err.rsplit_once("; at most ").expect("a summary");
    let (number, _) = rest.split_once(" MB of memory").expect("a summary");
    number.parse().unwrap()
}

#[track_caller]
fn embed(directory: &Directory, arguments: &str) -> u64 {
    let run = directory.run(&format!("embed --force {arguments}"));
    assert_eq!(run.code, 0, "{arguments}: {}", run.err);
    println!(
        "{arguments}: {}",
        run.err.lines().last().unwrap_or_default()
    );
    peak(&run)
}

fn write_lines(out: impl Write, rows: usize) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    for row in 0..rows {
        writeln!(out, "row {row} of a river")?;
    }
    out.flush()
}

/// Row groups of this many texts, all of one group in one page.
fn write_parquet(path: &std::path::Path, group: usize, texts: impl Iterator<Item = String>) {
    let mut texts = texts.peekable();
    let batch = |texts: Vec<String>| {
        let column: ArrayRef = Arc::new(StringArray::from(texts));
        RecordBatch::try_from_iter([("text", column)]).unwrap()
    };
    let schema = batch(Vec::new()).schema();
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_data_page_size_limit(usize::MAX)
        .build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).unwrap();
    while texts.peek().is_some() {
        writer
            .write(&batch(texts.by_ref().take(group).collect()))
            .unwrap();
        writer.flush().unwrap();
    }
    writer.close().unwrap();
}

fn large_text(row: usize, bytes: usize) -> String {
    let words = format!("river Mond жить 東京 é {row} ");
    let mut text = words.repeat(bytes / words.len() + 1);
    text.truncate(text.floor_char_boundary(bytes));
    text
}

#[test]
fn memory_does_not_grow_with_the_number_of_rows() {
    let directory = Directory::new();
    let rows = short_rows();
    for (name, rows) in [("few", 3000), ("many", rows)] {
        write_lines(
            File::create(directory.path(&format!("{name}.txt"))).unwrap(),
            rows,
        )
        .unwrap();
        let texts = (0..rows).map(|row| format!("row {row} of a river"));
        write_parquet(&directory.path(&format!("{name}.parquet")), 10_000, texts);
    }
    for input in ["txt", "parquet"] {
        for output in ["parquet", "npy"] {
            let run = |name: &str| {
                embed(
                    &directory,
                    &format!("--input {name}.{input} --output v.{output} --max-memory {LEAST}M"),
                )
            };
            // Ten million rows make a footer of Parquet of some 10 MB.
            let (few, many) = (run("few"), run("many"));
            assert!(
                many <= few + 32,
                "{input} to {output}: {few} MB, then {many} MB"
            );
        }
    }
}

#[test]
fn rows_of_ten_megabytes_fit_into_the_least_memory() {
    let directory = Directory::new();
    let object = |row| serde_json::json!({"text": large_text(row, LARGE_BYTES)});
    let lines: Vec<String> = (0..LARGE_ROWS)
        .map(|row| object(row).to_string() + "\n")
        .collect();
    directory.write("large.jsonl", lines.concat().as_bytes());
    let mut gzip = GzEncoder::new(
        File::create(directory.path("large.jsonl.gz")).unwrap(),
        Compression::fast(),
    );
    gzip.write_all(lines.concat().as_bytes()).unwrap();
    gzip.finish().unwrap();
    write_parquet(
        &directory.path("large.parquet"),
        1,
        (0..LARGE_ROWS).map(|row| large_text(row, LARGE_BYTES)),
    );
    for input in ["large.jsonl", "large.jsonl.gz", "large.parquet"] {
        for more in ["", "--keep text"] {
            let arguments =
                format!("--input {input} --output v.parquet --max-memory {LEAST}M {more}");
            let peak = embed(&directory, &arguments);
            assert!(peak <= LEAST, "{arguments}: {peak} MB");
        }
    }
}

#[test]
fn a_long_text_is_split_into_windows_within_the_least_memory() {
    let directory = Directory::new();
    let object = serde_json::json!({"text": large_text(0, 2_000_000)});
    directory.write("large.jsonl", object.to_string().as_bytes());
    let peak = embed(
        &directory,
        &format!("--input large.jsonl --output v.jsonl --overflow split --max-memory {LEAST}M"),
    );
    assert!(peak <= LEAST, "{peak} MB");
    let row = &directory.objects("v.jsonl")[0];
    assert!(row["windows"].as_u64() > Some(1000), "{}", row["windows"]);
    assert_eq!(row["truncated"], false);
}

#[test]
fn a_page_over_the_memory_limit_is_reported_at_the_start() {
    let directory = Directory::new();
    write_parquet(
        &directory.path("page.parquet"),
        LARGE_ROWS,
        (0..LARGE_ROWS).map(|row| large_text(row, LARGE_BYTES)),
    );
    let run = directory.run("embed --input page.parquet --output v.npy --max-memory 1M");
    assert!(
        run.err.contains(&format!("give it {LEAST}M or more")),
        "{}",
        run.err
    );

    let run = directory.run(&format!(
        "embed --input page.parquet --output v.npy --max-memory {LEAST}M"
    ));
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(
        run.err
            .contains("page.parquet: a row group with the largest pages takes"),
        "{}",
        run.err
    );
    assert_eq!(directory.names(), ["page.parquet"], "nothing is begun");

    let (_, needed) = run.err.split_once("give --max-memory ").unwrap();
    let (needed, _) = needed.split_once('M').unwrap();
    let peak = embed(
        &directory,
        &format!("--input page.parquet --output v.npy --max-memory {needed}M"),
    );
    assert!(
        peak <= needed.parse().unwrap(),
        "{peak} MB, more than {needed}"
    );
}
