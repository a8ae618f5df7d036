//! The memory map of a file, and how changes to the file are detected.
//!
//! A map shows the pages of the file itself: a write to the file changes them, and truncating the
//! file removes them. Renaming another file over the path, or removing the path, changes nothing,
//! because the map keeps the file that was opened. Vectors are therefore returned only if the size
//! and the modification time are still those of opening.

use std::fs::{self, File};
use std::io;
use std::ops::{Deref, Range};
use std::path::Path;
use std::time::SystemTime;

#[cfg(not(miri))]
use memmap2::Mmap as FileBytes;
#[cfg(miri)]
use memmap2::MmapMut as FileBytes;

use super::bundled::bundled;
use super::cursor::FETCH_AGAIN;
use super::file::file_error;
use crate::{Error, Result};

const NOT_A_MODEL: &str = "give a model in GGUF format";
const OPEN_AGAIN: &str =
    "open it again, and replace a model by renaming the new file over it, not by writing into it";

/// The bytes of a file that is not empty: a model's, or one that was made from it. Or those of the model
/// inside the program.
#[derive(Debug)]
pub struct Map(Source);

#[derive(Debug)]
enum Source {
    File(MappedFile),
    Program(&'static [u8]),
}

#[derive(Debug)]
struct MappedFile {
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

/// What tells a file from others and from its own earlier contents without reading it: length,
/// modification time, and where the system has them, the time of the last change of any kind, which
/// no program can set, and the file's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity(pub [u64; 6]);

impl FileIdentity {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let modified = metadata.modified().ok();
        let modified = modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let modified = modified.unwrap_or_default();
        #[cfg(unix)]
        let (changed, number) = {
            use std::os::unix::fs::MetadataExt;
            let changed = [metadata.ctime(), metadata.ctime_nsec()].map(i64::cast_unsigned);
            (changed, metadata.ino())
        };
        #[cfg(not(unix))]
        let (changed, number) = ([0; 2], 0);
        Ok(Self([
            metadata.len(),
            modified.as_secs(),
            modified.subsec_nanos().into(),
            changed[0],
            changed[1],
            number,
        ]))
    }
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
        // Checked before opening: opening a pipe without a writer would block.
        let kind = fs::metadata(path).map_err(io_error(path, "cannot open"))?;
        if kind.is_dir() {
            let remedy = match path.join("config.json").exists() {
                true => "make a GGUF file of it with `lanewise convert DIRECTORY OUT.gguf`",
                false => "give the path of a .gguf file, such as one in that directory",
            };
            return Err(file_error(path, "file", "is a directory", remedy));
        }
        if !kind.is_file() {
            let problem = "is a device or a pipe, which cannot be mapped";
            return Err(file_error(path, "file", problem, NOT_A_MODEL));
        }
        let file = File::open(path).map_err(io_error(path, "cannot open"))?;
        let opened = State::of(&file).map_err(io_error(path, "cannot open"))?;
        if opened.length == 0 {
            return Err(file_error(path, "file", "is empty", FETCH_AGAIN));
        }
        Self::of(file, opened).map_err(io_error(path, "cannot map"))
    }

    /// Maps a regular file read-only, for those who do without it where that fails.
    ///
    /// # Errors
    /// The system's, or that the file is empty or no regular file.
    pub fn open_optional(path: &Path) -> io::Result<Self> {
        // Checked before opening: opening a pipe without a writer would block.
        let kind = fs::metadata(path)?;
        let unusable = |problem| io::Error::new(io::ErrorKind::InvalidData, problem);
        if !kind.is_file() {
            return Err(unusable("is no regular file"));
        }
        let file = File::open(path)?;
        let opened = State::of(&file)?;
        if opened.length == 0 {
            return Err(unusable("is empty"));
        }
        Self::of(file, opened)
    }

    fn of(file: File, opened: State) -> io::Result<Self> {
        let bytes = map(&file)?;
        Ok(Self(Source::File(MappedFile {
            bytes,
            file,
            opened,
        })))
    }

    fn file(&self) -> Option<&MappedFile> {
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
        let file = self.file().ok_or(io::ErrorKind::Unsupported)?;
        FileIdentity::of(&file.file)
    }

    /// Whether size and modification time are those of opening.
    pub fn is_unchanged(&self) -> bool {
        self.file()
            .is_none_or(|file| State::of(&file.file).is_ok_and(|now| now == file.opened))
    }

    /// Has the system map the pages of a range; where that is not supported, nothing happens.
    pub fn prefault(&self, range: Range<usize>) {
        #[cfg(all(target_os = "linux", not(miri)))]
        // Kernels before 5.14 refuse; then each page is mapped by its first read.
        if let Some(file) = self.file() {
            let advice = memmap2::Advice::PopulateRead;
            let _ = file.bytes.advise_range(advice, range.start, range.len());
        }
        #[cfg(any(not(target_os = "linux"), miri))]
        let _ = range;
    }

    /// Reads bytes of the file from `start` on without the map.
    ///
    /// # Errors
    /// If the file, which is at `path`, cannot be read or has been cut short.
    pub fn copy(&self, path: &Path, start: usize, out: &mut [u8]) -> Result<()> {
        let read = match self.file() {
            #[cfg(unix)]
            Some(file) => std::os::unix::fs::FileExt::read_exact_at(&file.file, out, start as u64),
            _ => io::Read::read_exact(&mut self.get(start..).unwrap_or_default(), out),
        };
        read.map_err(io_error(path, "cannot read"))
    }

    /// Checks that the file, which is at `path`, has not been written to since it was opened.
    ///
    /// # Errors
    /// If it has.
    pub fn check_unchanged(&self, path: &Path) -> Result<()> {
        let Some(file) = self.file() else {
            return Ok(());
        };
        let now = State::of(&file.file).map_err(io_error(path, "cannot look at"))?;
        if now == file.opened {
            return Ok(());
        }
        let problem = if now.length < file.opened.length {
            let (before, after) = (file.opened.length, now.length);
            format!("was cut short from {before} to {after} bytes while it was in use")
        } else {
            "was written to while it was in use".into()
        };
        Err(file_error(path, "file", problem, OPEN_AGAIN))
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
        match &self.0 {
            Source::File(file) => &file.bytes,
            Source::Program(bytes) => bytes,
        }
    }
}

fn io_error(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| {
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
}
