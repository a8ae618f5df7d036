//! Compression of outputs, as their names ask for it.

use std::path::{Path, PathBuf};

/// How an output is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputCompression {
    /// Not at all.
    Plain,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl OutputCompression {
    /// What the ending of a name asks for, and the name without that ending.
    pub fn of_name(path: &Path) -> (Self, PathBuf) {
        let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
        let compression = match ending.as_ref().and_then(|ending| ending.to_str()) {
            Some("gz") => Self::Gzip,
            Some("zst") => Self::Zstd,
            _ => return (Self::Plain, path.to_owned()),
        };
        (compression, path.with_extension(""))
    }
}
