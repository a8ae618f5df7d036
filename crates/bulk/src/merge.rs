//! Merging the shards of a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::finish;
use crate::format::OutputFormat;
use crate::message::{Message, Setting, message};
use crate::output::output_format;
use crate::ownership::{self, ReadFile};
use crate::row::{Embedded, Row};
use crate::run::Report;
use crate::shard::Shard;
use crate::spool::{SpoolReader, SpoolRows, Summary};
use crate::target::Target;

/// Shards to merge and the output to make of them.
#[derive(Debug, Clone)]
pub struct MergeJob {
    /// The files of all shards of one run, in any order.
    pub shards: Vec<PathBuf>,
    /// The file for the vectors.
    pub output: PathBuf,
    /// Its format; `None` takes it from the file's name.
    pub output_format: Option<OutputFormat>,
    /// Whether an existing output is replaced.
    pub force: bool,
}

impl MergeJob {
    /// Makes the output of the whole run, the same as without shards. The shards are left in place.
    ///
    /// # Errors
    /// If the shards are not all those of one run, a file cannot be read or written, the output is
    /// there already, or the token is cancelled.
    pub fn run(&self, cancel: &CancelToken) -> Result<Report> {
        let format = output_format(self.output_format, &self.output)?;
        let target = Target::new(&self.output, format, Shard::WHOLE)?;
        let shards = self.shards.iter();
        ownership::check_reads(
            &target,
            shards.map(|path| ReadFile {
                path,
                what: "an input",
            }),
        )?;
        if !self.force {
            ownership::check_free(&target, true)?;
        }
        let (spools, done) = check(&self.shards)?;
        let settings = spools[0].settings().clone();
        let merged = MergedRows {
            spools: spools.into_iter().map(SpoolReader::rows).collect(),
            next: 0,
            total: done.total.unwrap_or(0),
        };
        if self.force {
            ownership::remove_staging(&target)?;
        }
        let content = finish::Content::of_run(&settings, &done);
        finish::write(&target, content, merged, cancel)?;
        Ok(Report::new(target.output, true, done.tally))
    }
}

/// Checks that the files are all shards of one run; returns them in the order of their numbers, and
/// a summary of all.
fn check(paths: &[PathBuf]) -> Result<(Vec<SpoolReader>, Summary)> {
    let mut spools: BTreeMap<u64, SpoolReader> = BTreeMap::new();
    let mut whole: Option<(Summary, PathBuf)> = None;
    for path in paths {
        let mut spool = SpoolReader::open(path)?;
        let found = spool.scan()?;
        let Some(total) = found.total else {
            let problem = format!("is unfinished: it ends after {} rows", found.tally.rows);
            let remedy = message!["finish it with ", Setting::Resume, ", or make it again"];
            return Err(Error::file(path, problem, remedy));
        };
        let settings = spool.settings();
        let shard = settings.shard;
        if let Some(other) = spools.values().next() {
            let of = other.settings().shard.of;
            let shards = (of != shard.of)
                .then(|| format!("the run has {of} shards there and {} here", shard.of));
            let difference = other.settings().difference(settings);
            if let Some(difference) = difference.or(shards.map(Message::from)) {
                return Err(not_together(path, other.path(), difference));
            }
        }
        if let Some(other) = spools.get(&shard.number) {
            let problem = format!("is shard {shard} as is {}", other.path().display());
            return Err(Error::file(path, problem, "give each shard once"));
        }
        match &mut whole {
            None => whole = Some((found, path.clone())),
            Some((whole, first)) => {
                if whole.total != Some(total) {
                    let rows = whole.total.unwrap_or(0);
                    let difference = format!("the input had {rows} rows there and {total} here");
                    return Err(not_together(path, first, difference.into()));
                }
                whole.tally.add(&found.tally);
                let columns = whole.seen.iter_mut().zip(&found.seen);
                columns.for_each(|(all, seen)| all.add(*seen));
            }
        }
        spools.insert(shard.number, spool);
    }
    let Some((whole, first)) = whole else {
        return Err(Error::argument("merge needs shards"));
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
        let problem = format!("shards of this run are missing: {}", missing.join(", "));
        return Err(Error::file(&first, problem, "give all shards of the run"));
    }
    Ok((spools.into_values().collect(), whole))
}

fn not_together(path: &Path, other: &Path, difference: Message) -> Error {
    let problem = difference.after(format!("does not go with {}: ", other.display()));
    Error::file(path, problem, "merge shards of one run only")
}

/// The rows of all shards in the order of the input.
struct MergedRows {
    /// Shard 1 first; row `index` is in shard `index` modulo their number.
    spools: Vec<SpoolRows>,
    next: u64,
    total: u64,
}

impl Iterator for MergedRows {
    type Item = Result<Row<Embedded>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.total {
            return None;
        }
        let expected = self.next;
        self.next += 1;
        let shard = (expected % self.spools.len() as u64) as usize;
        match self.spools[shard].next() {
            Some(Ok(row)) if row.index != expected => None,
            Some(row) => return Some(row),
            None => None,
        }
        .or_else(|| {
            Some(Err(Error::argument(format!(
                "shard {}: row {expected} is missing; make the shard again",
                shard + 1
            ))))
        })
    }
}
