//! `lanewise embed --input … --output …`: what the output holds.
#![cfg(feature = "bulk")]

mod bulk_support;
mod cli_support;

use std::fs::File;
use std::io::Read;

use bulk_support::{Directory, embedding};
use lanewise_bulk::internals::arrow_array::cast::AsArray;
use lanewise_bulk::internals::arrow_array::types::{
    Float16Type, Float32Type, Int8Type, Int64Type, UInt8Type, UInt64Type,
};
use lanewise_bulk::internals::arrow_array::{Array, RecordBatch};
use lanewise_bulk::internals::arrow_ipc::reader::FileReader;
use lanewise_bulk::internals::flate2::read::GzDecoder;
use lanewise_bulk::internals::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use lanewise_bulk::internals::zstd;

const ROWS: usize = 100;

fn parquet(
    directory: &Directory,
    name: &str,
) -> (Vec<RecordBatch>, std::collections::HashMap<String, String>) {
    let file = File::open(directory.path(name)).unwrap();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let metadata = builder
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .unwrap();
    let metadata = metadata
        .iter()
        .map(|pair| (pair.key.clone(), pair.value.clone().unwrap_or_default()));
    let metadata = metadata.collect();
    (
        builder.build().unwrap().map(Result::unwrap).collect(),
        metadata,
    )
}

fn vectors(batches: &[RecordBatch]) -> Vec<Vec<f32>> {
    let mut vectors = Vec::new();
    for batch in batches {
        let lists = batch
            .column_by_name("embedding")
            .unwrap()
            .as_fixed_size_list();
        for row in 0..lists.len() {
            vectors.push(
                lists
                    .value(row)
                    .as_primitive::<Float32Type>()
                    .values()
                    .to_vec(),
            );
        }
    }
    vectors
}

#[test]
fn every_format_holds_the_vectors_that_single_texts_get() {
    let directory = Directory::with_corpus(ROWS);
    for name in ["v.jsonl", "v.csv", "v.npy", "v.parquet", "v.arrow"] {
        directory.embed(&format!("--output {name} --prompt query"));
    }
    let objects = directory.objects("v.jsonl");
    let expected: Vec<Vec<f32>> = objects.iter().map(embedding).collect();
    assert_eq!(expected.len(), ROWS);

    let texts: Vec<String> = directory
        .objects("corpus.jsonl")
        .iter()
        .map(|row| row["text"].as_str().unwrap().to_owned())
        .collect();
    let lines = directory.run_with("embed --prompt query", texts.join("\n").as_bytes());
    let alone: Vec<Vec<f32>> = lines.out.lines().map(cli_support::numbers).collect();
    assert!(expected == alone, "the same bits as one by one");

    let csv = String::from_utf8(directory.read("v.csv")).unwrap();
    let csv: Vec<Vec<f32>> = csv
        .lines()
        .skip(1)
        .map(|line| {
            line.split(',')
                .skip(5)
                .map(|number| number.parse().unwrap())
                .collect()
        })
        .collect();
    assert!(csv == expected);

    let npy = directory.read("v.npy");
    assert!(npy.starts_with(b"\x93NUMPY\x01\x00"));
    let numbers: Vec<u8> = expected
        .iter()
        .flatten()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    assert!(npy.ends_with(&numbers));
    assert_eq!(directory.objects("v.npy.ids.jsonl").len(), ROWS);

    assert!(vectors(&parquet(&directory, "v.parquet").0) == expected);
    let stored = directory.read("v.parquet");
    let stored = stored
        .windows(expected[7].len() * 4)
        .any(|bytes| bytes == &numbers[7 * bytes.len()..][..bytes.len()]);
    assert!(
        stored,
        "vectors are not compressed, which would take time for nothing"
    );
    let reader = FileReader::try_new(File::open(directory.path("v.arrow")).unwrap(), None).unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    assert!(vectors(&batches) == expected);
    assert!(
        !directory
            .names()
            .iter()
            .any(|name| name.contains("partial") || name.contains("writing"))
    );
}

#[test]
fn ids_and_kept_columns_are_carried_along_with_their_types() {
    let directory = Directory::with_corpus(ROWS);
    let columns = "--id-field id --keep number,meta.language,meta";
    directory.embed(&format!("--output v.parquet {columns}"));
    directory.embed(&format!("--output v.jsonl {columns}"));
    let (batches, _) = parquet(&directory, "v.parquet");
    let batch = &batches[0];
    assert_eq!(
        batch
            .column_by_name("index")
            .unwrap()
            .as_primitive::<UInt64Type>()
            .value(5),
        5
    );
    assert_eq!(
        batch
            .column_by_name("id")
            .unwrap()
            .as_string::<i32>()
            .value(5),
        "d5"
    );
    assert_eq!(
        batch
            .column_by_name("number")
            .unwrap()
            .as_primitive::<Int64Type>()
            .value(5),
        5
    );
    let languages = batch
        .column_by_name("meta.language")
        .unwrap()
        .as_string::<i32>();
    assert_eq!((languages.is_null(3), languages.value(4)), (true, "xx"));
    let objects = directory.objects("v.jsonl");
    assert_eq!(objects[5]["id"], "d5");
    assert_eq!(objects[5]["number"], 5);
    assert_eq!(objects[3]["meta.language"], serde_json::Value::Null);
    assert_eq!(objects[4]["meta"], serde_json::json!({"language": "xx"}));
}

#[test]
fn the_output_names_the_model_and_settings_of_its_vectors() {
    let directory = Directory::with_corpus(5);
    let settings = "--prompt document --title Moons --dims 32 --precision f16 --no-dense-head --overflow error";
    directory.embed(&format!("--output v.parquet {settings}"));
    directory.embed(&format!("--output v.npy {settings}"));
    let (_, metadata) = parquet(&directory, "v.parquet");
    for (name, value) in [
        ("prompt", "document"),
        ("prompt_text", "title: Moons | text: "),
        ("dims", "32"),
        ("precision", "f16"),
        ("dense_heads", "false"),
        ("overflow", "error"),
        ("version", env!("CARGO_PKG_VERSION")),
    ] {
        assert_eq!(metadata[&format!("lanewise.{name}")], value, "{name}");
    }
    assert_eq!(metadata["lanewise.model_sha256"].len(), 64);
    let beside: serde_json::Value =
        serde_json::from_slice(&directory.read("v.npy.meta.json")).unwrap();
    for (name, value) in beside.as_object().unwrap() {
        if name == "lanewise.bytes" {
            let bytes = directory.read("v.npy").len().to_string();
            assert_eq!(value.as_str(), Some(bytes.as_str()));
            continue;
        }
        assert_eq!(Some(metadata[name].as_str()), value.as_str(), "{name}");
    }
}

#[test]
fn compressed_outputs_hold_the_same_and_have_the_same_bytes() {
    let directory = Directory::with_corpus(ROWS);
    let rows = directory.read("corpus.jsonl");
    directory.write("corpus.jsonl", &[&rows[..], b"no json\n"].concat());
    let embed = |name: &str, more: &str| {
        directory.run(&format!(
            "embed --input corpus.jsonl --output {name} --id-field id {more}"
        ))
    };
    for name in ["v.jsonl", "v.csv"] {
        assert_eq!(embed(name, "").code, 1, "a row is rejected");
        for compression in ["gz", "zst", "GZ"] {
            let compressed = format!("{name}.{compression}");
            let run = embed(&compressed, "");
            assert_eq!(run.code, 1, "{}", run.err);
            let bytes = directory.read(&compressed);
            let mut content = Vec::new();
            if compression == "zst" {
                content = zstd::decode_all(&bytes[..]).unwrap();
            } else {
                GzDecoder::new(&bytes[..])
                    .read_to_end(&mut content)
                    .unwrap();
            }
            assert!(content == directory.read(name), "{compressed}");
            let rejects = directory.read(&format!("{compressed}.rejects.jsonl"));
            assert!(rejects == directory.read(&format!("{name}.rejects.jsonl")));
            embed(&compressed, "--force --max-memory 345M");
            assert!(directory.read(&compressed) == bytes, "{compressed}");
            let run = embed(&compressed, "--resume");
            assert!(run.err.contains("is complete"), "{}", run.err);
        }
    }
    assert!(
        !directory
            .names()
            .iter()
            .any(|name| name.contains("writing"))
    );
    for name in [
        "v.parquet.gz",
        "v.npy.zst",
        "v.arrow.gz",
        "v.gz --output-format parquet",
    ] {
        let run = embed(name, "");
        assert_eq!(run.code, 2, "{}", run.err);
        let (file, _) = name.split_once(" ").unwrap_or((name, ""));
        let (plain, _) = file.rsplit_once('.').unwrap();
        assert!(
            run.err.contains(&format!("name it {plain}\n")),
            "{}",
            run.err
        );
    }
    let run = embed("v.gz --output-format csv", "");
    assert!(
        directory.read("v.gz").starts_with(b"\x1f\x8b"),
        "{}",
        run.err
    );
    let run = embed("w.gz", "");
    assert!(run.err.contains("does not tell the format"), "{}", run.err);
}

#[test]
fn smaller_precisions_are_close_to_the_values() {
    let directory = Directory::with_corpus(ROWS);
    directory.embed("--output v.jsonl");
    let exact: Vec<Vec<f32>> = directory.objects("v.jsonl").iter().map(embedding).collect();
    for precision in ["f16", "i8", "binary"] {
        directory.embed(&format!(
            "--output {precision}.parquet --precision {precision}"
        ));
        directory.embed(&format!(
            "--output {precision}.jsonl --precision {precision}"
        ));
        let (batches, _) = parquet(&directory, &format!("{precision}.parquet"));
        let batch = &batches[0];
        let lists = batch
            .column_by_name("embedding")
            .unwrap()
            .as_fixed_size_list();
        let objects = directory.objects(&format!("{precision}.jsonl"));
        for (row, exact) in exact.iter().enumerate() {
            let list = lists.value(row);
            let numbers: Vec<f32> = match precision {
                "f16" => list
                    .as_primitive::<Float16Type>()
                    .values()
                    .iter()
                    .map(|x| x.to_f32())
                    .collect(),
                "i8" => list
                    .as_primitive::<Int8Type>()
                    .values()
                    .iter()
                    .map(|&x| x.into())
                    .collect(),
                _ => list
                    .as_primitive::<UInt8Type>()
                    .values()
                    .iter()
                    .map(|&x| x.into())
                    .collect(),
            };
            assert_eq!(numbers, embedding(&objects[row]));
            if precision == "binary" {
                let signs: Vec<bool> = (0..exact.len())
                    .map(|i| (numbers[i / 8] as u8) << (i % 8) & 128 != 0)
                    .collect();
                assert_eq!(signs, exact.iter().map(|&x| x > 0.0).collect::<Vec<_>>());
                continue;
            }
            let scale = objects[row]["scale"].as_f64().unwrap_or(1.0) as f32;
            let step = if precision == "i8" { scale } else { 1e-3 };
            for (number, exact) in numbers.iter().zip(exact) {
                assert!((number * scale - exact).abs() <= 0.51 * step, "{precision}");
            }
        }
    }
}

#[test]
fn rows_that_cannot_be_embedded_are_listed_and_skipped() {
    let directory = Directory::new();
    let long = "word ".repeat(400);
    let rows = format!(
        "{{\"text\":\"a\",\"id\":1}}\n{{\"id\":\"x\"}}\nnot json\n{{\"text\":\"{long}\",\"id\":4}}\n{{\"text\":\"b\",\"id\":5}}\n"
    );
    directory.write("corpus.jsonl", rows.as_bytes());
    let run =
        directory.run("embed --input corpus.jsonl --output v.jsonl --id-field id --overflow error");
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.err.contains("v.jsonl.rejects.jsonl"), "{}", run.err);
    let indices = |name: &str| -> Vec<u64> {
        directory
            .objects(name)
            .iter()
            .map(|row| row["index"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(indices("v.jsonl"), [0, 4]);
    assert_eq!(indices("v.jsonl.rejects.jsonl"), [1, 2, 3]);
    let rejects = directory.objects("v.jsonl.rejects.jsonl");
    assert_eq!(
        (&rejects[0]["line"], &rejects[0]["id"], &rejects[0]["file"]),
        (&2.into(), &"x".into(), &"corpus.jsonl".into())
    );
    assert!(
        rejects[2]["reason"]
            .as_str()
            .unwrap()
            .contains("256 tokens"),
        "{}",
        rejects[2]
    );
    assert_eq!(rejects[2]["id"], 4);

    // A second run without rejects leaves none of the first one.
    directory.write("corpus.jsonl", b"{\"text\":\"a\"}\n");
    directory.embed("--output v.jsonl --force");
    assert!(!directory.path("v.jsonl.rejects.jsonl").exists());
}

#[test]
fn invalid_utf8_is_rejected_by_its_line() {
    let directory = Directory::new();
    directory.write("corpus.txt", b"one\n\xff\xfe\nthree");
    let run = directory.run("embed --input corpus.txt --output v.csv");
    assert_eq!(run.code, 1);
    let rejects = directory.objects("v.csv.rejects.jsonl");
    assert_eq!((rejects.len(), &rejects[0]["line"]), (1, &2.into()));
    assert!(rejects[0]["reason"].as_str().unwrap().contains("UTF-8"));
}

#[test]
fn long_texts_are_cut_or_averaged_from_windows_and_marked() {
    let directory = Directory::new();
    let long: Vec<String> = (0..600).map(|word| format!("word{}", word % 37)).collect();
    let long = long.join(" ");
    let rows = [long.as_str(), "short"]
        .map(|text| serde_json::json!({ "text": text }).to_string())
        .join("\n");
    directory.write("corpus.jsonl", rows.as_bytes());
    directory.embed("--output cut.jsonl --prompt query");
    directory.embed("--output split.jsonl --prompt query --overflow split");
    let cut = directory.objects("cut.jsonl");
    let split = directory.objects("split.jsonl");
    assert_eq!(
        (&cut[0]["truncated"], &cut[0]["windows"], &cut[0]["tokens"]),
        (&true.into(), &1.into(), &256.into())
    );
    assert_eq!(split[0]["truncated"], false);
    assert!(split[0]["windows"].as_u64().unwrap() > 2);
    cli_support::assert_unit_length(&embedding(&split[0]));
    assert_ne!(embedding(&split[0]), embedding(&cut[0]));
    assert_eq!(split[1], cut[1], "a short text is none of its business");
    // Every word is read once: the windows' own tokens are what the whole text has.
    let whole = directory.run_with("tokenize --format jsonl", long.as_bytes());
    let whole: serde_json::Value = serde_json::from_str(&whole.out).unwrap();
    let whole = whole["ids"].as_array().unwrap().len() as f64;
    let prompt = directory.run_with("tokenize --format jsonl", b"task: search result | query: ");
    let prompt: serde_json::Value = serde_json::from_str(&prompt.out).unwrap();
    let around = 2.0 + prompt["ids"].as_array().unwrap().len() as f64;
    let read =
        split[0]["tokens"].as_f64().unwrap() - around * split[0]["windows"].as_f64().unwrap();
    assert!(
        (read - whole).abs() <= 2.0 * split[0]["windows"].as_f64().unwrap(),
        "{read} of {whole}"
    );
}

#[test]
fn standard_input_and_an_empty_file_work() {
    let directory = Directory::new();
    let run = directory.run_with(
        "embed --input - --input-format lines --output v.npy",
        b"one\ntwo\n",
    );
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(directory.objects("v.npy.ids.jsonl").len(), 2);
    for name in ["e.jsonl", "e.csv", "e.npy", "e.parquet", "e.arrow"] {
        let run = directory.run_with(
            &format!("embed --input - --input-format lines --output {name}"),
            b"",
        );
        assert_eq!(run.code, 0, "{}", run.err);
        assert!(directory.path(name).exists());
    }
}

#[test]
fn unusable_outputs_and_lossy_settings_are_refused_at_the_start() {
    let directory = Directory::with_corpus(3);
    let cases = [
        ("corpus.jsonl", "is an input as well", 1),
        ("nowhere/v.jsonl", "create the directory", 1),
        (".", "does not tell the format", 2),
        ("v.xyz", "does not tell the format", 2),
        ("- --output-format jsonl", "needs a file", 1),
        ("/dev/null --output-format jsonl --force", "needs a file", 1),
        ("v.jsonl --keep tokens,input_tokens", "would both be", 2),
        ("v.jsonl --keep a,a", "twice", 2),
        ("v.jsonl --max-memory 1M", "too little", 2),
        ("v.jsonl --shard 3/2", "i/n", 2),
        ("v.jsonl --dims 1000", "dims", 2),
        ("v.jsonl --dims 30 --precision binary", "multiple of 8", 2),
    ];
    for (output, message, code) in cases {
        let run = directory.run(&format!("embed --input corpus.jsonl --output {output}"));
        assert_eq!(run.code, code, "{output}: {}", run.err);
        assert!(run.err.contains(message), "{output}: {}", run.err);
        assert_eq!(directory.names(), ["corpus.jsonl"], "{output}");
    }
    let run = directory.run("embed --input corpus.jsonl --output corpus.jsonl --force");
    assert!(run.err.contains("is an input as well"), "{}", run.err);
    directory.embed("--output v.jsonl");
    let before = directory.read("v.jsonl");
    let run = directory.run("embed --input corpus.jsonl --output v.jsonl --prompt query");
    assert_eq!(run.code, 1);
    assert!(run.err.contains("--force"), "{}", run.err);
    assert_eq!(directory.read("v.jsonl"), before);
    directory.embed("--output v.jsonl --prompt query --force");
    assert_ne!(directory.read("v.jsonl"), before);
}

#[test]
fn quiet_tells_of_rejected_rows_only() {
    let directory = Directory::with_corpus(3);
    let rows = directory.read("corpus.jsonl");
    directory.write("corpus.jsonl", &[&rows[..], b"no\nno\n"].concat());
    let run = directory.run("embed --input corpus.jsonl --output v.jsonl --quiet");
    let message = "lanewise: 2 rows rejected: v.jsonl.rejects.jsonl says why\n";
    assert_eq!((run.code, run.err.as_str()), (1, message));
    for shard in 1..=2 {
        let shard = format!("--shard {shard}/2 --quiet");
        let run = directory.run(&format!(
            "embed --input corpus.jsonl --output v.csv {shard}"
        ));
        assert!(run.err.contains("1 row rejected"), "{}", run.err);
    }
    let run = directory.run("merge v.csv.shard-1-of-2 v.csv.shard-2-of-2 --output v.csv --quiet");
    let message = "lanewise: 2 rows rejected: v.csv.rejects.jsonl says why\n";
    assert_eq!((run.code, run.err.as_str()), (1, message));
}

#[test]
fn quiet_says_nothing_and_plain_progress_is_lines() {
    let directory = Directory::with_corpus(3);
    assert_eq!(directory.embed("--output a.jsonl --quiet").err, "");
    let run = directory.embed("--output b.jsonl --progress plain");
    assert!(
        run.err.contains("3 vectors") && run.err.contains("tokens/s"),
        "{}",
        run.err
    );
    assert!(!run.err.contains('\r') && !run.err.contains('\u{1b}'));
}
