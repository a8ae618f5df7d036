//! Vectors in several precisions side by side: `embed --precision i8+binary`.
#![cfg(feature = "bulk")]

mod bulk_support;
mod cli_support;

use bulk_support::{Directory, embedding};
use lanewise_bulk::internals::arrow_ipc::{Message, root_as_footer, root_as_message};
use serde_json::Value;

const SET: &str = "i8+binary+f32";
/// The precisions of the set, and what each one's vectors are called.
const COLUMNS: [(&str, &str); 3] = [
    ("i8", "embedding"),
    ("binary", "embedding_binary"),
    ("f32", "embedding_f32"),
];

#[test]
fn each_precision_has_the_numbers_that_it_has_alone() {
    let directory = Directory::with_corpus(40);
    directory.embed(&format!("--output set.jsonl --precision {SET}"));
    let set = directory.objects("set.jsonl");
    for (precision, column) in COLUMNS {
        let name = format!("{precision}.jsonl");
        directory.embed(&format!("--output {name} --precision {precision}"));
        for (row, alone) in set.iter().zip(directory.objects(&name)) {
            assert_eq!(row[column], alone["embedding"], "{precision}");
            if precision == "i8" {
                assert_eq!(row["scale"], alone["scale"]);
            }
        }
    }
    let text = String::from_utf8(directory.read("set.jsonl")).unwrap();
    let places = ["scale", "embedding", "embedding_binary", "embedding_f32"];
    let places = places.map(|name| text.find(&format!("\"{name}\":")).unwrap());
    assert!(places.is_sorted(), "{places:?}");
    let metadata: Value = serde_json::from_slice(&directory.read("set.jsonl.meta.json")).unwrap();
    assert_eq!(metadata["lanewise.precision"], SET);
}

#[test]
fn shards_and_a_killed_run_give_the_bytes_of_one_run() {
    let directory = Directory::with_corpus(40);
    let settings = format!("--precision {SET} --id-field id --keep number");
    for format in ["arrow", "parquet", "jsonl"] {
        let whole = format!("whole.{format}");
        directory.embed(&format!("--output {whole} {settings}"));
        let whole = directory.read(&whole);
        let name = format!("v.{format}");
        for shard in 1..=3 {
            directory.embed(&format!("--output {name} {settings} --shard {shard}/3"));
        }
        let shards: Vec<String> = (1..=3).map(|n| format!("{name}.shard-{n}-of-3")).collect();
        let run = directory.run(&format!("merge {} --output {name}", shards.join(" ")));
        assert_eq!(run.code, 0, "{}", run.err);
        assert!(directory.read(&name) == whole, "{format}");
        // A shard of one part is the spool of a run: what a killed one leaves is its beginning.
        directory.embed(&format!("--output k.{format} {settings} --shard 1/2"));
        let shard = directory.read(&format!("k.{format}.shard-1-of-2"));
        let partial = format!("k.{format}.shard-1-of-2.partial");
        std::fs::remove_file(directory.path(&format!("k.{format}.shard-1-of-2"))).unwrap();
        directory.write(&partial, &shard[..shard.len() / 2]);
        directory.embed(&format!(
            "--output k.{format} {settings} --shard 1/2 --resume"
        ));
        assert!(directory.read(&format!("k.{format}.shard-1-of-2")) == shard);
    }
}

#[test]
fn formats_of_one_precision_and_wrong_sets_are_refused() {
    let directory = Directory::with_corpus(3);
    for (arguments, expected) in [
        (
            "v.csv --precision i8+binary",
            "v.csv: CSV holds vectors in one precision, and these are in i8+binary; take Parquet, Arrow or JSONL",
        ),
        ("v.npy --precision f32+i8", "v.npy: a NumPy array holds"),
        ("v.arrow --precision i8+i8", "i8 is given twice"),
        ("v.arrow --precision i8,f32", "such as i8+binary"),
        (
            "v.arrow --precision i8+binary --dims 30",
            "--precision i8+binary: 30 values are no multiple of 8",
        ),
    ] {
        let run = directory.run(&format!("embed --input corpus.jsonl --output {arguments}"));
        assert_eq!(run.code, 2, "{}", run.err);
        assert!(run.err.contains(expected), "{}", run.err);
        assert_eq!(directory.names(), ["corpus.jsonl"], "{arguments}");
    }
    // A merge finds it out in the end.
    directory.embed("--output v.csv --precision i8 --shard 1/1");
    let settings = "--precision i8+binary --shard";
    directory.embed(&format!("--output w.arrow {settings} 1/2"));
    directory.embed(&format!("--output w.arrow {settings} 2/2"));
    let shards = "w.arrow.shard-1-of-2 w.arrow.shard-2-of-2";
    let run = directory.run(&format!("merge {shards} --output w.csv"));
    assert_eq!(run.code, 2, "{}", run.err);
    assert!(run.err.contains("w.csv: CSV holds"), "{}", run.err);
}

#[test]
fn another_set_is_another_run_and_another_space() {
    let directory = Directory::with_corpus(5);
    directory.embed("--output v.arrow --precision i8+binary");
    for (arguments, expected) in [
        (
            "v.arrow --resume --precision i8+f32",
            "precision is i8+binary there and i8+f32 here",
        ),
        (
            "w.arrow --reuse v.arrow --precision binary+i8",
            "precision is i8+binary there and binary+i8 here",
        ),
    ] {
        let run = directory.run(&format!("embed --input corpus.jsonl --output {arguments}"));
        assert!(run.code != 0 && run.err.contains(expected), "{}", run.err);
    }
}

#[test]
fn a_column_named_like_vectors_gets_another_name() {
    let directory = Directory::new();
    directory.write("corpus.jsonl", b"{\"text\":\"a\",\"embedding_binary\":7}\n");
    directory.embed("--output v.jsonl --keep embedding_binary --precision i8+binary");
    let object = &directory.objects("v.jsonl")[0];
    assert_eq!(object["input_embedding_binary"], 7);
    assert!(object["embedding_binary"].is_array());
}

/// What another program relies on that maps the file: the vectors of a batch lie one after the other,
/// not compressed, from a multiple of 64 bytes on.
#[test]
fn the_vectors_of_an_arrow_file_can_be_used_where_they_lie() {
    const ROWS: usize = 9000;
    let directory = Directory::with_corpus(ROWS);
    let settings = format!("--precision {SET} --id-field id --keep number,text");
    directory.embed(&format!("--output v.arrow {settings}"));
    directory.embed(&format!("--output v.jsonl {settings}"));
    let file = directory.read("v.arrow");
    let objects = directory.objects("v.jsonl");
    let (rest, magic) = file.split_last_chunk::<6>().unwrap();
    assert_eq!(magic, b"ARROW1");
    let (rest, length) = rest.split_last_chunk::<4>().unwrap();
    let footer = &rest[rest.len() - u32::from_le_bytes(*length) as usize..];
    let footer = root_as_footer(footer).unwrap();
    let mut first = 0;
    for block in footer.recordBatches().unwrap() {
        let (start, head) = (block.offset() as usize, block.metaDataLength() as usize);
        let message: Message<'_> = root_as_message(&file[start + 8..start + head]).unwrap();
        let batch = message.header_as_record_batch().unwrap();
        assert!(batch.compression().is_none());
        let (rows, body) = (batch.length() as usize, start + head);
        let buffers = batch.buffers().unwrap();
        // A list has the nulls of its own and of its numbers before them: both empty here.
        for (number, (precision, column)) in COLUMNS.into_iter().enumerate() {
            let buffer = buffers.get(buffers.len() - 1 - 3 * (COLUMNS.len() - 1 - number));
            let place = body + buffer.offset() as usize;
            assert_eq!(place % 64, 0, "{column}");
            let stored = &file[place..place + buffer.length() as usize];
            let row_bytes = stored.len() / rows;
            for row in [0, 1, rows / 2, rows - 1] {
                let bytes = &stored[row * row_bytes..(row + 1) * row_bytes];
                let numbers: Vec<f64> = match precision {
                    "i8" => bytes.iter().map(|&byte| f64::from(byte as i8)).collect(),
                    "binary" => bytes.iter().map(|&byte| f64::from(byte)).collect(),
                    _ => bytes
                        .as_chunks()
                        .0
                        .iter()
                        .map(|value| f64::from(f32::from_le_bytes(*value)))
                        .collect(),
                };
                let expected = objects[first + row][column].as_array().unwrap();
                let expected = expected.iter().map(|value| value.as_f64().unwrap() as f32);
                let numbers: Vec<f32> = numbers.iter().map(|&number| number as f32).collect();
                assert_eq!(numbers, expected.collect::<Vec<_>>(), "{column} {row}");
            }
        }
        // The last batch may have fewer.
        assert!(rows == 8192 || first + rows == ROWS, "{rows}");
        first += rows;
    }
    assert_eq!(first, ROWS);
    assert_eq!(embedding(&objects[0]).len(), 64);
}
