//! Files of bounded length, and the JSON in them.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use crate::error::{self, FETCH_AGAIN, Result, input};

/// The longest configuration file. Real ones have a few KB; Gemma's `tokenizer_config.json` 1.2 MB.
pub const MAX_CONFIG: u64 = 8 << 20;
/// The longest tokenizer. Gemma's `tokenizer.json` has 33 MB.
pub const MAX_TOKENIZER: u64 = 128 << 20;

/// Opens a regular file; with its length.
pub fn open(path: &Path) -> Result<(File, u64)> {
    // Checked before opening: opening a pipe without a writer would block.
    let metadata = fs::metadata(path).map_err(error::read(path))?;
    if !metadata.is_file() {
        let problem = "is a directory, a device or a pipe, not a file";
        return Err(input(
            path,
            "file",
            problem,
            "give the model's own directory",
        ));
    }
    let file = File::open(path).map_err(error::read(path))?;
    let length = file.metadata().map_err(error::read(path))?.len();
    Ok((file, length))
}

/// All bytes of a file.
///
/// # Errors
/// If it cannot be read or has more than `limit` bytes.
pub fn bytes(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let (file, length) = open(path)?;
    let mut bytes = Vec::new();
    if length <= limit {
        // The file may grow meanwhile.
        let mut file = file.take(limit + 1);
        file.read_to_end(&mut bytes).map_err(error::read(path))?;
    }
    if length > limit || bytes.len() as u64 > limit {
        let problem = format!("has {length} bytes, more than the {limit} of any model");
        return Err(input(path, "file", problem, FETCH_AGAIN));
    }
    Ok(bytes)
}

/// What the JSON of a file says.
pub fn parse<'a, T: Deserialize<'a>>(path: &Path, bytes: &'a [u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        let problem = match bytes.starts_with(b"version https://git-lfs") {
            true => "is a Git LFS pointer, not the file itself".into(),
            false => format!("is not the JSON it should be: {error}"),
        };
        input(path, "JSON", problem, FETCH_AGAIN)
    })
}
