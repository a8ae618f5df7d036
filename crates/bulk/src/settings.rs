//! The settings of a run: the first frame of its spool, compared before it is resumed or its shards
//! are merged.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::format::InputFormat;
use crate::identity::Fingerprint;
use crate::message::{Message, Part, Setting, message};
use crate::ownership::Existing;
use crate::row::CellType;
use crate::shard::Shard;
use crate::space::Space;

/// Everything that a run's rows depend on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The space of the vectors.
    pub space: Space,
    /// The input files, in order.
    pub inputs: Vec<InputFile>,
    /// The format given for them, if one was.
    pub input_format: Option<String>,
    /// How the fields of CSV and TSV files are told apart, where it is not as usual.
    #[serde(default)]
    pub dialect: String,
    /// The column with the text.
    pub field: String,
    /// The column with the id.
    pub id_field: Option<String>,
    /// The ids' type, where the input says so.
    pub id_type: Option<CellType>,
    /// The columns carried along.
    pub keep: Vec<KeptColumn>,
    /// Which part of the rows.
    pub shard: Shard,
    /// Files that the run was told to replace; no setting to compare.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<Existing>,
}

impl Settings {
    /// What an output's bytes depend on: not where the input was, or when it was written.
    pub fn of_contents(&self) -> Self {
        let inputs = self.inputs.iter().map(|input| InputFile {
            path: String::new(),
            fingerprint: input.fingerprint.as_ref().map(Fingerprint::of_contents),
            ..input.clone()
        });
        Self {
            inputs: inputs.collect(),
            // Each input has its own.
            input_format: None,
            shard: Shard::WHOLE,
            replaced: Vec::new(),
            ..self.clone()
        }
    }

    /// The first setting in which `other` differs, with both values; the shard does not count.
    pub fn difference(&self, other: &Self) -> Option<Message> {
        let [mine, theirs] = [self, other].map(Self::values);
        let mut pairs = mine.into_iter().zip(theirs);
        let differs = pairs.find(|((_, mine), (_, theirs))| mine != theirs);
        let settings = differs.map(|((name, mine), (_, theirs))| {
            message![name, format!(" is {mine} there and {theirs} here")]
        });
        settings.or_else(|| self.input_difference(other).map(Message::from))
    }

    fn input_difference(&self, here: &Self) -> Option<String> {
        let [theirs, ours] = [self, here].map(|settings| settings.inputs.len());
        if theirs != ours {
            return Some(format!(
                "there are {theirs} input files there and {ours} here"
            ));
        }
        let mut pairs = self.inputs.iter().zip(&here.inputs);
        pairs.find_map(|(there, here)| {
            let difference = there.difference(here)?;
            Some(format!("the input {} {difference}", here.path))
        })
    }

    /// The values to compare and their names in messages, in the order in which differences are
    /// looked for.
    fn values(&self) -> Vec<(Part, String)> {
        let mut values = vec![
            (Setting::Field.into(), self.field.clone()),
            (Setting::IdField.into(), format!("{:?}", self.id_field)),
            ("the dialect of CSV".into(), format!("\"{}\"", self.dialect)),
            (Setting::Keep.into(), format!("{:?}", self.keep)),
            ("the type of the ids".into(), format!("{:?}", self.id_type)),
        ];
        let space = self.space.metadata().into_iter();
        values.extend(space.map(|(name, value)| {
            let name = name.strip_prefix("lanewise.").unwrap_or(&name);
            (name.into(), value)
        }));
        values
    }
}

/// An input file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// Its path, as it was given; messages say `standard input` for `-`.
    pub path: String,
    /// The format that it is read in.
    pub format: Option<String>,
    /// What it is known by, if it is a regular file.
    pub fingerprint: Option<Fingerprint>,
}

impl InputFile {
    /// Looks at a file, which messages call `name`.
    pub fn new(path: &Path, name: &str, format: Option<InputFormat>) -> Result<Self> {
        let fingerprint = match path.as_os_str() == "-" {
            true => None,
            false => Fingerprint::of(path).map_err(|error| {
                let problem = format!("cannot read: {error}");
                Error::file(path, problem, "check the file and its disk")
            })?,
        };
        let format = format.or_else(|| InputFormat::of_name(path));
        Ok(Self {
            path: name.into(),
            format: format.map(|format| format!("{format:?}")),
            fingerprint,
        })
    }

    /// How `here` differs from this, which is `there`. A name makes no difference.
    fn difference(&self, here: &Self) -> Option<String> {
        let known = |file: &Self| match file.fingerprint {
            Some(_) => "a file",
            None => "standard input or a pipe",
        };
        match (&self.fingerprint, &here.fingerprint) {
            (Some(there), Some(mine)) => there.difference(mine),
            (None, None) => None,
            _ => Some(format!("is {} there and {} here", known(self), known(here))),
        }
        .or_else(|| {
            let [there, mine] =
                [self, here].map(|file| file.format.as_deref().unwrap_or("unknown").to_lowercase());
            (there != mine).then(|| format!("is read as {there} there and as {mine} here"))
        })
    }
}

/// Which of the input files `ours` must be read as a whole to compare them with those of an earlier
/// run: all of them, if there was none or `verify` is set.
pub fn inputs_to_hash(
    ours: &[InputFile],
    theirs: Option<&[InputFile]>,
    verify: bool,
) -> Vec<usize> {
    let is_needed = |&number: &usize| {
        let Some(mine) = &ours[number].fingerprint else {
            return false;
        };
        let there = theirs.map(|theirs| theirs.get(number)?.fingerprint.as_ref());
        verify || there.is_none_or(|there| there.is_some_and(|there| there.needs_whole(mine)))
    };
    (0..ours.len()).filter(is_needed).collect()
}

/// A column carried along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptColumn {
    /// Its name.
    pub name: String,
    /// Its type, where the input says so.
    pub cells: Option<CellType>,
}
