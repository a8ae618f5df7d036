//! One file, many, compressed or not, and what is known of them before they are read.

use std::io::Write;

use arrow_array::{Date32Array, Float64Array, Int64Array, StringArray};
use arrow_schema::DataType;
use flate2::write::GzEncoder;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

#[test]
fn compressed_files_are_read_whatever_their_name() {
    let members = [gzip(b"one\ntw"), gzip(b""), gzip(b"o\nthree\n")].concat();
    let frames = [zstd(b"one\ntw"), zstd(b"o\nthree\n")].concat();
    let skippable = [b"\x50\x2a\x4d\x18\x02\0\0\0ab".to_vec(), frames.clone()].concat();
    for (name, bytes) in [
        ("a.txt.gz", members.clone()),
        ("a.txt", members),
        ("a.txt.zst", frames),
        ("b.txt", skippable),
        ("plain.txt.gz", b"one\ntwo\nthree\n".to_vec()),
    ] {
        let rows = read_bytes(name, bytes, options()).unwrap();
        assert_eq!(
            texts(&rows),
            [(1, Ok("one")), (2, Ok("two")), (3, Ok("three"))],
            "{name}"
        );
    }
}

#[test]
fn compressed_columnar_files_are_read_as_well() {
    let whole = batch(vec![("text", Arc::new(StringArray::from(vec!["a", "b"])))]);
    let parquet = parquet(&whole, Compression::SNAPPY, 1);
    let arrow = arrow_file(&[whole], None);
    for (name, bytes) in [
        ("a.parquet.gz", gzip(&parquet)),
        ("a.parquet", zstd(&parquet)),
        ("a.arrow.zst", zstd(&arrow)),
        ("a.arrow", gzip(&arrow)),
    ] {
        let rows = read_bytes(name, bytes, options()).unwrap();
        assert_eq!(texts(&rows), [(1, Ok("a")), (2, Ok("b"))], "{name}");
    }
}

#[test]
fn truncated_data_is_an_error_after_the_rows_before_it() {
    let text: String = (0..20_000).map(|n| format!("line {}\n", n * n)).collect();
    for (name, mut bytes) in [
        ("a.txt.gz", gzip(text.as_bytes())),
        ("a.txt.zst", zstd(text.as_bytes())),
    ] {
        bytes.truncate(bytes.len() / 2);
        let directory = Directory::new();
        let mut rows = Rows::open(&[directory.file(name, bytes)], options()).unwrap();
        let error = rows.find_map(Result::err).map(message).unwrap();
        assert!(
            error.contains(name) && error.contains("fetch it again"),
            "{error}"
        );
        assert!(rows.next().is_none());
    }
}

#[test]
fn rows_of_many_files_are_in_order_and_numbered_by_file() {
    let directory = Directory::new();
    let files = [
        directory.file("a.csv", "text\none\ntwo\n"),
        directory.file("b.jsonl", "{\"text\":\"three\"}\n"),
        directory.file("empty.csv", "text\n"),
        directory.file("c.csv.gz", gzip(b"text\nfour\n")),
    ];
    let expected = [
        (0, 2, "one"),
        (0, 3, "two"),
        (1, 1, "three"),
        (3, 2, "four"),
    ];
    for skip in 0..=4 {
        let mut rows = Rows::open(&files, options()).unwrap();
        assert_eq!(rows.skip_rows(skip as u64).unwrap(), skip as u64);
        let all: Vec<Row> = rows.by_ref().map(Result::unwrap).collect();
        let all: Vec<_> = all
            .iter()
            .map(|row| (row.file, row.line, row.outcome.as_deref().unwrap()))
            .collect();
        assert_eq!(all, expected[skip..]);
        assert_eq!(Some(rows.bytes_read()), rows.bytes_total());
        assert!(rows.file_name(3).ends_with("c.csv.gz"));
    }
    let mut rows = Rows::open(&files, options()).unwrap();
    assert_eq!(rows.skip_rows(9).unwrap(), 4);
}

#[test]
fn every_file_is_checked_before_the_first_is_read() {
    let directory = Directory::new();
    let good = directory.file("a.csv", "text\none\n");
    let check = |second: PathBuf, expected: &str| {
        let failure = Rows::open(&[good.clone(), second], options())
            .err()
            .unwrap();
        let error = message(failure);
        assert!(error.contains(expected), "{error}");
    };
    check(
        directory.file("b.csv", "body\n"),
        "b.csv: no column \"text\"",
    );
    check(
        directory.file("b.xml", "<a>"),
        "b.xml: the name does not tell the format",
    );
    check(
        directory.file("b.parquet", "not"),
        "b.parquet: cannot be read as Parquet",
    );
    check(directory.0.path().join("none.csv"), "none.csv: cannot open");
    check(
        directory.0.path().to_owned(),
        "is a directory; name the files in it",
    );
    let twice = Rows::open(&["-".into(), "-".into()], options())
        .err()
        .unwrap();
    assert!(message(twice).contains("once only"));
}

#[test]
fn a_given_format_overrides_the_name() {
    let format = Some(InputFormat::Lines);
    let rows = read_bytes(
        "a.csv",
        "text\none\n",
        ReadOptions {
            format,
            ..options()
        },
    )
    .unwrap();
    assert_eq!(texts(&rows), [(1, Ok("text")), (2, Ok("one"))]);
}

#[test]
fn totals_are_known_if_the_files_state_them() {
    let directory = Directory::new();
    let whole = batch(vec![(
        "text",
        Arc::new(StringArray::from(vec!["a", "b", "c"])),
    )]);
    let file = directory.file("a.parquet", parquet(&whole, Compression::SNAPPY, 2));
    let rows = Rows::open(&[file.clone(), file.clone()], options()).unwrap();
    assert_eq!(rows.total_hint(), Some(6));
    assert_eq!(
        rows.bytes_total(),
        Some(2 * std::fs::metadata(&file).unwrap().len())
    );
    let csv = directory.file("a.csv", "text\n");
    assert_eq!(
        Rows::open(&[file, csv], options()).unwrap().total_hint(),
        None
    );
}

#[test]
fn a_kept_column_has_one_type_over_all_files() {
    let directory = Directory::new();
    let file = |name: &str, column: ArrayRef| {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        directory.file(
            name,
            arrow_stream(&[batch(vec![("text", text), ("k", column)])]),
        )
    };
    let integer = file("i.arrows", Arc::new(Int64Array::from(vec![7])));
    let float = file("f.arrows", Arc::new(Float64Array::from(vec![0.5])));
    let csv = directory.file("c.csv", "text,k\na,x\n");
    let json = directory.file("j.jsonl", "{\"text\":\"a\",\"k\":true}");
    let keep = || ReadOptions {
        keep: vec!["k".into()],
        ..options()
    };
    let cells = |files: &[&PathBuf]| {
        let files: Vec<PathBuf> = files.iter().map(|&file| file.clone()).collect();
        let rows = Rows::open(&files, keep()).unwrap();
        let kind = rows.kept_types()[0].clone();
        (
            kind,
            rows.map(|row| row.unwrap().kept.remove(0))
                .collect::<Vec<_>>(),
        )
    };
    let text = |text: &str| Cell::Text(text.into());
    assert_eq!(
        cells(&[&integer]),
        (Some(CellType::Integer), vec![Cell::Integer(7)])
    );
    // The cells themselves decide then, when all have been read.
    let (whole, half) = (Cell::Integer(7), Cell::Float(0.5));
    let both = vec![whole.clone(), half.clone()];
    assert_eq!(cells(&[&integer, &float]), (None, both));
    let all = vec![whole, half, text("x")];
    assert_eq!(cells(&[&integer, &float, &csv]), (None, all));
    let untyped = vec![Cell::Integer(7), Cell::Bool(true)];
    assert_eq!(cells(&[&integer, &json]), (None, untyped));

    let day: ArrayRef = Arc::new(Date32Array::from(vec![1]));
    let day = file("d.arrows", day);
    let (kind, days) = cells(&[&day, &day]);
    assert_eq!(kind, Some(CellType::Arrow(DataType::Date32)));
    assert!(matches!(days[0], Cell::Arrow(_)), "{days:?}");
    let shown = vec![text("1970-01-02"), text("x")];
    assert_eq!(cells(&[&day, &csv]), (None, shown));
}

#[test]
fn parquet_and_arrow_are_named_under_each_other_s_names() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let rows = batch(vec![("text", texts)]);
    let parquet = parquet(&rows, Compression::UNCOMPRESSED, 10);
    let arrow = arrow_file(std::slice::from_ref(&rows), None);
    let stream = arrow_stream(&[rows]);
    for (name, bytes, named) in [
        ("a.arrow", &parquet[..], "is a Parquet file"),
        ("a.parquet", &arrow, "is an Arrow file"),
        ("a.parquet", &stream, "is an Arrow stream"),
        ("a.parquet", b"{\"text\":\"a\"}\n", "is no Parquet file"),
    ] {
        for (name, bytes) in [
            (name.to_owned(), bytes.to_vec()),
            (format!("{name}.gz"), gzip(bytes)),
        ] {
            let error = read_bytes(&name, bytes, options()).unwrap_err();
            assert!(error.contains(named), "{name}: {error}");
            assert!(!error.contains("damaged"), "{name}: {error}");
        }
    }
}
