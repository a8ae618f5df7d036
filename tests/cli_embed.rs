//! `lanewise embed` and `lanewise similarity`.

mod cli_support;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use cli_support::{
    TINY, TINY_WITHOUT_HEADS, assert_unit_length, command, feed, numbers, run, run_with,
};
use serde_json::Value;

#[test]
fn one_argument_gives_one_line_with_the_vector() {
    let run = run(&["embed", "Hello world"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert_eq!(run.out.lines().count(), 1);
    let vector = numbers(&run.out);
    assert_eq!(vector.len(), 64);
    assert_unit_length(&vector);
}

#[test]
fn arguments_and_lines_give_the_same_vectors_in_order() {
    let arguments = run(&["embed", "one", "two", ""]);
    let lines = run_with(&["embed"], b"one\ntwo\r\n\n");
    assert_eq!(arguments.code, 0);
    assert_eq!(arguments.out, lines.out);
    let alone = run(&["embed", "two"]);
    assert_eq!(arguments.out.lines().nth(1), alone.out.lines().next());
}

#[test]
fn empty_input_gives_no_vector_and_an_empty_text_gives_one() {
    let nothing = run_with(&["embed"], b"");
    assert_eq!((nothing.code, nothing.out.as_str()), (0, ""));
    let empty = run(&["embed", ""]);
    assert_unit_length(&numbers(&empty.out));
    assert_eq!(run_with(&["embed", "--format", "json"], b"").out, "[\n]\n");
}

#[test]
fn jsonl_has_index_tokens_and_embedding() {
    let run = run(&["embed", "--format", "jsonl", "", "a"]);
    let rows: Vec<Value> = run
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[0]["index"], &rows[0]["tokens"]),
        (&0.into(), &2.into())
    );
    assert_eq!(
        (&rows[1]["index"], &rows[1]["tokens"]),
        (&1.into(), &3.into())
    );
    assert_eq!(rows[1]["embedding"].as_array().unwrap().len(), 64);
}

#[test]
fn every_format_holds_the_same_numbers() {
    let of = |format| run(&["embed", "--format", format, "one", "two"]).out;
    let text: Vec<Vec<f32>> = of("text").lines().map(numbers).collect();
    let csv: Vec<Vec<f32>> = of("csv")
        .lines()
        .skip(1)
        .map(|line| {
            let fields = line.split(',').skip(2);
            fields.map(|field| field.parse().unwrap()).collect()
        })
        .collect();
    let json: Value = serde_json::from_str(&of("json")).unwrap();
    let json: Vec<Vec<f32>> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let numbers = row["embedding"].as_array().unwrap().iter();
            numbers.map(|x| x.as_f64().unwrap() as f32).collect()
        })
        .collect();
    assert_eq!(text, csv);
    assert_eq!(text, json);
}

#[test]
fn shorter_vectors_are_the_first_values_at_unit_length() {
    let full = numbers(&run(&["embed", "text"]).out);
    let short = numbers(&run(&["embed", "--dims", "16", "text"]).out);
    assert_eq!(short.len(), 16);
    assert_unit_length(&short);
    let ratio = short[0] / full[0];
    for (short, full) in short.iter().zip(&full) {
        assert!((short - ratio * full).abs() < 1e-6);
    }
}

#[test]
fn invalid_utf8_is_named_by_line_and_the_others_are_embedded() {
    let run = run_with(&["embed"], b"one\n\xff\xfe\nthree\n");
    assert_eq!(run.code, 1);
    assert!(
        run.err.contains("line 2: is not valid UTF-8"),
        "{}",
        run.err
    );
    let lines: Vec<&str> = run.out.lines().collect();
    assert_eq!(
        lines.len(),
        3,
        "line n of the output belongs to line n of the input"
    );
    assert_eq!(lines[1], "");
    assert_unit_length(&numbers(lines[2]));

    let run = run_with(&["embed", "--format", "jsonl"], b"one\n\xff\xfe\nthree\n");
    let last: Value = serde_json::from_str(run.out.lines().last().unwrap()).unwrap();
    assert_eq!((run.out.lines().count(), &last["index"]), (2, &2.into()));
}

#[test]
fn a_text_that_is_too_long_is_truncated_and_named_or_refused() {
    let long = "word ".repeat(1000);
    let truncated = run(&["embed", "--format", "jsonl", "short", &long]);
    assert_eq!(truncated.code, 0);
    assert!(
        truncated
            .err
            .contains("text 2: is too long, only its first 256 tokens"),
        "{}",
        truncated.err
    );
    let row: Value = serde_json::from_str(truncated.out.lines().last().unwrap()).unwrap();
    assert_eq!(row["tokens"], 256);

    let refused = run(&["embed", "--overflow", "error", "short", &long]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("text 2"), "{}", refused.err);
    assert!(refused.err.contains("256 tokens"), "{}", refused.err);
    assert_unit_length(&numbers(refused.out.lines().next().unwrap()));
}

#[test]
fn a_prompt_is_put_in_front_of_the_text() {
    let prompted = run(&["embed", "--prompt", "Retrieval-query", "moons"]);
    let spelled = run(&["embed", "task: search result | query: moons"]);
    assert_eq!(prompted.out, spelled.out);
    let titled = run(&["embed", "--prompt", "document", "--title", "Sky", "moons"]);
    let spelled = run(&["embed", "title: Sky | text: moons"]);
    assert_eq!(titled.out, spelled.out);
    let raw = run(&["embed", "--prompt", "raw", "moons"]);
    assert_eq!(raw.out, run(&["embed", "moons"]).out);
}

#[test]
fn arguments_that_cannot_be_used_are_named_and_exit_with_2() {
    for (arguments, named) in [
        (vec!["embed", "-t", "0", "a"], "threads"),
        (vec!["embed", "-t", "1000000", "a"], "threads"),
        (vec!["embed", "-t", "many", "a"], "--threads"),
        (vec!["embed", "--dims", "0", "a"], "dims"),
        (vec!["embed", "--dims", "65", "a"], "dims"),
        (
            vec!["embed", "--prompt", "quarry", "a"],
            "sentence-similarity",
        ),
        (vec!["embed", "--title", "T", "a"], "--prompt document"),
        (vec!["embed", "--format", "xml", "a"], "jsonl"),
        (
            vec!["similarity", "--query", "--prompt", "sts", "a", "b"],
            "--prompt",
        ),
        (vec!["similarity", "alone"], "two texts"),
        (vec!["fly"], "fly"),
    ] {
        let run = run(&arguments);
        assert_eq!(
            (run.code, run.out.as_str()),
            (2, ""),
            "{arguments:?}: {}",
            run.err
        );
        assert!(run.err.contains(named), "{arguments:?}: {}", run.err);
    }
}

#[test]
fn environment_variables_that_cannot_be_used_are_named() {
    for (name, value, said) in [
        ("LANEWISE_THREADS", "0", "use 1 to"),
        ("LANEWISE_THREADS", "all", "use 1 to"),
        (
            "LANEWISE_ISA",
            "mmx",
            "scalar, avx2, avx-vnni, avx512 or avx512-zen4",
        ),
        ("LANEWISE_PACKED_WEIGHTS", "maybe", "off, use or write"),
    ] {
        let mut command = command();
        command
            .env(name, value)
            .args(["embed", "a", "-m"])
            .arg(&*TINY);
        let run = feed(command, b"");
        assert_eq!(run.code, 2, "{}", run.err);
        assert!(
            run.err.contains(name) && run.err.contains(said),
            "{}",
            run.err
        );
    }
}

#[test]
fn without_a_model_the_message_says_how_to_get_one() {
    let mut command = command();
    command.args(["embed", "a"]);
    let run = feed(command, b"");
    assert_eq!(run.code, 3);
    assert!(run.err.contains("tools/get-model"), "{}", run.err);
    assert!(run.err.contains("LANEWISE_MODEL"), "{}", run.err);
}

#[test]
fn a_model_that_cannot_be_used_is_named_and_exits_with_3() {
    let directory = env!("CARGO_MANIFEST_DIR");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    for path in ["/nonexistent/model.gguf", directory, source, "/dev/null"] {
        let run = run(&["embed", "-m", path, "a"]);
        assert_eq!(run.code, 3, "{path}: {}", run.err);
        assert!(run.err.contains(path), "{}", run.err);
        assert!(!run.err.contains("panicked"), "{}", run.err);
    }
}

#[test]
fn a_file_without_dense_heads_is_refused_unless_asked_for() {
    let path = TINY_WITHOUT_HEADS.to_str().unwrap();
    let refused = run(&["embed", "-m", path, "a"]);
    assert_eq!((refused.code, refused.out.as_str()), (3, ""));
    assert!(refused.err.contains("--no-dense-head"), "{}", refused.err);
    let asked = run(&["embed", "-m", path, "--no-dense-head", "a"]);
    assert_eq!(asked.code, 0, "{}", asked.err);
    assert_unit_length(&numbers(&asked.out));
}

#[test]
fn a_closed_pipe_ends_the_command_quietly() {
    let mut child = command()
        .args(["embed", "-m"])
        .arg(&*TINY)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        // Far more than the pipes hold; ends when the command does.
        while stdin.write_all(b"line\n").is_ok() {}
    });
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap(); // and the reader is closed
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_unit_length(&numbers(&line));
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[cfg(target_os = "linux")]
#[test]
fn a_failed_write_to_standard_output_is_reported() {
    let mut command = command();
    command.args(["embed", "a", "-m"]).arg(&*TINY);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let output = command.stdout(full.unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        message.contains("standard output: cannot write"),
        "{message}"
    );
}

#[test]
fn a_line_is_answered_before_the_next_one_comes() {
    let mut child = command()
        .args(["embed", "-m"])
        .arg(&*TINY)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    for text in ["first\n", "second\n"] {
        stdin.write_all(text.as_bytes()).unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_unit_length(&numbers(&line));
    }
    drop(stdin);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    assert!(child.wait().unwrap().success());
}

#[test]
fn timings_are_one_line_on_standard_error() {
    let run = run(&["embed", "--timings", "a"]);
    assert_eq!(run.err.lines().count(), 1);
    for part in [
        "map file",
        "index tokens",
        "start threads",
        "forward",
        "total",
    ] {
        assert!(run.err.contains(part), "{}", run.err);
    }
}

#[test]
fn similarity_compares_the_first_text_with_the_others() {
    let run = run(&["similarity", "same", "other text", "same"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let rows: Vec<(&str, &str)> = run
        .out
        .lines()
        .map(|line| line.split_once('\t').unwrap())
        .collect();
    assert_eq!(rows[0].1, "other text");
    assert_eq!(rows[1], ("1.000000", "same"));
    assert!(rows[0].0.parse::<f32>().unwrap() < 1.0);
}

#[test]
fn similarity_ranks_and_reads_the_others_from_standard_input() {
    let run = run_with(
        &["similarity", "--rank", "--format", "jsonl", "same"],
        b"other\n\xff\nsame\n",
    );
    assert_eq!(run.code, 1);
    assert!(
        run.err.contains("line 2: is not valid UTF-8"),
        "{}",
        run.err
    );
    let rows: Vec<Value> = run
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[0]["index"], &rows[0]["text"]),
        (&3.into(), &"same".into())
    );
    assert_eq!(
        (&rows[1]["index"], &rows[1]["text"]),
        (&1.into(), &"other".into())
    );
}

#[test]
fn similarity_of_a_query_uses_the_prompts_of_retrieval() {
    let query = run(&["similarity", "--query", "q", "d"]).out;
    let spelled = run(&[
        "similarity",
        "task: search result | query: q",
        "title: none | text: d",
    ]);
    assert_eq!(query[..8], spelled.out[..8]);
}
