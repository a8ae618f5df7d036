//! The command in unusual environments: CPU quotas, no `/proc`, nothing writable, a stopped
//! process, a model that is truncated while it is open.
//!
//! Quotas and missing directories are simulated in a mount namespace. Where the system does not
//! allow `unshare`, those tests print `SKIPPED`.
#![cfg(target_os = "linux")]

mod cli_support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use cli_support::{Run, TINY, command, run, scratch};
use lanewise_testkit::tiny_model::{self, Options};

/// Runs `lanewise` with `arguments` after the shell commands `before` in a mount namespace, or
/// returns `None` if the system allows none.
fn in_mount_namespace(before: &str, arguments: &[&str]) -> Option<Run> {
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user", "--mount", "sh", "-ec", script])
            .arg(env!("CARGO_BIN_EXE_lanewise"))
            .args(arguments)
            .env_remove("LANEWISE_THREADS")
            .env_remove("LANEWISE_ISA")
            .env("LANEWISE_PACKED_WEIGHTS", "off")
            .env("LANEWISE_MODEL", TINY.as_path());
        command.output()
    };
    if !unshare("true").is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: this system allows no mount namespace");
        return None;
    }
    // The scripts mount over these two.
    let program = env!("CARGO_BIN_EXE_lanewise");
    if ["/tmp/", "/root/"]
        .iter()
        .any(|root| program.starts_with(root))
    {
        println!("SKIPPED: {program} lies in a directory that the test hides from it");
        return None;
    }
    let script = format!("{before}\nexec \"$0\" \"$@\"");
    Some(unshare(&script).unwrap().into())
}

/// Shell commands after which the process is in the group `/a/b`, whose hierarchy is mounted at
/// `root`, with files of these contents.
fn cgroup(membership: &str, root: &str, files: &[(&str, &str)]) -> String {
    let mut script = format!(
        "mount -t tmpfs none /tmp\necho '{membership}' >/tmp/cgroup\n\
         mount --bind /tmp/cgroup /proc/$$/cgroup\n\
         mount -t tmpfs none /sys/fs/cgroup\nmkdir -p {root}/a/b\n\
         touch {root}/a/b/cgroup.controllers\n"
    );
    for (path, content) in files {
        script += &format!("echo '{content}' >{root}/{path}\n");
    }
    script
}

fn threads_line(run: &Run) -> &str {
    assert_eq!(run.code, 0, "{run:?}");
    let mut lines = run.out.lines();
    lines.find(|line| line.starts_with("threads")).unwrap()
}

fn cpus() -> usize {
    core_affinity::get_core_ids().unwrap().len()
}

#[test]
fn a_cpu_quota_is_rounded_down_to_threads_but_never_to_none() {
    let root = "/sys/fs/cgroup";
    for (quota, threads) in [(50_000, 1), (100_000, 1), (150_000, 1), (250_000, 2)] {
        let version_2 = cgroup(
            "0::/a/b",
            root,
            &[("a/b/cpu.max", &format!("{quota} 100000"))],
        );
        let of_the_parent = cgroup(
            "0::/a/b",
            root,
            &[
                ("a/cpu.max", &format!("{quota} 100000")),
                ("a/b/cpu.max", "max 100000"),
            ],
        );
        let version_1 = cgroup(
            "3:cpu,cpuacct:/a/b",
            "/sys/fs/cgroup/cpu",
            &[
                ("a/b/cpu.cfs_quota_us", &quota.to_string()),
                ("a/b/cpu.cfs_period_us", "100000"),
            ],
        );
        for world in [version_2, of_the_parent, version_1] {
            let Some(run) = in_mount_namespace(&world, &["info"]) else {
                return;
            };
            let line = threads_line(&run);
            let expected = format!(" {} (", threads.min(cpus()));
            assert!(line.contains(&expected), "quota {quota}: {line}\n{world}");
            assert!(
                threads >= cpus() || line.contains(&format!("quota of {threads})")),
                "{line}"
            );
        }
    }
    let unlimited = cgroup("0::/a/b", root, &[("a/b/cpu.max", "max 100000")]);
    if let Some(run) = in_mount_namespace(&unlimited, &["info"]) {
        assert!(threads_line(&run).contains("no lower quota"), "{run:?}");
    }
}

#[test]
fn no_proc_no_sys_and_nothing_writable_change_no_vector() {
    let usual = run(&["embed", "Hello world"]);
    assert_eq!(usual.code, 0);
    for world in [
        "mount -t tmpfs none /proc",
        "mount -t tmpfs none /sys",
        "mount -t tmpfs none /sys\nmount -t tmpfs none /proc",
        "mount -t tmpfs -o ro none /tmp\nmount -t tmpfs -o ro none /root\nmount -t tmpfs -o ro none /dev\n\
         export HOME=/root XDG_CACHE_HOME=/root/.cache TMPDIR=/tmp\nunset LANEWISE_PACKED_WEIGHTS",
        "export HOME=/nonexistent\nunset XDG_CACHE_HOME",
    ] {
        let Some(run) = in_mount_namespace(world, &["embed", "Hello world"]) else {
            return;
        };
        assert_eq!((run.code, &*run.err), (0, ""), "{world}");
        assert_eq!(run.out, usual.out, "{world}");
    }
}

#[test]
fn thread_count_and_cpu_mask_do_not_change_a_vector() {
    let usual = run(&["embed", "Hello world"]);
    for threads in ["1", "2", "7", "64"] {
        let many = run(&["embed", "--threads", threads, "Hello world"]);
        assert_eq!((many.code, many.out), (0, usual.out.clone()));
    }
    let last = core_affinity::get_core_ids().unwrap().pop().unwrap();
    let mut command = Command::new("taskset");
    command
        .args(["-c", &last.id.to_string(), env!("CARGO_BIN_EXE_lanewise")])
        .env("LANEWISE_MODEL", TINY.as_path())
        .env("LANEWISE_PACKED_WEIGHTS", "off");
    match command.args(["embed", "Hello world"]).output() {
        Ok(output) => assert_eq!(Run::from(output).out, usual.out),
        Err(error) => println!("SKIPPED: taskset: {error}"),
    }
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_no_signal() {
    let output = scratch("limited").with_extension("jsonl");
    let script = "ulimit -f 2; exec \"$0\" embed --format jsonl one two three >\"$1\"";
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script, env!("CARGO_BIN_EXE_lanewise")])
        .arg(&output)
        .env("LANEWISE_MODEL", TINY.as_path())
        .env("LANEWISE_PACKED_WEIGHTS", "off");
    let run: Run = shell.output().unwrap().into();
    assert_eq!(run.code, 1, "{}", run.err);
    let problem = "standard output: cannot write: File too large";
    assert!(run.err.contains(problem), "{}", run.err);
}

/// A command that embeds each line that it is given, and the vectors that it gives back.
struct Embedding {
    child: std::process::Child,
    input: ChildStdin,
    output: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Embedding {
    fn start(model: &std::path::Path) -> Self {
        let mut command = command();
        command.env("LANEWISE_MODEL", model).arg("embed");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
        }
    }

    fn embed(&mut self, text: &str) -> Option<String> {
        // A command that has ended reads no more, which its missing vector tells.
        let _ = writeln!(self.input, "{text}");
        self.output.next().map(Result::unwrap)
    }

    fn signal(&self, signal: i32) {
        // SAFETY: a plain call; the child has not been waited for, so the number is its own.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// Exit code (`None` if a signal ended it) and messages.
    fn end(self) -> (Option<i32>, String) {
        drop(self.input);
        let output = self.child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), err)
    }
}

#[test]
fn a_process_that_is_stopped_and_continued_completes() {
    let text = "a text of some words ".repeat(8);
    let mut embedding = Embedding::start(&TINY);
    let expected = embedding.embed(&text).unwrap();
    for pause in 0..20 {
        writeln!(embedding.input, "{text}").unwrap();
        std::thread::sleep(Duration::from_micros(200 * pause));
        embedding.signal(libc::SIGSTOP);
        std::thread::sleep(Duration::from_millis(20));
        embedding.signal(libc::SIGCONT);
        assert_eq!(embedding.output.next().unwrap().unwrap(), expected);
    }
    assert_eq!(embedding.end(), (Some(0), String::new()));
}

#[test]
fn a_model_cut_short_at_any_time_exits_with_3() {
    let text = "a text of some words ".repeat(40);
    let path = scratch("cut-short");
    let options = Options {
        layers: 12,
        ..Options::default()
    };
    for round in 0..20 {
        tiny_model::write(&path, &options).unwrap();
        let mut embedding = Embedding::start(&path);
        let expected = embedding.embed(&text).expect("it has started");
        let file = fs::File::options().write(true).open(&path).unwrap();
        let cut = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(300 * round));
            file.set_len(4096).unwrap();
        });
        while let Some(vector) = embedding.embed(&text) {
            assert_eq!(vector, expected);
        }
        cut.join().unwrap();
        let (code, err) = embedding.end();
        assert_eq!(code, Some(3), "{err}");
        assert!(err.contains("cut short"), "{err}");
        assert!(err.contains("by renaming the new file over it"), "{err}");
    }
}
