//! Parquet and Arrow IPC.

use arrow_array::types::Int32Type;
use arrow_array::{
    Array, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array,
    Int8Array, Int32Array, Int64Array, LargeStringArray, StringArray, StringViewArray, StructArray,
    Time32MillisecondArray, Time64MicrosecondArray, Time64NanosecondArray,
    TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, Schema};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterVersion};

use super::*;

/// The same batches in every way that they can be written.
pub fn written(batches: &[RecordBatch]) -> Vec<(&'static str, Vec<u8>)> {
    let whole = arrow_select::concat::concat_batches(&batches[0].schema(), batches).unwrap();
    let zstd = Compression::ZSTD(Default::default());
    vec![
        (
            "plain.parquet",
            parquet(&whole, Compression::UNCOMPRESSED, 1 << 20),
        ),
        ("snappy.parquet", parquet(&whole, Compression::SNAPPY, 2)),
        ("zstd.parquet", parquet(&whole, zstd, 3)),
        (
            "gzip.pq",
            parquet(&whole, Compression::GZIP(Default::default()), 3),
        ),
        ("lz4.parquet", parquet(&whole, Compression::LZ4_RAW, 3)),
        (
            "brotli.parquet",
            parquet(&whole, Compression::BROTLI(Default::default()), 3),
        ),
        ("file.arrow", arrow_file(batches, None)),
        (
            "zstd.feather",
            arrow_file(batches, Some(CompressionType::ZSTD)),
        ),
        (
            "lz4.feather",
            arrow_file(batches, Some(CompressionType::LZ4_FRAME)),
        ),
        ("stream.arrows", arrow_stream(batches)),
    ]
}

#[test]
fn a_string_column_of_any_kind_gives_the_texts() {
    let strings = [Some("one"), None, Some(""), Some("väter"), Some("one")];
    let dictionary: DictionaryArray<Int32Type> = strings.into_iter().collect();
    let bytes = strings.map(|text| text.map(str::as_bytes));
    let columns: [ArrayRef; 5] = [
        Arc::new(StringArray::from(strings.to_vec())),
        Arc::new(LargeStringArray::from(strings.to_vec())),
        Arc::new(StringViewArray::from(strings.to_vec())),
        Arc::new(BinaryArray::from(bytes.to_vec())),
        Arc::new(dictionary),
    ];
    for column in columns {
        let whole = batch(vec![
            ("other", Arc::new(Int64Array::from(vec![0; 5]))),
            ("text", column.clone()),
        ]);
        for (name, bytes) in written(&[whole]) {
            let rows = read_bytes(name, bytes, options()).unwrap();
            let null = Err("the column \"text\" is null");
            let expected = [Ok("one"), null, Ok(""), Ok("väter"), Ok("one")];
            let expected: Vec<_> = (1..).zip(expected).collect();
            assert_eq!(texts(&rows), expected, "{name} {}", column.data_type());
        }
    }
}

#[test]
fn a_column_that_a_file_has_twice_is_refused() {
    let number: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let field =
        |name: &str, array: &ArrayRef| Arc::new(Field::new(name, array.data_type().clone(), true));
    let twice = StructArray::new(
        vec![field("part", &text), field("part", &text)].into(),
        vec![text.clone(), text.clone()],
        None,
    );
    let twice: ArrayRef = Arc::new(twice);
    let columns = [
        ("text", &text),
        ("n", &number),
        ("n", &number),
        ("doc", &twice),
    ];
    let schema: Vec<_> = columns
        .iter()
        .map(|(name, array)| field(name, array))
        .collect();
    let arrays = columns.iter().map(|(_, array)| Arc::clone(array)).collect();
    let whole = RecordBatch::try_new(Arc::new(Schema::new(schema)), arrays).unwrap();
    let files = [
        ("a.parquet", parquet(&whole, Compression::SNAPPY, 3)),
        ("a.arrow", arrow_file(std::slice::from_ref(&whole), None)),
        ("a.arrows", arrow_stream(std::slice::from_ref(&whole))),
    ];
    for (name, bytes) in files {
        let of = |options: ReadOptions| read_bytes(name, &bytes, options);
        assert_eq!(of(options()).unwrap().len(), 1, "{name}");
        let error = of(with_columns("text", "n", &[])).unwrap_err();
        assert!(
            error.contains("more than one column \"n\""),
            "{name}: {error}"
        );
        let error = of(with_columns("doc.part", "text", &[])).unwrap_err();
        assert!(
            error.contains("more than one column \"doc.part\""),
            "{name}: {error}"
        );
        let error = of(with_columns("text", "text", &["doc"])).unwrap_err();
        assert!(error.contains("two fields of one name"), "{name}: {error}");
        let error = of(with_columns("Text", "text", &[])).unwrap_err();
        let hint = "there is \"text\", in another case";
        assert!(error.contains(hint), "{name}: {error}");
    }
}

#[test]
fn a_text_in_a_struct_is_found_by_path_and_null_with_the_struct() {
    let field = Arc::new(Field::new("body", DataType::Utf8, true));
    let bodies = Arc::new(StringArray::from(vec![Some("a"), Some("b"), None]));
    let nulls = NullBuffer::from(vec![true, false, true]);
    let inner = StructArray::new(vec![field].into(), vec![bodies], Some(nulls));
    let field = Arc::new(Field::new("inner", inner.data_type().clone(), true));
    let outer = StructArray::new(vec![field].into(), vec![Arc::new(inner)], None);
    let numbers = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let whole = batch(vec![("n", numbers), ("doc", Arc::new(outer))]);
    for (name, bytes) in written(&[whole]) {
        let options = || ReadOptions {
            field: "doc.inner.body".into(),
            ..options()
        };
        let rows = read_bytes(name, &bytes, options()).unwrap();
        let null = Err("the column \"doc.inner.body\" is null");
        assert_eq!(texts(&rows), [(1, Ok("a")), (2, null), (3, null)], "{name}");
        let options = with_columns("doc.inner.body", "n", &["doc"]);
        let rows = read_bytes(name, &bytes, options).unwrap();
        assert!(matches!(rows[0].kept[0], Cell::Arrow(_)), "{name}");
    }
}

#[test]
fn invalid_utf_8_rejects_its_row_only() {
    let strings: Vec<String> = (0..40).map(|n| format!("text {n}")).collect();
    let whole = batch(vec![("text", Arc::new(StringArray::from(strings)))]);
    let dictionary = parquet(&whole, Compression::UNCOMPRESSED, 1000);
    for (name, mut bytes) in [
        ("a.parquet", dictionary),
        ("a.arrow", arrow_file(std::slice::from_ref(&whole), None)),
        ("a.arrows", arrow_stream(std::slice::from_ref(&whole))),
    ] {
        let at = bytes
            .windows(7)
            .position(|window| window == b"text 17")
            .unwrap();
        bytes[at + 2] = 0xff;
        let rows = read_bytes(name, bytes, options()).unwrap();
        assert_eq!(rows.len(), 40);
        for row in &rows {
            let expected = match row.line {
                18 => Err("the column \"text\" is not valid UTF-8 (byte 3)".to_owned()),
                line => Ok(format!("text {}", line - 1)),
            };
            assert_eq!(row.outcome.clone(), expected, "{name}");
        }
    }
}

#[test]
fn a_missing_or_mistyped_column_is_named_with_those_present() {
    let inner = Arc::new(Field::new("x", DataType::Int32, true));
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let doc = StructArray::new(vec![inner].into(), vec![numbers.clone()], None);
    let whole = batch(vec![("number", numbers), ("doc", Arc::new(doc))]);
    for (name, bytes) in written(&[whole]) {
        let error = read_bytes(name, &bytes, options()).unwrap_err();
        let expected = "no column \"text\"; its columns are: number, doc.x";
        assert!(error.contains(expected), "{error}");
        let options = ReadOptions {
            field: "number".into(),
            ..options()
        };
        let error = read_bytes(name, &bytes, options).unwrap_err();
        assert!(
            error.contains("\"number\" is Int32, not a string"),
            "{error}"
        );
    }
}

#[test]
fn a_text_beyond_the_limit_is_rejected() {
    let texts = vec!["x".repeat(100), "good".into()];
    let whole = batch(vec![("text", Arc::new(StringArray::from(texts)))]);
    for (name, bytes) in written(&[whole]) {
        let options = ReadOptions {
            max_row_bytes: 99,
            ..options()
        };
        let rows = read_bytes(name, bytes, options).unwrap();
        let reason = "the column \"text\" is 100 bytes long, longer than the limit of 99 bytes";
        assert_eq!(
            super::texts(&rows),
            [(1, Err(reason)), (2, Ok("good"))],
            "{name}"
        );
    }
}

#[test]
fn rows_of_ten_megabytes_come_through() {
    let large = |n: usize| char::from(b'a' + n as u8).to_string().repeat(10 << 20);
    let whole = batch(vec![(
        "text",
        Arc::new(StringArray::from_iter_values((0..3).map(large))),
    )]);
    let mut files = vec![
        ("a.parquet", parquet(&whole, Compression::SNAPPY, 100)),
        (
            "a.arrow",
            arrow_file(&[whole], Some(CompressionType::LZ4_FRAME)),
        ),
    ];
    let lines: Vec<String> = (0..3).map(large).collect();
    files.push(("a.csv", format!("text\n{}", lines.join("\n")).into()));
    files.push(("a.txt", lines.join("\n").into()));
    let json = lines
        .iter()
        .map(|text| format!("{{\"text\":\"{text}\"}}\n"));
    files.push(("a.jsonl", json.collect::<String>().into()));
    for (name, bytes) in files {
        let options = ReadOptions {
            max_row_bytes: 11 << 20,
            ..options()
        };
        let rows = read_bytes(name, bytes, options).unwrap();
        assert_eq!(rows.len(), 3, "{name}");
        for (n, row) in rows.iter().enumerate() {
            assert_eq!(row.outcome.as_ref(), Ok(&large(n)), "{name}");
        }
    }
}

#[test]
fn skipping_gives_the_same_rows_as_reading() {
    let batches: Vec<RecordBatch> = [3, 0, 5, 1]
        .into_iter()
        .enumerate()
        .map(|(index, rows)| {
            let text = (0..rows).map(|row| format!("{index} {row}"));
            batch(vec![(
                "text",
                Arc::new(StringArray::from_iter_values(text)),
            )])
        })
        .collect();
    for (name, bytes) in written(&batches) {
        let directory = Directory::new();
        let path = directory.file(name, bytes);
        let all = read(&path, options()).unwrap();
        assert_eq!(all.len(), 9);
        for first in 0..=10 {
            for second in 0..=10 - first {
                let mut rows = Rows::open(std::slice::from_ref(&path), options()).unwrap();
                let skipped = rows.skip_rows(first as u64).unwrap();
                assert_eq!(skipped, first.min(9) as u64, "{name}");
                let next = rows.next().map(|row| row.unwrap());
                assert_eq!(next.as_ref(), all.get(first), "{name} {first}");
                rows.skip_rows(second as u64).unwrap();
                let rest: Vec<Row> = rows.map(|row| row.unwrap()).collect();
                assert_eq!(
                    rest,
                    all[(first + second + 1).min(9)..],
                    "{name} {first} {second}"
                );
            }
        }
    }
}

#[test]
fn every_nth_row_is_the_same_whether_read_or_skipped_to() {
    // Row groups of several batches of at most 1024 rows.
    let text = (0..6000).map(|row| row.to_string());
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(text));
    let whole = batch(vec![("text", texts)]);
    let directory = Directory::new();
    let path = directory.file("a.parquet", parquet(&whole, Compression::SNAPPY, 2500));
    for step in [1, 2, 7, 1023, 1024, 1025, 1500, 2500, 2501, 5999, 6000] {
        let mut rows = Rows::open(std::slice::from_ref(&path), options()).unwrap();
        for expected in (0..6000_u64).step_by(step) {
            let row = rows.next().unwrap().unwrap();
            assert_eq!(row.outcome, Ok(expected.to_string()), "each {step}");
            assert_eq!(row.line, expected + 1);
            rows.skip_rows(step as u64 - 1).unwrap();
        }
        assert!(rows.next().is_none(), "each {step}");
    }
}

/// What the table of Parquet's fields must let through: every logical type, both statistics,
/// sorting columns, both versions of pages.
#[test]
fn parquet_columns_and_statistics_of_every_kind_are_read() {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("text", Arc::new(StringArray::from(vec!["one", "two"]))),
        (
            "binary",
            Arc::new(BinaryArray::from_vec(vec![b"\xf1", b""])),
        ),
        ("boolean", Arc::new(BooleanArray::from(vec![true, false]))),
        ("date", Arc::new(Date32Array::from(vec![1, 2]))),
        ("decimal", Arc::new(Decimal128Array::from(vec![1, 2]))),
        ("float", Arc::new(Float64Array::from(vec![0.5, f64::NAN]))),
        ("signed", Arc::new(Int8Array::from(vec![-128, 127]))),
        ("unsigned", Arc::new(UInt64Array::from(vec![0, u64::MAX]))),
        ("ms", Arc::new(Time32MillisecondArray::from(vec![1, 2]))),
        ("us", Arc::new(Time64MicrosecondArray::from(vec![1, 2]))),
        ("ns", Arc::new(Time64NanosecondArray::from(vec![1, 2]))),
        (
            "at",
            Arc::new(TimestampMicrosecondArray::from(vec![1, 2]).with_timezone("UTC")),
        ),
        ("then", Arc::new(TimestampNanosecondArray::from(vec![1, 2]))),
    ];
    let batch = batch(columns);
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        let properties = WriterProperties::builder()
            .set_writer_version(version)
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_write_page_header_statistics(true)
            .set_bloom_filter_enabled(true)
            .set_sorting_columns(Some(vec![SortingColumn {
                column_idx: 0,
                descending: false,
                nulls_first: true,
            }]))
            .build();
        let mut bytes = Vec::new();
        let mut writer =
            ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let rows = read_bytes("a.parquet", bytes, options()).unwrap();
        assert_eq!(texts(&rows), [(1, Ok("one")), (2, Ok("two"))]);
    }
}

/// The schema of a stream without columns that says that its numbers are big-endian.
const BIG_ENDIAN: [u8; 64] = [
    0xff, 0xff, 0xff, 0xff, 56, 0, 0, 0, // The length of the message.
    16, 0, 0, 0, 10, 0, 12, 0, 0, 0, 4, 0, 8, 0, 0, 0, // Where `Message` is; its vtable.
    12, 0, 0, 0, 1, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0,
    0, // `Message`: the kind of its header, and it.
    8, 0, 12, 0, 8, 0, 4, 0, // The vtable of `Schema`.
    8, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, // `Schema`: its fields, big-endian.
    0, 0, 0, 0, // No fields.
];

#[test]
fn what_is_no_damage_is_refused_by_its_name() {
    let whole = batch(vec![("text", Arc::new(StringArray::from(vec!["a"])))]);
    let snappy = parquet(&whole, Compression::SNAPPY, 1);
    // The codec comes after the path of the column.
    let at = snappy
        .windows(6)
        .position(|window| window == b"text\x15\x02");
    let with_codec = |codec: u8| {
        let mut bytes = snappy.clone();
        bytes[at.unwrap() + 5] = codec * 2;
        bytes
    };
    let encrypted = [&snappy[..snappy.len() - 4], b"PARE"].concat();
    let files = [
        ("a.parquet", with_codec(3), "compressed with LZO"),
        ("a.parquet", with_codec(8), "not known (codec 8)"),
        ("a.parquet", encrypted, "encrypted Parquet"),
        (
            "a.feather",
            b"FEA1\0\0\0\0".to_vec(),
            "Feather file of version 1",
        ),
        ("a.arrows", BIG_ENDIAN.to_vec(), "big-endian Arrow"),
    ];
    for (name, bytes, problem) in files {
        let error = read_bytes(name, bytes, options()).unwrap_err();
        assert!(error.contains(problem), "{problem}: {error}");
        assert!(!error.contains("damaged"), "{error}");
    }
}

#[test]
fn a_dictionary_that_no_column_read_has_takes_no_memory() {
    let long: DictionaryArray<Int32Type> = ["x".repeat(1 << 20).as_str()].into_iter().collect();
    let whole = batch(vec![
        ("text", Arc::new(StringArray::from(vec!["a"]))),
        ("long", Arc::new(long)),
    ]);
    for bytes in [
        arrow_file(std::slice::from_ref(&whole), None),
        arrow_stream(std::slice::from_ref(&whole)),
    ] {
        let mut options = options();
        options.budget.bytes = 1 << 16;
        let rows = read_bytes("a.arrow", &bytes, options.clone()).unwrap();
        assert_eq!(texts(&rows), [(1, Ok("a"))]);
        options.keep = vec!["long".into()];
        let error = read_bytes("a.arrow", &bytes, options).unwrap_err();
        assert!(error.contains("memory"), "{error}");
    }
}
