//! What a run is known by: `--resume` goes on with the same run only, and an output is complete only
//! if it is that of the same command. Input that changes while it is read is refused.
#![cfg(unix)]
#![cfg(feature = "bulk")]

mod bulk_support;
mod cli_support;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use bulk_support::Directory;
use cli_support::{Run, TINY_WITHOUT_HEADS};
use lanewise_testkit::tiny_model::{self, Options};

const FORMATS: [&str; 7] = [
    "v.jsonl",
    "v.csv",
    "v.npy",
    "v.parquet",
    "v.arrow",
    "v.jsonl.gz",
    "v.csv.zst",
];

#[track_caller]
fn assert_refused(run: &Run, message: &str) {
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.err.contains(message), "{message}: {}", run.err);
}

fn set_modified(directory: &Directory, name: &str, time: SystemTime) {
    let file = File::options().append(true).open(directory.path(name));
    file.unwrap().set_modified(time).unwrap();
}

fn modified(directory: &Directory, name: &str) -> SystemTime {
    let found = fs::metadata(directory.path(name)).unwrap();
    found.modified().unwrap()
}

/// Makes an unfinished run of a finished shard.
fn unfinish(directory: &Directory, shard: &str) {
    let spool = directory.read(shard);
    fs::remove_file(directory.path(shard)).unwrap();
    directory.write(&format!("{shard}.partial"), &spool[..spool.len() - 20]);
}

#[test]
fn only_the_output_of_the_same_command_is_complete() {
    for name in FORMATS {
        let directory = Directory::with_corpus(20);
        let settings = "--id-field id --keep number";
        directory.embed(&format!("--output {name} {settings}"));
        let before = directory.read(name);
        let resume = |input: &str, more: &str| {
            directory.run(&format!(
                "embed --input {input} --output {name} --resume {more}"
            ))
        };
        for how in ["", "--resume=verify"] {
            let more = format!("{settings} {how}").replace("--resume=verify", "");
            let run = match how {
                "" => resume("corpus.jsonl", &more),
                _ => directory.run(&format!(
                    "embed --input corpus.jsonl --output {name} {settings} {how}"
                )),
            };
            assert_eq!(run.code, 0, "{name}: {}", run.err);
            assert!(run.err.contains("is complete"), "{name}: {}", run.err);
        }
        for (more, message) in [
            (
                "--id-field id --keep number --dims 32",
                "dims is 64 there and 32 here",
            ),
            (
                "--id-field id --keep number --prompt query",
                "prompt is raw there and query here",
            ),
            (
                "--id-field id --keep number --precision i8",
                "precision is f32 there and i8 here",
            ),
            ("--id-field id --keep meta", "--keep is"),
            ("--id-field number --keep number", "--id-field is"),
            (
                "--id-field id --keep number --field id",
                "--field is text there and id here",
            ),
            (
                "--id-field id --keep number --overflow split",
                "overflow is",
            ),
        ] {
            let run = resume("corpus.jsonl", more);
            assert_refused(&run, message);
            assert!(
                run.err.contains("is the output of another command"),
                "{}",
                run.err
            );
        }
        let mut other_model = directory.command();
        let arguments = format!("embed --input corpus.jsonl --output {name} --resume {settings}");
        other_model
            .env("LANEWISE_MODEL", other_tiny_model())
            .args(arguments.split(' '));
        assert_refused(&other_model.output().unwrap().into(), "model_sha256 is");

        // A copy elsewhere is the same input, another content under the name is not.
        fs::copy(directory.path("corpus.jsonl"), directory.path("copy.jsonl")).unwrap();
        set_modified(&directory, "copy.jsonl", SystemTime::UNIX_EPOCH);
        let run = resume("copy.jsonl", settings);
        assert!(
            run.code == 0 && run.err.contains("is complete"),
            "{}",
            run.err
        );
        assert_refused(
            &resume("corpus.jsonl corpus.jsonl", settings),
            "1 input files there and 2 here",
        );
        let mut rows = directory.read("corpus.jsonl");
        rows[30] ^= 1;
        directory.write("corpus.jsonl", &rows);
        assert_refused(
            &resume("corpus.jsonl", settings),
            "the input corpus.jsonl has other contents",
        );
        rows.extend(b"{\"text\":\"more\"}\n");
        directory.write("corpus.jsonl", &rows);
        assert_refused(&resume("corpus.jsonl", settings), "bytes there and");
        assert!(directory.read(name) == before, "{name}");
    }
}

fn other_tiny_model() -> std::path::PathBuf {
    let options = Options {
        seed: 2,
        ..Options::default()
    };
    tiny_model::written(cli_support::scratch("tiny-of-another-seed"), &options)
}

#[test]
fn an_output_that_is_not_whole_is_not_complete() {
    for name in FORMATS {
        let directory = Directory::with_corpus(20);
        directory.embed(&format!("--output {name}"));
        let whole = directory.read(name);
        directory.write(name, &whole[..whole.len() - 5]);
        let arguments = format!("embed --input corpus.jsonl --output {name} --resume");
        let run = directory.run(&arguments);
        assert_refused(&run, &format!("lanewise: {name}: "));
        assert!(run.err.contains("--force"), "{}", run.err);
        directory.write(name, b"notes");
        assert_refused(&directory.run(&arguments), "--force");
        assert_eq!(directory.read(name), b"notes");
    }
    let directory = Directory::with_corpus(20);
    directory.embed("--output v.npy");
    let resume = "embed --input corpus.jsonl --output v.npy --resume";
    for name in ["v.npy.ids.jsonl", "v.npy.meta.json"] {
        let bytes = directory.read(name);
        fs::remove_file(directory.path(name)).unwrap();
        assert_refused(&directory.run(resume), name);
        directory.write(name, &bytes);
    }
    assert_eq!(directory.run(resume).code, 0);
}

#[test]
fn a_complete_output_with_rejects_still_exits_with_1() {
    let directory = Directory::with_corpus(3);
    let rows = directory.read("corpus.jsonl");
    directory.write("corpus.jsonl", &[&rows[..], b"no json\n"].concat());
    let embed = "embed --input corpus.jsonl --output v.parquet --resume --quiet";
    for expected in ["", "is complete"] {
        let run = directory.run(embed);
        assert_eq!(run.code, 1, "{}", run.err);
        assert!(run.err.contains(expected), "{}", run.err);
        let message = "1 row rejected: v.parquet.rejects.jsonl says why";
        assert!(run.err.contains(message), "{}", run.err);
    }
    fs::remove_file(directory.path("v.parquet.rejects.jsonl")).unwrap();
    assert_refused(&directory.run(embed), "v.parquet.rejects.jsonl");
}

#[test]
fn a_shard_is_complete_for_its_own_command_only() {
    let directory = Directory::with_corpus(20);
    let shard = "embed --input corpus.jsonl --output v.csv --shard 1/2";
    directory.run(shard);
    let run = directory.run(&format!("{shard} --resume"));
    assert!(
        run.code == 0 && run.err.contains("is complete"),
        "{}",
        run.err
    );
    assert_refused(
        &directory.run(&format!("{shard} --resume --dims 32")),
        "dims is 64 there",
    );
    let mut spool = directory.read("v.csv.shard-1-of-2");
    spool.truncate(spool.len() - 9);
    directory.write("v.csv.shard-1-of-2", &spool);
    assert_refused(
        &directory.run(&format!("{shard} --resume")),
        "is an unfinished shard",
    );
}

#[test]
fn an_input_with_another_name_or_time_is_the_same() {
    let directory = Directory::with_corpus(30);
    let embed = |input: &str, more: &str| {
        directory.run(&format!(
            "embed --input {input} --output v.csv --shard 1/2 {more}"
        ))
    };
    assert_eq!(embed("corpus.jsonl", "").code, 0);
    let complete = directory.read("v.csv.shard-1-of-2");
    fs::create_dir(directory.path("far")).unwrap();
    fs::copy(
        directory.path("corpus.jsonl"),
        directory.path("far/rows.ndjson"),
    )
    .unwrap();
    set_modified(&directory, "far/rows.ndjson", SystemTime::UNIX_EPOCH);
    for how in ["--resume", "--resume=verify"] {
        unfinish(&directory, "v.csv.shard-1-of-2");
        let run = embed("far/rows.ndjson", how);
        assert_eq!(run.code, 0, "{}", run.err);
        assert!(directory.read("v.csv.shard-1-of-2") == complete);
    }
    // The same bytes read as another format are other rows.
    fs::copy(directory.path("corpus.jsonl"), directory.path("corpus.txt")).unwrap();
    unfinish(&directory, "v.csv.shard-1-of-2");
    let run = embed("corpus.txt", "--resume");
    assert_refused(&run, "is read as jsonl there and as lines here");
}

#[test]
fn other_contents_are_found_by_time_or_by_reading_all() {
    let directory = Directory::new();
    let words = "some more words of a long text ".repeat(30);
    let rows: String = (0..1000)
        .map(|row| format!("{{\"text\":\"{row}\",\"more\":\"{words}\"}}\n"))
        .collect();
    directory.write("corpus.jsonl", rows.as_bytes());
    directory.embed("--output v.csv --shard 1/2");
    unfinish(&directory, "v.csv.shard-1-of-2");
    let spool = directory.read("v.csv.shard-1-of-2.partial");
    let time = modified(&directory, "corpus.jsonl");
    let resume = |how: &str| {
        directory.run(&format!(
            "embed --input corpus.jsonl --output v.csv --shard 1/2 {how}"
        ))
    };
    // Between two samples.
    let mut changed = rows.clone().into_bytes();
    let position = 65_536 + (changed.len() - 131_072) / 62 * 31 + 8_000;
    changed[position] ^= 1;
    directory.write("corpus.jsonl", &changed);
    assert_ne!(modified(&directory, "corpus.jsonl"), time);
    for how in ["--resume", "--resume=verify"] {
        assert_refused(&resume(how), "the input corpus.jsonl has other contents");
    }
    // Whoever sets the time back as well is found by reading all.
    set_modified(&directory, "corpus.jsonl", time);
    assert_refused(
        &resume("--resume=verify"),
        "the input corpus.jsonl has other contents",
    );
    // At the beginning, at the end and in a sample it is found without.
    for position in [
        10,
        rows.len() - 10,
        65_536 + (rows.len() - 131_072) / 62 * 31 + 100,
    ] {
        let mut changed = rows.clone().into_bytes();
        changed[position] ^= 1;
        directory.write("corpus.jsonl", &changed);
        set_modified(&directory, "corpus.jsonl", time);
        assert_refused(
            &resume("--resume"),
            "the input corpus.jsonl has other contents",
        );
    }
    assert!(directory.read("v.csv.shard-1-of-2.partial") == spool);
    directory.write("corpus.jsonl", rows.as_bytes());
    assert_eq!(resume("--resume").code, 0);
}

#[test]
fn standard_input_is_taken_for_the_same_and_that_is_said() {
    let directory = Directory::with_corpus(30);
    let rows = directory.read("corpus.jsonl");
    let embed = "embed --input - --input-format jsonl --output v.csv";
    assert_eq!(
        directory
            .run_with(&format!("{embed} --shard 1/2"), &rows)
            .code,
        0
    );
    let complete = directory.read("v.csv.shard-1-of-2");
    let run = directory.run_with(&format!("{embed} --shard 1/2 --resume"), &rows);
    assert!(
        run.code == 0 && run.err.contains("is complete"),
        "{}",
        run.err
    );
    assert!(
        run.err
            .contains("standard input and pipes cannot be compared"),
        "{}",
        run.err
    );
    unfinish(&directory, "v.csv.shard-1-of-2");
    let run = directory.run_with(&format!("{embed} --shard 1/2 --resume=verify"), &rows);
    assert_eq!(run.code, 2, "{}", run.err);
    let run = directory.run_with(&format!("{embed} --shard 1/2 --resume"), &rows);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(
        run.err
            .contains("standard input and pipes cannot be compared"),
        "{}",
        run.err
    );
    assert!(directory.read("v.csv.shard-1-of-2") == complete);
    unfinish(&directory, "v.csv.shard-1-of-2");
    let run = directory.run("embed --input corpus.jsonl --output v.csv --shard 1/2 --resume");
    assert_refused(&run, "is standard input or a pipe there and a file here");
}

/// Does something to the input while a run reads it, and expects that it is refused; then brings the
/// input back and goes on.
fn change_while_read(message: &str, change: impl Fn(&Directory)) {
    let directory = Directory::with_corpus(3000);
    directory.embed("--output whole.jsonl");
    fs::copy(directory.path("corpus.jsonl"), directory.path("kept.jsonl")).unwrap();
    let arguments = "embed --input corpus.jsonl --output v.jsonl --max-memory 345M";
    let mut command = directory.command();
    let child = command
        .args(arguments.split(' '))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let spool = directory.path("v.jsonl.partial");
    while fs::metadata(&spool).map_or(0, |spool| spool.len()) < 3000 {
        sleep(Duration::from_millis(1));
    }
    change(&directory);
    let run: Run = child.wait_with_output().unwrap().into();
    assert_refused(&run, message);
    assert!(run.err.contains("corpus.jsonl: was "), "{}", run.err);
    assert!(!directory.path("v.jsonl").exists());
    let rows = |name: &str| fs::metadata(directory.path(name)).unwrap().len();
    assert!(rows("v.jsonl.partial") > 3000, "what was computed is kept");

    let resume = format!("{arguments} --resume");
    let changed = directory.read("corpus.jsonl") != directory.read("kept.jsonl");
    if changed {
        assert_refused(&directory.run(&resume), "the input corpus.jsonl has ");
    }
    fs::copy(directory.path("kept.jsonl"), directory.path("corpus.jsonl")).unwrap();
    let run = directory.run(&resume);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(directory.read("v.jsonl") == directory.read("whole.jsonl"));
}

#[test]
fn an_input_that_grows_while_it_is_read_is_refused() {
    change_while_read("was changed while it was read: from", |directory| {
        let file = File::options()
            .append(true)
            .open(directory.path("corpus.jsonl"));
        file.unwrap().write_all(b"{\"text\":\"more\"}\n").unwrap();
    });
}

#[test]
fn an_input_cut_short_while_it_is_read_is_refused() {
    change_while_read("was changed while it was read: from", |directory| {
        let file = File::options()
            .write(true)
            .open(directory.path("corpus.jsonl"));
        file.unwrap().set_len(200_001).unwrap();
    });
}

#[test]
fn an_input_replaced_while_it_is_read_is_refused() {
    change_while_read(
        "was replaced by another file while it was read",
        |directory| {
            fs::copy(directory.path("corpus.jsonl"), directory.path("new.jsonl")).unwrap();
            fs::rename(directory.path("new.jsonl"), directory.path("corpus.jsonl")).unwrap();
        },
    );
}

#[test]
fn an_input_written_over_while_it_is_read_is_refused() {
    change_while_read("was written to while it was read", |directory| {
        let file = File::options()
            .write(true)
            .open(directory.path("corpus.jsonl"));
        let file = file.unwrap();
        let end = file.metadata().unwrap().len();
        file.write_all_at(&[b'x'; 200], end - 200).unwrap();
    });
}

#[test]
fn the_model_of_a_run_is_compared_by_its_contents() {
    let directory = Directory::with_corpus(10);
    fs::copy(TINY_WITHOUT_HEADS.as_path(), directory.path("m.gguf")).unwrap();
    let embed = "embed -m m.gguf --no-dense-head --input corpus.jsonl --output v.csv --resume";
    assert_eq!(directory.run(embed).code, 0);
    fs::copy(directory.path("m.gguf"), directory.path("n.gguf")).unwrap();
    let run = directory.run(&embed.replace("m.gguf", "n.gguf"));
    assert!(
        run.code == 0 && run.err.contains("is complete"),
        "{}",
        run.err
    );
}
