//! Parquet and Arrow files that real tools write and that were once read wrongly, and the same kinds
//! of columns in other formats: `../shared/cases`.
#![cfg(feature = "bulk")]

mod bulk_support;
mod cli_support;

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use bulk_support::Directory;
use lanewise_bulk::internals::arrow_array::cast::AsArray;
use lanewise_bulk::internals::arrow_array::types::{
    Float32Type, IntervalMonthDayNano, TimestampMillisecondType,
};
use lanewise_bulk::internals::arrow_array::{
    Array, ArrayRef, Float32Array, Float64Array, IntervalMonthDayNanoArray, ListArray, RecordBatch,
    StringArray, TimestampSecondArray,
};
use lanewise_bulk::internals::arrow_ipc::reader::FileReader;
use lanewise_bulk::internals::arrow_ipc::writer::FileWriter;
use lanewise_bulk::internals::arrow_schema::{DataType, TimeUnit};
use lanewise_bulk::internals::flate2;
use lanewise_bulk::internals::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use lanewise_testkit::assets;
use serde_json::{Value, json};

/// A directory with the file of a case, under its name.
fn case(path: &str) -> Option<Directory> {
    let found = assets::shared(&format!("cases/{path}"))?;
    let directory = Directory::new();
    let name = found.file_name()?.to_str()?;
    directory.write(name, &std::fs::read(&found).unwrap());
    Some(directory)
}

/// The objects of an output in JSON lines.
#[track_caller]
fn embedded(directory: &Directory, arguments: &str) -> Vec<Value> {
    let run = directory.run(&format!("embed --quiet --output o.jsonl {arguments}"));
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{arguments}");
    let objects = directory.objects("o.jsonl");
    std::fs::remove_file(directory.path("o.jsonl")).unwrap();
    std::fs::remove_file(directory.path("o.jsonl.meta.json")).unwrap();
    objects
}

#[track_caller]
fn values(objects: &[Value], name: &str) -> Vec<Value> {
    objects.iter().map(|object| object[name].clone()).collect()
}

/// The message of a run that is refused before it has written anything.
#[track_caller]
fn refused(directory: &Directory, arguments: &str) -> String {
    let before = directory.names();
    let run = directory.run(&format!("embed --quiet --output o.jsonl {arguments}"));
    assert_ne!(run.code, 0, "{arguments}");
    assert_eq!(directory.names(), before, "{arguments}");
    run.err
}

/// The only batch of an output.
#[track_caller]
fn batch(directory: &Directory, name: &str) -> RecordBatch {
    let file = File::open(directory.path(name)).unwrap();
    let mut batches: Vec<RecordBatch> = if name.ends_with(".parquet") {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        reader.build().unwrap().map(Result::unwrap).collect()
    } else {
        let reader = FileReader::try_new(file, None).unwrap();
        reader.map(Result::unwrap).collect()
    };
    assert_eq!(batches.len(), 1);
    batches.remove(0)
}

#[test]
fn a_column_twice_in_a_file_is_refused_at_the_start() {
    for path in [
        "40-pq-dup-columns/in.parquet",
        "40b-arrow-dup-columns/in.arrow",
    ] {
        let Some(directory) = case(path) else {
            return;
        };
        let name = path.rsplit('/').next().unwrap();
        let message = refused(&directory, &format!("--input {name}"));
        assert!(
            message.contains("more than one column \"text\""),
            "{message}"
        );
    }
}

#[test]
fn binary_columns_are_texts_ids_and_kept() {
    let Some(directory) = case("42-pq-binary/in.parquet") else {
        return;
    };
    let run = directory
        .run("embed --quiet --input in.parquet --output first.jsonl --id-field id --keep text,id");
    assert_eq!(run.code, 1, "the third text is not UTF-8: {}", run.err);
    let objects = directory.objects("first.jsonl");
    assert_eq!(values(&objects, "id"), ["x", "y"]);
    assert_eq!(values(&objects, "text"), ["a", "café"]);
    let rejects = directory.objects("first.jsonl.rejects.jsonl");
    assert_eq!(values(&rejects, "id"), ["z"]);

    // The bytes of all rows in Parquet and Arrow, and in hexadecimal elsewhere if some are no text.
    let arguments = "embed --quiet --input in.parquet --field id --keep text --output";
    for name in ["p.parquet", "a.arrow"] {
        assert_eq!(directory.run(&format!("{arguments} {name}")).code, 0);
        let batch = batch(&directory, name);
        let column = batch.column_by_name("text").unwrap().as_binary::<i32>();
        let bytes: Vec<&[u8]> = column.iter().flatten().collect();
        assert_eq!(bytes, [&b"a"[..], "café".as_bytes(), b"\xff"], "{name}");
    }
    let objects = embedded(&directory, "--input in.parquet --field id --keep text");
    assert_eq!(values(&objects, "text"), ["61", "636166c3a9", "ff"]);
}

#[test]
fn brotli_in_parquet_is_read() {
    let Some(directory) = case("47-pq-brotli/in.parquet") else {
        return;
    };
    let objects = embedded(&directory, "--input in.parquet --keep text");
    assert_eq!(values(&objects, "text"), ["a", "b"]);
}

#[test]
fn what_is_not_read_is_refused_by_its_name() {
    let expected = [
        (
            "55-feather-v1/in.feather",
            ["Feather file of version 1", "as version 2"],
        ),
        (
            "61b-pq-encrypted/in.parquet",
            ["encrypted Parquet", "without encryption"],
        ),
    ];
    for (path, parts) in expected {
        let Some(directory) = case(path) else {
            return;
        };
        let name = path.rsplit('/').next().unwrap();
        let message = refused(&directory, &format!("--input {name}"));
        for part in parts {
            assert!(message.contains(part), "{message}");
        }
        assert!(!message.contains("damaged"), "{message}");
    }
}

#[test]
fn arrow_files_of_polars_and_go_are_read() {
    let long = ["a", "bbbbbbbbbbbbbbbbbbbb"];
    let cases = [
        ("54d-polars-ipc", "in.arrow", long),
        ("54h-polars-1.30-ipc", "pl-1.0.0.arrow", long),
        ("54h-polars-1.30-ipc", "pl-1.30.0.arrow", long),
        ("58-arrow-file-no-eos", "in.arrow", ["a", "b"]),
    ];
    for (case_name, name, texts) in cases {
        let Some(directory) = case(&format!("{case_name}/{name}")) else {
            return;
        };
        let objects = embedded(&directory, &format!("--input {name} --keep text"));
        assert_eq!(values(&objects, "text"), texts, "{case_name}");
        // Where there is no seeking to the footer.
        let bytes = directory.read(name);
        let arguments = "embed --quiet --input - --input-format arrow --output p.jsonl --keep text";
        let run = directory.run_with(arguments, &bytes);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{case_name}");
        assert_eq!(
            values(&directory.objects("p.jsonl"), "text"),
            texts,
            "{case_name}"
        );
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&bytes).unwrap();
        directory.write("in.arrow.gz", &gzip.finish().unwrap());
        let objects = embedded(&directory, "--input in.arrow.gz --keep text");
        assert_eq!(values(&objects, "text"), texts, "{case_name}");
        // Cut short, it is refused, and not read as far as it goes.
        directory.write("cut.arrow", &bytes[..bytes.len() - 1]);
        let message = refused(&directory, "--input cut.arrow");
        assert!(message.contains("it is cut short"), "{message}");
    }
}

#[test]
fn whole_numbers_beside_fractions_are_kept_exactly() {
    let Some(directory) = case("92-keep-mixed-bigint/in.jsonl") else {
        return;
    };
    let objects = embedded(&directory, "--input in.jsonl --keep n");
    let expected = [
        json!(9_007_199_254_740_993_i64),
        json!(0.5),
        json!(2),
        Value::Null,
    ];
    assert_eq!(values(&objects, "n"), expected);
    let texts = [Some("9007199254740993"), Some("0.5"), Some("2"), None];
    for name in ["p.parquet", "a.arrow"] {
        let run = directory.run(&format!(
            "embed --quiet --input in.jsonl --keep n --output {name}"
        ));
        assert_eq!(run.code, 0, "{}", run.err);
        let batch = batch(&directory, name);
        let column = batch.column_by_name("n").unwrap().as_string::<i32>();
        assert_eq!(column.iter().collect::<Vec<_>>(), texts, "{name}");
    }
    let run = directory.run("embed --quiet --input in.jsonl --keep n --output c.csv");
    assert_eq!(run.code, 0, "{}", run.err);
    let csv = String::from_utf8(directory.read("c.csv")).unwrap();
    let kept: Vec<&str> = csv
        .lines()
        .map(|line| line.split(',').nth(1).unwrap())
        .collect();
    assert_eq!(kept, ["n", "9007199254740993", "0.5", "2", ""]);
}

#[test]
fn ids_keep_their_type() {
    let directory = Directory::new();
    let lines = |ids: [&str; 3]| {
        let line = |id| format!("{{\"text\":\"a\",\"id\":{id}}}\n");
        ids.map(line).concat()
    };
    let large = "18446744073709551615";
    let cases = [
        (["1", "-9223372036854775808", "3"], DataType::Int64),
        (["1", large, "3"], DataType::UInt64),
        (["\"1\"", "\"b\"", "\"\""], DataType::Utf8),
        (["1", "\"1\"", "true"], DataType::Utf8),
        (["true", "false", "true"], DataType::Boolean),
        (["18446744073709551616", "1", "2"], DataType::Utf8),
    ];
    for (ids, data_type) in cases {
        directory.write("in.jsonl", lines(ids).as_bytes());
        let objects = embedded(&directory, "--input in.jsonl --id-field id");
        let expected = ids.map(|id| match id {
            "18446744073709551616" => json!(id),
            id => serde_json::from_str(id).unwrap(),
        });
        assert_eq!(values(&objects, "id"), expected);
        for name in ["p.parquet", "a.arrow"] {
            let arguments = "embed --quiet --force --input in.jsonl --id-field id --keep text";
            let run = directory.run(&format!("{arguments} --output {name}"));
            assert_eq!(run.code, 0, "{}", run.err);
            let id_type = |name: &str| {
                let batch = batch(&directory, name);
                batch.column_by_name("id").unwrap().data_type().clone()
            };
            assert_eq!(id_type(name), data_type, "{ids:?}");
            // And from that format.
            let arguments = format!("embed --quiet --force --input {name} --id-field id");
            let run = directory.run(&format!("{arguments} --output again-{name}"));
            assert_eq!(run.code, 0, "{}", run.err);
            assert_eq!(id_type(&format!("again-{name}")), data_type, "{ids:?}");
        }
    }
}

#[test]
fn a_column_named_id_or_index_can_be_kept() {
    let directory = Directory::new();
    let line = r#"{"text":"a","id":7,"key":"k","index":3,"embedding":[1,2.5]}"#;
    directory.write("in.jsonl", line.as_bytes());
    let of =
        |arguments: &str| embedded(&directory, &format!("--input in.jsonl {arguments}")).remove(0);
    assert_eq!(of("--keep id")["id"], 7);
    assert_eq!(of("--keep id --id-field id")["id"], 7);
    let both = of("--keep id,index,embedding --id-field key");
    assert_eq!((&both["id"], &both["input_id"]), (&json!("k"), &json!(7)));
    assert_eq!(
        (&both["index"], &both["input_index"]),
        (&json!(0), &json!(3))
    );
    assert_eq!(both["input_embedding"], json!([1, 2.5]));
    let message = refused(&directory, "--input in.jsonl --keep index,input_index");
    assert!(
        message.contains("'index' and 'input_index' would both be"),
        "{message}"
    );
}

#[test]
fn numbers_that_json_has_not_are_written_as_text() {
    let directory = Directory::new();
    directory.write("in.arrow", &special_numbers());
    let objects = embedded(&directory, "--input in.arrow --keep float,short,list");
    let names = ["NaN", "Infinity", "-Infinity"].map(Value::from);
    assert_eq!(values(&objects, "float"), names);
    assert_eq!(objects[0]["list"], json!(["NaN", 0.1]));
    // As many digits as a 32-bit float has.
    let text = serde_json::to_string(&values(&objects, "short")).unwrap();
    assert_eq!(text, "[0.1,16777216.0,-0.0]");
    let run = directory.run("embed --quiet --input in.arrow --keep float,short --output c.csv");
    assert_eq!(run.code, 0, "{}", run.err);
    let csv = String::from_utf8(directory.read("c.csv")).unwrap();
    let kept: Vec<Vec<&str>> = csv
        .lines()
        .map(|line| line.split(',').skip(1).take(2).collect())
        .collect();
    let expected = [
        ["float", "short"],
        ["NaN", "0.1"],
        ["Infinity", "16777216.0"],
        ["-Infinity", "-0.0"],
    ];
    assert_eq!(kept, expected);
}

#[test]
fn shards_merge_to_the_same_kept_columns() {
    let directory = Directory::new();
    directory.write("in.arrow", &special_numbers());
    let embed = "embed --quiet --input in.arrow --id-field short --keep float,list";
    let mut commands = vec![format!("{embed} --output whole.parquet")];
    for shard in ["1/2", "2/2"] {
        commands.push(format!("{embed} --output v.parquet --shard {shard}"));
    }
    let shards = "v.parquet.shard-1-of-2 v.parquet.shard-2-of-2";
    commands.push(format!("merge {shards} --output v.parquet"));
    for command in commands {
        let run = directory.run(&command);
        assert_eq!(run.code, 0, "{command}: {}", run.err);
    }
    let whole = directory.read("whole.parquet");
    assert!(directory.read("v.parquet") == whole, "the same bytes");
    let batch = batch(&directory, "v.parquet");
    let id = batch.column_by_name("id").unwrap().data_type();
    assert_eq!(id, &DataType::Float32);
}

#[test]
fn a_type_that_the_output_cannot_hold_is_refused_at_the_start() {
    let directory = Directory::new();
    directory.write("in.arrow", &special_numbers());
    let parquet = "embed --quiet --input in.arrow --output p.parquet --keep months";
    let run = directory.run(parquet);
    assert_eq!(run.code, 2, "{}", run.err);
    assert!(
        run.err
            .contains("--keep: the column \"months\" is Interval"),
        "{}",
        run.err
    );
    assert_eq!(directory.names(), ["in.arrow"]);
    let objects = embedded(&directory, "--input in.arrow --keep months");
    assert_eq!(objects[0]["months"], "1 mons 2 days");
}

/// Parquet knows no seconds: other readers would find bare numbers.
#[test]
fn seconds_become_milliseconds_in_parquet() {
    let directory = Directory::new();
    directory.write("in.arrow", &special_numbers());
    let embed = "embed --quiet --input in.arrow --keep seconds --output";
    for (name, unit) in [
        ("p.parquet", TimeUnit::Millisecond),
        ("a.arrow", TimeUnit::Second),
    ] {
        let run = directory.run(&format!("{embed} {name}"));
        assert_eq!(run.code, 0, "{}", run.err);
        let batch = batch(&directory, name);
        let column = batch.column_by_name("seconds").unwrap();
        let expected = DataType::Timestamp(unit, Some("Asia/Tokyo".into()));
        assert_eq!(column.data_type(), &expected);
        if unit == TimeUnit::Millisecond {
            let times = column.as_primitive::<TimestampMillisecondType>();
            assert_eq!(times.values(), &[0, 1_000, 1_700_000_000_000]);
        }
    }
}

/// An Arrow file of three rows with texts, two kinds of floats, lists, times and intervals.
fn special_numbers() -> Vec<u8> {
    let floats = vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    let short = vec![0.1_f32, 16_777_216.0, -0.0];
    let lists = [Some(vec![Some(f32::NAN), Some(0.1)]), None, None];
    let lists = ListArray::from_iter_primitive::<Float32Type, _, _>(lists);
    let months = vec![IntervalMonthDayNano::new(1, 2, 0); 3];
    let seconds = TimestampSecondArray::from(vec![0, 1, 1_700_000_000]).with_timezone("Asia/Tokyo");
    let columns: [(&str, ArrayRef); 6] = [
        ("text", Arc::new(StringArray::from(vec!["a", "b", "c"]))),
        ("float", Arc::new(Float64Array::from(floats))),
        ("short", Arc::new(Float32Array::from(short))),
        ("list", Arc::new(lists)),
        ("seconds", Arc::new(seconds)),
        ("months", Arc::new(IntervalMonthDayNanoArray::from(months))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}
