//! JSON objects, one a line and otherwise.

use super::*;

#[test]
fn json_fields_are_found_by_path_and_kept_with_their_types() {
    let options = with_columns("doc.body", "meta.id", &["n", "x", "b", "s", "list", "none"]);
    let line = r#"{"doc":{"body":"a \"b\" é\n"},"meta":{"id":17},"n":-3,"x":1.5e3,"b":true,"s":"t","list":[1, {"k":2}],"none":null}"#;
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
    let lines: [(&[u8], &str); 16] = [
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
            br#"{"text":"x"} x"#,
            "is not a JSON object (column 14: trailing characters)",
        ),
        (br#"{"text":"x"},"#, "(column 13: trailing characters)"),
        (br#"{"text":"x""#, "is not valid JSON (line 8, column 1"),
        (
            br#"{"text":"x"#,
            "(column 11: a string does not end in its line)",
        ),
        (
            br#"{"text":NaN}"#,
            "NaN and Infinity are no numbers of JSON",
        ),
        (br#"{'text':'x'}"#, "expected a name in double quotes"),
        (br#"{"text":'x'}"#, "strings have double quotes"),
        (br#"["text", 1]"#, "the value is an array, not an object"),
        (br#""text""#, "the value is a string, not an object"),
        (
            b"garbage",
            "is not a JSON object (column 1: expected a value)",
        ),
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
    assert_eq!(texts(&rows[16..]), [(19, Ok("good"))]);
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

/// The outcomes in short: the text, or `!` for what is rejected, with the line.
fn short(rows: &[Row]) -> Vec<(u64, &str)> {
    rows.iter()
        .map(|row| (row.line, row.outcome.as_deref().unwrap_or("!")))
        .collect()
}

#[track_caller]
fn check(file: &str, expected: &[(u64, &str)]) {
    for name in ["a.json", "a.jsonl"] {
        let rows = read_bytes(name, file, options()).unwrap();
        assert_eq!(short(&rows), expected, "{file}\n{rows:#?}");
        // Skipping counts the same rows.
        let directory = Directory::new();
        for skip in 0..expected.len() {
            let mut rows = Rows::open(&[directory.file(name, file)], options()).unwrap();
            assert_eq!(rows.skip_rows(skip as u64).unwrap(), skip as u64);
            let rest: Vec<Row> = rows.map(Result::unwrap).collect();
            assert_eq!(short(&rest), expected[skip..]);
        }
    }
}

#[test]
fn objects_are_read_however_they_are_laid_out() {
    check("{\n  \"text\": \"a\"\n}\n", &[(1, "a")]);
    check(
        "{\n  \"text\": \"a\"\n}\n\n{\n  \"x\": [\n    {}\n  ],\n  \"text\": \"b\"\n}",
        &[(1, "a"), (5, "b")],
    );
    check(
        "[\n  {\"text\": \"a\"},\n  {\"text\": \"b\"}\n]\n",
        &[(2, "a"), (3, "b")],
    );
    check("[{\"text\":\"a\"},{\"text\":\"b\"}]", &[(1, "a"), (1, "b")]);
    check(
        "[\r\n{\r\n\"text\": \"a\"\r\n}\r\n,{\"text\":\"b\"}]\r\n",
        &[(2, "a"), (5, "b")],
    );
    check(
        "{\"text\":\"a\"}{\"text\":\"b\"} {\"text\":\"c\"}\n{\"text\":\"d\"}",
        &[(1, "a"), (1, "b"), (1, "c"), (2, "d")],
    );
    check(
        "[]\n[{\"text\":\"a\"}]\n{\"text\":\"b\"}\n[ ]",
        &[(2, "a"), (3, "b")],
    );
    check("\n\n  {\"text\":\"a\"}", &[(3, "a")]);
}

#[test]
fn a_malformed_object_costs_no_row_behind_it() {
    // One a line.
    check(
        "{\"text\":\"a\"\n{\"text\":\"b\"}\n{\"text\":\n{\"text\":\"c\"}\n{\"text\":\"d\"}",
        &[(1, "!"), (2, "b"), (3, "!"), (4, "c"), (5, "d")],
    );
    check(
        "{\"text\":\"a\n{\"text\":\"b\"}\n}\n{\"text\":\"c\"}}\n\"x\"\n{\"text\":\"d\"}\n{\"text\":[",
        &[
            (1, "!"),
            (2, "b"),
            (3, "!"),
            (4, "!"),
            (5, "!"),
            (6, "d"),
            (7, "!"),
        ],
    );
    check(
        "{\"text\":\"a\"}\n{\"text\":NaN}\n{\"text\":\"c\"}\n{\"text\":\"d\", \"x\":{\"y\":\"z\"}",
        &[(1, "a"), (2, "!"), (3, "c"), (4, "!")],
    );
    // Over several lines.
    let object = |text: &str, number: &str| {
        format!(
            "{{\n  \"text\": \"{text}\",\n  \"list\": [\n    {{\n      \"text\": \"inner\"\n    }}\n  ],\n  \"n\": {number}\n}}\n"
        )
    };
    check(
        &[object("a", "1"), object("b", "01"), object("c", "2")].concat(),
        &[(1, "a"), (10, "!"), (19, "c")],
    );
    check(
        &[object("a", "1").trim_end_matches("}\n"), &object("b", "2")].concat(),
        &[(1, "!"), (9, "b")],
    );
    check("{\n  \"text\": \"a\",\n  \"x\": ", &[(1, "!")]);
}

#[test]
fn a_malformed_element_costs_no_other() {
    check(
        "[{\"text\":\"a\"},{\"text\":oops,\"x\":[{\"text\":\"inner\"}]},{\"text\":\"c\"}]",
        &[(1, "a"), (1, "!"), (1, "c")],
    );
    check(
        "[{\"text\":\"a\"},{\"text\":\"b\",{\"text\":\"c\"},{\"text\":\"d\"}]",
        &[(1, "a"), (1, "!"), (1, "c"), (1, "d")],
    );
    check(
        "[\n{\"text\":\"a\"},\n{\"text\":\"b\n{\"text\":\"c\"},\n{\"text\":\"d\"}\n]\n{\"text\":\"e\"}",
        &[(2, "a"), (3, "!"), (4, "c"), (5, "d"), (7, "e")],
    );
    check(
        "[\n  {\n    \"text\": 'a'\n  },\n  {\n    \"text\": \"b\"\n  }\n]\n",
        &[(2, "!"), (5, "b")],
    );
    check(
        "[{\n  \"text\": bad\n}, {\n  \"text\": \"b\"\n}]\n",
        &[(1, "!"), (3, "b")],
    );
    check(
        "[{\"text\":\"a\"}, 5, null, [1], \"x\", {\"text\":\"b\"}]",
        &[(1, "a"), (1, "!"), (1, "!"), (1, "!"), (1, "!"), (1, "b")],
    );
    check(
        "[{\"text\":\"a\"} {\"text\":\"b\"}, {\"text\":\"c\"},]",
        &[(1, "a"), (1, "!"), (1, "b"), (1, "c"), (1, "!")],
    );
    check(
        "[1, 2]\n[\n  3\n]\n{\"text\":\"a\"}",
        &[(1, "!"), (2, "!"), (5, "a")],
    );
    // An array that is cut short between two of its elements.
    check("[\n{\"text\":\"a\"},\n", &[(2, "a"), (3, "!")]);
    check("[\n{\"text\":\"a\"}\n", &[(2, "a"), (3, "!")]);
}

#[test]
fn objects_of_one_line_need_no_memory_for_the_line() {
    let limited = |file: &str| {
        let options = ReadOptions {
            max_row_bytes: 100,
            ..options()
        };
        read_bytes("a.json", file, options).unwrap()
    };
    let long = format!("{{\"text\":\"{}\"}}", "x".repeat(300_000));
    for (open, between, close) in [("[", ",", "]"), ("", " ", "")] {
        let objects = vec!["{\"text\":\"a\"}"; 50_000].join(between);
        let rows = limited(&format!("{open}{objects}{close}"));
        assert_eq!(rows.len(), 50_000);
        assert!(rows.iter().all(|row| row.outcome.as_deref() == Ok("a")));
    }
    let rows = limited(&format!("[{{\"text\":\"a\"}}, {long}, {{\"text\":\"b\"}}]"));
    assert_eq!(short(&rows), [(1, "a"), (1, "!"), (1, "b")]);
    let reason = rows[1].outcome.as_ref().unwrap_err();
    assert!(
        reason.contains("the object is 300011 bytes long"),
        "{reason}"
    );
    let pretty = "{\n \"text\": \"a\",\n \"x\": \"y\"\n}\n";
    let large = format!(
        "{{\n \"text\": \"a\",\n{} \"x\": 1\n}}\n",
        " \"x\": 1,\n".repeat(50_000)
    );
    assert_eq!(
        short(&limited(&[pretty, &large, pretty].concat())),
        [(1, "a"), (5, "!"), (50_009, "a")]
    );
}

#[test]
fn a_field_that_occurs_twice_rejects_its_row() {
    let options = || with_columns("doc.text", "id", &["k"]);
    let file = [
        "{\"id\":1,\"k\":1,\"other\":1,\"other\":2,\"doc\":{\"text\":\"a\",\"x\":1,\"x\":2}}",
        "{\"id\":1,\"k\":1,\"id\":2,\"doc\":{\"text\":\"b\"}}",
        "{\"id\":1,\"k\":1,\"k\":1,\"doc\":{\"text\":\"c\"}}",
        "{\"id\":1,\"doc\":{\"text\":\"d\"},\"d\\u006fc\":{\"text\":\"e\"}}",
        "{\"id\":1,\"doc\":{\"text\":\"f\",\"text\":\"f\"}}",
    ];
    let rows = read_bytes("a.jsonl", file.join("\n"), options()).unwrap();
    let again = |name: &str| format!("the field \"{name}\" occurs more than once");
    let [id, k, doc, text] = ["id", "k", "doc", "text"].map(again);
    assert_eq!(
        texts(&rows),
        [
            (1, Ok("a")),
            (2, Err(id.as_str())),
            (3, Err(k.as_str())),
            (4, Err(doc.as_str())),
            (5, Err(text.as_str()))
        ]
    );
}

#[test]
fn whole_numbers_stay_what_they_are() {
    let file = "{\"text\":\"a\",\"k\":9007199254740993}\n{\"text\":\"a\",\"k\":0.5}\n\
                {\"text\":\"a\",\"k\":-9223372036854775808}\n{\"text\":\"a\",\"k\":1e3}\n\
                {\"text\":\"a\",\"k\":18446744073709551616}\n{\"text\":\"a\",\"k\":1e999}\n";
    let options = ReadOptions {
        keep: vec!["k".into()],
        ..options()
    };
    let rows = read_bytes("a.jsonl", file, options).unwrap();
    let cells: Vec<Cell> = rows.into_iter().map(|mut row| row.kept.remove(0)).collect();
    let text = |text: &str| Cell::Text(text.into());
    assert_eq!(
        cells,
        [
            Cell::Integer(9007199254740993),
            Cell::Float(0.5),
            Cell::Integer(i64::MIN),
            Cell::Float(1000.0),
            text("18446744073709551616"),
            text("1e999"),
        ]
    );
}

#[test]
fn a_field_that_no_row_has_is_an_error_at_the_start() {
    let directory = Directory::new();
    let line = "{\"text\":\"a\",\"url\":\"u\",\"meta\":{\"lang\":\"x\"}}\n";
    let file = directory.file("a.jsonl", line.repeat(5000));
    let open = |files: &[PathBuf], options| Rows::open(files, options).map(drop).map_err(message);
    let keep = |name: &str| ReadOptions {
        keep: vec![name.into()],
        ..options()
    };
    let error = open(std::slice::from_ref(&file), keep("ulr")).unwrap_err();
    assert!(
        error.contains("a.jsonl: no row has the field \"ulr\" (--keep)"),
        "{error}"
    );
    assert!(
        error.contains("the fields are: text, url, meta, meta.lang"),
        "{error}"
    );
    assert!(error.contains("did you mean \"url\"?"), "{error}");
    let error = open(std::slice::from_ref(&file), keep("meta.lnag")).unwrap_err();
    assert!(error.contains("did you mean \"meta.lang\"?"), "{error}");
    let options = ReadOptions {
        field: "Text".into(),
        ..options()
    };
    let error = open(std::slice::from_ref(&file), options).unwrap_err();
    assert!(
        error.contains("\"Text\" (--field)") && error.contains("in another case"),
        "{error}"
    );
    let error = open(
        std::slice::from_ref(&file),
        with_columns("text", "key", &[]),
    )
    .unwrap_err();
    assert!(error.contains("\"key\" (--id-field)"), "{error}");
    let wrapped = directory.file("w.json", "{\"data\": [ {\"text\":\"a\"}]}");
    let error = open(&[wrapped], super::options()).unwrap_err();
    assert!(
        error.contains("the fields are: data, data[].text"),
        "{error}"
    );
    // One row that has it is enough, in whichever file.
    let last = directory.file(
        "b.jsonl",
        line.repeat(3000) + "{\"text\":\"b\",\"ulr\":null}",
    );
    assert!(open(&[file.clone(), last], keep("ulr")).is_ok());
    let empty = directory.file("c.jsonl", "");
    assert!(open(&[empty], keep("ulr")).is_ok());
    // Rows that are no objects are rejected, and say nothing about fields.
    let broken = directory.file("d.jsonl", "{\"text\":\"a\n");
    assert!(open(&[broken], keep("ulr")).is_ok());
}

/// Each takes time with the square of its length, if ends are looked for from every fault on.
#[test]
fn many_faults_in_a_line_take_no_time() {
    let length = 1 << 19;
    for pattern in [
        "{\"a\":",
        "{x,",
        "{\"a\":1,",
        "{x \\\"",
        "{x \"",
        "[{",
        "{\"a\":\n",
        "[\n{\"a\":[\n",
    ] {
        for start in ["", "[", "[{x \""] {
            let file = start.to_owned() + &pattern.repeat(length / pattern.len());
            let options = ReadOptions {
                max_row_bytes: 1 << 19,
                ..options()
            };
            assert!(read_bytes("a.json", file, options).is_ok());
        }
    }
}
