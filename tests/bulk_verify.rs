//! `lanewise verify`.
#![cfg(feature = "bulk")]

mod bulk_support;
mod cli_support;

use bulk_support::Directory;

#[test]
fn what_embed_has_written_verifies_in_every_setting() {
    let directory = Directory::with_corpus(30);
    for (number, settings) in [
        "",
        "--prompt document --title Moons --precision f16",
        "--dims 32 --precision i8 --prompt query",
        "--no-dense-head --precision binary",
        "--precision f16+i8+binary+f32",
        "--overflow split",
    ]
    .into_iter()
    .enumerate()
    {
        for format in ["jsonl", "parquet", "arrow"] {
            let output = format!("v{number}.{format}");
            directory.embed(&format!(
                "--output {output} {settings} --keep text --id-field id"
            ));
            let run = directory.run(&format!("verify {output} --sample all"));
            assert_eq!((run.code, run.out.as_str()), (0, ""), "{}", run.err);
            let counts = format!("{output}: 30 of 30 rows embedded again, 0 differ; space lw1-");
            assert!(run.err.contains(&counts), "{}", run.err);
        }
    }
}

#[test]
fn rows_that_differ_are_named() {
    let directory = Directory::with_corpus(30);
    directory.embed("--output v.jsonl --keep text --id-field id");
    let mut lines: Vec<String> = String::from_utf8(directory.read("v.jsonl"))
        .unwrap()
        .lines()
        .map(String::from)
        .collect();
    // One bit of one value, another text, and a shorter one.
    let start = lines[4].find("\"embedding\":[").unwrap() + 13;
    let end = start + lines[4][start..].find(',').unwrap();
    let value: f32 = lines[4][start..end].parse().unwrap();
    let next = f32::from_bits(value.to_bits() ^ 1);
    lines[4].replace_range(start..end, &next.to_string());
    lines[9] = lines[9].replacen("\"text\":\"", "\"text\":\"zzzz ", 1);
    directory.write("v.jsonl", (lines.join("\n") + "\n").as_bytes());
    let run = directory.run("verify v.jsonl --sample all");
    assert_eq!(run.code, 1, "{}", run.err);
    let expected = format!(
        "row 4 (id d4): 1 of 64 numbers differ, the first is number 0: {next}, and {value} now"
    );
    let lines: Vec<&str> = run.out.lines().collect();
    assert_eq!(lines[0], expected);
    assert!(
        lines[1].starts_with("row 9 (id d9): its text had "),
        "{}",
        lines[1]
    );
    assert_eq!(lines.len(), 2);
    assert!(
        run.err.contains("30 of 30 rows embedded again, 2 differ"),
        "{}",
        run.err
    );
}

#[test]
fn a_sample_is_as_large_as_asked_and_the_same_each_time() {
    let directory = Directory::with_corpus(30);
    directory.embed("--output v.parquet --keep text");
    for (sample, checked) in [("1", 1), ("7", 7), ("100", 30)] {
        let run = directory.run(&format!("verify v.parquet --sample {sample}"));
        let counts = format!("{checked} of 30 rows embedded again, 0 differ");
        assert!(run.code == 0 && run.err.contains(&counts), "{}", run.err);
    }
    for wrong in ["0", "-1", "some"] {
        let run = directory.run(&format!("verify v.parquet --sample={wrong}"));
        assert!(run.code == 2 && run.err.contains("or all"), "{}", run.err);
    }
}

#[test]
fn texts_come_from_the_input_where_the_output_has_none() {
    let directory = Directory::with_corpus(30);
    let rows = String::from_utf8(directory.read("corpus.jsonl")).unwrap();
    directory.write("corpus.jsonl", format!("{rows}no json\n{rows}").as_bytes());
    let run = directory.run("embed --input corpus.jsonl --output v.arrow");
    assert_eq!(run.code, 1);
    let run = directory.run("verify v.arrow");
    assert_eq!(run.code, 1, "{}", run.err);
    let missing = "v.arrow: has no column \"text\" with the texts; name it with --field, or give \
                   what was embedded with --input; outputs carry texts that are named in --keep";
    assert!(run.err.contains(missing), "{}", run.err);
    let run = directory.run("verify v.arrow --input corpus.jsonl --sample all");
    assert_eq!((run.code, run.out.as_str()), (0, ""), "{}", run.err);
    assert!(run.err.contains("60 of 60 rows"), "{}", run.err);
    // Other texts, and fewer.
    directory.write("other.jsonl", rows.replacen("river", "stone", 1).as_bytes());
    let run = directory.run("verify v.arrow --input other.jsonl --sample all --quiet");
    assert_eq!(run.code, 1);
    assert!(run.out.starts_with("row "), "{}", run.out);
    assert!(
        run.out.contains("the input has 30 rows only"),
        "{}",
        run.out
    );
}

#[test]
fn another_model_is_refused() {
    let directory = Directory::with_corpus(3);
    directory.embed("--output v.jsonl --keep text");
    let mut model = std::fs::read(cli_support::TINY.as_path()).unwrap();
    *model.last_mut().unwrap() ^= 1;
    directory.write("other.gguf", &model);
    let run = directory.run("verify v.jsonl -m other.gguf");
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(
        run.err.contains("another space: model_sha256 is"),
        "{}",
        run.err
    );
}

#[test]
fn info_and_outputs_state_one_fingerprint_of_a_space() {
    let directory = Directory::with_corpus(3);
    directory.embed("--output v.jsonl --prompt query");
    let run = directory.run("info --json");
    let info: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    let metadata = directory.read("v.jsonl.meta.json");
    let metadata: serde_json::Value = serde_json::from_slice(&metadata).unwrap();
    let fingerprint = metadata["lanewise.space"].as_str().unwrap();
    assert!(
        fingerprint.starts_with("lw1-") && fingerprint.len() == 20,
        "{fingerprint}"
    );
    assert_eq!(info["spaces"]["query"], fingerprint);
    assert_ne!(info["spaces"]["document"], fingerprint);
    let run = directory.run("info");
    assert!(
        run.out.contains(&format!("query: {fingerprint}")),
        "{}",
        run.out
    );
}
