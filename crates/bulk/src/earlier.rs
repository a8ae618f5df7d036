//! What an earlier run has left: whether it was the same run, and how far it has come.

use std::path::{Path, PathBuf};

use crate::cancel::CancelToken;
use crate::disk;
use crate::error::{Error, Result};
use crate::identity::whole_hash;
use crate::input::Rows;
use crate::known::Known;
use crate::message::{Message, Setting, message};
use crate::output::rejects_path;
use crate::ownership;
use crate::progress::Progress;
use crate::record::{self, RunRecord};
use crate::run::Report;
use crate::settings::{Settings, inputs_to_hash};
use crate::spool::{SpoolReader, SpoolWriter, Summary, Tally, VectorPlace};
use crate::target::Target;

/// Inputs of more bytes than this take a while to read.
const MANY_BYTES: u64 = 1 << 30;

/// Reads the inputs as far as it takes to compare them with those of `theirs`, or, if the run is a
/// new one, to know them later.
pub fn compare_inputs(
    files: &[PathBuf],
    verify: bool,
    settings: &mut Settings,
    theirs: Option<&Settings>,
    cancel: &CancelToken,
    progress: &mut dyn Progress,
) -> Result<()> {
    let unknown = settings
        .inputs
        .iter()
        .filter(|file| file.fingerprint.is_none());
    if theirs.is_some() && unknown.count() > 0 {
        progress.notice(&message![
            "standard input and pipes cannot be compared with what was read before: the run is taken for the same"
        ]);
    }
    let theirs = theirs.map(|theirs| theirs.inputs.as_slice());
    let whole = inputs_to_hash(&settings.inputs, theirs, verify);
    let fingerprints = whole.iter().map(|&file| &settings.inputs[file].fingerprint);
    let bytes: u64 = fingerprints.flatten().map(|known| known.bytes).sum();
    if bytes >= MANY_BYTES {
        let message = format!(
            "reading {} MB of input once, to know them again",
            bytes >> 20
        );
        progress.notice(&message.into());
    }
    for file in whole {
        if let Some(known) = &mut settings.inputs[file].fingerprint {
            known.sha256 = Some(whole_hash(&files[file], cancel)?);
        }
    }
    Ok(())
}

/// The report of an output that exists, if it is of the run with these settings.
pub fn finished(target: &Target, settings: &Settings, record: &RunRecord) -> Result<Report> {
    if let Some(difference) = record.settings.difference(settings) {
        return Err(record::not_this_run(&target.output, difference));
    }
    for path in &target.companions {
        // What this run has not written may be missing: rejects, if there are none.
        let needed = record.rejected > 0 || *path != rejects_path(&target.output);
        if needed && !path.exists() {
            let problem = "belongs to an output that is complete, and is missing";
            let remedy = message!["make both again with ", Setting::Force];
            return Err(Error::file(path, problem, remedy));
        }
    }
    let tally = Tally {
        rows: record.rows,
        rejected: record.rejected,
        ..Tally::default()
    };
    Ok(Report {
        was_complete: true,
        ..Report::new(target.output.clone(), target.is_whole, tally)
    })
}

/// Checks that the spool was begun with the same settings, or writes them into a new one; returns
/// how far it has come.
pub fn prepare(
    settings: &Settings,
    rows: &Rows,
    spool: &mut SpoolWriter,
    found: Option<(Settings, Summary)>,
    target: &Target,
) -> Result<Summary> {
    let begun = found.is_some();
    let done = match found {
        None => {
            let none = Summary::default();
            ownership::check_own(target, settings, &none)?;
            none
        }
        Some((theirs, done)) => {
            if let Some(difference) = difference(&theirs, settings) {
                let problem =
                    difference.after("the run was begun with other settings: ".to_owned());
                let remedy = message!["use the same ones, or start over with ", Setting::Force];
                return Err(Error::file(&target.spool, problem, remedy));
            }
            ownership::check_own(target, &theirs, &done)?;
            done
        }
    };
    if let Some(rows) = rows.total_hint() {
        disk::check(target, &settings.space, settings.shard.rows(rows), done.end)?;
    }
    spool.cut(done.end)?;
    if !begun {
        spool.settings(settings)?;
    }
    Ok(done)
}

/// The first setting in which the run that was begun differs from this one.
fn difference(theirs: &Settings, ours: &Settings) -> Option<Message> {
    theirs.difference(ours).or_else(|| {
        let (there, here) = (theirs.shard, ours.shard);
        (there != here)
            .then(|| message![Setting::Shard, format!(" is {there} there and {here} here")])
    })
}

/// Remembers the vectors that the spool has; returns their places.
pub fn remember(spool: &Path, done: &Summary, known: &mut Known) -> Result<Vec<VectorPlace>> {
    let mut places = Vec::new();
    if done.tally.rows > 0 {
        let mut rows = SpoolReader::open(spool)?.rows();
        while let Some((digest, place)) = rows.next_vector()? {
            if known.remember(digest) {
                places.push(place);
            }
        }
    }
    Ok(places)
}
