//! The command with packed weights: written once, used then, and never in the way.
#![cfg(unix)]

mod cli_support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use cli_support::{Run, TINY, command, feed};
use lanewise::Isa;
use lanewise_testkit::scratch;

/// A cache directory for one test.
struct Cache(PathBuf);

impl Cache {
    /// `None`, and a line that says so, if this CPU has no kernels with packed weights.
    fn new(name: &str) -> Option<Self> {
        if !Isa::Avx512.is_supported() {
            println!("SKIPPED: this CPU has no kernels whose packed weights are kept");
            return None;
        }
        let path = scratch!(format!("{name}-cache"));
        let _ = fs::remove_dir_all(&path);
        Some(Self(path))
    }

    /// The command with the tiny model and this cache, and its own choice of what to do with it.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command();
        command
            .env("LANEWISE_MODEL", TINY.as_path())
            .env("XDG_CACHE_HOME", &self.0)
            .env_remove("LANEWISE_PACKED_WEIGHTS")
            .args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Run {
        feed(self.command(arguments), b"")
    }

    /// The files of packed weights, temporary ones as well.
    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.0.join("lanewise/packed"));
        let entries = entries.into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// The line of `info` that says what there is.
    fn info(&self) -> String {
        let run = self.run(&["info"]);
        let line = run
            .out
            .lines()
            .find_map(|line| line.strip_prefix("packed weights"));
        line.expect(&run.out).trim().to_owned()
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn embed_writes_them_once_and_later_runs_use_them() {
    let Some(cache) = Cache::new("once") else {
        return;
    };
    assert!(cache.info().starts_with("absent: "), "{}", cache.info());
    let first = cache.run(&["embed", "Hello world"]);
    assert_eq!(first.code, 0, "{}", first.err);
    assert!(
        first.err.contains("writing packed weights"),
        "{}",
        first.err
    );
    assert_eq!(cache.files().len(), 1);
    let path = cache.files().remove(0);
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    for arguments in [
        &["embed", "Hello world"][..],
        &["embed", "--no-packed-weights", "Hello world"],
    ] {
        let run = cache.run(arguments);
        assert_eq!((run.code, &*run.err), (0, ""));
        assert_eq!(run.out, first.out);
    }
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
    assert!(cache.info().starts_with("used, "), "{}", cache.info());
    assert!(cache.info().contains(path.to_str().unwrap()));
    let json = cache.run(&["info", "--json", "--no-packed-weights"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["packed_weights"]["state"], "off");
    let json = cache.run(&["info", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["packed_weights"]["state"], "used");
    let bytes = fs::metadata(&path).unwrap().len();
    assert_eq!(json["packed_weights"]["bytes"], bytes);
}

#[test]
fn a_flag_or_a_variable_turns_them_off() {
    let Some(cache) = Cache::new("off") else {
        return;
    };
    let run = cache.run(&["embed", "--no-packed-weights", "a"]);
    assert_eq!((run.code, &*run.err), (0, ""));
    for value in ["off", "use"] {
        let mut command = cache.command(&["embed", "a"]);
        command.env("LANEWISE_PACKED_WEIGHTS", value);
        let run = feed(command, b"");
        assert_eq!((run.code, &*run.err), (0, ""), "{value}");
    }
    // Other commands than `embed` write none.
    for arguments in [&["similarity", "a", "b"][..], &["tokenize", "a"], &["info"]] {
        assert_eq!(cache.run(arguments).code, 0);
    }
    assert!(!cache.0.exists());
}

#[test]
fn a_damaged_file_is_named_once_and_replaced() {
    let Some(cache) = Cache::new("damaged") else {
        return;
    };
    let usual = cache.run(&["embed", "a"]);
    let path = cache.files().remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[5000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(cache.info().contains("content is damaged"));
    let similarity = cache.run(&["similarity", "a", "b"]);
    assert_eq!(similarity.code, 0);
    assert!(
        similarity.err.contains("content is damaged"),
        "{}",
        similarity.err
    );
    let run = cache.run(&["embed", "a"]);
    assert_eq!((run.code, &run.out), (0, &usual.out));
    assert_eq!(
        run.err.matches("content is damaged").count(),
        1,
        "{}",
        run.err
    );
    assert!(run.err.contains(path.to_str().unwrap()), "{}", run.err);
    assert!(run.err.contains("writing packed weights"), "{}", run.err);
    let run = cache.run(&["embed", "a"]);
    assert_eq!((run.code, &*run.err, &run.out), (0, "", &usual.out));
}

#[test]
#[cfg(feature = "bulk")]
fn a_run_over_files_writes_them_before_it_begins() {
    let Some(cache) = Cache::new("bulk") else {
        return;
    };
    fs::create_dir_all(&cache.0).unwrap();
    let [input, output] = ["in.jsonl", "out.jsonl"].map(|name| cache.0.join(name));
    fs::write(&input, "{\"text\":\"a\"}\n").unwrap();
    let [input, output] = [&input, &output].map(|path| path.to_str().unwrap());
    let arguments = ["embed", "--input", input, "--output", output, "--force"];
    let first = cache.run(&arguments);
    assert_eq!(first.code, 0, "{}", first.err);
    assert!(
        first.err.contains("writing packed weights"),
        "{}",
        first.err
    );
    let vectors = fs::read(output).unwrap();
    let second = cache.run(&arguments);
    assert_eq!(second.code, 0, "{}", second.err);
    assert!(
        !second.err.contains("writing packed weights"),
        "{}",
        second.err
    );
    assert_eq!(fs::read(output).unwrap(), vectors);
}

#[test]
fn a_run_killed_while_writing_leaves_no_half_file_in_use() {
    let Some(cache) = Cache::new("killed") else {
        return;
    };
    let usual = cache.run(&["embed", "--no-packed-weights", "a"]);
    // At the limit of a file's size.
    let mut shell = Command::new("sh");
    let script = "ulimit -f 60; exec \"$0\" \"$@\"";
    shell.args(["-c", script]);
    let embed = cache.command(&["embed", "a"]);
    shell.arg(embed.get_program()).args(embed.get_args());
    for (name, value) in embed.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let limited: Run = shell.output().unwrap().into();
    assert_eq!((limited.code, &limited.out), (0, &usual.out));
    assert!(limited.err.contains("File too large"), "{}", limited.err);
    assert_eq!(cache.files(), Vec::<PathBuf>::new());
    assert!(cache.info().starts_with("absent: "), "{}", cache.info());

    // At any moment.
    for round in 0..40 {
        let mut child = cache
            .command(&["embed", "a"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(500 * round));
        let _ = child.kill();
        child.wait().unwrap();
        let info = cache.info();
        assert!(
            info.starts_with("absent: ") || info.starts_with("used, "),
            "{info}"
        );
        for path in cache.files() {
            if path.extension().is_some_and(|end| end == "packed") {
                fs::remove_file(path).unwrap();
            }
        }
    }
    let last = cache.run(&["embed", "a"]);
    assert_eq!((last.code, last.out), (0, usual.out));
    assert!(cache.info().starts_with("used, "), "{}", cache.info());
}

#[test]
fn a_directory_that_cannot_be_made_is_a_message_at_most() {
    let Some(cache) = Cache::new("file") else {
        return;
    };
    fs::create_dir_all(cache.0.join("lanewise")).unwrap();
    fs::write(cache.0.join("lanewise/packed"), "").unwrap();
    let run = cache.run(&["embed", "a"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    assert_eq!(run.out.lines().count(), 1);
}
