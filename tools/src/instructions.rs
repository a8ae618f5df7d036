//! Runs `cargo bench --bench instructions`, which counts scalar and AVX2 kernels under valgrind,
//! and compares or writes the committed counts.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use lanewise_workloads::counts::Table;
use lanewise_workloads::limits::{ACCEPT, TABLE, TOLERANCE};
use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

const ABOUT: &str = "\
Instructions of the scalar and AVX2 kernels on 16 blocks of 32 values, and of tokenizing with the tiny model.
`cargo bench --bench instructions` fails where one takes more than 0.5 % over these.
Made by: cargo run --release -p lanewise-tools -- instructions --write";

/// What to do with the counts.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Options {
    /// Accept the counts: write them into the committed table
    #[arg(long)]
    write: bool,
}

/// Runs the benchmarks, then compares or writes the table.
///
/// # Errors
///
/// If they cannot be run, or a count is more than 0.5 % over the table's.
pub fn run(options: Options) -> Result<String, String> {
    let mut table = Table::new(["instructions"]);
    table.rows = count()?;
    let path = Path::new(TABLE);
    if options.write {
        table.write(path, ABOUT)?;
        return Ok(format!("{} counts written to {TABLE}\n", table.rows.len()));
    }
    table.check(path, TOLERANCE, ACCEPT)
}

/// The counts of all benchmarks by their identifiers.
fn count() -> Result<BTreeMap<String, Vec<u64>>, String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(ROOT)
        .args([
            "bench",
            "--bench",
            "instructions",
            "--",
            "--output-format=json",
        ])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run cargo bench: {error}"))?;
    // A limit that is exceeded is why somebody asks; that a benchmark did not run shows in its
    // missing line.
    let text = String::from_utf8_lossy(&output.stdout);
    let counts: BTreeMap<_, _> = text.lines().filter_map(count_of).collect();
    if counts.is_empty() {
        return Err(
            "cargo bench --bench instructions gave no counts; its messages are above".into(),
        );
    }
    Ok(counts)
}

/// The identifier and the instructions of one benchmark's summary.
fn count_of(line: &str) -> Option<(String, Vec<u64>)> {
    let summary: Value = serde_json::from_str(line).ok()?;
    let id = summary["id"].as_str()?;
    let metrics =
        &summary["profiles"][0]["summaries"]["total"]["summary"]["Callgrind"]["Ir"]["metrics"];
    // The new count alone, or with that of the run before.
    let count = metrics["Left"]["Int"]
        .as_u64()
        .or_else(|| metrics["Both"][0]["Int"].as_u64())?;
    Some((id.to_owned(), vec![count]))
}
