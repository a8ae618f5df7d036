//! The formats of the output. Each is made in one pass over the records of spools, in the order of the rows.

mod arrow;
mod columns;
mod csv;
mod jsonl;
mod npy;
mod parquet;
mod staged;

use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::input::CellType;
use super::settings::Space;
use super::spool::{Embedded, Record};
pub use staged::Staged;

/// How vectors and what goes with them stand in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// A JSON object a line
    Jsonl,
    /// Comma-separated values under a header line, one column a number
    Csv,
    /// A NumPy array; ids and the rest go into OUTPUT.ids.jsonl
    Npy,
    /// Parquet, the vectors in one column of lists
    Parquet,
    /// Arrow IPC file (Feather), the vectors in one column of fixed-size lists
    Arrow,
}

const ENDINGS: [(&str, OutputFormat); 9] = [
    ("jsonl", OutputFormat::Jsonl),
    ("ndjson", OutputFormat::Jsonl),
    ("csv", OutputFormat::Csv),
    ("npy", OutputFormat::Npy),
    ("parquet", OutputFormat::Parquet),
    ("pq", OutputFormat::Parquet),
    ("arrow", OutputFormat::Arrow),
    ("feather", OutputFormat::Arrow),
    ("ipc", OutputFormat::Arrow),
];

impl OutputFormat {
    /// What the file's name tells.
    pub fn of_name(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        let known = ENDINGS.iter().find(|(name, _)| *name == ending);
        known.map(|&(_, format)| format)
    }

    /// The endings that [`Self::of_name`] knows, as messages list them.
    pub fn known_endings() -> String {
        ENDINGS.map(|(name, _)| format!(".{name}")).join(", ")
    }

    /// Whether the file itself says which space its vectors are of.
    fn has_metadata(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }

    /// The files that belong to an output besides itself.
    pub fn companions(self, output: &Path) -> Vec<PathBuf> {
        let mut companions = vec![rejects_path(output)];
        if self == Self::Npy {
            companions.push(ids_path(output));
        }
        if !self.has_metadata() {
            companions.push(metadata_path(output));
        }
        companions
    }
}

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

/// The path with something after its name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What every row of an output has.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The space of the vectors.
    pub space: Space,
    /// How many vectors there are.
    pub rows: u64,
    /// Whether there are ids.
    pub has_ids: bool,
    /// The columns carried along.
    pub kept: Vec<(String, CellType)>,
}

/// An output being made.
pub trait Sink {
    /// Adds the vector of a row.
    fn row(&mut self, record: &Record, embedded: &Embedded) -> io::Result<()>;

    /// Writes what comes after the last row.
    fn finish(self: Box<Self>) -> io::Result<Vec<Staged>>;
}

/// Begins an output; the files get their names once all is written.
pub fn sink(format: OutputFormat, output: &Path, layout: Layout) -> io::Result<Box<dyn Sink>> {
    let file = Staged::create(output)?;
    Ok(match format {
        OutputFormat::Jsonl => Box::new(jsonl::Jsonl::new(file, layout, jsonl::Fields::All)),
        OutputFormat::Csv => Box::new(csv::Csv::new(file, layout)?),
        OutputFormat::Npy => Box::new(npy::Npy::new(
            file,
            Staged::create(&ids_path(output))?,
            layout,
        )?),
        OutputFormat::Parquet => Box::new(parquet::Parquet::new(file, layout)?),
        OutputFormat::Arrow => Box::new(arrow::Arrow::new(file, layout)?),
    })
}

/// Writes the companion that states the space, if the format needs one.
pub fn metadata(
    format: OutputFormat,
    output: &Path,
    layout: &Layout,
) -> io::Result<Option<Staged>> {
    if format.has_metadata() {
        return Ok(None);
    }
    let mut file = Staged::create(&metadata_path(output))?;
    serde_json::to_writer_pretty(&mut file, &layout.space.metadata())?;
    io::Write::write_all(&mut file, b"\n")?;
    Ok(Some(file))
}
