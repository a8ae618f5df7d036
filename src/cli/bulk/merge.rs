//! `lanewise merge`: the shards of a run put together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;

use super::output::OutputFormat;
use super::progress::summary;
use super::settings::Shard;
use super::spool::{Record, Records, SpoolReader, Summary};
use super::target::{Target, output_format};
use super::{finish, interrupt};
use crate::cli::Outcome;
use crate::cli::failure::{Failure, report};

const AFTER_HELP: &str = "\
Example:
  printf 'one\\ntwo\\nthree\\n' >corpus.txt
  for i in 1 2; do lanewise embed --input corpus.txt --output vectors.parquet --shard $i/2; done
  lanewise merge vectors.parquet.shard-*-of-2 --output vectors.parquet";

/// Join the shards that `embed --shard` has written
///
/// The output is the same, byte for byte, as without --shard. The shards must be all of one run, of the same input, model
/// and settings; they are left in place.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// All shards, in any order
    #[arg(required = true, value_name = "SHARD")]
    shards: Vec<PathBuf>,
    /// File for the vectors, in the order of the rows
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Format of the output [default: what the file's name says]
    #[arg(long, value_enum, value_name = "FORMAT")]
    output_format: Option<OutputFormat>,
    /// Replace the output
    #[arg(long)]
    force: bool,
    /// Show no summary
    #[arg(long)]
    quiet: bool,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let format = output_format(arguments.output_format, &arguments.output)?;
    let target = Target::new(&arguments.output, format, Shard::WHOLE);
    target.check_name(&arguments.shards)?;
    if !arguments.force {
        target.check_free()?;
    }
    interrupt::listen();
    let (spools, done) = check(&arguments.shards)?;
    let settings = spools[0].settings().clone();
    let merged = Merged {
        spools: spools.into_iter().map(SpoolReader::records).collect(),
        next: 0,
        total: done.total.unwrap_or(0),
    };
    let records = interrupt::until_asked(merged, interrupt::command());
    finish::write(format, &target.output, &settings, &done, records)?;
    if !arguments.quiet {
        let output = target.output.display();
        report(format_args!("{output}: {}", summary(&done.tally)));
    }
    Ok(match done.tally.rejected {
        0 => Outcome::Complete,
        _ => Outcome::SomeTextsFailed,
    })
}

/// The spools in the order of their numbers, once they are found to be all shards of one run; and what they hold together.
fn check(paths: &[PathBuf]) -> Result<(Vec<SpoolReader>, Summary), Failure> {
    let mut spools: BTreeMap<u64, SpoolReader> = BTreeMap::new();
    let mut whole: Option<(Summary, PathBuf)> = None;
    for path in paths {
        let mut spool = SpoolReader::open(path)?;
        let found = spool.scan()?;
        let Some(total) = found.total else {
            let problem = format_args!("is unfinished: it ends after {} rows", found.tally.rows);
            return Err(Failure::file(
                path,
                problem,
                "finish it with --resume, or make it again",
            ));
        };
        let settings = spool.settings();
        let shard = settings.shard;
        if let Some(other) = spools.values().next() {
            let of = other.settings().shard.of;
            let shards = (of != shard.of)
                .then(|| format!("the run has {of} shards there and {} here", shard.of));
            if let Some(difference) = other.settings().difference(settings).or(shards) {
                return Err(not_together(path, other.path(), difference));
            }
        }
        if let Some(other) = spools.get(&shard.number) {
            let problem = format_args!("is shard {shard} as is {}", other.path().display());
            return Err(Failure::file(path, problem, "give each shard once"));
        }
        match &mut whole {
            None => whole = Some((found, path.clone())),
            Some((whole, first)) => {
                if whole.total != Some(total) {
                    let rows = whole.total.unwrap_or(0);
                    let difference = format!("the input had {rows} rows there and {total} here");
                    return Err(not_together(path, first, difference));
                }
                whole.tally.add(&found.tally);
                let columns = whole.seen.iter_mut().zip(&found.seen);
                columns.for_each(|(all, seen)| all.add(*seen));
            }
        }
        spools.insert(shard.number, spool);
    }
    let Some((whole, first)) = whole else {
        return Err(Failure::usage("merge needs shards"));
    };
    let of = spools
        .values()
        .next()
        .map_or(1, |spool| spool.settings().shard.of);
    let missing: Vec<String> = (1..=of)
        .filter(|number| !spools.contains_key(number))
        .map(|number| format!("{number}/{of}"))
        .take(10)
        .collect();
    if !missing.is_empty() {
        let problem = format_args!("shards of this run are missing: {}", missing.join(", "));
        return Err(Failure::file(&first, problem, "give all shards of the run"));
    }
    Ok((spools.into_values().collect(), whole))
}

fn not_together(path: &Path, other: &Path, difference: String) -> Failure {
    let problem = format_args!("does not go with {}: {difference}", other.display());
    Failure::file(path, problem, "merge shards of one run only")
}

/// The records of all shards in the order of the input.
struct Merged {
    /// Shard 1 first; row `index` is in shard `index` modulo their number.
    spools: Vec<Records>,
    next: u64,
    total: u64,
}

impl Iterator for Merged {
    type Item = Result<Record, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.total {
            return None;
        }
        let expected = self.next;
        self.next += 1;
        let shard = (expected % self.spools.len() as u64) as usize;
        match self.spools[shard].next() {
            Some(Ok(record)) if record.index != expected => None,
            Some(record) => return Some(record),
            None => None,
        }
        .or_else(|| {
            Some(Err(Failure::usage(format!(
                "shard {}: row {expected} is missing; make the shard again",
                shard + 1
            ))))
        })
    }
}
