//! Lines, and what is alike in all formats of text.

use super::*;

#[test]
fn each_line_is_a_text_even_if_empty() {
    let rows = read_bytes("a.txt", "one\r\n\nthree\rstill three\nlast", options()).unwrap();
    let expected = ["one", "", "three\rstill three", "last"];
    assert_eq!(
        texts(&rows),
        [1, 2, 3, 4].map(|n| (n, Ok(expected[n as usize - 1])))
    );
    assert_eq!(read_bytes("a.txt", "", options()), Ok(vec![]));
}

#[test]
fn invalid_utf_8_rejects_its_line_by_number_and_byte() {
    let rows = read_bytes("a.txt", b"good\nbad \xff\ngood", options()).unwrap();
    assert_eq!(
        texts(&rows),
        [
            (1, Ok("good")),
            (2, Err("the line is not valid UTF-8 (byte 5)")),
            (3, Ok("good"))
        ]
    );
}

#[test]
fn lines_have_no_columns() {
    let error = read_bytes("a.txt", "one", with_columns("text", "id", &[])).unwrap_err();
    assert!(error.contains("--id-field or --keep"), "{error}");
}

#[test]
fn a_row_beyond_the_limit_is_measured_rejected_and_skipped() {
    let long = "x".repeat(5000);
    let limited = || ReadOptions {
        max_row_bytes: 4096,
        ..options()
    };
    let files = [
        (
            "a.txt",
            format!("{long}\ngood\n"),
            "the line is 5000 bytes long, longer than the limit of 4096 bytes",
        ),
        (
            "a.jsonl",
            format!("{{\"text\":\"{long}\"}}\n{{\"text\":\"good\"}}\n"),
            "the object is 5011 bytes long",
        ),
        (
            "a.csv",
            format!("text\n\"{long}\"\ngood\n"),
            "the row is 5002 bytes long",
        ),
    ];
    for (name, file, reason) in files {
        let rows = read_bytes(name, file, limited()).unwrap();
        assert!(
            rows[0].outcome.as_ref().unwrap_err().contains(reason),
            "{name}"
        );
        assert_eq!(rows[1].outcome.as_deref(), Ok("good"), "{name}");
        assert_eq!(rows.len(), 2);
    }
    let exact = "x".repeat(4096);
    for (name, file) in [
        ("a.txt", exact.clone()),
        ("a.csv", format!("text\n{exact}\n")),
    ] {
        let rows = read_bytes(name, file, limited()).unwrap();
        assert_eq!(rows[0].outcome.as_ref(), Ok(&exact), "{name}");
    }
}

#[test]
fn binary_input_is_named_by_its_format() {
    for (magic, named) in [
        (&b"PAR1\x15\x04\x15"[..], "is a Parquet file"),
        (b"ARROW1\0\0", "is an Arrow file"),
        (b"\xff\xff\xff\xff\x70\0\0\0", "is an Arrow stream"),
        (b"FEA1\0\0\0\0", "Feather file of version 1"),
        (
            b"\x04\x22\x4d\x18d@",
            "compressed with lz4, which is not read; decompress it first (lz4 -d)",
        ),
        (
            b"PK\x03\x04\x14\0\0\0\x08\0xl/workbook.xml",
            "is a spreadsheet",
        ),
        (
            b"PK\x03\x04\x14\0\0\0\x08\0word/document.xml",
            "is a word processor's document",
        ),
        (
            b"PK\x03\x04\x14\0\0\0\x08\0in.csv",
            "is a zip archive; unpack it (unzip)",
        ),
        (b"SQLite format 3\0\x10\0", "is an SQLite database"),
        (b"\x93NUMPY\x01\0", "is a NumPy array"),
        (b"%PDF-1.7\n", "is a PDF document"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid",
            "is a pointer of Git LFS",
        ),
        (b"\xff\xfet\0\0\0", "iconv -f UTF-16 -t UTF-8"),
        (b"\xff\xfe\0\0t\0\0\0", "is UTF-32LE text"),
        (b"t\0e\0x\0t\0\n\0", "iconv -f UTF-16LE -t UTF-8"),
        (b"\xff\xfet\0", "is UTF-16"),
    ] {
        for name in ["a.txt", "a.jsonl", "a.csv", "a.tsv"] {
            let error = read_bytes(name, magic, options()).unwrap_err();
            assert!(error.contains(named), "{error}");
            assert!(!error.contains("damaged"), "{error}");
        }
    }
}

#[test]
fn marks_of_files_put_together_are_no_part_of_texts() {
    let mark = "\u{feff}";
    for (name, file) in [
        ("a.txt", format!("{mark}one\n{mark}two\n")),
        (
            "a.jsonl",
            format!("{mark}{{\"text\":\"one\"}}\n{mark}{{\"text\":\"two\"}}\n"),
        ),
        ("a.csv", format!("{mark}text\none\n{mark}\"two\"\n")),
    ] {
        let rows = read_bytes(name, file, options()).unwrap();
        let texts: Vec<_> = rows.iter().map(|row| row.outcome.as_deref()).collect();
        assert_eq!(texts, [Ok("one"), Ok("two")], "{name}");
    }
}

#[test]
fn lines_that_end_in_carriage_returns_are_not_one_text() {
    for (name, file) in [("a.txt", "one\rtwo\r"), ("a.jsonl", "{}\r{}\r")] {
        let error = read_bytes(name, file, options()).unwrap_err();
        assert!(
            error.contains("carriage returns alone end its lines"),
            "{error}"
        );
        assert!(error.contains(r"tr '\r' '\n'"), "{error}");
    }
    let rows = read_bytes("a.csv", "id,text\r1,one\r2,\"t\rwo\"\r", options()).unwrap();
    assert_eq!(texts(&rows), [(2, Ok("one")), (3, Ok("t\rwo"))]);
}

#[test]
fn zeros_in_texts_stay_there() {
    for (name, file) in [
        ("a.txt", "a long text with \0 in it\n"),
        ("a.csv", "text\na long text with \0 in it\n"),
        ("a.jsonl", "{\"text\":\"a long text with \\u0000 in it\"}\n"),
    ] {
        let rows = read_bytes(name, file, options()).unwrap();
        assert_eq!(
            rows[0].outcome.as_deref(),
            Ok("a long text with \0 in it"),
            "{name}"
        );
    }
}
