//! The map of a file.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::ops::{Deref, Range};
use std::path::Path;
use std::time::SystemTime;

#[cfg(not(miri))]
use memmap2::Mmap as FileBytes;
#[cfg(miri)]
use memmap2::MmapMut as FileBytes;

use crate::identity::FileIdentity;

/// The bytes of a regular file that is not empty.
#[derive(Debug)]
pub struct Map {
    bytes: FileBytes,
    file: File,
    opened: State,
}

/// What changes when a file is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    length: u64,
    /// `None` where the system keeps no such time.
    modified: Option<SystemTime>,
}

impl State {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            length: metadata.len(),
            modified: metadata.modified().ok(),
        })
    }
}

/// Why a file is not mapped.
#[derive(Debug)]
pub enum OpenError {
    /// The system refused it.
    Io {
        /// What was tried, as in `cannot open`.
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// It is a directory.
    Directory,
    /// It is neither a regular file nor a directory.
    NotRegular,
    /// It has no bytes.
    Empty,
}

impl OpenError {
    fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, source }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { action, source } => write!(formatter, "{action}: {source}"),
            Self::Directory => formatter.write_str("is a directory"),
            Self::NotRegular => {
                formatter.write_str("is a device or a pipe, which cannot be mapped")
            }
            Self::Empty => formatter.write_str("is empty"),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Io { source, .. } => source,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}

/// What happened to a mapped file.
#[derive(Debug)]
pub enum Change {
    /// The system does not say.
    Unknown(io::Error),
    /// It has fewer bytes than when it was opened.
    CutShort {
        /// Its length in bytes when it was opened.
        before: u64,
        /// Its length in bytes now.
        after: u64,
    },
    /// Its size or modification time is another.
    Written,
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(source) => write!(formatter, "cannot look at: {source}"),
            Self::CutShort { before, after } => write!(
                formatter,
                "was cut short from {before} to {after} bytes while it was in use"
            ),
            Self::Written => formatter.write_str("was written to while it was in use"),
        }
    }
}

impl std::error::Error for Change {}

impl Map {
    /// Maps a file read-only.
    ///
    /// # Errors
    /// If it cannot be mapped, is empty or no regular file.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        // Checked before opening: opening a pipe without a writer would block.
        let kind = fs::metadata(path).map_err(OpenError::io("cannot open"))?;
        if kind.is_dir() {
            return Err(OpenError::Directory);
        }
        if !kind.is_file() {
            return Err(OpenError::NotRegular);
        }
        let file = File::open(path).map_err(OpenError::io("cannot open"))?;
        let opened = State::of(&file).map_err(OpenError::io("cannot open"))?;
        if opened.length == 0 {
            return Err(OpenError::Empty);
        }
        let bytes = map(&file).map_err(OpenError::io("cannot map"))?;
        Ok(Self {
            bytes,
            file,
            opened,
        })
    }

    /// What tells the file from others and from its own earlier contents, now.
    ///
    /// # Errors
    /// The system's.
    pub fn identity(&self) -> io::Result<FileIdentity> {
        FileIdentity::of(&self.file)
    }

    /// Whether size and modification time are those of opening.
    pub fn is_unchanged(&self) -> bool {
        self.check_unchanged().is_ok()
    }

    /// Checks that the file has not been written to since it was opened, by its size and its
    /// modification time.
    ///
    /// # Errors
    /// If it has.
    pub fn check_unchanged(&self) -> Result<(), Change> {
        let now = State::of(&self.file).map_err(Change::Unknown)?;
        if now == self.opened {
            return Ok(());
        }
        let (before, after) = (self.opened.length, now.length);
        Err(match after < before {
            true => Change::CutShort { before, after },
            false => Change::Written,
        })
    }

    /// Has the system map the pages of a range; where that is not supported, nothing happens.
    pub fn prefault(&self, range: Range<usize>) {
        #[cfg(all(target_os = "linux", not(miri)))]
        {
            // Kernels before 5.14 refuse; then each page is mapped by its first read.
            let advice = memmap2::Advice::PopulateRead;
            let _ = self.bytes.advise_range(advice, range.start, range.len());
        }
        #[cfg(any(not(target_os = "linux"), miri))]
        let _ = range;
    }

    /// Reads bytes of the file from `start` on without the map.
    ///
    /// # Errors
    /// If the file cannot be read or has been cut short.
    pub fn copy(&self, start: usize, out: &mut [u8]) -> io::Result<()> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_exact_at(&self.file, out, start as u64);
        #[cfg(not(unix))]
        return io::Read::read_exact(&mut self.get(start..).unwrap_or_default(), out);
    }
}

#[cfg(not(miri))]
fn map(file: &File) -> io::Result<FileBytes> {
    // SAFETY: the map is read-only and only ever read as bytes, for which every pattern is valid;
    // strings are copied before they are checked to be UTF-8. If another process writes to the
    // file, later reads see other bytes: what was checked at opening is kept outside the map as
    // numbers, and iterating over strings checks each length again, so no access leaves the map,
    // and `check_unchanged` rejects the results. If the file is truncated, reading beyond its new
    // end raises SIGBUS, which ends the process.
    unsafe { FileBytes::map(file) }
}

/// Miri maps no files: there the file is read into anonymous memory, so that accesses are checked.
#[cfg(miri)]
fn map(mut file: &File) -> io::Result<FileBytes> {
    let mut bytes = FileBytes::map_anon(file.metadata()?.len() as usize)?;
    io::Read::read_exact(&mut file, &mut bytes)?;
    Ok(bytes)
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for Map {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
