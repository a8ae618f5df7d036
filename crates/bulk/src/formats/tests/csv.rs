//! Comma- and tab-separated values.

use super::*;

#[test]
fn csv_fields_may_hold_delimiters_quotes_and_line_ends() {
    let file =
        "\u{feff}id,text,note\r\n1,\"a, \"\"b\"\"\r\nc\",x\r\n\r\n2,\"plain \"\"5\"\"\",\n3,\"\",z";
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
            (8, Err("the row has 100001 fields, the header 2")),
            (9, Ok("six")),
        ]
    );
    assert_eq!(rows[3].id, Some(Cell::Text("4".into())));
}

#[test]
fn quotes_in_tab_separated_values_are_text() {
    let file = "text\tid\na, b\t1\n\"To be\" or not\t2\n\"open\t3\n\"\"\t4\n\r in it\t5\n";
    let rows = read_bytes("a.tsv", file, with_columns("text", "id", &[])).unwrap();
    let expected = ["a, b", "\"To be\" or not", "\"open", "\"\"", "\r in it"];
    assert_eq!(
        texts(&rows),
        [2, 3, 4, 5, 6].map(|n| (n, Ok(expected[n as usize - 2])))
    );
    let quoted = dialect(|dialect| dialect.quote = Some(Quote::Byte(b'"')));
    let rows = read_bytes("a.tsv", "text\n\"a\tb\"\n", quoted).unwrap();
    assert_eq!(texts(&rows), [(2, Ok("a\tb"))]);
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

/// Whether each row is accepted, with its line.
fn outcomes(rows: &[Row]) -> Vec<(u64, bool)> {
    rows.iter()
        .map(|row| (row.line, row.outcome.is_ok()))
        .collect()
}

fn dialect(set: impl FnOnce(&mut Dialect)) -> ReadOptions {
    let mut options = options();
    set(&mut options.dialect);
    options
}

#[test]
fn an_open_quote_costs_its_row_and_no_other() {
    let file = "id,text\n1,\"open\n2,two\n3,\"three\"\n4,\"fo\nur\"\n5,five";
    let rows = read_bytes("a.csv", file, with_columns("text", "id", &[])).unwrap();
    assert_eq!(
        outcomes(&rows),
        [(2, false), (3, true), (4, true), (5, true), (7, true)]
    );
    assert_eq!(rows[3].outcome.as_deref(), Ok("fo\nur"));
    let reason = rows[0].outcome.as_ref().unwrap_err();
    assert!(reason.contains("text after a closing quote"), "{reason}");
    // Nothing closes it, also if the end is far away.
    let file = format!("id,text\n1,\"open\n{}", "2,two\n".repeat(100_000));
    let rows = read_bytes("a.csv", &file, options()).unwrap();
    assert_eq!(rows.len(), 100_001);
    let reason = rows[0].outcome.as_ref().unwrap_err();
    assert!(
        reason.contains("a quote that is not closed before the end of the file"),
        "{reason}"
    );
    assert!(
        rows[1..]
            .iter()
            .all(|row| row.outcome.as_deref() == Ok("two"))
    );
    // Nor does the beginning of a quoted field.
    let file = "id,text\n1,\"open\n2,two\n3,\", and three\"\n4,four\n";
    let rows = read_bytes("a.csv", file, options()).unwrap();
    assert_eq!(
        outcomes(&rows),
        [(2, false), (3, true), (4, true), (5, true)]
    );
}

#[test]
fn a_quote_that_never_closes_costs_no_more_than_the_limit() {
    let file = format!("text\ngood\n\"{}", "never closed\n".repeat(1 << 18));
    let rows = read_bytes("a.csv", file, options()).unwrap();
    assert_eq!(texts(&rows[..1]), [(2, Ok("good"))]);
    let reason = rows[1].outcome.as_ref().unwrap_err();
    assert!(
        reason.contains("not closed within the limit of 1048576 bytes"),
        "{reason}"
    );
    // The first of the lines is that of the quote.
    assert_eq!(rows.len(), 1 + (1 << 18));
    assert_eq!(
        (rows[1].line, rows[2].line, rows[2].outcome.as_deref()),
        (3, 4, Ok("never closed"))
    );
}

#[test]
fn quotes_where_rfc_4180_has_none_reject_their_row() {
    let file = "id,text\n1,5\" screen\n2,\"two\" and more\n3, \"three\"\n4,\"fo\"\"ur\"\n5,\"five\" \n6,\"\n";
    let rows = read_bytes("a.csv", file, with_columns("text", "id", &[])).unwrap();
    let expected = [
        (2, Err("does not begin with one")),
        (3, Err("text after a closing quote")),
        (4, Err("does not begin with one")),
        (5, Ok("fo\"ur")),
        (6, Err("text after a closing quote")),
        (7, Err("not closed before the end")),
    ];
    assert_eq!(rows.len(), expected.len());
    for (row, (line, outcome)) in rows.iter().zip(expected) {
        assert_eq!(row.line, line);
        match (outcome, &row.outcome) {
            (Ok(text), Ok(found)) => assert_eq!(text, found),
            (Err(reason), Err(found)) => {
                assert!(found.contains(reason), "{found}");
                assert!(
                    found.contains("the setting `quote` none takes it for text"),
                    "{found}"
                );
            }
            _ => panic!("{row:?}"),
        }
    }
    let rows = read_bytes(
        "a.csv",
        file,
        dialect(|dialect| dialect.quote = Some(Quote::None)),
    )
    .unwrap();
    assert_eq!(
        texts(&rows)[..3],
        [
            (2, Ok("5\" screen")),
            (3, Ok("\"two\" and more")),
            (4, Ok(" \"three\""))
        ]
    );
}

#[test]
fn a_carriage_return_between_lines_that_end_otherwise() {
    let rows = read_bytes(
        "a.csv",
        "text\r\none\rstill\r\n\"two\r\"\nthree\r",
        options(),
    )
    .unwrap();
    assert_eq!(outcomes(&rows), [(2, false), (3, true), (4, true)]);
    assert_eq!(rows[2].outcome.as_deref(), Ok("three"));
}

#[test]
fn a_blank_line_is_a_row_where_there_is_one_column() {
    let read = |name: &str, file: &str, options| read_bytes(name, file, options).unwrap();
    for (name, file) in [
        ("a.csv", "text\na\n\nb\n\"\"\n\r\n"),
        ("a.tsv", "text\na\n\nb\n\n\r\n"),
    ] {
        let rows = read(name, file, options());
        let expected = [
            (2, Ok("a")),
            (3, Ok("")),
            (4, Ok("b")),
            (5, Ok("")),
            (6, Ok("")),
        ];
        assert_eq!(texts(&rows), expected);
        let directory = Directory::new();
        let mut rows = Rows::open(&[directory.file(name, file)], options()).unwrap();
        assert_eq!(rows.skip_rows(2).unwrap(), 2);
        assert_eq!(rows.next().unwrap().unwrap().line, 4);
    }
    let rows = read("a.csv", "\n\ntext,id\n\na,1\n\n\nb,2\n\n", options());
    assert_eq!(texts(&rows), [(5, Ok("a")), (8, Ok("b"))]);
    let numbered = || ReadOptions {
        field: "1".into(),
        ..dialect(|dialect| dialect.no_header = true)
    };
    let rows = read("a.csv", "\n\na\n\nb", numbered());
    assert_eq!(
        texts(&rows),
        [
            (1, Ok("")),
            (2, Ok("")),
            (3, Ok("a")),
            (4, Ok("")),
            (5, Ok("b"))
        ]
    );
    let rows = read("a.csv", "\n\na,1\n\nb,2", numbered());
    assert_eq!(texts(&rows), [(3, Ok("a")), (5, Ok("b"))]);
    assert_eq!(read("a.csv", "", numbered()), []);
}

#[test]
fn columns_without_a_header_are_called_by_their_numbers() {
    let mut options = with_columns("2", "1", &["3"]);
    options.dialect.no_header = true;
    let rows = read_bytes("a.csv", "7,seven,x\n8,eight,\n9\n", options.clone()).unwrap();
    assert_eq!(
        texts(&rows),
        [
            (1, Ok("seven")),
            (2, Ok("eight")),
            (3, Err("the row has 1 fields, the first line 3"))
        ]
    );
    assert_eq!(rows[0].id, Some(Cell::Text("7".into())));
    assert_eq!(rows[0].kept, [Cell::Text("x".into())]);
    options.field = "text".into();
    let error = read_bytes("a.csv", "7,seven,x\n", options).unwrap_err();
    assert!(
        error.contains("with --no-header they are called by their numbers, 1 to 3"),
        "{error}"
    );
    let options = ReadOptions {
        field: "2".into(),
        ..super::options()
    };
    let error = read_bytes("a.csv", "7,seven,x\n", options).unwrap_err();
    assert!(
        error.contains("called by their numbers with --no-header only"),
        "{error}"
    );
}

#[test]
fn fields_are_told_apart_as_asked_for() {
    let file = "id;text\n1;a, b\n2;'c;\"d''e'\n";
    let options = dialect(|dialect| {
        (dialect.delimiter, dialect.quote) = (Some(b';'), Some(Quote::Byte(b'\'')));
    });
    let rows = read_bytes("a.csv", file, options).unwrap();
    assert_eq!(texts(&rows), [(2, Ok("a, b")), (3, Ok("c;\"d'e"))]);
}

#[test]
fn escapes_are_read_as_databases_and_programs_write_them() {
    // Python and Spark write the first ones, MySQL and PostgreSQL the others.
    let file = "text\tid\n\"a \\\"b\\\"\"\t1\nc \\\\ d\\\te\t2\nf\\\ng\t3\n\\N\t4\nh\\n\\ti\t5\nx\\y\t6\nj\\";
    let mut options = with_columns("text", "id", &[]);
    options.dialect.escape = Some(b'\\');
    let rows = read_bytes("a.tsv", file, options.clone()).unwrap();
    let expected = [
        (2, Ok("\"a \"b\"\"")),
        (3, Ok("c \\ d\te")),
        (4, Ok("f\ng")),
        (6, Err("the column \"text\" is null")),
        (7, Ok("h\n\ti")),
        (
            8,
            Err("the column \"text\" has \\y, which is no known escape"),
        ),
        (9, Err("the row ends with the escape character \\")),
    ];
    assert_eq!(texts(&rows), expected);
    options.dialect.quote = Some(Quote::Byte(b'"'));
    let rows = read_bytes("a.csv", "text,id\n\"a \\\"b\\\", \"\"c\"\"\",1\n", options).unwrap();
    assert_eq!(texts(&rows), [(2, Ok("a \"b\", \"c\""))]);
}

#[test]
fn settings_of_a_dialect_that_mean_nothing_are_refused() {
    let delimiter = || dialect(|dialect| dialect.delimiter = Some(b';'));
    for name in ["a.jsonl", "a.txt", "a.parquet", "a.arrow"] {
        let error = read_bytes(name, "", delimiter()).unwrap_err();
        assert!(
            error.contains("--delimiter is for CSV and TSV only"),
            "{error}"
        );
    }
    let same = dialect(|dialect| dialect.delimiter = Some(b'"'));
    let error = read_bytes("a.csv", "", same).unwrap_err();
    assert!(
        error.contains("--delimiter and --quote are the same character"),
        "{error}"
    );
    for wrong in [b'\n', 0, 0xc3] {
        let wrong = dialect(|dialect| dialect.escape = Some(wrong));
        let error = read_bytes("a.csv", "", wrong).unwrap_err();
        assert!(
            error.contains("--escape: has to be an ASCII character"),
            "{error}"
        );
    }
}

#[test]
fn a_header_of_another_dialect_gets_a_hint() {
    for (name, header, expected) in [
        ("a.csv", "id;text", "give --delimiter ';'"),
        ("a.csv", "id\tText", "give --delimiter '\\t'"),
        ("a.tsv", "id,text", "give --delimiter ','"),
        (
            "a.csv",
            "id, text",
            "there is \" text\", with white space around it",
        ),
        ("a.csv", "id,Text", "there is \"Text\", in another case"),
        (
            "a.tsv",
            "id\t\"text\"",
            "give --quote '\"' to read quoted fields",
        ),
        ("a.csv", "id,texte", "did you mean \"texte\"?"),
        ("a.csv", "sep=;\nid;text", "give --delimiter ';'"),
    ] {
        let error = read_bytes(name, header, options()).unwrap_err();
        assert!(error.contains("no column \"text\""), "{header}: {error}");
        assert!(error.contains(expected), "{header}: {error}");
    }
    let error = read_bytes("a.csv", "id\t\"text\"\n", options()).unwrap_err();
    assert!(
        error.contains("the header has a quote") && error.contains("give --delimiter"),
        "{error}"
    );
}

/// Each takes time with the square of its length, if lines are read again from every fault on.
#[test]
fn many_faults_of_quotes_take_no_time() {
    let mut options = dialect(|dialect| dialect.escape = Some(b'\\'));
    options.field = "a".into();
    for pattern in [
        "\"\n",
        "a\\\n",
        "\"a\\\n",
        "\"\"\"a\n",
        "a,\"\n",
        "\"\"\n",
        "a\"\n",
        "\"a\n\"\n",
    ] {
        for (start, end) in [("", ""), ("\"", ""), ("", "\""), ("\"", "a\"")] {
            let file = format!(
                "a\n{start}{}{end}",
                pattern.repeat((1 << 19) / pattern.len())
            );
            assert!(read_bytes("a.csv", file, options.clone()).is_ok());
        }
    }
}
