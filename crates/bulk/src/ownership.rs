//! Which files a run may write, replace or remove: no input, and without being told to nothing
//! that is not its own.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::identity::{FileId, nanoseconds};
use crate::message::{Message, Setting, message};
use crate::output::{ids_path, metadata_path, rejects_path};
use crate::record::RunRecord;
use crate::settings::Settings;
use crate::spool::{SpoolReader, Summary};
use crate::target::Target;

/// The metadata of every version.
const VERSION_KEY: &str = "lanewise.version";
/// The longest line or file that is looked at to tell whose it is.
const MOST_BYTES: u64 = 16 << 20;

/// A file that a run was told to replace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Existing {
    name: String,
    bytes: u64,
    modified: Option<i64>,
}

impl Existing {
    fn of(path: &Path) -> Option<Self> {
        let found = fs::symlink_metadata(path).ok()?;
        Some(Self {
            name: path.file_name()?.to_string_lossy().into_owned(),
            bytes: found.len(),
            modified: found.modified().ok().and_then(nanoseconds),
        })
    }

    /// Those of the files of a target that exist.
    pub fn of_target(target: &Target) -> Vec<Self> {
        let files = std::iter::once(&target.destination).chain(&target.companions);
        files.filter_map(|path| Self::of(path)).collect()
    }
}

/// A file that is read, and what messages call it.
pub struct ReadFile<'a> {
    /// Its path; `-` is standard input.
    pub path: &'a Path,
    /// What it is: `an input`.
    pub what: &'static str,
}

/// Checks that none of the files that are read would be written, replaced or removed, under
/// whatever name.
pub fn check_reads<'a>(target: &Target, reads: impl Iterator<Item = ReadFile<'a>>) -> Result<()> {
    let written = target.written();
    let written: Vec<(FileId, &PathBuf)> = written
        .iter()
        .filter_map(|path| Some((FileId::of(path)?, path)))
        .collect();
    if written.is_empty() {
        return Ok(());
    }
    for ReadFile { path, what } in reads {
        let id = match path.as_os_str() == "-" {
            true => FileId::of_standard_input(),
            false => FileId::of(path),
        };
        if let Some((_, path)) = written.iter().find(|(other, _)| Some(other) == id.as_ref()) {
            let problem = match **path == target.destination {
                true => format!("is {what} as well"),
                false => format!("is {what}, and would be replaced or removed"),
            };
            let name = if **path == target.destination {
                &target.output
            } else {
                *path
            };
            return Err(Error::file(name, problem, "take another output"));
        }
    }
    Ok(())
}

/// Checks before a run or merge begins that it replaces no file, except what a finished one has left
/// beside an output that is gone. A merge goes on where one that was killed has stopped.
pub fn check_free(target: &Target, is_merge: bool) -> Result<()> {
    if fs::symlink_metadata(&target.spool).is_ok() {
        return Err(spool_is_there(&target.spool));
    }
    let refuse = |path: &Path| {
        let remedy = message!["take another output, or replace it with ", Setting::Force];
        Err(Error::file(path, "is there already", remedy))
    };
    if fs::symlink_metadata(&target.destination).is_ok() {
        return refuse(&target.output);
    }
    for path in &target.companions {
        if fs::symlink_metadata(path).is_ok() && !is_own_companion(target, path) {
            return refuse(path);
        }
    }
    let staging = target.staging();
    let mut staging = staging.iter().filter(|_| !is_merge);
    match staging.find(|path| fs::symlink_metadata(path).is_ok()) {
        Some(path) => refuse(path),
        None => Ok(()),
    }
}

fn spool_is_there(spool: &Path) -> Error {
    match SpoolReader::open_unfinished(spool) {
        Ok(_) => {
            let remedy = message![
                "continue it with ",
                Setting::Resume,
                ", or start over with ",
                Setting::Force,
            ];
            Error::file(spool, "an unfinished run is there", remedy)
        }
        Err(_) => {
            let problem = "is there already, and is no unfinished run of this version of Lanewise";
            let remedy = message!["take another output, or replace it with ", Setting::Force];
            Error::file(spool, problem, remedy)
        }
    }
}

/// Checks that the files that exist are those of the run with these settings, or those that it was
/// told to replace.
pub fn check_own(target: &Target, settings: &Settings, done: &Summary) -> Result<()> {
    let refuse = |path: &Path, problem: Message| {
        let remedy = message!["move it away, or start over with ", Setting::Force];
        Err(Error::file(path, problem, remedy))
    };
    let is_replaced =
        |path: &Path| Existing::of(path).is_some_and(|found| settings.replaced.contains(&found));
    let exists = |path: &Path| fs::symlink_metadata(path).is_ok();
    if exists(&target.destination) && !is_replaced(&target.destination) {
        let own = RunRecord::read(target).is_ok_and(|record| {
            record.settings.difference(settings).is_none() && record.rows == done.tally.rows
        });
        if !own {
            return refuse(&target.output, "is there, and is not of this run".into());
        }
    }
    for path in &target.companions {
        if exists(path) && !is_replaced(path) && !is_own_companion(target, path) {
            return refuse(path, "is there, and is not of this run".into());
        }
    }
    if done.total.is_none() {
        // Only a run whose rows are complete writes those.
        if let Some(path) = target.staging().iter().find(|path| exists(path)) {
            return refuse(path, "is there, and is not of this run".into());
        }
    }
    Ok(())
}

/// Removes what stands in the way of files that are being written, as a run that is told to replace
/// files does.
pub fn remove_staging(target: &Target) -> Result<()> {
    target
        .staging()
        .iter()
        .try_for_each(|path| crate::finish::remove(path))
}

/// Whether a file beside an output is what a run has written there.
fn is_own_companion(target: &Target, path: &Path) -> bool {
    if !fs::symlink_metadata(path).is_ok_and(|found| found.is_file()) {
        return false;
    }
    let output = &target.output;
    if *path == metadata_path(output) {
        first_bytes(path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok())
            .is_some_and(|metadata| metadata.get(VERSION_KEY).is_some())
    } else if *path == rejects_path(output) {
        let fields = ["index", "file", "line", "id", "reason"];
        first_line_has(path, &fields)
    } else if *path == ids_path(output) {
        first_line_has(path, &["index", "tokens", "truncated", "windows"])
    } else {
        false
    }
}

/// Whether the file is empty, or its first line is a JSON object that has these fields.
fn first_line_has(path: &Path, fields: &[&str]) -> bool {
    let read = || {
        let mut line = Vec::new();
        let file = File::open(path)?.take(MOST_BYTES);
        BufReader::new(file).read_until(b'\n', &mut line)?;
        io::Result::Ok(line)
    };
    let Ok(line) = read() else {
        return false;
    };
    let object = serde_json::from_slice::<Value>(&line).ok();
    let has = |object: Value| fields.iter().all(|field| object.get(field).is_some());
    line.is_empty() || object.is_some_and(has)
}

/// The bytes of a file that may be anything, as far as they are looked at.
pub fn first_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}
