//! The messages of a file, by its footer.
//!
//! What lies between them is not looked at: a schema without a length at the beginning (Polars 2),
//! no end marker (Go). The footer is not trusted either: blocks are checked to lie in the file, one
//! beside the other, so that no batch is read twice.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use arrow_ipc::{MessageHeader, MetadataVersion, root_as_schema};

use super::flatbuffer::Table;
use super::messages::{
    CONTINUATION, Described, FILE_MAGIC, FILE_START_BYTES, KIND, MOST_METADATA_BYTES, Metadata,
    Whole, described, text,
};
use crate::error::{Error, Result};
use crate::formats::guard::{damaged, guarded, unsupported};
use crate::read_budget::ReadBudget;

/// The length of the footer and the magic bytes.
const END_BYTES: u64 = 10;

/// The slots of `Footer` (File.fbs).
const VERSION: usize = 0;
const SCHEMA: usize = 1;
const DICTIONARIES: usize = 2;
const RECORD_BATCHES: usize = 3;

/// Where a message is.
#[derive(Clone, Copy)]
pub struct Place {
    pub offset: u64,
    pub metadata: u64,
    pub body: u64,
}

/// `Block` (File.fbs): the offset, the length of the metadata, four unused bytes, that of the body.
const BLOCK_BYTES: usize = 24;

/// The messages: dictionaries, then record batches, as the footer lists them.
pub struct FileMessages {
    name: String,
    file: File,
    budget: ReadBudget,
    places: Vec<Place>,
    /// How many of them are dictionaries.
    dictionaries: usize,
    next: usize,
    /// The dictionaries that have been read.
    known: HashSet<i64>,
    bytes_read: u64,
}

impl FileMessages {
    /// Reads the footer of a file that begins with the magic bytes.
    pub fn open(name: &str, mut file: File, budget: ReadBudget) -> Result<(Self, Described)> {
        let unreadable = |error: io::Error| cannot_read(name, &error);
        let length = file.metadata().map_err(unreadable)?.len();
        let cut = || damaged(name, KIND, "it has no footer, so it is cut short");
        let end = length.checked_sub(END_BYTES).ok_or_else(cut)?;
        let tail = read_at(&mut file, end, END_BYTES).map_err(unreadable)?;
        let tail = tail.first_chunk().ok_or_else(cut)?;
        let range = footer_range(name, length, tail)?;
        let footer = read_at(&mut file, range.start, range.end - range.start);
        let footer = footer.map_err(unreadable)?;
        let (columns, places, dictionaries) = read_footer(name, &footer, range.start)?;
        let messages = Self {
            name: name.to_owned(),
            file,
            budget,
            places,
            dictionaries,
            next: 0,
            known: HashSet::new(),
            bytes_read: FILE_START_BYTES + END_BYTES + footer.len() as u64,
        };
        Ok((messages, columns))
    }

    /// The name of the file in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many bytes of the file have been read or passed over.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The metadata of the next message; `None` at the end.
    pub fn next(&mut self) -> Result<Option<Metadata>> {
        let Some(&place) = self.places.get(self.next) else {
            return Ok(None);
        };
        let is_dictionary = self.next < self.dictionaries;
        self.next += 1;
        self.bytes_read += place.metadata + place.body;
        let bytes = read_at(&mut self.file, place.offset, place.metadata);
        let bytes = bytes.map_err(|error| cannot_read(&self.name, &error))?;
        let message = unframed(&bytes).ok_or_else(|| self.damaged("metadata longer than it is"))?;
        let metadata = Metadata::new(message.to_vec());
        let (kind, dictionary) = guarded(&self.name, KIND, || {
            let message = metadata.message()?;
            let dictionary = message.header_as_dictionary_batch();
            let dictionary = dictionary.map(|dictionary| (dictionary.id(), dictionary.isDelta()));
            Ok::<_, String>((message.header_type(), dictionary))
        })?;
        let expected = match is_dictionary {
            true => MessageHeader::DictionaryBatch,
            false => MessageHeader::RecordBatch,
        };
        if kind != expected {
            return Err(self.damaged("the footer lists a message of another kind"));
        }
        if let Some((id, is_delta)) = dictionary
            && !self.known.insert(id)
            && !is_delta
        {
            return Err(unsupported(
                &self.name,
                "replaces a dictionary, which files of this format cannot",
                "write it as a stream, or without dictionaries",
            ));
        }
        if metadata.body_bytes(&self.name)? > place.body {
            return Err(self.damaged("a message longer than the footer says"));
        }
        Ok(Some(metadata))
    }

    /// The whole message that [`Self::next`] has returned last.
    pub fn read_body(&mut self, metadata: &Metadata, held: u64) -> Result<Whole> {
        let length = metadata.body_bytes(&self.name)?;
        let place = self.next.checked_sub(1).and_then(|at| self.places.get(at));
        let start = place.map_or(0, |place| place.offset + place.metadata);
        let (name, file) = (&self.name, &mut self.file);
        Whole::read(name, self.budget, held, metadata, length, |bytes| {
            let read = file.seek(SeekFrom::Start(start));
            let read = read.and_then(|_| file.take(length).read_to_end(bytes));
            read.map(drop).map_err(|error| cannot_read(name, &error))
        })
    }

    fn damaged(&self, problem: &str) -> Error {
        damaged(&self.name, KIND, problem)
    }
}

/// Where the footer is in a file of `length` bytes that ends with `tail`.
pub fn footer_range(
    name: &str,
    length: u64,
    tail: &[u8; END_BYTES as usize],
) -> Result<Range<u64>> {
    let Some((footer_bytes, FILE_MAGIC)) = tail.split_first_chunk() else {
        let problem = "it has no footer, so it is cut short";
        return Err(damaged(name, KIND, problem));
    };
    let footer_bytes = i32::from_le_bytes(*footer_bytes);
    let wrong = || damaged(name, KIND, &format!("a footer of {footer_bytes} bytes"));
    if !(1..=MOST_METADATA_BYTES).contains(&footer_bytes) {
        return Err(wrong());
    }
    let end = length.saturating_sub(END_BYTES);
    let start = end.checked_sub(footer_bytes as u64);
    let start = start.filter(|&start| start >= FILE_START_BYTES);
    Ok(start.ok_or_else(wrong)?..end)
}

/// What the footer at `start` says: the columns, where the messages are, and how many of them are
/// dictionaries.
pub fn read_footer(
    name: &str,
    footer: &[u8],
    start: u64,
) -> Result<(Described, Vec<Place>, usize)> {
    let columns = guarded(name, KIND, || read_schema(footer))?;
    let columns = columns.map_err(|refused| refused.of(name))?;
    let (places, dictionaries) = guarded(name, KIND, || read_places(footer, start))?;
    Ok((columns, places, dictionaries))
}

/// The error of reading the file.
pub fn cannot_read(name: &str, error: &io::Error) -> Error {
    let problem = format!("cannot read: {error}");
    Error::named_file(name, problem, "check the file and its disk")
}

/// Bytes of the file; fewer only at its end.
fn read_at(file: &mut File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(offset))?;
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A message without its length, and the continuation mark before it.
pub fn unframed(bytes: &[u8]) -> Option<&[u8]> {
    let bytes = bytes.strip_prefix(&CONTINUATION).unwrap_or(bytes);
    let (length, rest) = bytes.split_first_chunk()?;
    rest.get(..u32::from_le_bytes(*length) as usize)
}

fn read_schema(footer: &[u8]) -> Result<Result<Described, super::messages::Refused>, String> {
    let root = Table::root(footer).ok_or("the footer is damaged")?;
    let version = root.scalar(VERSION).map_or(0, i16::from_le_bytes);
    let schema = root.table(SCHEMA).ok_or("the footer has no schema")?;
    // The verifier takes a table at the beginning of a buffer: let it lead there.
    let mut alone = footer.to_vec();
    let start = u32::try_from(schema.start()).map_err(text)?;
    alone[..4].copy_from_slice(&start.to_le_bytes());
    described(
        root_as_schema(&alone).map_err(text)?,
        MetadataVersion(version),
    )
}

/// The places of dictionaries and record batches, and how many are dictionaries.
fn read_places(footer: &[u8], footer_start: u64) -> Result<(Vec<Place>, usize), String> {
    let root = Table::root(footer).ok_or("the footer is damaged")?;
    let mut places = Vec::new();
    let mut dictionaries = 0;
    for slot in [DICTIONARIES, RECORD_BATCHES] {
        dictionaries = places.len();
        if root.scalar::<4>(slot).is_none() {
            continue;
        }
        let blocks = root.vector(slot, BLOCK_BYTES);
        let blocks = blocks.ok_or("the footer is damaged")?;
        for block in blocks.as_chunks::<BLOCK_BYTES>().0 {
            places.push(read_place(block, footer_start).ok_or("a block that is not in the file")?);
        }
    }
    let mut sorted: Vec<(u64, u64)> = places
        .iter()
        .map(|place| (place.offset, place.offset + place.metadata + place.body))
        .collect();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0].1 > pair[1].0) {
        return Err("blocks that overlap".into());
    }
    Ok((places, dictionaries))
}

fn read_place(block: &[u8; BLOCK_BYTES], footer_start: u64) -> Option<Place> {
    let number = |at: usize| block[at..].first_chunk().copied();
    let metadata = i32::from_le_bytes(block[8..].first_chunk().copied()?);
    let place = Place {
        offset: i64::from_le_bytes(number(0)?).try_into().ok()?,
        metadata: metadata.try_into().ok()?,
        body: i64::from_le_bytes(number(16)?).try_into().ok()?,
    };
    let end = place
        .offset
        .checked_add(place.metadata)?
        .checked_add(place.body)?;
    let fits = place.offset >= FILE_START_BYTES
        && (8..=MOST_METADATA_BYTES).contains(&metadata)
        && end <= footer_start;
    fits.then_some(place)
}
