//! Appending to a spool.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::reader::{FRAME_HEAD, cannot_read};
use super::row::VECTOR_OFFSET;
use super::wire::Encoder;
use super::{BlockHead, END, MAGIC, ROWS, SETTINGS, SpoolReader, Summary, Tally};
use crate::error::{Error, Result};
use crate::message::{Message, Setting, message};
use crate::row::{Embedded, Row};
use crate::settings::Settings;

/// How much work a power cut may cost. A killed process loses less: the system has what was
/// written.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// Where the vector of a row is in the spool: the position of its scale, which precedes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorPlace(pub(super) u64);

/// Rows that go into one frame.
pub struct Block {
    head: BlockHead,
    rows: Vec<u8>,
    /// Where they will begin in the spool.
    start: u64,
}

impl Block {
    /// Adds a row, after which the run goes on with row `next_index`. The place means nothing for a
    /// row without a vector.
    pub fn push(&mut self, row: &Row<Embedded>, next_index: u64) -> VectorPlace {
        let place = self.start + (self.rows.len() + VECTOR_OFFSET) as u64;
        self.head.next_index = next_index;
        self.head.tally.count(row);
        let columns = self.head.seen.iter_mut().zip(&row.kept);
        columns.for_each(|(seen, cell)| seen.see(cell));
        if let (Ok(_), Some(id), Some(seen)) = (&row.outcome, &row.id, self.head.seen.last_mut()) {
            seen.see(id);
        }
        row.encode(&mut self.rows);
        VectorPlace(place)
    }

    /// Counts over the rows.
    pub fn tally(&self) -> &Tally {
        &self.head.tally
    }
}

/// A spool being written, locked against other runs.
pub struct SpoolWriter {
    file: File,
    path: PathBuf,
    /// Its length.
    end: u64,
    synced: Instant,
    /// Opened when a vector is first read back.
    reader: Option<File>,
}

impl SpoolWriter {
    /// Creates the file, which must not exist.
    pub fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        Self::lock(file, path)
    }

    /// Empties an existing file.
    pub fn restart(path: &Path) -> Result<Self> {
        let writer = Self::lock(OpenOptions::new().write(true).open(path), path)?;
        let emptied = writer.file.set_len(0);
        emptied.map_err(|error| writer.error(&error))?;
        Ok(writer)
    }

    /// Opens a spool to append to, and returns how far it has come; nothing in it changes until
    /// [`cut`](Self::cut).
    ///
    /// `None` if the earlier run ended before it had written its settings.
    pub fn resume(path: &Path) -> Result<(Self, Option<(Settings, Summary)>)> {
        let writer = Self::lock(OpenOptions::new().write(true).open(path), path)?;
        let found = match SpoolReader::open_unfinished(path)? {
            Some(mut reader) => {
                let summary = reader.scan()?;
                Some((reader.settings().clone(), summary))
            }
            None => None,
        };
        Ok((writer, found))
    }

    /// Cuts off what follows the first `end` bytes, an incomplete frame at most, and goes on there.
    pub fn cut(&mut self, end: u64) -> Result<()> {
        let cut = self.file.set_len(end);
        cut.and_then(|()| self.file.seek(SeekFrom::Start(end)))
            .map_err(|error| self.error(&error))?;
        self.end = end;
        Ok(())
    }

    fn lock(file: io::Result<File>, path: &Path) -> Result<Self> {
        let file = file.map_err(|error| cannot_write(path, &error))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let problem = "another run is writing it";
                return Err(Error::file(
                    path,
                    problem,
                    "wait for it, or take another output",
                ));
            }
            // Some network file systems have no locks; two runs at once are not detected there.
            Err(TryLockError::Error(_)) | Ok(()) => {}
        }
        Ok(Self {
            file,
            path: path.to_owned(),
            end: 0,
            synced: Instant::now(),
            reader: None,
        })
    }

    /// Writes the first frame.
    pub fn settings(&mut self, settings: &Settings) -> Result<()> {
        let mut payload = vec![SETTINGS];
        serde_json::to_writer(&mut payload, settings).map_err(|error| self.error(&error.into()))?;
        self.file
            .write_all(MAGIC)
            .map_err(|error| self.error(&error))?;
        self.end = MAGIC.len() as u64;
        self.frame(&[&payload])?;
        self.sync()
    }

    /// A block of rows with `kept` columns carried along, to be written next.
    pub fn block(&self, kept: usize) -> Block {
        let kind = 1;
        Block {
            head: BlockHead {
                seen: vec![Default::default(); kept + 1],
                ..BlockHead::default()
            },
            rows: Vec::new(),
            start: self.end + FRAME_HEAD + (kind + BlockHead::bytes(kept)) as u64,
        }
    }

    /// Reads a vector that has been written, or is in `block`, the next one; returns its scale.
    pub fn vector(&mut self, block: &Block, place: VectorPlace, vector: &mut [u8]) -> Result<f32> {
        let mut scale = [0; 4];
        if let Some(position) = place.0.checked_sub(block.start) {
            let mut rows = &block.rows[position as usize..];
            rows.read_exact(&mut scale)
                .and_then(|()| rows.read_exact(vector))
                .map_err(|error| self.error(&error))?;
            return Ok(f32::from_le_bytes(scale));
        }
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => {
                let file = File::open(&self.path);
                self.reader
                    .insert(file.map_err(|error| cannot_read(&self.path, &error))?)
            }
        };
        reader
            .seek(SeekFrom::Start(place.0))
            .and_then(|_| reader.read_exact(&mut scale))
            .and_then(|()| reader.read_exact(vector))
            .map_err(|error| cannot_read(&self.path, &error))?;
        Ok(f32::from_le_bytes(scale))
    }

    /// Writes a block of rows.
    pub fn rows(&mut self, block: &Block) -> Result<()> {
        let mut head = vec![ROWS];
        block.head.encode(&mut head);
        self.frame(&[&head, &block.rows])?;
        if self.synced.elapsed() >= SYNC_INTERVAL {
            self.sync()?;
        }
        Ok(())
    }

    /// Writes the last frame: the number of rows of the whole input.
    pub fn end(&mut self, total: u64) -> Result<()> {
        let mut payload = vec![END];
        Encoder(&mut payload).u64(total);
        self.frame(&[&payload])?;
        self.sync()
    }

    /// Ensures that what was written is on disk.
    pub fn sync(&mut self) -> Result<()> {
        self.synced = Instant::now();
        self.file.sync_data().map_err(|error| self.error(&error))
    }

    /// Writes a frame whose payload consists of parts.
    fn frame(&mut self, payload: &[&[u8]]) -> Result<()> {
        let length = payload.iter().map(|part| part.len()).sum::<usize>();
        let length = u32::try_from(length).map_err(|_| {
            let problem = "rows of more than 4 GB come together";
            let remedy = message!["carry less along with ", Setting::Keep];
            Error::file(&self.path, problem, remedy)
        })?;
        let mut checksum = crc32fast::Hasher::new();
        payload.iter().for_each(|part| checksum.update(part));
        let head = [length, checksum.finalize()].map(u32::to_le_bytes);
        let mut parts = std::iter::once(head.as_flattened()).chain(payload.iter().copied());
        parts
            .try_for_each(|part| self.file.write_all(part))
            .map_err(|error| self.error(&error))?;
        self.end += FRAME_HEAD + u64::from(length);
        Ok(())
    }

    fn error(&self, error: &io::Error) -> Error {
        cannot_write(&self.path, error)
    }
}

/// The error of writing to a file.
pub fn cannot_write(path: &Path, error: &io::Error) -> Error {
    let resume = |first: &str| {
        message![
            format!("{first}, then run the same command with "),
            Setting::Resume,
        ]
    };
    let remedy: Message = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => resume("make room"),
        io::ErrorKind::FileTooLarge => {
            resume("raise the limit on the size of files (ulimit -f) or take another file system")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "take a directory that can be written to".into()
        }
        io::ErrorKind::NotFound => "create the directory first".into(),
        io::ErrorKind::AlreadyExists => "another run has just begun it".into(),
        _ => resume("check the disk"),
    };
    Error::file(path, format!("cannot write: {error}"), remedy)
}
