//! Malformed models, each of which the library must refuse with a message of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lanewise::{Embedder, Error};
use lanewise_testkit::hostile;

/// The longest that refusing a file may take.
const MOST_TIME: Duration = Duration::from_millis(100);
/// The most address space that it may take on top of what the process had before, in kilobytes.
const MOST_MEMORY: u64 = 100_000;

/// What `hostile` does.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Options {
    /// Write the models here, named by their numbers in the list
    out: Option<PathBuf>,
    /// Open each, check how it is refused, and print the list
    #[arg(long)]
    check: bool,
}

/// Does what the options say; the list if there is one to print.
///
/// # Errors
/// If a file cannot be written, or a model is not refused as it should be.
pub fn run(options: &Options) -> Result<String, String> {
    match &options.out {
        Some(folder) => write_all(folder)
            .map(|()| String::new())
            .map_err(|error| format!("{}: cannot write: {error}", folder.display())),
        None => check_all(),
    }
}

fn write_all(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (number, case) in (1..).zip(hostile::cases()) {
        fs::write(folder.join(format!("{number:04}.gguf")), case.bytes)?;
    }
    Ok(())
}

/// Opens every model and lists the messages.
fn check_all() -> Result<String, String> {
    let folder = std::env::temp_dir().join(format!("lanewise-hostile-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let result = list(&folder);
    fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    result
}

fn list(folder: &Path) -> Result<String, String> {
    let path = folder.join("model.gguf");
    let write = |bytes: &[u8]| fs::write(&path, bytes).map_err(|error| error.to_string());
    write(&hostile::model().to_bytes())?;
    use_model(&path).map_err(|error| format!("the model without damage: {error}"))?;

    let cases = hostile::cases();
    let mut list = format!(
        "Malformed models and what the library says of them: {} files, all made from one small model.\n\
         Regenerate with `cargo run --release -p lanewise-tools -- hostile --check > docs/hostile-files.txt`.\n",
        cases.len()
    );
    // The C library reserves addresses for the first thread beside this one that allocates, and
    // opening a model starts one: let it be before the count, whether that thread allocates or not.
    let reserve = std::thread::spawn(|| drop(std::hint::black_box(vec![0; 64])));
    reserve.join().map_err(|_| "a thread panicked")?;
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
    let Error::File {
        field,
        problem,
        remedy,
        ..
    } = &error
    else {
        return Err(format!("another kind of error: {error}"));
    };
    if [field, problem, remedy].iter().any(|part| part.is_empty()) {
        return Err(format!("a part of the message is empty: {error}"));
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
