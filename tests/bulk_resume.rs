//! Runs that are killed, interrupted, or out of disk space, and what `--resume` makes of them.
#![cfg(feature = "bulk")]

mod bulk_support;
mod cli_support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use bulk_support::Directory;
use cli_support::Run;
use lanewise_testkit::random::Random;
use lanewise_testkit::tiny_model::{self, Options};

const FORMATS: [&str; 5] = ["v.jsonl", "v.csv", "v.npy", "v.parquet", "v.arrow"];
const SETTINGS: &str = "--id-field id --keep number,meta --prompt query --precision f16";

/// So little that batches are small, and a kill finds some written and some not.
const SMALL: &str = "--max-memory 345M";

/// How many times the run is killed; `LANEWISE_KILLS=50` for what the README states.
fn kills() -> usize {
    std::env::var("LANEWISE_KILLS").map_or(10, |kills| kills.parse().unwrap())
}

#[test]
fn a_run_killed_at_random_and_resumed_gives_the_same_bytes() {
    let directory = Directory::with_corpus(1500);
    kill_at_random(&directory, "");
}

#[test]
fn a_run_that_reuses_vectors_killed_at_random_does_too() {
    let directory = Directory::with_corpus(1500);
    let corpus = directory.read("corpus.jsonl");
    let lines = corpus.split_inclusive(|&byte| byte == b'\n');
    let some: Vec<&[u8]> = lines.skip(100).step_by(2).take(90).collect();
    directory.write("corpus.jsonl", &some.concat());
    directory.embed(&format!("--output old.parquet {SETTINGS}"));
    directory.write("corpus.jsonl", &corpus);
    kill_at_random(&directory, "--reuse old.parquet");
}

/// Kills runs with these arguments and resumes them, and compares with the output of one that is not
/// killed and reuses nothing.
fn kill_at_random(directory: &Directory, arguments: &str) {
    let start = Instant::now();
    directory.embed(&format!("--output whole.parquet {SETTINGS} {SMALL}"));
    let whole_run = start.elapsed();
    let expected = directory.read("whole.parquet");

    let seed = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_nanos() as u64;
    let mut random = Random(seed);
    println!("seed {seed}");
    let mut killed = 0;
    while killed < kills() {
        let mut run = directory.command();
        let arguments = format!(
            "embed --input corpus.jsonl --output v.parquet --resume {SETTINGS} {SMALL} {arguments}"
        );
        let mut child = run.args(arguments.split_whitespace()).spawn().unwrap();
        // Most kills come early, so that a run is killed many times before it ends.
        sleep(Duration::from_micros(
            random.below(whole_run.as_micros() as usize / 2) as u64,
        ));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            killed += 1;
        }
        child.wait().unwrap();
        if directory.path("v.parquet").exists() && !directory.path("v.parquet.partial").exists() {
            assert!(
                directory.read("v.parquet") == expected,
                "after {killed} kills"
            );
            fs::remove_file(directory.path("v.parquet")).unwrap();
        }
    }
    directory.embed(&format!(
        "--output v.parquet --resume {SETTINGS} {SMALL} {arguments}"
    ));
    assert!(directory.read("v.parquet") == expected);
    let mut names = directory.names();
    names.retain(|name| name != "old.parquet");
    let expected = ["corpus.jsonl", "v.parquet", "whole.parquet"];
    assert_eq!(names, expected, "nothing is left behind");
}

/// A kill leaves the spool cut at any byte: here at some of them.
#[test]
fn a_spool_cut_anywhere_is_continued_to_the_same_bytes() {
    let directory = Directory::with_corpus(60);
    // The spool of the only shard of two has all that a whole one has.
    directory.embed(&format!("--output s.jsonl --shard 1/2 {SETTINGS}"));
    let complete = directory.read("s.jsonl.shard-1-of-2");
    let mut random = Random(7);
    let cuts = [0, 1, 16, 20, complete.len() - 1, complete.len()];
    let cuts = cuts
        .into_iter()
        .chain((0..14).map(|_| random.below(complete.len())));
    for cut in cuts {
        fs::remove_file(directory.path("s.jsonl.shard-1-of-2")).unwrap();
        directory.write("s.jsonl.shard-1-of-2.partial", &complete[..cut]);
        directory.embed(&format!("--output s.jsonl --shard 1/2 --resume {SETTINGS}"));
        assert!(
            directory.read("s.jsonl.shard-1-of-2") == complete,
            "cut at {cut}"
        );
    }
}

#[test]
fn every_format_is_the_same_in_every_run() {
    let directory = Directory::with_corpus(300);
    for name in FORMATS {
        directory.embed(&format!("--output {name} {SETTINGS}"));
        let first = directory.read(name);
        directory.embed(&format!("--output {name} --force {SETTINGS} {SMALL}"));
        assert!(directory.read(name) == first, "{name}");
    }
}

#[test]
fn a_damaged_byte_in_the_spool_only_repeats_work() {
    let directory = Directory::with_corpus(60);
    directory.embed("--output v.npy");
    let expected = directory.read("v.npy");
    directory.embed("--output v.npy --shard 1/1 --force");
    directory.embed("--output s.npy --shard 1/2");
    let complete = directory.read("s.npy.shard-1-of-2");
    let mut damaged = complete.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::remove_file(directory.path("s.npy.shard-1-of-2")).unwrap();
    directory.write("s.npy.shard-1-of-2.partial", &damaged);
    directory.embed("--output s.npy --shard 1/2 --resume");
    assert!(directory.read("s.npy.shard-1-of-2") == complete);
    assert!(directory.read("v.npy") == expected);
}

#[test]
fn resuming_with_other_settings_or_input_is_refused() {
    let directory = Directory::with_corpus(20);
    directory.embed("--output v.jsonl --shard 1/2");
    let spool = directory.read("v.jsonl.shard-1-of-2");
    fs::remove_file(directory.path("v.jsonl.shard-1-of-2")).unwrap();
    directory.write("v.jsonl.shard-1-of-2.partial", &spool[..spool.len() - 20]);
    let resume = |more: &str| {
        directory.run(&format!(
            "embed --input corpus.jsonl --output v.jsonl --shard 1/2 {more}"
        ))
    };
    for (more, message) in [
        ("", "--resume"),
        (
            "--resume --prompt query",
            "prompt is raw there and query here",
        ),
        ("--resume --dims 32", "dims is 64 there and 32 here"),
        (
            "--resume --precision i8",
            "precision is f32 there and i8 here",
        ),
        ("--resume --keep number", "--keep"),
        ("--resume --no-dense-head", "dense_heads"),
    ] {
        let run = resume(more);
        assert_eq!(run.code, 1, "{more}: {}", run.err);
        assert!(run.err.contains(message), "{more}: {}", run.err);
    }
    directory.write("corpus.jsonl", b"{\"text\":\"another\"}\n");
    let run = resume("--resume");
    assert!(
        run.err.contains("the input corpus.jsonl has"),
        "{}",
        run.err
    );
}

#[test]
fn resuming_a_complete_run_does_nothing_and_says_so() {
    let directory = Directory::with_corpus(5);
    directory.embed("--output v.jsonl");
    let run = directory.embed("--output v.jsonl --resume");
    assert!(run.err.contains("is complete"), "{}", run.err);
    // With nothing to resume it begins.
    directory.embed("--output w.jsonl --resume");
    assert!(directory.read("w.jsonl") == directory.read("v.jsonl"));
}

#[test]
fn two_runs_do_not_write_one_output() {
    let directory = Directory::new();
    let mut first = directory.command();
    let mut first = first
        .args("embed --input - --input-format lines --output v.jsonl".split(' '))
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = first.stdin.take().unwrap();
    input
        .write_all(b"enough to tell that this is no other format\n")
        .unwrap();
    while !directory.path("v.jsonl.partial").exists() {
        sleep(Duration::from_millis(5));
    }
    sleep(Duration::from_millis(50));
    for more in ["--resume", "--force"] {
        let run = directory.run_with(
            &format!("embed --input - --input-format lines --output v.jsonl {more}"),
            b"x",
        );
        assert_eq!(run.code, 1);
        assert!(run.err.contains("another run"), "{}", run.err);
    }
    drop(input);
    assert!(first.wait().unwrap().success());
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_cleanly_with_the_command_that_resumes() {
    let directory = Directory::with_corpus(4000);
    directory.embed("--output whole.jsonl");
    let mut run = directory.command();
    let child = run
        .args(["embed", "--input", "corpus.jsonl", "--output", "v.jsonl"])
        .spawn()
        .unwrap();
    let spool = directory.path("v.jsonl.partial");
    while fs::metadata(&spool).map_or(0, |spool| spool.len()) < 2000 {
        sleep(Duration::from_millis(2));
    }
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    let run: Run = child.wait_with_output().unwrap().into();
    assert_eq!(run.code, 130, "{}", run.err);
    let command = run.err.lines().last().unwrap().trim();
    assert!(
        command.ends_with("embed --input corpus.jsonl --output v.jsonl --resume"),
        "{}",
        run.err
    );
    assert!(!directory.path("v.jsonl").exists());
    let arguments = &command[command.find("embed").unwrap()..];
    let run = directory.run(arguments);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(directory.read("v.jsonl") == directory.read("whole.jsonl"));
}

/// A model of which a full batch takes several seconds.
#[cfg(unix)]
fn slow_model() -> std::path::PathBuf {
    let options = Options {
        layers: 10,
        hidden: 256,
        feed_forward: 1024,
        ..Options::default()
    };
    tiny_model::written(cli_support::scratch("slow"), &options)
}

#[cfg(unix)]
#[test]
fn ctrl_c_is_answered_at_once_and_obeyed_within_two_seconds() {
    let directory = Directory::new();
    let text = "a text of some words and more ".repeat(25);
    // No two of the same tokens: those would be computed once.
    let rows = (0..60).map(|row| format!("{}{text}\n", "of ".repeat(row)));
    let rows: String = rows.collect();
    directory.write("corpus.txt", rows.as_bytes());
    let model = slow_model();
    let command = |arguments: &str| {
        let mut command = directory.command();
        command
            .env("LANEWISE_MODEL", &model)
            .args(arguments.split(' '));
        command
    };
    let embed = "embed --input corpus.txt --output v.jsonl";
    let start = Instant::now();
    let whole = command(&embed.replace("v.jsonl", "whole.jsonl")).output();
    assert!(whole.unwrap().status.success());
    println!("the whole run takes {:?}", start.elapsed());

    let mut child = command(embed).spawn().unwrap();
    while !directory.path("v.jsonl.partial").exists() {
        sleep(Duration::from_millis(2));
    }
    // In the middle of the first batch.
    sleep(Duration::from_millis(700));
    let signaled = Instant::now();
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    err.read_line(&mut line).unwrap();
    let answered = signaled.elapsed();
    assert!(
        line.contains("finishing the batch; press Ctrl-C again"),
        "{line}"
    );
    err.read_to_string(&mut line).unwrap();
    let status = child.wait().unwrap();
    let ended = signaled.elapsed();
    println!("answered after {answered:?}, ended after {ended:?}");
    assert_eq!(status.code(), Some(130), "{line}");
    assert!(answered < Duration::from_millis(500), "{answered:?}");
    assert!(ended < Duration::from_secs(2), "{ended:?}");
    let spool = fs::metadata(directory.path("v.jsonl.partial"))
        .unwrap()
        .len();
    assert!(
        spool > 3000,
        "rows of the unfinished batch are kept: {spool} bytes"
    );
    let run: Run = command(&format!("{embed} --resume"))
        .output()
        .unwrap()
        .into();
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(directory.read("v.jsonl") == directory.read("whole.jsonl"));
}

#[cfg(unix)]
#[test]
fn a_second_ctrl_c_stops_at_once() {
    let directory = Directory::new();
    let words = |row: usize| "of ".repeat(row % 64) + &"some ".repeat(row / 64);
    let rows: String = (0..4000).map(|row| words(row) + "words\n").collect();
    directory.write("corpus.txt", rows.as_bytes());
    let mut command = directory.command();
    let mut child = command
        .env("LANEWISE_MODEL", slow_model())
        .args("embed --input corpus.txt --output v.jsonl".split(' '))
        .spawn()
        .unwrap();
    while !directory.path("v.jsonl.partial").exists() {
        sleep(Duration::from_millis(2));
    }
    sleep(Duration::from_millis(300));
    let interrupt = || {
        let kill = Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
    };
    interrupt();
    sleep(Duration::from_millis(50));
    interrupt();
    let start = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(
        start.elapsed() < Duration::from_millis(400),
        "{:?}",
        start.elapsed()
    );
}

/// The signal for it ends a process that does not expect it.
#[cfg(unix)]
#[test]
fn a_limit_on_the_size_of_files_is_a_clear_error() {
    let directory = Directory::with_corpus(600);
    directory.embed("--output whole.csv");
    let run = directory.run_limited(40, "embed --input corpus.jsonl --output v.csv");
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(
        run.err
            .contains("v.csv.partial: cannot write: File too large")
            && run.err.contains("ulimit -f")
            && run.err.contains("--resume"),
        "{}",
        run.err
    );
    directory.embed("--output v.csv --resume");
    assert!(directory.read("v.csv") == directory.read("whole.csv"));
}
