//! `lanewise convert A B` of files of vectors.
#![cfg(feature = "bulk")]

mod bulk_support;
mod cli_support;

use std::fs;

use bulk_support::Directory;
use cli_support::Run;

/// Formats that vectors are read back from, and one that they are only written in.
const FROM: [&str; 5] = ["parquet", "arrow", "jsonl", "jsonl.gz", "npy"];
const TO: [&str; 6] = ["parquet", "arrow", "jsonl", "jsonl.gz", "npy", "csv"];

/// Everything that an output named `name` and the files beside it hold, by what follows the name.
fn output(directory: &Directory, name: &str) -> Vec<(String, Vec<u8>)> {
    let names = directory.names();
    let own = names
        .iter()
        .filter_map(|file| Some((file, file.strip_prefix(name)?)));
    own.filter(|(_, suffix)| suffix.is_empty() || !suffix.starts_with(".gz"))
        .map(|(file, suffix)| (suffix.to_owned(), directory.read(file)))
        .collect()
}

#[track_caller]
fn assert_same(directory: &Directory, expected: &str, found: &str) {
    let (expected, found) = (output(directory, expected), output(directory, found));
    let names = |files: &[(String, Vec<u8>)]| -> Vec<String> {
        files.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&expected), names(&found));
    for ((suffix, expected), (_, found)) in expected.iter().zip(&found) {
        assert!(expected == found, "{suffix} differs");
    }
}

#[track_caller]
fn convert(directory: &Directory, arguments: &str) -> Run {
    let run = directory.run(&format!("convert {arguments}"));
    assert_eq!(
        (run.code, run.out.as_str()),
        (0, ""),
        "{arguments}: {}",
        run.err
    );
    run
}

/// A corpus with a row that has no vector.
fn corpus() -> Directory {
    let directory = Directory::with_corpus(60);
    let rows = directory.read("corpus.jsonl");
    directory.write(
        "corpus.jsonl",
        &[&rows[..], b"{\"id\":\"bad\",\"text\":5}\n"].concat(),
    );
    directory
}

#[track_caller]
fn embed(directory: &Directory, input: &str, arguments: &str) {
    let run = directory.run(&format!("embed --input {input} {arguments}"));
    assert!(run.code < 2, "{}", run.err);
}

#[test]
fn every_format_becomes_every_other_as_embed_writes_it() {
    let directory = corpus();
    let settings = "--id-field id --keep number,text --precision i8 --overflow split";
    for format in TO {
        embed(
            &directory,
            "corpus.jsonl",
            &format!("--output a.{format} {settings}"),
        );
    }
    for from in FROM {
        for to in TO {
            convert(&directory, &format!("a.{from} b.{to} --force"));
            assert_same(&directory, &format!("a.{to}"), &format!("b.{to}"));
        }
    }
    assert!(
        !directory
            .names()
            .iter()
            .any(|name| name.contains("writing"))
    );
}

#[test]
fn columns_with_types_of_their_own_keep_them() {
    let directory = corpus();
    embed(
        &directory,
        "corpus.jsonl",
        "--output in.parquet --keep number,text,id",
    );
    let settings = "--id-field id --keep number,tokens,truncated,scale,text_digest --field text";
    embed(
        &directory,
        "corpus.jsonl",
        "--output in.arrow --keep number,text,id --precision i8",
    );
    for format in TO {
        embed(
            &directory,
            "in.arrow",
            &format!("--output a.{format} {settings}"),
        );
    }
    for from in FROM {
        for to in TO {
            // Text has no type for the bytes of the digest.
            if matches!(from, "parquet" | "arrow") || matches!(to, "jsonl" | "npy" | "csv") {
                convert(&directory, &format!("a.{from} b.{to} --force"));
                assert_same(&directory, &format!("a.{to}"), &format!("b.{to}"));
            }
        }
    }
}

#[test]
fn exact_vectors_become_any_precision() {
    let directory = corpus();
    let embed = |output: &str| {
        embed(
            &directory,
            "corpus.jsonl",
            &format!("--id-field id --output {output}"),
        );
    };
    embed("f32.parquet");
    embed("all.jsonl --precision binary+f32+i8");
    for precision in ["f32", "f16", "i8", "binary", "i8+binary", "f32+i8+f16"] {
        embed(&format!("{precision}.arrow --precision {precision}"));
        for from in ["f32.parquet", "all.jsonl"] {
            let arguments = format!("{from} b.arrow --force --precision {precision}");
            convert(&directory, &arguments);
            assert_same(&directory, &format!("{precision}.arrow"), "b.arrow");
        }
    }
    // A part of a set needs no exact ones.
    convert(&directory, "i8+binary.arrow c.arrow --precision binary");
    assert_same(&directory, "binary.arrow", "c.arrow");
    convert(&directory, "i8+binary.arrow d.npy --precision i8");
}

#[test]
fn what_was_lost_does_not_come_back() {
    let directory = corpus();
    embed(
        &directory,
        "corpus.jsonl",
        "--output v.arrow --precision i8+binary",
    );
    for (arguments, code, expected) in [
        (
            "v.arrow b.parquet --precision f32",
            1,
            "v.arrow: its vectors are stored as i8+binary, and f32 would not be that of the texts; embed again with --precision f32, or once with f32 as well (i8+binary+f32)",
        ),
        (
            "v.arrow b.arrow --precision i8+f16",
            1,
            "and f16 would not be",
        ),
        (
            "v.arrow b.csv",
            2,
            "b.csv: CSV holds vectors in one precision",
        ),
        ("v.arrow b.npy", 2, "b.npy: a NumPy array holds"),
        ("v.arrow b.arrow --precision i4", 2, "'i4' is no precision"),
        (
            "v.arrow b.arrow --max-memory 100M",
            2,
            "--max-memory: 100 MB are too little; give it",
        ),
        (
            "v.arrow b.arrow --type q8_0",
            2,
            "--type is for a model's directory, which v.arrow is not",
        ),
        (
            ". b.gguf --precision i8",
            2,
            "--precision is for a file of vectors, which . is not",
        ),
        ("v.arrow b", 2, "does not tell the format"),
    ] {
        let run = directory.run(&format!("convert {arguments}"));
        assert_eq!(run.code, code, "{arguments}: {}", run.err);
        assert!(run.err.contains(expected), "{arguments}: {}", run.err);
    }
    assert!(!directory.names().iter().any(|name| name.starts_with("b.")));
}

#[test]
fn files_that_it_has_not_written_stay() {
    let directory = corpus();
    embed(&directory, "corpus.jsonl", "--output a.npy --id-field id");
    directory.write("b.parquet", b"notes");
    directory.write("c.npy.ids.jsonl", b"notes");
    for (arguments, expected) in [
        (
            "a.npy b.parquet",
            "b.parquet: is there already; take another output, or replace it with --force",
        ),
        ("a.npy c.npy", "c.npy.ids.jsonl: is there already"),
        ("a.npy a.npy --force", "a.npy: is an input as well"),
        (
            "a.npy a.npy.ids.jsonl --force",
            "a.npy.ids.jsonl: is an input as well",
        ),
        (
            "a.npy a.npy.meta.json --output-format jsonl --force",
            "is an input as well",
        ),
    ] {
        let before = output(&directory, "");
        let run = directory.run(&format!("convert {arguments}"));
        assert!(run.code == 1 || run.code == 2, "{arguments}: {}", run.err);
        assert!(run.err.contains(expected), "{arguments}: {}", run.err);
        assert!(output(&directory, "") == before, "{arguments}");
    }
    convert(&directory, "a.npy b.parquet --force");
    convert(&directory, "b.parquet d.npy");
    assert_same(&directory, "a.npy", "d.npy");
}

#[test]
fn what_was_converted_is_the_output_of_its_run() {
    let directory = corpus();
    let settings = "--id-field id --keep text";
    embed(
        &directory,
        "corpus.jsonl",
        &format!("--output a.jsonl {settings}"),
    );
    let run = convert(&directory, "a.jsonl b.arrow --precision i8+binary");
    let said = "b.arrow: 60 vectors, ";
    assert!(
        run.err.contains(said) && run.err.contains(" rows/s"),
        "{}",
        run.err
    );
    assert!(
        run.err
            .contains("1 row rejected: b.arrow.rejects.jsonl says why"),
        "{}",
        run.err
    );
    let verified = directory.run("verify b.arrow --sample all");
    assert_eq!(verified.code, 0, "{}", verified.err);
    let run = directory.run(&format!(
        "embed --input corpus.jsonl --output b.arrow {settings} --precision i8+binary --resume"
    ));
    assert!(run.err.contains("b.arrow: is complete"), "{}", run.err);
    // No row at all.
    directory.write("none.jsonl", b"");
    for format in TO {
        embed(
            &directory,
            "none.jsonl",
            &format!("--output e.{format} {settings}"),
        );
    }
    for from in FROM {
        for to in TO {
            convert(&directory, &format!("e.{from} f.{to} --force --quiet"));
            assert_same(&directory, &format!("e.{to}"), &format!("f.{to}"));
        }
    }
}

#[test]
fn damaged_and_foreign_files_are_refused_and_leave_nothing() {
    let directory = corpus();
    let refused = |arguments: &str, expected: &str| {
        let before = directory.names();
        let run = directory.run(&format!("convert {arguments} out.arrow"));
        assert_eq!(run.code, 1, "{arguments}: {}", run.err);
        assert!(run.err.contains(expected), "{arguments}: {}", run.err);
        assert!(
            run.err.starts_with("lanewise: "),
            "{arguments}: {}",
            run.err
        );
        assert_eq!(directory.names(), before, "{arguments}");
    };
    let settings = "--id-field id --keep number --precision i8";
    for format in ["parquet", "arrow", "jsonl", "npy"] {
        let name = format!("v.{format}");
        embed(
            &directory,
            "corpus.jsonl",
            &format!("--output {name} {settings}"),
        );
        let whole = directory.read(&name);
        // In the middle of a row, and for text also between two.
        let mut ends: Vec<usize> = (0..12).map(|part| whole.len() * part / 12).collect();
        ends.push(whole.len() - 1);
        let last_line = whole[..whole.len() - 1]
            .iter()
            .rposition(|&byte| byte == b'\n');
        ends.extend(last_line.filter(|_| format == "jsonl").map(|end| end + 1));
        for end in ends {
            // A line without its line break is whole.
            if format != "jsonl" || end != whole.len() - 1 {
                directory.write(&name, &whole[..end]);
                refused(&name, &name);
            }
        }
        directory.write(&name, &whole);
        fs::remove_file(directory.path(&format!("{name}.rejects.jsonl"))).unwrap();
        refused(&name, "v.");
        directory.write(&format!("{name}.rejects.jsonl"), b"");
        if matches!(format, "jsonl" | "npy") {
            let beside = format!("{name}.meta.json");
            let metadata = String::from_utf8(directory.read(&beside)).unwrap();
            for (old, new) in [
                ("\"lanewise.dims\": \"64\"", "\"lanewise.dims\": \"32\""),
                ("\\\"dims\\\":64", "\\\"dims\\\":18446744073709551615"),
                ("\\\"dims\\\":64", "\\\"dims\\\":0"),
                (
                    "\\\"precision\\\":\\\"i8\\\"",
                    "\\\"precision\\\":\\\"i8+i8\\\"",
                ),
                (
                    "\\\"precision\\\":\\\"i8\\\"",
                    "\\\"precision\\\":\\\"f32\\\"",
                ),
                ("\\\"rows\\\":61", "\\\"rows\\\":62"),
                ("\\\"rows\\\":61", "\\\"rows\\\":60"),
                ("\\\"rows\\\":61", "\\\"rows\\\":0"),
                ("\\\"name\\\":\\\"number\\\"", "\\\"name\\\":\\\"id\\\""),
                ("\\\"name\\\":\\\"number\\\"", "\\\"name\\\":\\\"scale\\\""),
                ("\"lanewise.run\"", "\"lanewise.walk\""),
            ] {
                assert!(metadata.contains(old), "{old}");
                directory.write(&beside, metadata.replacen(old, new, 1).as_bytes());
                refused(&name, &name);
            }
            fs::remove_file(directory.path(&beside)).unwrap();
            refused(&name, "put it back");
            directory.write(&beside, metadata.as_bytes());
        }
    }
    let ids = String::from_utf8(directory.read("v.npy.ids.jsonl")).unwrap();
    let (first, rest) = ids.split_once('\n').unwrap();
    let swapped = format!("{}\n{first}\n", rest.trim_end());
    for ids in [
        rest,
        &format!("{ids}{first}\n"),
        &swapped,
        "",
        "[]\n",
        "{\"index\":0}\n",
    ] {
        directory.write("v.npy.ids.jsonl", ids.as_bytes());
        refused("v.npy", "v.npy");
    }
    embed(&directory, "corpus.jsonl", "--output v.csv");
    refused(
        "v.csv",
        "is not Parquet, Arrow IPC, JSONL or .npy as embed writes it",
    );
    refused("corpus.jsonl", "corpus.jsonl.meta.json: cannot read");
    directory.write("empty", b"");
    refused("empty", "is not Parquet");
}
