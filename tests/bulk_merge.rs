//! `embed --shard` and `lanewise merge`.
#![cfg(feature = "bulk")]

mod bulk_support;
mod cli_support;

use std::fs;

use bulk_support::Directory;
use lanewise_testkit::random::Random;

#[test]
fn merged_shards_are_the_output_of_one_run_byte_for_byte() {
    let directory = Directory::with_corpus(103);
    let rows = String::from_utf8(directory.read("corpus.jsonl")).unwrap();
    directory.write("corpus.jsonl", format!("{rows}no json\n{rows}").as_bytes());
    let settings = "--id-field id --keep number --overflow split";
    for name in ["v.jsonl", "v.csv", "v.npy", "v.parquet", "v.arrow"] {
        let run = directory.run(&format!(
            "embed --input corpus.jsonl --output {name} {settings}"
        ));
        assert_eq!(run.code, 1, "{}", run.err);
        let companions: Vec<String> = directory
            .names()
            .into_iter()
            .filter(|other| other.starts_with(name))
            .collect();
        let expected: Vec<Vec<u8>> = companions.iter().map(|name| directory.read(name)).collect();
        for shard in 1..=3 {
            directory.run(&format!(
                "embed --input corpus.jsonl --output {name} {settings} --shard {shard}/3"
            ));
        }
        let merge = format!(
            "merge {name}.shard-3-of-3 {name}.shard-1-of-3 {name}.shard-2-of-3 --output {name}"
        );
        let run = directory.run(&merge);
        assert!(run.err.contains("is there already"), "{}", run.err);
        let run = directory.run(&format!("{merge} --force"));
        assert_eq!(run.code, 1, "one row was rejected: {}", run.err);
        for (name, expected) in companions.iter().zip(expected) {
            assert!(directory.read(name) == expected, "{name}");
        }
    }
}

#[test]
fn there_may_be_more_shards_than_rows() {
    let directory = Directory::with_corpus(3);
    directory.embed("--output v.csv");
    let expected = directory.read("v.csv");
    for shard in 1..=5 {
        directory.embed(&format!("--output v.csv --shard {shard}/5"));
    }
    let shards: Vec<String> = (1..=5)
        .map(|shard| format!("v.csv.shard-{shard}-of-5"))
        .collect();
    let run = directory.run(&format!(
        "merge {} --output v.csv --force",
        shards.join(" ")
    ));
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(directory.read("v.csv") == expected);
}

#[test]
fn shards_that_do_not_make_one_run_are_refused() {
    let directory = Directory::with_corpus(30);
    for shard in 1..=3 {
        directory.embed(&format!("--output a --output-format csv --shard {shard}/3"));
    }
    directory.embed("--output b.csv --shard 2/3 --prompt query");
    directory.embed("--output b.csv --shard 2/4");
    let other = directory.run_with(
        "embed --input - --input-format jsonl --output c.csv --shard 2/3",
        &directory.read("corpus.jsonl"),
    );
    assert_eq!(other.code, 0, "{}", other.err);
    let whole = directory.read("a.shard-3-of-3");
    directory.write("unfinished", &whole[..whole.len() - 9]);
    directory.write("text", b"some text");
    let cases = [
        ("a.shard-1-of-3 a.shard-3-of-3", "missing: 2/3"),
        (
            "a.shard-1-of-3 a.shard-1-of-3 a.shard-2-of-3 a.shard-3-of-3",
            "is shard 1/3 as is",
        ),
        (
            "a.shard-1-of-3 b.csv.shard-2-of-3 a.shard-3-of-3",
            "prompt is raw there and query here",
        ),
        (
            "a.shard-1-of-3 b.csv.shard-2-of-4 a.shard-3-of-3",
            "3 shards there and 4 here",
        ),
        (
            "a.shard-1-of-3 c.csv.shard-2-of-3 a.shard-3-of-3",
            "does not go with",
        ),
        ("a.shard-1-of-3 a.shard-2-of-3 unfinished", "is unfinished"),
        ("a.shard-1-of-3 text", "no spool"),
        ("a.shard-1-of-3 nowhere", "cannot read"),
    ];
    for (shards, message) in cases {
        let run = directory.run(&format!("merge {shards} --output v.csv"));
        assert_eq!(run.code, 1, "{shards}: {}", run.err);
        assert!(run.err.contains(message), "{shards}: {}", run.err);
        assert!(!directory.path("v.csv").exists());
    }
}

#[test]
fn a_damaged_shard_is_an_error_and_never_a_crash() {
    let directory = Directory::with_corpus(30);
    for shard in 1..=2 {
        directory.embed(&format!("--output v.csv --keep number --shard {shard}/2"));
    }
    let whole = directory.read("v.csv.shard-1-of-2");
    let mut random = Random(3);
    for _ in 0..40 {
        let mut damaged = whole.clone();
        let position = random.below(whole.len());
        damaged[position] ^= 1 << random.below(8);
        directory.write("damaged", &damaged);
        let run = directory.run("merge damaged v.csv.shard-2-of-2 --output v.csv");
        assert_eq!(run.code, 1, "{position}: {}", run.err);
        assert!(
            run.err.starts_with("lanewise: damaged: "),
            "{position}: {}",
            run.err
        );
    }
    // A frame that claims more than the file has is not believed.
    let mut claims = whole[..16].to_vec();
    claims.extend([0xff; 8]);
    fs::write(directory.path("damaged"), claims).unwrap();
    assert_eq!(directory.run("merge damaged --output v.csv").code, 1);
}
