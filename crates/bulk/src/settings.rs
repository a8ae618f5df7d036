//! The settings of a run: the first frame of its spool, compared before it is resumed or its shards
//! are merged.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::message::{Message, Part, Setting, message};
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
}

impl Settings {
    /// The first setting in which `other` differs, with both values; the shard does not count.
    pub fn difference(&self, other: &Self) -> Option<Message> {
        let [mine, theirs] = [self, other].map(Self::values);
        let mut pairs = mine.into_iter().zip(theirs);
        let differs = pairs.find(|((_, mine), (_, theirs))| mine != theirs);
        differs.map(|((name, mine), (_, theirs))| {
            message![name, format!(" is {mine} there and {theirs} here")]
        })
    }

    /// The values to compare and their names in messages, in the order in which differences are
    /// looked for.
    fn values(&self) -> Vec<(Part, String)> {
        let mut values = vec![
            (Setting::Field.into(), self.field.clone()),
            (Setting::IdField.into(), format!("{:?}", self.id_field)),
            (
                Setting::InputFormat.into(),
                format!("{:?}", self.input_format),
            ),
            (Setting::Keep.into(), format!("{:?}", self.keep)),
            ("the type of the ids".into(), format!("{:?}", self.id_type)),
        ];
        let space = self.space.metadata().into_iter();
        values.extend(space.map(|(name, value)| {
            let name = name.strip_prefix("lanewise.").unwrap_or(&name);
            (name.into(), value)
        }));
        let inputs: Vec<String> = self.inputs.iter().map(InputFile::identity).collect();
        values.push(("the input".into(), inputs.join(", ")));
        values
    }
}

/// An input file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// Its path, as it was given; messages say `standard input` for `-`.
    pub path: String,
    /// Its size, if it has one.
    pub bytes: Option<u64>,
}

impl InputFile {
    /// Looks at a file, which messages call `name`.
    pub fn new(path: &Path, name: &str) -> Self {
        let regular = std::fs::metadata(path)
            .ok()
            .filter(|found| found.is_file() && path.as_os_str() != "-");
        Self {
            path: name.into(),
            bytes: regular.map(|found| found.len()),
        }
    }

    /// What stays the same if the file is copied to another machine.
    fn identity(&self) -> String {
        let name = Path::new(&self.path).file_name();
        let name = name.map_or(self.path.as_str().into(), |name| name.to_string_lossy());
        match self.bytes {
            Some(bytes) => format!("{name} of {bytes} bytes"),
            None => name.into_owned(),
        }
    }
}

/// A column carried along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptColumn {
    /// Its name.
    pub name: String,
    /// Its type, where the input says so.
    pub cells: Option<CellType>,
}
