//! What a finished output says about the run that it is of.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::format::OutputFormat;
use crate::formats::read_metadata;
use crate::message::{Message, Setting, message};
use crate::output::metadata_path;
use crate::ownership::first_bytes;
use crate::settings::Settings;
use crate::shard::Shard;
use crate::space::Space;
use crate::spool::{SpoolReader, Tally};
use crate::target::Target;

/// The metadata with the record.
pub const RUN_KEY: &str = "lanewise.run";
/// The size of the output, in metadata that stands in a file of its own.
pub const BYTES_KEY: &str = "lanewise.bytes";

/// The metadata of an output of `rows` vectors that a program made itself: with them, and the columns
/// that `embed` writes, a file of vectors can be searched.
pub fn metadata_of(space: &Space, rows: u64) -> BTreeMap<String, String> {
    let settings = Settings {
        space: space.clone(),
        inputs: Vec::new(),
        input_format: None,
        dialect: String::new(),
        field: String::new(),
        id_field: None,
        id_type: None,
        keep: Vec::new(),
        shard: Shard::WHOLE,
        replaced: Vec::new(),
    };
    let record = RunRecord {
        settings,
        rows,
        rejected: 0,
    };
    let mut metadata = space.metadata();
    metadata.insert(RUN_KEY.into(), record.json());
    metadata
}

/// A run that came to its end. The same rows, settings and model give the same record, wherever
/// the input was and however often the run was interrupted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its settings.
    pub settings: Settings,
    /// How many rows it had.
    pub rows: u64,
    /// How many of them have no vector.
    pub rejected: u64,
}

impl RunRecord {
    /// The record of a run, or of the shards of one.
    pub fn new(settings: &Settings, tally: &Tally) -> Self {
        Self {
            settings: settings.of_contents(),
            rows: tally.rows,
            rejected: tally.rejected,
        }
    }

    /// As metadata has it.
    pub fn json(&self) -> String {
        match serde_json::to_string(self) {
            Ok(json) => json,
            Err(_) => unreachable!("names and numbers can be written as JSON"),
        }
    }

    /// The record of an output, or of a shard, that exists.
    ///
    /// # Errors
    /// If the output does not say what run it is of, or is not whole.
    pub fn read(target: &Target) -> Result<Self> {
        if !target.is_whole {
            return Self::of_shard(&target.output);
        }
        let metadata = Self::metadata(target.format, &target.output);
        let metadata = metadata.map_err(|problem| unknown(&target.output, problem))?;
        let bytes = metadata.get(BYTES_KEY).map(|bytes| bytes.parse::<u64>());
        if let Some(Ok(then)) = bytes {
            let now = fs::metadata(&target.output).map_or(0, |found| found.len());
            if now != then {
                let problem = format!("has {now} bytes, and its run has written {then}");
                return Err(unknown(&target.output, problem));
            }
        }
        let record = metadata.get(RUN_KEY);
        record
            .and_then(|record| serde_json::from_str(record).ok())
            .ok_or_else(|| {
                let problem = "does not say of which run of this version of Lanewise it is";
                unknown(&target.output, problem.into())
            })
    }

    fn metadata(format: OutputFormat, output: &Path) -> Result<BTreeMap<String, String>, String> {
        if format.has_metadata() {
            let metadata = File::open(output)
                .map_err(|error| error.to_string())
                .and_then(|file| read_metadata(format, file).map_err(|error| error.to_string()));
            return metadata.map_err(|error| format!("cannot be read: {error}"));
        }
        let beside = metadata_path(output);
        let read = first_bytes(&beside)
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::from));
        read.map_err(|error| format!("{} cannot be read: {error}", beside.display()))
    }

    fn of_shard(path: &Path) -> Result<Self> {
        let mut spool = SpoolReader::open(path)?;
        let found = spool.scan()?;
        if found.total.is_none() {
            return Err(unknown(path, "is an unfinished shard".into()));
        }
        Ok(Self {
            settings: spool.settings().clone(),
            rows: found.tally.rows,
            rejected: found.tally.rejected,
        })
    }
}

/// Refuses an output that is not of this command.
pub fn not_this_run(output: &Path, difference: Message) -> Error {
    let problem = difference.after("is the output of another command: ".to_owned());
    Error::file(output, problem, remedy())
}

fn unknown(output: &Path, problem: String) -> Error {
    Error::file(output, problem, remedy())
}

fn remedy() -> Message {
    message!["take another output, or replace it with ", Setting::Force]
}
