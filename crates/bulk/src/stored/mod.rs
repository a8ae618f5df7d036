//! Reading back what a run has written: vectors, and how their texts were read.
//!
//! These files are input like any other: what they say is checked before anything depends on it.

mod columns;
mod jsonl;
mod npy;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufRead;
use std::path::Path;

use crate::error::{Error, Result};
use crate::format::{InputFormat, OutputFormat};
use crate::formats::read_metadata;
use crate::message::{Message, Setting, message};
use crate::output::metadata_path;
use crate::read_budget::ReadBudget;
use crate::record::{RUN_KEY, RunRecord};
use crate::row::Embedded;
use crate::settings::Settings;
use crate::source::Source;
use crate::space::Space;
use crate::spool::{MAGIC, MAX_DIMS};

/// An output of a run, in a format that gives every bit of its vectors back.
pub struct Stored {
    /// The space that its metadata states.
    pub space: Space,
    /// The column or field that the run took the texts from.
    pub field: String,
    /// What the run was.
    pub record: RunRecord,
    /// Where ids and columns carried along are.
    pub carried: Source,
    rows: Box<dyn StoredRows>,
}

/// A row of an output.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRow {
    /// Its number in the input.
    pub index: u64,
    /// Its id, as messages show it.
    pub id: Option<String>,
    /// Its text, if texts are asked for.
    pub text: Option<String>,
    /// Its vector.
    pub embedded: Embedded,
}

/// The texts of an output, for those who need them.
#[derive(Debug, Clone, Copy)]
pub enum Texts<'a> {
    /// They are not read.
    Unread,
    /// They are in the column that the run took them from, which it must have carried along.
    Carried,
    /// They are in the column that the run took them from, if it has carried it along; else they are not
    /// read.
    IfCarried,
    /// They are in this column.
    Column(&'a str),
}

/// The rows of one format.
trait StoredRows {
    fn next_row(&mut self) -> Result<Option<StoredRow>>;
}

/// What an output's metadata say.
struct Metadata {
    record: RunRecord,
    space: Space,
    field: String,
    /// The column that has the texts, if they are read.
    text: Option<String>,
    /// Whether that column must be there.
    needs_text: bool,
}

impl Metadata {
    /// Checks the metadata of the file `name`.
    fn of(name: &str, values: &BTreeMap<String, String>, texts: Texts<'_>) -> Result<Self> {
        let record = values.get(RUN_KEY);
        let record = record.and_then(|record| serde_json::from_str::<RunRecord>(record).ok());
        let Some(record) = record else {
            let problem = "does not say of which run of this version of Lanewise it is";
            return Err(Error::named_file(
                name,
                problem,
                "give a file that embed has written",
            ));
        };
        let Settings { space, field, .. } = record.settings.clone();
        if !(1..=MAX_DIMS).contains(&space.dims) || record.rejected > record.rows {
            return Err(not_as_written(name, "its metadata are impossible"));
        }
        let mut stated = space.metadata().into_iter();
        if stated.any(|(name, value)| values.get(&name) != Some(&value)) {
            return Err(not_as_written(name, "its metadata contradict each other"));
        }
        let text = match texts {
            Texts::Unread => None,
            Texts::Column(column) => Some(column.to_owned()),
            Texts::Carried | Texts::IfCarried => Some(field.clone()),
        };
        Ok(Self {
            record,
            space,
            field,
            text,
            needs_text: matches!(texts, Texts::Carried | Texts::Column(_)),
        })
    }
}

/// The space of the vectors of the output `name` with these metadata, and the column or field that its
/// texts were in.
///
/// # Errors
/// If they do not say, or contradict each other.
pub fn stated_space(name: &str, metadata: &BTreeMap<String, String>) -> Result<(Space, String)> {
    let Metadata { space, field, .. } = Metadata::of(name, metadata, Texts::Unread)?;
    Ok((space, field))
}

impl Stored {
    /// Opens an output.
    ///
    /// # Errors
    /// If it cannot be read, or is none of these formats as a run writes them.
    pub fn open(path: &Path, texts: Texts<'_>, budget: ReadBudget) -> Result<Self> {
        if npy::is_array(path) {
            return npy::open(path, texts);
        }
        let mut found = Source::find(path, Some(InputFormat::Jsonl))?.stream()?;
        let columnar = [
            (&b"PAR1"[..], InputFormat::Parquet, OutputFormat::Parquet),
            (b"ARROW1", InputFormat::Arrow, OutputFormat::Arrow),
        ];
        for (magic, input, output) in columnar {
            if found.starts_with(magic) {
                let source = Source::find(path, Some(input))?;
                let file = File::open(path).map_err(|error| found.error(error))?;
                let metadata = read_metadata(output, file);
                let metadata = metadata.map_err(|error| match error {
                    Error::File { problem, .. } => not_as_written(found.name(), problem),
                    other => other,
                })?;
                return columns::open(source, &metadata, texts, budget);
            }
        }
        let is_empty = found.fill_buf().is_ok_and(<[u8]>::is_empty);
        if found.starts_with(b"{") || (is_empty && metadata_path(path).exists()) {
            return jsonl::open(path, found, texts);
        }
        if found.starts_with(MAGIC) {
            return Err(Error::file(
                path,
                "is a shard of an output, or one that is not complete",
                "merge all shards of it, or finish it with the command that began it",
            ));
        }
        Err(Error::file(
            path,
            "is not Parquet, Arrow IPC, JSONL or .npy as embed writes it",
            "give an output of one of these formats",
        ))
    }
}

impl Iterator for Stored {
    type Item = Result<StoredRow>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rows.next_row().transpose()
    }
}

/// The error of an output without texts.
fn no_texts(name: &str, column: &str) -> Error {
    let problem = format!("has no column \"{column}\" with the texts");
    Error::named_file(
        name,
        problem,
        message![
            "name it with ",
            Setting::Field,
            ", or give what was embedded with ",
            Setting::Input,
            "; outputs carry texts that are named in ",
            Setting::Keep,
        ],
    )
}

/// The error of a file that is not as a run writes it.
fn not_as_written(name: &str, problem: impl Into<Message>) -> Error {
    Error::named_file(
        name,
        problem,
        "it is damaged or was changed, or another version of Lanewise has written it: make it again",
    )
}
