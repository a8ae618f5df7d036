//! Appending to a spool.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::wire::Encoder;
use super::{BlockHead, END, MAGIC, ROWS, Record, SETTINGS, SpoolReader, Summary, Tally};
use crate::cli::bulk::settings::Settings;
use crate::cli::failure::Failure;

/// How much work a power cut may cost; a kill costs less, since the system has what was written.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// Records that go into one frame.
#[derive(Default)]
pub struct Block {
    head: BlockHead,
    records: Vec<u8>,
}

impl Block {
    /// A block of records with so many columns carried along.
    pub fn new(kept: usize) -> Self {
        let mut block = Self::default();
        block.head.seen.resize(kept, Default::default());
        block
    }

    /// Adds a record, after which the run goes on with row `next_index`.
    pub fn push(&mut self, record: &Record, next_index: u64) {
        self.head.next_index = next_index;
        self.head.tally.count(record);
        if let Ok(embedded) = &record.outcome {
            let columns = self.head.seen.iter_mut().zip(&embedded.kept);
            columns.for_each(|(seen, cell)| seen.see(cell));
        }
        record.encode(&mut self.records);
    }

    /// What the records amount to.
    pub fn tally(&self) -> &Tally {
        &self.head.tally
    }
}

/// A spool being written, locked against other runs.
pub struct SpoolWriter {
    file: File,
    path: PathBuf,
    synced: Instant,
}

impl SpoolWriter {
    /// Creates the file, which must not be there.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        Self::lock(file, path)
    }

    /// Empties the file, whatever is in it.
    pub fn restart(path: &Path) -> Result<Self, Failure> {
        let writer = Self::lock(OpenOptions::new().write(true).open(path), path)?;
        let emptied = writer.file.set_len(0);
        emptied.map_err(|error| writer.failure(&error))?;
        Ok(writer)
    }

    /// Opens a spool to append to, and says how far it came. What an earlier run left incomplete is cut off.
    ///
    /// `None` if that run was ended before it had written its settings.
    pub fn resume(path: &Path) -> Result<(Self, Option<(Settings, Summary)>), Failure> {
        let mut writer = Self::lock(OpenOptions::new().write(true).open(path), path)?;
        let found = match SpoolReader::open_unfinished(path)? {
            Some(mut reader) => {
                let summary = reader.scan()?;
                Some((reader.settings().clone(), summary))
            }
            None => None,
        };
        let end = found.as_ref().map_or(0, |(_, summary)| summary.end);
        let cut = writer.file.set_len(end);
        cut.and_then(|()| writer.file.seek(SeekFrom::Start(end)))
            .map_err(|error| writer.failure(&error))?;
        Ok((writer, found))
    }

    fn lock(file: io::Result<File>, path: &Path) -> Result<Self, Failure> {
        let file = file.map_err(|error| cannot_write(path, &error))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let problem = "another run is writing it";
                return Err(Failure::file(
                    path,
                    problem,
                    "wait for it, or take another output",
                ));
            }
            // Some network file systems have no locks; two runs at once are not found out there.
            Err(TryLockError::Error(_)) | Ok(()) => {}
        }
        Ok(Self {
            file,
            path: path.to_owned(),
            synced: Instant::now(),
        })
    }

    /// Writes the first frame.
    pub fn settings(&mut self, settings: &Settings) -> Result<(), Failure> {
        let mut payload = vec![SETTINGS];
        serde_json::to_writer(&mut payload, settings)
            .map_err(|error| self.failure(&error.into()))?;
        self.file
            .write_all(MAGIC)
            .map_err(|error| self.failure(&error))?;
        self.frame(&[&payload])?;
        self.sync()
    }

    /// Writes a block of records.
    pub fn rows(&mut self, block: &Block) -> Result<(), Failure> {
        let mut head = vec![ROWS];
        block.head.encode(&mut head);
        self.frame(&[&head, &block.records])?;
        if self.synced.elapsed() >= SYNC_INTERVAL {
            self.sync()?;
        }
        Ok(())
    }

    /// Writes the last frame: the whole input had so many rows.
    pub fn end(&mut self, total: u64) -> Result<(), Failure> {
        let mut payload = vec![END];
        Encoder(&mut payload).u64(total);
        self.frame(&[&payload])?;
        self.sync()
    }

    /// Makes sure that what was written is on the disk.
    pub fn sync(&mut self) -> Result<(), Failure> {
        self.synced = Instant::now();
        self.file.sync_data().map_err(|error| self.failure(&error))
    }

    /// Writes a frame whose payload comes in parts.
    fn frame(&mut self, payload: &[&[u8]]) -> Result<(), Failure> {
        let length = payload.iter().map(|part| part.len()).sum::<usize>();
        let length = u32::try_from(length).map_err(|_| {
            let problem = "rows of more than 4 GB come together";
            Failure::file(&self.path, problem, "carry less along with --keep")
        })?;
        let mut checksum = crc32fast::Hasher::new();
        payload.iter().for_each(|part| checksum.update(part));
        let head = [length, checksum.finalize()].map(u32::to_le_bytes);
        let mut parts = std::iter::once(head.as_flattened()).chain(payload.iter().copied());
        parts
            .try_for_each(|part| self.file.write_all(part))
            .map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &io::Error) -> Failure {
        cannot_write(&self.path, error)
    }
}

/// The failure of writing to a file.
pub fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    let remedy = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "make room, then run the same command with --resume"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "take a folder that can be written to"
        }
        io::ErrorKind::NotFound => "create the folder first",
        io::ErrorKind::AlreadyExists => "another run has just begun it",
        _ => "check the disk, then run the same command with --resume",
    };
    Failure::file(path, format_args!("cannot write: {error}"), remedy)
}
