//! The formats of input files, and how a file's name tells them.

use std::path::Path;

use clap::ValueEnum;

/// How rows stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InputFormat {
    /// A text a line
    Lines,
    /// A JSON object a line
    Jsonl,
    /// Comma-separated values under a header line
    Csv,
    /// Tab-separated values under a header line
    Tsv,
    /// Parquet
    Parquet,
    /// Arrow IPC, as a file (Feather) or a stream
    Arrow,
}

/// The endings of names; those of compression come after them.
const ENDINGS: [(&str, InputFormat); 13] = [
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
const COMPRESSION_ENDINGS: [&str; 2] = ["gz", "zst"];

impl InputFormat {
    /// What the file's name tells.
    pub fn of_name(path: &Path) -> Option<Self> {
        let ending = |path: &Path| Some(path.extension()?.to_str()?.to_ascii_lowercase());
        let mut found = ending(path)?;
        if COMPRESSION_ENDINGS.contains(&found.as_str()) {
            found = ending(Path::new(path.file_stem()?))?;
        }
        let known = ENDINGS.iter().find(|(name, _)| *name == found);
        known.map(|&(_, format)| format)
    }

    /// The endings that [`Self::of_name`] knows, as messages list them.
    pub fn known_endings() -> String {
        ENDINGS.map(|(name, _)| format!(".{name}")).join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_the_format_also_of_compressed_files() {
        let of = |name: &str| InputFormat::of_name(Path::new(name));
        assert_eq!(of("a.txt"), Some(InputFormat::Lines));
        assert_eq!(of("a.b.JSONL.GZ"), Some(InputFormat::Jsonl));
        assert_eq!(of("dir.csv/a.tsv.zst"), Some(InputFormat::Tsv));
        assert_eq!(of("a.feather"), Some(InputFormat::Arrow));
        for unknown in ["a", "a.gz", ".gz", "csv", "a.txt.gz.gz", "-", "dir.csv/a"] {
            assert_eq!(of(unknown), None, "{unknown}");
        }
    }
}
