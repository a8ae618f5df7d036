//! The memory map of a model, or of a file that was made from it; or the model inside the program.

use std::io;
use std::ops::{Deref, Range};
use std::path::Path;

use lanewise_map::{Change, FileIdentity, OpenError};

use super::bundled::bundled;
use super::cursor::FETCH_AGAIN;
use super::file::file_error;
use crate::{Error, Result};

const NOT_A_MODEL: &str = "give a model in GGUF format";
const OPEN_AGAIN: &str =
    "open it again, and replace a model by renaming the new file over it, not by writing into it";

/// The bytes of a file that is not empty: a model's, or one that was made from it. Or those of the model
/// inside the program.
///
/// Vectors are returned only if the file has not changed since it was opened.
#[derive(Debug)]
pub struct Map(Source);

#[derive(Debug)]
enum Source {
    File(lanewise_map::Map),
    Program(&'static [u8]),
}

impl Map {
    /// Maps the regular file of a model read-only, or takes the model inside the program if `path` stands
    /// for it.
    ///
    /// # Errors
    /// If it cannot be mapped, is empty or no regular file.
    pub fn open(path: &Path) -> Result<Self> {
        if let Some(bytes) = bundled(path) {
            return Ok(Self(Source::Program(bytes)));
        }
        let map = lanewise_map::Map::open(path).map_err(|error| open_error(path, error))?;
        Ok(Self(Source::File(map)))
    }

    /// Maps a regular file read-only, for those who do without it where that fails.
    ///
    /// # Errors
    /// The system's, or that the file is empty or no regular file.
    pub fn open_optional(path: &Path) -> io::Result<Self> {
        Ok(Self(Source::File(lanewise_map::Map::open(path)?)))
    }

    fn file(&self) -> Option<&lanewise_map::Map> {
        match &self.0 {
            Source::File(file) => Some(file),
            Source::Program(_) => None,
        }
    }

    /// Whether these are the bytes of the model inside the program.
    pub fn is_bundled(&self) -> bool {
        self.file().is_none()
    }

    /// What tells the file from others and from its own earlier contents, now.
    ///
    /// # Errors
    /// The system's, or that there is no file.
    pub fn identity(&self) -> io::Result<FileIdentity> {
        self.file().ok_or(io::ErrorKind::Unsupported)?.identity()
    }

    /// Whether size and modification time are those of opening.
    pub fn is_unchanged(&self) -> bool {
        self.file().is_none_or(lanewise_map::Map::is_unchanged)
    }

    /// Has the system map the pages of a range; where that is not supported, nothing happens.
    pub fn prefault(&self, range: Range<usize>) {
        if let Some(file) = self.file() {
            file.prefault(range);
        }
    }

    /// Reads bytes of the file from `start` on without the map.
    ///
    /// # Errors
    /// If the file, which is at `path`, cannot be read or has been cut short.
    pub fn copy(&self, path: &Path, start: usize, out: &mut [u8]) -> Result<()> {
        let read = match &self.0 {
            Source::File(file) => file.copy(start, out),
            Source::Program(bytes) => {
                io::Read::read_exact(&mut bytes.get(start..).unwrap_or_default(), out)
            }
        };
        read.map_err(|source| io_error(path, "cannot read", source))
    }

    /// Checks that the file, which is at `path`, has not been written to since it was opened.
    ///
    /// # Errors
    /// If it has.
    pub fn check_unchanged(&self, path: &Path) -> Result<()> {
        let Some(file) = self.file() else {
            return Ok(());
        };
        file.check_unchanged().map_err(|change| match change {
            Change::Unknown(source) => io_error(path, "cannot look at", source),
            change => file_error(path, "file", change.to_string(), OPEN_AGAIN),
        })
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Source::File(file) => file,
            Source::Program(bytes) => bytes,
        }
    }
}

fn open_error(path: &Path, error: OpenError) -> Error {
    let remedy = match &error {
        OpenError::Directory if path.join("config.json").exists() => {
            "make a GGUF file of it with `lanewise convert DIRECTORY OUT.gguf`"
        }
        OpenError::Directory => "give the path of a .gguf file, such as one in that directory",
        OpenError::Empty => FETCH_AGAIN,
        OpenError::NotRegular | OpenError::Io { .. } => NOT_A_MODEL,
    };
    match error {
        OpenError::Io { action, source } => io_error(path, action, source),
        other => file_error(path, "file", other.to_string(), remedy),
    }
}

fn io_error(path: &Path, action: &'static str, source: io::Error) -> Error {
    Error::Io {
        path: path.to_path_buf(),
        action,
        remedy: match source.kind() {
            io::ErrorKind::NotFound => "check the path, or fetch the model first".into(),
            io::ErrorKind::PermissionDenied => "check who may read it".into(),
            io::ErrorKind::OutOfMemory => {
                "raise the limit on this process's address space, into which the whole file is mapped".into()
            }
            _ => "check the path and the disk".into(),
        },
        source,
    }
}
