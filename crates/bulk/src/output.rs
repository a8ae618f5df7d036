//! What an output consists of: its columns, the files beside it and their names.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::columns::OutputColumn;
use crate::error::{Error, Result};
use crate::format::OutputFormat;
use crate::message::{Setting, message};
use crate::space::Space;
use crate::staged::{Staged, with_suffix};

/// Names of columns that outputs have by themselves.
pub const OWN_COLUMNS: [&str; 7] = [
    "index",
    "id",
    "tokens",
    "truncated",
    "windows",
    "scale",
    "embedding",
];

/// What every row of an output has.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The space of the vectors.
    pub space: Space,
    /// How many vectors there are.
    pub rows: u64,
    /// The ids' column, if there are ids.
    pub id: Option<OutputColumn>,
    /// The columns carried along.
    pub kept: Vec<OutputColumn>,
}

/// The format of an output.
pub fn output_format(given: Option<OutputFormat>, output: &Path) -> Result<OutputFormat> {
    given.or_else(|| OutputFormat::of_name(output)).ok_or_else(|| {
        Error::argument(message![
            format!(
                "{}: the name does not tell the format (it would by ending in {}); give it with ",
                output.display(),
                OutputFormat::known_endings()
            ),
            Setting::OutputFormat,
        ])
    })
}

/// The files that belong to an output besides itself.
pub fn companions(format: OutputFormat, output: &Path) -> Vec<PathBuf> {
    let mut companions = vec![rejects_path(output)];
    if format == OutputFormat::Npy {
        companions.push(ids_path(output));
    }
    if !format.has_metadata() {
        companions.push(metadata_path(output));
    }
    companions
}

/// Where rejected rows are listed.
pub fn rejects_path(output: &Path) -> PathBuf {
    with_suffix(output, ".rejects.jsonl")
}

/// Where the ids of an array's rows are.
pub fn ids_path(output: &Path) -> PathBuf {
    with_suffix(output, ".ids.jsonl")
}

/// Where the space is stated for formats that cannot.
pub fn metadata_path(output: &Path) -> PathBuf {
    with_suffix(output, ".meta.json")
}

/// Writes the companion that states the space, if the format needs one.
pub fn write_metadata(
    format: OutputFormat,
    output: &Path,
    space: &Space,
) -> io::Result<Option<Staged>> {
    if format.has_metadata() {
        return Ok(None);
    }
    let mut file = Staged::create(&metadata_path(output))?;
    serde_json::to_writer_pretty(&mut file, &space.metadata())?;
    file.write_all(b"\n")?;
    Ok(Some(file))
}
