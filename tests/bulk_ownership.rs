//! What `embed --input` and `merge` write, replace and remove: no input, no model, and nothing of
//! someone else.
#![cfg(unix)]
#![cfg(feature = "bulk")]

mod bulk_support;
mod cli_support;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Instant;

use bulk_support::Directory;
use cli_support::{Run, TINY};
use lanewise_testkit::random::Random;

const ROWS: usize = 12;

/// Every file that a run to `v.npy` writes, replaces or removes.
const WRITTEN: [&str; 9] = [
    "v.npy",
    "v.npy.partial",
    "v.npy.rejects.jsonl",
    "v.npy.meta.json",
    "v.npy.ids.jsonl",
    "v.npy.writing",
    "v.npy.rejects.jsonl.writing",
    "v.npy.meta.json.writing",
    "v.npy.ids.jsonl.writing",
];

const FLAGS: [&str; 3] = ["", "--force", "--resume"];

#[track_caller]
fn assert_refused(run: &Run, message: &str) {
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.err.contains(message), "{message}: {}", run.err);
}

#[test]
fn an_input_is_never_written_whatever_its_name() {
    for name in WRITTEN {
        for link in ["itself", "hard link", "symbolic link"] {
            let directory = Directory::with_corpus(ROWS);
            let corpus = directory.read("corpus.jsonl");
            let (from, to) = (directory.path("corpus.jsonl"), directory.path(name));
            let mut input = "corpus.jsonl";
            match link {
                "itself" => {
                    fs::rename(from, to).unwrap();
                    input = name;
                }
                "hard link" => fs::hard_link(from, to).unwrap(),
                _ => symlink("corpus.jsonl", to).unwrap(),
            }
            let names = directory.names();
            for flag in FLAGS {
                let run = directory.run(&format!(
                    "embed --input {input} --input-format jsonl --output v.npy {flag}"
                ));
                assert_refused(&run, "is an input");
                assert!(directory.read(input) == corpus, "{name}, {link}, {flag}");
                assert_eq!(directory.names(), names, "{name}, {link}, {flag}");
            }
        }
    }
}

#[test]
fn a_file_on_standard_input_is_an_input_too() {
    let directory = Directory::with_corpus(ROWS);
    let corpus = directory.read("corpus.jsonl");
    fs::hard_link(directory.path("corpus.jsonl"), directory.path("v.csv")).unwrap();
    let mut command = directory.command();
    let arguments = "embed --input - --input-format jsonl --output v.csv --force";
    command.args(arguments.split(' ')).stdin(Stdio::from(
        File::open(directory.path("corpus.jsonl")).unwrap(),
    ));
    let run: Run = command.output().unwrap().into();
    assert_refused(&run, "v.csv: is an input as well");
    assert!(directory.read("corpus.jsonl") == corpus);
}

#[test]
fn the_model_is_never_written() {
    let directory = Directory::with_corpus(ROWS);
    fs::copy(TINY.as_path(), directory.path("model.gguf")).unwrap();
    let model = directory.read("model.gguf");
    for name in ["v.csv", "v.csv.partial", "v.csv.meta.json"] {
        symlink("model.gguf", directory.path(name)).unwrap();
        let run = directory.run("embed -m model.gguf --input corpus.jsonl --output v.csv --force");
        assert_refused(&run, "is the model");
        fs::remove_file(directory.path(name)).unwrap();
    }
    let run = directory.run(
        "embed -m model.gguf --input corpus.jsonl --output model.gguf --output-format csv --force",
    );
    assert_refused(&run, "model.gguf: is the model as well");
    assert!(directory.read("model.gguf") == model);
}

#[test]
fn shards_are_inputs_of_a_merge() {
    let directory = Directory::with_corpus(ROWS);
    for shard in 1..=2 {
        directory.embed(&format!("--output v.csv --shard {shard}/2"));
    }
    let shard = directory.read("v.csv.shard-1-of-2");
    let merge = "merge v.csv.shard-1-of-2 v.csv.shard-2-of-2 --output v.csv --force";
    for name in [
        "v.csv",
        "v.csv.meta.json",
        "v.csv.writing",
        "v.csv.rejects.jsonl",
    ] {
        fs::hard_link(directory.path("v.csv.shard-1-of-2"), directory.path(name)).unwrap();
        assert_refused(&directory.run(merge), "is an input");
        assert!(directory.read(name) == shard, "{name}");
        fs::remove_file(directory.path(name)).unwrap();
    }
    assert_eq!(directory.run(merge).code, 0);
}

#[test]
fn a_merge_goes_on_where_a_killed_one_stopped() {
    let directory = Directory::with_corpus(ROWS);
    directory.embed("--output whole.csv");
    for shard in 1..=2 {
        directory.embed(&format!("--output v.csv --shard {shard}/2"));
    }
    let merge = "merge v.csv.shard-1-of-2 v.csv.shard-2-of-2 --output v.csv";
    directory.write("v.csv.writing", b"notes");
    let run = directory.run(merge);
    assert_refused(&run, "v.csv.writing: is where the output is written");
    assert_eq!(directory.read("v.csv.writing"), b"notes");
    let expected = directory.read("whole.csv");
    directory.write("v.csv.writing", &expected[..300]);
    let run = directory.run(merge);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(directory.read("v.csv") == expected);
    directory.write("v.csv.writing", b"notes");
    assert_eq!(directory.run(&format!("{merge} --force")).code, 0);
}

#[test]
fn a_file_of_someone_else_is_replaced_with_force_only() {
    for name in WRITTEN {
        let directory = Directory::with_corpus(ROWS);
        for foreign in ["notes", "{\"index\":\"of notes\"}\n"] {
            directory.write(name, foreign.as_bytes());
            for flag in ["", "--resume"] {
                let arguments = format!("embed --input corpus.jsonl --output v.npy {flag}");
                let run = directory.run(&arguments);
                assert_eq!(run.code, 1, "{name}, {flag}: {}", run.err);
                let named = format!("lanewise: {name}: ");
                assert!(run.err.starts_with(&named), "{}", run.err);
                assert_eq!(directory.read(name), foreign.as_bytes(), "{name}, {flag}");
                assert_eq!(directory.names().len(), 2, "{name}, {flag}");
            }
        }
        directory.embed("--output v.npy --force");
        let names = [
            "corpus.jsonl",
            "v.npy",
            "v.npy.ids.jsonl",
            "v.npy.meta.json",
        ];
        assert_eq!(directory.names(), names);
    }
}

#[test]
fn what_a_finished_run_left_is_no_obstacle() {
    let directory = Directory::with_corpus(ROWS);
    let rows = directory.read("corpus.jsonl");
    directory.write("corpus.jsonl", &[&rows[..], b"no json\n"].concat());
    for name in ["v.jsonl", "v.csv", "v.npy", "v.parquet", "v.csv.gz"] {
        let embed = || directory.run(&format!("embed --input corpus.jsonl --output {name}"));
        assert_eq!(embed().code, 1, "a row is rejected");
        let first = directory.read(name);
        fs::remove_file(directory.path(name)).unwrap();
        let run = embed();
        assert!(run.err.contains("12 vectors"), "{}", run.err);
        assert!(directory.read(name) == first);
    }
}

#[test]
fn a_symbolic_link_as_output_is_followed() {
    let directory = Directory::with_corpus(ROWS);
    directory.embed("--output plain.jsonl");
    let expected = directory.read("plain.jsonl");
    fs::create_dir(directory.path("far")).unwrap();
    symlink("far/away.jsonl", directory.path("between")).unwrap();
    symlink("between", directory.path("v.jsonl")).unwrap();
    let is_link = |name: &str| {
        fs::symlink_metadata(directory.path(name))
            .unwrap()
            .is_symlink()
    };
    directory.embed("--output v.jsonl");
    assert!(directory.read("far/away.jsonl") == expected);
    assert!(is_link("v.jsonl") && is_link("between"));
    let run = directory.run("embed --input corpus.jsonl --output v.jsonl");
    assert_refused(&run, "v.jsonl: is there already");
    directory.write("far/away.jsonl", b"");
    directory.embed("--output v.jsonl --force");
    assert!(directory.read("far/away.jsonl") == expected && is_link("v.jsonl"));
    let run = directory.embed("--output v.jsonl --resume");
    assert!(run.err.contains("is complete"), "{}", run.err);

    symlink("far/shard", directory.path("s.jsonl.shard-1-of-2")).unwrap();
    directory.embed("--output s.jsonl --shard 1/2");
    directory.embed("--output s.jsonl --shard 2/2");
    assert!(is_link("s.jsonl.shard-1-of-2") && directory.path("far/shard").exists());
    let run = directory.run("merge s.jsonl.shard-1-of-2 s.jsonl.shard-2-of-2 --output s.jsonl");
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(directory.read("s.jsonl") == expected);

    symlink("circle", directory.path("circle")).unwrap();
    let run = directory.run("embed --input corpus.jsonl --output circle --output-format csv");
    assert_refused(&run, "circle");
}

#[test]
fn a_directory_where_a_file_goes_is_found_at_the_start() {
    for name in WRITTEN {
        let directory = Directory::with_corpus(ROWS);
        fs::create_dir(directory.path(name)).unwrap();
        for flag in FLAGS {
            let arguments = format!("embed --input corpus.jsonl --output v.npy {flag}");
            let run = directory.run(&arguments);
            assert_eq!(run.code, 1, "{name}: {}", run.err);
            assert!(
                run.err.contains(&format!("lanewise: {name}: is ")),
                "{}",
                run.err
            );
            assert_eq!(directory.names().len(), 2, "{name}");
        }
    }
}

/// A directory with the spool of a run that has all its rows, but no room for its output `v.jsonl`;
/// and the bytes of the output.
fn complete_spool(more: &str) -> (Directory, Vec<u8>) {
    let directory = Directory::with_corpus(700);
    directory.embed("--output whole.jsonl");
    let expected = directory.read("whole.jsonl");
    let embed = format!("embed --input corpus.jsonl --output v.jsonl {more}");
    let run = directory.run_limited(500, &embed);
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.err.contains("v.jsonl: cannot write"), "{}", run.err);
    assert!(directory.path("v.jsonl.partial").exists());
    assert!(!directory.path("v.jsonl.writing").exists());
    (directory, expected)
}

#[test]
fn a_half_written_output_is_replaced_if_this_run_wrote_it() {
    let (directory, expected) = complete_spool("");
    for foreign in [&b"notes"[..], &expected[1..], b"\0\0x"] {
        directory.write("v.jsonl.writing", foreign);
        let run = directory.run("embed --input corpus.jsonl --output v.jsonl --resume");
        assert_refused(&run, "v.jsonl.writing: is where the output is written");
        assert!(directory.read("v.jsonl.writing") == foreign);
        assert!(directory.path("v.jsonl.partial").exists());
    }
    directory.write("v.jsonl.writing", &expected[..3000]);
    directory.write("v.jsonl.meta.json.writing", b"{\n");
    directory.embed("--output v.jsonl --resume");
    assert!(directory.read("v.jsonl") == expected);
    assert!(
        !directory
            .names()
            .iter()
            .any(|name| name.contains("writing"))
    );
}

#[test]
fn a_run_killed_while_it_writes_its_output_goes_on() {
    let (directory, expected) = complete_spool("");
    let spool = directory.read("v.jsonl.partial");
    let resume = "embed --input corpus.jsonl --output v.jsonl --resume";
    let start = Instant::now();
    assert_eq!(directory.run(resume).code, 0);
    let whole_run = start.elapsed();
    let mut random = Random(5);
    let mut half_written = 0;
    for _ in 0..40 {
        if directory.path("v.jsonl").exists() && !directory.path("v.jsonl.partial").exists() {
            assert!(directory.read("v.jsonl") == expected);
            fs::remove_file(directory.path("v.jsonl")).unwrap();
            directory.write("v.jsonl.partial", &spool);
        }
        let mut command = directory.command();
        let mut child = command.args(resume.split(' ')).spawn().unwrap();
        sleep(whole_run.mul_f64(random.below(1000) as f64 / 1000.0));
        child.kill().unwrap();
        let run = child.wait_with_output().unwrap();
        // A kill can come between the summary, which is the last that a run says, and its end.
        let said = String::from_utf8_lossy(&run.stderr);
        let last = said.lines().last();
        let is_summary = last.is_some_and(|line| line.contains(" vectors, "));
        assert!(
            said.is_empty() || run.status.success() || is_summary,
            "{said}"
        );
        half_written += usize::from(directory.path("v.jsonl.writing").exists());
    }
    println!("{half_written} kills left a half-written output");
    directory.run(resume);
    assert!(directory.read("v.jsonl") == expected);
    let names = directory.names();
    let unfinished = |name: &String| name.contains("writing") || name.contains("partial");
    assert!(!names.iter().any(unfinished), "{names:?}");
}

#[test]
fn an_output_that_appears_while_a_run_lasts_is_not_replaced() {
    let (directory, expected) = complete_spool("");
    for name in ["v.jsonl", "v.jsonl.meta.json"] {
        directory.write(name, b"notes");
        let run = directory.run("embed --input corpus.jsonl --output v.jsonl --resume");
        assert_refused(&run, &format!("{name}: is there, and is not of this run"));
        assert_eq!(directory.read(name), b"notes");
        fs::remove_file(directory.path(name)).unwrap();
    }
    // That of a run which was killed after its last step but one is its own.
    directory.write("v.jsonl", &expected);
    fs::copy(
        directory.path("whole.jsonl.meta.json"),
        directory.path("v.jsonl.meta.json"),
    )
    .unwrap();
    directory.embed("--output v.jsonl --resume");
    assert!(directory.read("v.jsonl") == expected);
    assert!(!directory.path("v.jsonl.partial").exists());
}

#[test]
fn a_run_told_to_replace_a_file_replaces_it_when_it_is_resumed() {
    let directory = Directory::with_corpus(700);
    directory.embed("--output whole.jsonl");
    directory.write("v.jsonl", b"old");
    let run = directory.run_limited(500, "embed --input corpus.jsonl --output v.jsonl --force");
    assert_eq!(run.code, 1, "{}", run.err);
    assert_eq!(directory.read("v.jsonl"), b"old");
    directory.write("v.jsonl", b"new file of someone else");
    let resume = "embed --input corpus.jsonl --output v.jsonl --resume";
    assert_refused(
        &directory.run(resume),
        "v.jsonl: is there, and is not of this run",
    );
    fs::remove_file(directory.path("v.jsonl")).unwrap();
    assert_eq!(directory.run(resume).code, 0);

    directory.write("v.jsonl", b"old");
    directory.run_limited(500, "embed --input corpus.jsonl --output v.jsonl --force");
    assert_eq!(directory.run(resume).code, 0);
    assert!(directory.read("v.jsonl") == directory.read("whole.jsonl"));
}
