//! The command line on malformed models: a message and an exit code, within 100 MB.
#![cfg(unix)]

mod cli_support;

use std::process::{Command, Stdio};

use cli_support::{Run, command, scratch};
use lanewise_testkit::hostile;

/// One model in this many is opened, each by a process of its own.
const SAMPLE: usize = 37;

/// What the shell lets the command have of address space, in kilobytes.
const MEMORY: &str = "100000";

#[test]
fn a_malformed_model_exits_with_3_within_100_megabytes() {
    let path = scratch("hostile");
    for case in hostile::cases().iter().step_by(SAMPLE) {
        std::fs::write(&path, &case.bytes).unwrap();
        let within = format!("ulimit -v {MEMORY} && exec \"$0\" \"$@\"");
        let mut limited = Command::new("sh");
        limited.args(["-c", &within]).arg(command().get_program());
        limited.args(["embed", "--threads", "1", "--model"]);
        limited
            .arg(&path)
            .arg("Hello world")
            .env("RUST_BACKTRACE", "0");
        let run = Run::from(limited.stdin(Stdio::null()).output().unwrap());
        assert_eq!(
            (run.code, run.out.as_str()),
            (3, ""),
            "{}: {}",
            case.what,
            run.err
        );
        let start = format!("lanewise: {}: ", path.display());
        assert!(run.err.starts_with(&start), "{}: {}", case.what, run.err);
        assert_eq!(run.err.lines().count(), 1, "{}: {}", case.what, run.err);
    }
    std::fs::remove_file(&path).unwrap();
}
