//! Lines, JSONL, CSV and TSV.

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
fn json_fields_are_found_by_path_and_kept_with_their_types() {
    let options = with_columns("doc.body", "meta.id", &["n", "x", "b", "s", "list", "none"]);
    let line = r#"{"doc":{"body":"a \"b\" é\n"},"meta":{"id":17},"n":-3,"x":1.5e3,"b":true,"s":"t","list":[1, {"k":2}]}"#;
    let rows = read_bytes("a.jsonl", line, options).unwrap();
    assert_eq!(texts(&rows), [(1, Ok("a \"b\" é\n"))]);
    assert_eq!(rows[0].id, Some(Cell::Integer(17)));
    assert_eq!(
        rows[0].kept,
        [
            Cell::Integer(-3),
            Cell::Float(1500.0),
            Cell::Bool(true),
            Cell::Text("t".into()),
            Cell::Json(r#"[1, {"k":2}]"#.into()),
            Cell::Null,
        ]
    );
}

#[test]
fn a_dot_may_be_part_of_a_json_name() {
    let options = || ReadOptions {
        field: "a.b.c".into(),
        ..options()
    };
    for line in [
        r#"{"a.b.c":"x"}"#,
        r#"{"a":{"b":{"c":"x"}}}"#,
        r#"{"a.b":{"c":"x"}}"#,
        r#"{"a":{"b.c":"x"}}"#,
        r#"{"a.b":1,"a":{"b":{"c":"x"}}}"#,
    ] {
        let rows = read_bytes("a.jsonl", line, options()).unwrap();
        assert_eq!(texts(&rows), [(1, Ok("x"))], "{line}");
    }
}

#[test]
fn a_json_line_without_a_text_is_rejected_with_the_reason() {
    let lines: [(&[u8], &str); 10] = [
        (
            br#"{"body":"x","id":1}"#,
            "the field \"text\" is missing; the fields are: body, id",
        ),
        (
            br#"{"text":5}"#,
            "the field \"text\" is a number, not a string",
        ),
        (br#"{"text":["x"]}"#, "is an array, not a string"),
        (br#"{"text":null}"#, "is null, not a string"),
        (
            br#"{"text":"x"} {"#,
            "is not a JSON object (column 14: trailing characters)",
        ),
        (br#"{"text":"x""#, "is not a JSON object"),
        (br#"["text"]"#, "is not a JSON object"),
        (br#""text""#, "is not a JSON object"),
        (b"{\"text\":\"\xff\"}", "is not valid UTF-8 (byte 10)"),
        (br#"{"text":"\ud800"}"#, "no valid text"),
    ];
    let mut file = lines.map(|(line, _)| line).join(&b'\n');
    file.extend(b"\n\n  \r\n{\"text\":\"good\"}\n");
    let rows = read_bytes("a.jsonl", file, options()).unwrap();
    for ((line, reason), row) in lines.iter().zip(&rows) {
        let error = row.outcome.as_ref().unwrap_err();
        assert!(
            error.contains(reason),
            "{}: {error}",
            String::from_utf8_lossy(line)
        );
    }
    // Blank lines are counted as lines, not as rows.
    assert_eq!(texts(&rows[10..]), [(13, Ok("good"))]);
}

#[test]
fn a_json_row_without_its_id_is_rejected() {
    let file = "{\"text\":\"x\"}\n{\"text\":\"x\",\"id\":null}\n{\"text\":\"x\",\"id\":\"7\"}";
    let rows = read_bytes("a.jsonl", file, with_columns("text", "id", &[])).unwrap();
    assert!(
        rows[0]
            .outcome
            .as_ref()
            .unwrap_err()
            .contains("\"id\" is missing")
    );
    assert!(
        rows[1]
            .outcome
            .as_ref()
            .unwrap_err()
            .contains("\"id\" is null, no id")
    );
    assert_eq!(rows[2].id, Some(Cell::Text("7".into())));
}

#[test]
fn json_numbers_are_kept_exactly_or_as_text() {
    let of = |number: &str| {
        let line = format!("{{\"text\":\"a\",\"n\":{number}}}");
        let keep = vec!["n".into()];
        let options = ReadOptions { keep, ..options() };
        read_bytes("a.jsonl", line, options).unwrap()[0].kept[0].clone()
    };
    let text = |text: &str| Cell::Text(text.into());
    assert_eq!(of("-9223372036854775808"), Cell::Integer(i64::MIN));
    assert_eq!(of("18446744073709551615"), Cell::Unsigned(u64::MAX));
    assert_eq!(of("18446744073709551617"), text("18446744073709551617"));
    assert_eq!(of("-9223372036854775809"), text("-9223372036854775809"));
    assert_eq!(of("1e3"), Cell::Float(1000.0));
    assert_eq!(of("1e999"), text("1e999"));
}

#[test]
fn deeply_nested_json_is_read() {
    let depth = 400_000;
    let line = format!(
        "{{\"text\":\"x\",\"deep\":{}{}}}",
        "[".repeat(depth),
        "]".repeat(depth)
    );
    let rows = read_bytes("a.jsonl", line, options()).unwrap();
    assert_eq!(rows.len(), 1);
}

#[test]
fn csv_fields_may_hold_delimiters_quotes_and_line_ends() {
    let file = "\u{feff}id,text,note\r\n1,\"a, \"\"b\"\"\r\nc\",x\r\n\r\n2,plain \"5\",\n3,\"\",z";
    let rows = read_bytes("a.csv", file, with_columns("text", "id", &["note"])).unwrap();
    assert_eq!(
        texts(&rows),
        [
            (2, Ok("a, \"b\"\r\nc")),
            (5, Ok("plain \"5\"")),
            (6, Ok(""))
        ]
    );
    let ids: Vec<_> = rows.iter().map(|row| row.id.clone().unwrap()).collect();
    assert_eq!(ids, ["1", "2", "3"].map(|id| Cell::Text(id.into())));
    let kept: Vec<_> = rows.iter().map(|row| row.kept[0].clone()).collect();
    assert_eq!(kept, ["x", "", "z"].map(|text| Cell::Text(text.into())));
}

#[test]
fn ragged_and_invalid_csv_rows_are_rejected_with_their_line() {
    let file = b"id,text\n1\n2,two\n3,\"x\ny\",z\n4,\xff\n5,five\n".as_slice();
    let many = [file, ",".repeat(100_000).as_bytes(), b"\n6,six\n"].concat();
    let rows = read_bytes("a.csv", many, with_columns("text", "id", &[])).unwrap();
    assert_eq!(
        texts(&rows),
        [
            (2, Err("the row has 1 fields, the header 2")),
            (3, Ok("two")),
            (4, Err("the row has 3 fields, the header 2")),
            (6, Err("the column \"text\" is not valid UTF-8 (byte 1)")),
            (7, Ok("five")),
            (8, Err("the row has 100001 fields, more than 2")),
            (9, Ok("six")),
        ]
    );
    assert_eq!(rows[3].id, Some(Cell::Text("4".into())));
}

#[test]
fn tab_separated_values_are_read_like_csv() {
    let rows = read_bytes(
        "a.tsv",
        "text\tid\na, b\t1\n",
        with_columns("text", "id", &[]),
    )
    .unwrap();
    assert_eq!(texts(&rows), [(2, Ok("a, b"))]);
}

#[test]
fn a_missing_column_is_named_with_those_present() {
    let error = read_bytes("a.csv", "id,body\n1,x\n", options()).unwrap_err();
    assert!(
        error.contains("a.csv: no column \"text\"; its columns are: id, body"),
        "{error}"
    );
    let error = read_bytes("a.csv", "text,text\n", options()).unwrap_err();
    assert!(error.contains("more than one column \"text\""), "{error}");
    let error = read_bytes("a.csv", "", options()).unwrap_err();
    assert!(error.contains("is empty; the first line"), "{error}");
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
            "the line is 5011 bytes long",
        ),
        (
            "a.csv",
            format!("text\n\"{long}\"\ngood\n"),
            "the row is 5000 bytes long",
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
fn a_quote_that_never_closes_costs_no_more_than_the_limit() {
    let file = format!("text\ngood\n\"{}", "never closed\n".repeat(1 << 20));
    let rows = read_bytes("a.csv", file, options()).unwrap();
    assert_eq!(texts(&rows[..1]), [(2, Ok("good"))]);
    let reason = rows[1].outcome.as_ref().unwrap_err();
    assert!(
        reason.starts_with("the row is 13631488 bytes long"),
        "{reason}"
    );
    assert_eq!((rows[1].line, rows.len()), (3, 2));
}

#[test]
fn binary_input_is_named_by_its_format() {
    for (magic, named) in [
        (&b"PAR1..."[..], "is a Parquet file"),
        (b"ARROW1\0\0", "is an Arrow file"),
        (b"\xff\xfet\0", "is UTF-16"),
    ] {
        for name in ["a.txt", "a.jsonl", "a.csv"] {
            let error = read_bytes(name, magic, options()).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
