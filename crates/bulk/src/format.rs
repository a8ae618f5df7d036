//! The formats of files and the endings of names that identify them.

use std::path::Path;

use crate::compression::Compression;

/// The format of an input file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputFormat {
    /// A text a line.
    Lines,
    /// JSON objects: one a line, or over several, or in arrays.
    Jsonl,
    /// Comma-separated values under a header line.
    Csv,
    /// Tab-separated values under a header line.
    Tsv,
    /// Parquet.
    Parquet,
    /// Arrow IPC, as a file (Feather) or a stream.
    Arrow,
}

/// The endings of input files' names; those of compression come after them.
const INPUT_ENDINGS: [(&str, InputFormat); 13] = [
    ("txt", InputFormat::Lines),
    ("lines", InputFormat::Lines),
    ("jsonl", InputFormat::Jsonl),
    ("ndjson", InputFormat::Jsonl),
    ("json", InputFormat::Jsonl),
    ("csv", InputFormat::Csv),
    ("tsv", InputFormat::Tsv),
    ("parquet", InputFormat::Parquet),
    ("pq", InputFormat::Parquet),
    ("arrow", InputFormat::Arrow),
    ("arrows", InputFormat::Arrow),
    ("feather", InputFormat::Arrow),
    ("ipc", InputFormat::Arrow),
];

impl InputFormat {
    /// The format that the file's name implies.
    pub fn of_name(path: &Path) -> Option<Self> {
        let mut found = ending(path)?;
        if Self::is_compressed_name(path) {
            found = ending(Path::new(path.file_stem()?))?;
        }
        look_up(&INPUT_ENDINGS, &found)
    }

    /// Whether the name is that of a compressed file.
    pub(crate) fn is_compressed_name(path: &Path) -> bool {
        ending(path).is_some_and(|ending| Compression::ENDINGS.contains(&ending.as_str()))
    }

    /// The endings that [`Self::of_name`] knows, as messages list them.
    pub(crate) fn known_endings() -> String {
        list(&INPUT_ENDINGS)
    }

    /// The endings that may follow them.
    pub(crate) fn compression_endings() -> String {
        list(&Compression::ENDINGS.map(|ending| (ending, ())))
    }
}

/// The format of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// A JSON object a line.
    Jsonl,
    /// Comma-separated values under a header line, one column a number.
    Csv,
    /// A NumPy array; ids and the rest go into OUTPUT.ids.jsonl.
    Npy,
    /// Parquet, the vectors in one column of lists.
    Parquet,
    /// Arrow IPC file (Feather), the vectors in one column of fixed-size lists.
    Arrow,
}

const OUTPUT_ENDINGS: [(&str, OutputFormat); 9] = [
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
    /// The format that the file's name implies.
    pub fn of_name(path: &Path) -> Option<Self> {
        look_up(&OUTPUT_ENDINGS, &ending(path)?)
    }

    /// The endings that [`Self::of_name`] knows, as messages list them.
    pub(crate) fn known_endings() -> String {
        list(&OUTPUT_ENDINGS)
    }

    /// Whether the file itself says which space its vectors are of.
    pub(crate) fn has_metadata(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }
}

fn ending(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

fn look_up<T: Copy>(endings: &[(&str, T)], ending: &str) -> Option<T> {
    let known = endings.iter().find(|(name, _)| *name == ending);
    known.map(|&(_, format)| format)
}

fn list<T>(endings: &[(&str, T)]) -> String {
    let endings: Vec<String> = endings.iter().map(|(name, _)| format!(".{name}")).collect();
    endings.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_the_format_of_compressed_files_too() {
        let of = |name: &str| InputFormat::of_name(Path::new(name));
        assert_eq!(of("a.txt"), Some(InputFormat::Lines));
        assert_eq!(of("a.b.JSONL.GZ"), Some(InputFormat::Jsonl));
        assert_eq!(of("dir.csv/a.tsv.zst"), Some(InputFormat::Tsv));
        assert_eq!(of("a.csv.bz2"), Some(InputFormat::Csv));
        assert_eq!(of("a.json.XZ"), Some(InputFormat::Jsonl));
        assert_eq!(of("a.feather"), Some(InputFormat::Arrow));
        for unknown in ["a", "a.gz", ".gz", "csv", "a.txt.gz.gz", "-", "dir.csv/a"] {
            assert_eq!(of(unknown), None, "{unknown}");
        }
    }
}
