//! Reading a spool, which may come from another machine or be damaged.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::row::VECTOR_OFFSET;
use super::wire::{Decoder, Malformed};
use super::{BlockHead, END, MAGIC, ROWS, SETTINGS, SeenTypes, Tally, VectorPlace};
use crate::digest::TextDigest;
use crate::error::{Error, Result};
use crate::message::{Setting, message};
use crate::row::{Embedded, Row};
use crate::settings::Settings;

/// The length and checksum of a frame.
pub(super) const FRAME_HEAD: u64 = 8;
/// No known model has longer vectors.
pub const MAX_DIMS: usize = 1 << 16;

/// How far a spool has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Counts over its rows.
    pub tally: Tally,
    /// The index of the row to go on with, in the whole input; 0 without rows.
    pub next_index: u64,
    /// The types of the cells of each column carried along, and at last of the ids; empty without
    /// settings.
    pub seen: Vec<SeenTypes>,
    /// The rows of the whole input, if the run came to its end.
    pub total: Option<u64>,
    /// Where the last complete frame ends.
    pub end: u64,
}

/// An open spool.
pub struct SpoolReader {
    path: PathBuf,
    file: BufReader<File>,
    length: u64,
    position: u64,
    settings: Settings,
}

/// One frame after the first.
enum Frame {
    /// Its payload, and where the rows begin in it.
    Rows(BlockHead, Vec<u8>, usize),
    End(u64),
}

impl SpoolReader {
    /// Opens a spool.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_unfinished(path)?.ok_or_else(|| {
            let problem = "this is no spool of Lanewise, or its beginning is missing";
            let remedy = message!["give a file that embed ", Setting::Shard, " has written"];
            Error::file(path, problem, remedy)
        })
    }

    /// Opens a spool; `None` if it ends before its settings do.
    pub fn open_unfinished(path: &Path) -> Result<Option<Self>> {
        let unreadable = |error: io::Error| cannot_read(path, &error);
        let mut file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let mut magic = Vec::new();
        Read::by_ref(&mut file)
            .take(MAGIC.len() as u64)
            .read_to_end(&mut magic)
            .map_err(unreadable)?;
        if !MAGIC.starts_with(&magic) {
            let problem = "this is no spool of this version of Lanewise";
            return Err(Error::file(path, problem, "check the name"));
        }
        let mut position = magic.len() as u64;
        let mut file = BufReader::new(file);
        let payload = read_frame(&mut file, &mut position, length).map_err(unreadable)?;
        let Some(payload) = payload else {
            return Ok(None);
        };
        let json = payload.strip_prefix(&[SETTINGS]);
        let settings = json.and_then(|json| serde_json::from_slice::<Settings>(json).ok());
        let usable = |settings: &Settings| {
            settings.shard.is_valid() && (1..=MAX_DIMS).contains(&settings.space.dims)
        };
        let settings = settings.filter(usable).ok_or_else(|| {
            let problem = "its settings are not those of this version of Lanewise";
            Error::file(path, problem, "use the version that wrote it")
        })?;
        Ok(Some(Self {
            path: path.to_owned(),
            file,
            length,
            position,
            settings,
        }))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The settings of the run.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Reads to the end or the first incomplete frame, then seeks back to the first row.
    pub fn scan(&mut self) -> Result<Summary> {
        let first = self.position;
        let mut summary = Summary {
            seen: vec![SeenTypes::default(); self.settings.keep.len() + 1],
            end: first,
            ..Summary::default()
        };
        while let Some(frame) = self.next_frame()? {
            match frame {
                Frame::Rows(head, ..) => {
                    summary.tally.add(&head.tally);
                    summary.next_index = head.next_index;
                    let columns = summary.seen.iter_mut().zip(&head.seen);
                    columns.for_each(|(all, seen)| all.add(*seen));
                }
                Frame::End(total) => summary.total = Some(total),
            }
            summary.end = self.position;
        }
        self.position = first;
        let back = self.file.seek(SeekFrom::Start(first));
        back.map_err(|error| cannot_read(&self.path, &error))?;
        Ok(summary)
    }

    /// All rows, in order.
    pub fn rows(self) -> SpoolRows {
        SpoolRows {
            spool: self,
            payload: Vec::new(),
            position: 0,
            row_start: 0,
        }
    }

    fn next_frame(&mut self) -> Result<Option<Frame>> {
        let payload = read_frame(&mut self.file, &mut self.position, self.length)
            .map_err(|error| cannot_read(&self.path, &error))?;
        let Some(payload) = payload else {
            return Ok(None);
        };
        let kept = self.settings.keep.len();
        let mut decoder = Decoder(&payload);
        let malformed = |_| malformed(&self.path);
        match decoder.u8().map_err(malformed)? {
            ROWS => {
                let head = BlockHead::decode(&mut decoder, kept).map_err(malformed)?;
                let start = payload.len() - decoder.0.len();
                Ok(Some(Frame::Rows(head, payload, start)))
            }
            END => Ok(Some(Frame::End(decoder.u64().map_err(malformed)?))),
            _ => Err(malformed(Malformed)),
        }
    }
}

/// The rows of a spool.
pub struct SpoolRows {
    spool: SpoolReader,
    /// The block being read, and how far.
    payload: Vec<u8>,
    position: usize,
    /// Where the last row begins in the file.
    row_start: u64,
}

impl SpoolRows {
    /// The digest of the next row with a vector, and the place of that.
    pub fn next_vector(&mut self) -> Result<Option<(TextDigest, VectorPlace)>> {
        while let Some(row) = self.next_row()? {
            if let Ok(embedded) = &row.outcome {
                let place = VectorPlace(self.row_start + VECTOR_OFFSET as u64);
                return Ok(Some((embedded.reading.digest, place)));
            }
        }
        Ok(None)
    }

    fn next_row(&mut self) -> Result<Option<Row<Embedded>>> {
        while self.position == self.payload.len() {
            match self.spool.next_frame()? {
                Some(Frame::Rows(_, payload, start)) => {
                    (self.payload, self.position) = (payload, start);
                }
                Some(Frame::End(_)) => {}
                None => return Ok(None),
            }
        }
        let settings = &self.spool.settings;
        let vector_bytes = settings.space.precision.bytes(settings.space.dims);
        let left = self.payload.len() - self.position;
        self.row_start = self.spool.position - left as u64;
        let mut decoder = Decoder(&self.payload[self.position..]);
        let row = Row::decode(&mut decoder, vector_bytes, settings.keep.len());
        self.position = self.payload.len() - decoder.0.len();
        let row = row.map_err(|_| malformed(&self.spool.path))?;
        if row.file as usize >= settings.inputs.len() {
            return Err(malformed(&self.spool.path));
        }
        Ok(Some(row))
    }
}

impl Iterator for SpoolRows {
    type Item = Result<Row<Embedded>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_row().transpose()
    }
}

/// The payload of the next frame; `None` at the end, or if it is incomplete or damaged.
fn read_frame(
    file: &mut BufReader<File>,
    position: &mut u64,
    length: u64,
) -> io::Result<Option<Vec<u8>>> {
    let left = length.saturating_sub(*position);
    let mut head = [[0; 4]; 2];
    if left < FRAME_HEAD {
        return Ok(None);
    }
    file.read_exact(head.as_flattened_mut())?;
    let [size, checksum] = head.map(u32::from_le_bytes);
    // The file may be damaged: no more than the rest of the file is allocated.
    if u64::from(size) > left - FRAME_HEAD {
        return Ok(None);
    }
    let mut payload = vec![0; size as usize];
    file.read_exact(&mut payload)?;
    if crc32fast::hash(&payload) != checksum {
        return Ok(None);
    }
    *position += FRAME_HEAD + u64::from(size);
    Ok(Some(payload))
}

pub(super) fn cannot_read(path: &Path, error: &io::Error) -> Error {
    Error::file(
        path,
        format!("cannot read: {error}"),
        "check the name and the disk",
    )
}

fn malformed(path: &Path) -> Error {
    let problem = "a row is not as Lanewise writes it";
    Error::file(path, problem, "the file is damaged: make it again")
}
