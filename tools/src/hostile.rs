//! Malformed models, each of which the library must refuse with the message that the committed list
//! has.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use lanewise::{Embedder, Error};
use lanewise_testkit::hostile;

/// The longest that refusing a file may take.
const MOST_TIME: Duration = Duration::from_millis(100);
/// The most address space that it may take on top of what the process had before, in kilobytes.
const MOST_MEMORY: u64 = 100_000;

/// The committed list of models and messages.
const LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile-files.txt.gz");

/// The command that accepts other messages.
const ACCEPT: &str = "cargo run --release -p lanewise-tools -- hostile --write";

/// What to do with the malformed models.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Options {
    /// Write the models into this directory, named by their numbers in the list
    out: Option<PathBuf>,
    /// Open each and check that it is refused with the message of the committed list
    #[arg(long)]
    check: bool,
    /// Accept other messages: write the committed list
    #[arg(long)]
    write: bool,
    /// Print the committed list
    #[arg(long)]
    print: bool,
}

/// Does what the options say and returns what there is to print.
///
/// # Errors
/// If a file cannot be read or written, if a model is not refused as it should be, or if the list
/// differs from the committed one.
pub fn run(options: &Options) -> Result<String, String> {
    match &options.out {
        Some(directory) => write_models(directory)
            .map(|()| String::new())
            .map_err(|error| format!("{}: cannot write: {error}", directory.display())),
        None if options.print => committed_list(),
        None => {
            share_one_arena();
            let list = list_in_scratch()?;
            if options.write {
                write_list(&list).map_err(|error| format!("{LIST}: cannot write: {error}"))?;
                return Ok(format!(
                    "{} lines written to {LIST}\n",
                    list.lines().count()
                ));
            }
            compare(&list, &committed_list()?)
        }
    }
}

fn write_models(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for (number, case) in (1..).zip(hostile::cases()) {
        fs::write(directory.join(format!("{number:04}.gguf")), case.bytes)?;
    }
    Ok(())
}

/// The committed list.
fn committed_list() -> Result<String, String> {
    let read = || -> io::Result<String> {
        let mut list = String::new();
        GzDecoder::new(fs::File::open(LIST)?).read_to_string(&mut list)?;
        Ok(list)
    };
    read().map_err(|error| format!("{LIST}: cannot read: {error}"))
}

fn write_list(list: &str) -> io::Result<()> {
    // Neither a name nor a time, so that the same list gives the same bytes.
    let mut file = GzEncoder::new(fs::File::create(LIST)?, Compression::best());
    file.write_all(list.as_bytes())?;
    file.finish().map(drop)
}

/// Compares the list with the committed one line by line.
fn compare(list: &str, committed: &str) -> Result<String, String> {
    let mut lines = list.lines();
    let mut committed_lines = committed.lines();
    let mut count = 0;
    loop {
        match (lines.next(), committed_lines.next()) {
            (None, None) => return Ok(format!("{count} lines as in {LIST}\n")),
            (now, then) if now == then => count += 1,
            (now, then) => {
                let [now, then] = [now, then].map(|line| line.unwrap_or("nothing"));
                return Err(format!(
                    "line {} of {LIST} is\n{then}\nbut now\n{now}\nto accept this on purpose: {ACCEPT}",
                    count + 1
                ));
            }
        }
    }
}

/// The list of what the library says now.
fn list_in_scratch() -> Result<String, String> {
    let directory = std::env::temp_dir().join(format!("lanewise-hostile-{}", std::process::id()));
    fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let result = list(&directory);
    fs::remove_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    result
}

/// Opens every model and lists the messages.
fn list(directory: &Path) -> Result<String, String> {
    let path = directory.join("model.gguf");
    let write = |bytes: &[u8]| fs::write(&path, bytes).map_err(|error| error.to_string());
    for model in hostile::models() {
        write(&model.to_bytes())?;
        use_model(&path).map_err(|error| format!("a model without damage: {error}"))?;
    }

    let cases = hostile::cases();
    let mut list = format!(
        "Malformed models and what the library says of them: {} files, all made from a small model of each family.\n\
         Written by `{ACCEPT}`.\n",
        cases.len()
    );
    let memory = peak_memory().map(|before| before + MOST_MEMORY);
    let (mut group, mut failures, mut messages) = ("", String::new(), BTreeMap::new());
    for (number, case) in (1..).zip(&cases) {
        write(&case.bytes)?;
        if group != case.group {
            group = case.group;
            let _ = write!(list, "\n== {group}\n");
        }
        match refusal(&path, memory) {
            Ok(message) => {
                let _ = writeln!(list, "{number:04} {}\n     {message}", case.what);
                *messages.entry(message).or_insert(0) += 1;
            }
            Err(failure) => {
                let _ = writeln!(failures, "{number:04} {}: {failure}", case.what);
            }
        }
    }
    let _ = writeln!(list, "\n{} different messages.", messages.len());
    match failures.is_empty() {
        true => Ok(list),
        false => Err(format!("not refused as they should be:\n{failures}")),
    }
}

/// Has all threads allocate from one arena. Opening a model starts a thread; where that of the
/// model before has not quite ended, the C library would reserve 128 MB of addresses for another
/// arena, which would count as memory that the library asked for.
fn share_one_arena() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: a plain call with a documented parameter; no other thread of this process runs yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Everything up to a vector.
fn use_model(path: &Path) -> Result<(), Error> {
    let embedder = Embedder::builder().threads(1).open(path)?;
    embedder.embed("Hello world").map(drop)
}

/// The message that a model is refused with, without its path, or what is wrong with the refusal.
fn refusal(path: &Path, memory: Option<u64>) -> Result<String, String> {
    let start = Instant::now();
    // A panic ends the program, which is a failure that needs no help to be seen.
    let result = use_model(path);
    let mut time = start.elapsed();
    if time > MOST_TIME {
        // Somebody else may have had the processor: once more.
        let start = Instant::now();
        let _ = use_model(path);
        time = start.elapsed();
    }
    let Err(error) = result else {
        return Err("it is not refused".into());
    };
    match &error {
        Error::File {
            field,
            problem,
            remedy,
            ..
        } => {
            if [field, problem, remedy].iter().any(|part| part.is_empty()) {
                return Err(format!("a part of the message is empty: {error}"));
            }
        }
        Error::MissingDenseHeads { .. } | Error::MissingPooling { .. } => {}
        _ => return Err(format!("another kind of error: {error}")),
    }
    if time > MOST_TIME {
        return Err(format!("it took {} ms: {error}", time.as_millis()));
    }
    if peak_memory() > memory {
        return Err(format!("it took more than {MOST_MEMORY} kB: {error}"));
    }
    let message = error.to_string();
    let message = message.strip_prefix(&format!("{}: ", path.display()));
    let message = message.ok_or_else(|| format!("the file is not named: {error}"))?;
    Ok(message
        .escape_debug()
        .to_string()
        .replace("\\\"", "\"")
        .replace("\\'", "'"))
}

/// The most address space that this process has had, in kilobytes: memory that was asked for counts
/// even if it was never touched. `None` where there is no `/proc`.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmPeak:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}
