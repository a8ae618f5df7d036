//! Arrow IPC, message by message. The file format is the stream format between magic bytes and a
//! footer that only random access needs, so both are read as streams, also from a pipe or a
//! compressed file.
//!
//! Messages are framed here and not by `arrow_ipc`'s readers: their sizes must be checked against
//! the memory budget before anything is allocated, whole batches can be skipped without decoding,
//! and a string that is not UTF-8 must reject its row and not its batch. Batches and dictionaries
//! are decoded by `arrow_ipc`.

use std::io::{self, Read};
use std::sync::Arc;

use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::FileDecoder;
use arrow_ipc::{Block, Endianness, Message, MessageHeader, root_as_message};
use arrow_schema::{DataType, Schema};

use super::read_columns::{ReadColumns, RowsOfBatch, map_types};
use crate::error::{Error, Result};
use crate::formats::RowReader;
use crate::formats::guard::{damaged, guarded};
use crate::read_budget::ReadBudget;
use crate::read_options::ReadOptions;
use crate::row::{CellType, Row};
use crate::source::{Source, Stream};

const KIND: &str = "Arrow IPC";
const FILE_MAGIC: &[u8] = b"ARROW1";
/// The magic bytes and two for alignment.
const FILE_START_BYTES: u64 = 8;
const CONTINUATION: [u8; 4] = [0xff; 4];
/// The continuation mark and the length of the metadata.
const PREFIX_BYTES: usize = 8;

const MOST_METADATA_BYTES: i32 = 1 << 26;

/// An Arrow file or stream.
pub struct ArrowReader {
    messages: Messages,
    decoder: FileDecoder,
    columns: ReadColumns,
    batch: Option<RowsOfBatch>,
    next_in_batch: usize,
    next_in_file: u64,
}

impl ArrowReader {
    /// Opens the file and finds the columns in its schema.
    pub fn open(source: &Source, options: Arc<ReadOptions>) -> Result<Self> {
        let mut messages = Messages::open(source, options.budget)?;
        let name = source.name();
        let Some(metadata) = messages.next()? else {
            return Err(damaged(name, KIND, "there is no schema"));
        };
        let (schema, version) = guarded(name, KIND, || {
            let message = message(&metadata)?;
            let schema = message.header_as_schema();
            let schema = schema.ok_or("the first message is no schema")?;
            if schema.endianness() != Endianness::Little {
                return Err("big-endian data".to_owned());
            }
            let version = message.version();
            Ok((try_fb_to_schema(schema).map_err(text)?, version))
        })?;
        messages.skip_body(&metadata)?;
        let columns = ReadColumns::find(name, &schema, options)?;
        let mut projection = Vec::new();
        for path in columns.paths() {
            projection.extend(schema.index_of(&path[0]).ok());
        }
        projection.sort_unstable();
        projection.dedup();
        let decoder = FileDecoder::new(Arc::new(without_text_types(&schema)), version);
        Ok(Self {
            messages,
            decoder: decoder.with_projection(projection),
            columns,
            batch: None,
            next_in_batch: 0,
            next_in_file: 0,
        })
    }

    /// Ensures that the batch has a next row, after skipping whole batches while they have no more
    /// than `skip` rows; false at the end of the file.
    fn fill(&mut self, skip: &mut u64) -> Result<bool> {
        loop {
            if let Some(batch) = &self.batch {
                let left = (batch.rows() - self.next_in_batch) as u64;
                if left > *skip {
                    return Ok(true);
                }
                *skip -= left;
                self.next_in_file += left;
                self.batch = None;
            }
            let Some(metadata) = self.messages.next()? else {
                return Ok(false);
            };
            let name = self.messages.stream.name().to_owned();
            let (kind, rows) = guarded(&name, KIND, || {
                let message = message(&metadata)?;
                let batch = message.header_as_record_batch();
                let rows = batch.and_then(|batch| u64::try_from(batch.length()).ok());
                Ok::<_, String>((message.header_type(), rows))
            })?;
            match kind {
                MessageHeader::RecordBatch => {
                    if let Some(rows) = rows.filter(|rows| rows <= skip) {
                        self.messages.skip_body(&metadata)?;
                        *skip -= rows;
                        self.next_in_file += rows;
                        continue;
                    }
                    let (block, bytes) = self.messages.read_body(metadata)?;
                    self.batch = guarded(&name, KIND, || {
                        let batch = self.decoder.read_record_batch(&block, &bytes);
                        let batch = batch.map_err(text)?;
                        batch.map(|batch| self.columns.batch(&batch)).transpose()
                    })?;
                    self.next_in_batch = 0;
                }
                MessageHeader::DictionaryBatch => {
                    let (block, bytes) = self.messages.read_body(metadata)?;
                    let decoder = &mut self.decoder;
                    guarded(&name, KIND, || decoder.read_dictionary(&block, &bytes))?;
                }
                _ => self.messages.skip_body(&metadata)?,
            }
        }
    }
}

impl RowReader for ArrowReader {
    fn next_row(&mut self) -> Result<Option<Row>> {
        if !self.fill(&mut 0)? {
            return Ok(None);
        }
        let Some(batch) = &self.batch else {
            return Ok(None);
        };
        let (index, line) = (self.next_in_batch, self.next_in_file + 1);
        let name = self.messages.stream.name();
        let row = guarded(name, KIND, || Ok::<_, String>(batch.row(index, line)))?;
        self.next_in_batch += 1;
        self.next_in_file += 1;
        Ok(Some(row))
    }

    fn skip_rows(&mut self, count: u64) -> Result<u64> {
        let mut left = count;
        if self.fill(&mut left)? {
            // The batch has more rows than are left to skip.
            self.next_in_batch += left as usize;
            self.next_in_file += left;
            left = 0;
        }
        Ok(count - left)
    }

    fn kept_types(&self) -> Vec<Option<CellType>> {
        self.columns.kept_types()
    }

    fn bytes_read(&self) -> u64 {
        self.messages.stream.bytes_read()
    }
}

/// The encapsulated messages of a stream: for each its metadata ([`Messages::next`]), then a body
/// to read or skip.
struct Messages {
    stream: Stream,
    budget: ReadBudget,
    /// Whether this is the file format, which always has an end marker.
    is_file: bool,
    /// Whether the first message is still to come; in files, writers align it with zeros.
    before_first: bool,
    ended: bool,
}

impl Messages {
    fn open(source: &Source, budget: ReadBudget) -> Result<Self> {
        let mut stream = source.stream()?;
        let is_file = stream.starts_with(FILE_MAGIC);
        if is_file {
            let skipped = io::copy(&mut (&mut stream).take(FILE_START_BYTES), &mut io::sink());
            skipped.map_err(|error| stream.error(error))?;
        }
        Ok(Self {
            stream,
            budget,
            is_file,
            before_first: is_file,
            ended: false,
        })
    }

    /// The metadata of the next message after [`PREFIX_BYTES`], as the decoder expects it; `None`
    /// at the end.
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        if self.ended {
            return Ok(None);
        }
        let mut word = self.read(4)?;
        while self.before_first && word == [0; 4] {
            word = self.read(4)?;
        }
        self.before_first = false;
        if word.is_empty() && !self.is_file {
            self.ended = true;
            return Ok(None);
        }
        if word == CONTINUATION {
            word = self.read(4)?;
        }
        let length = word.try_into().map(i32::from_le_bytes);
        let length = length.map_err(|_| self.damaged("it is cut short"))?;
        if length == 0 {
            self.ended = true;
            return Ok(None);
        }
        if !(0..=MOST_METADATA_BYTES).contains(&length) {
            return Err(self.damaged(&format!("metadata of {length} bytes")));
        }
        let mut metadata = CONTINUATION.to_vec();
        metadata.extend(length.to_le_bytes());
        metadata.extend(self.read(length as u64)?);
        if metadata.len() < PREFIX_BYTES + length as usize {
            return Err(self.damaged("it is cut short"));
        }
        Ok(Some(metadata))
    }

    fn body_bytes(&self, metadata: &[u8]) -> Result<u64> {
        let length = guarded(self.stream.name(), KIND, || {
            Ok::<_, String>(message(metadata)?.bodyLength())
        })?;
        u64::try_from(length)
            .map_err(|_| self.damaged(&format!("a record batch of {length} bytes")))
    }

    fn skip_body(&mut self, metadata: &[u8]) -> Result<()> {
        let length = self.body_bytes(metadata)?;
        let skipped = io::copy(&mut (&mut self.stream).take(length), &mut io::sink());
        match skipped {
            Ok(skipped) if skipped == length => Ok(()),
            Ok(_) => Err(self.damaged("it is cut short")),
            Err(error) => Err(self.stream.error(error)),
        }
    }

    /// The whole message, after checking its sizes.
    fn read_body(&mut self, metadata: Vec<u8>) -> Result<(Block, Buffer)> {
        let length = self.body_bytes(&metadata)?;
        self.check_memory(length)?;
        let start = metadata.len();
        let mut bytes = metadata;
        let read = (&mut self.stream).take(length).read_to_end(&mut bytes);
        read.map_err(|error| self.stream.error(error))?;
        if bytes.len() as u64 != start as u64 + length {
            return Err(self.damaged("it is cut short"));
        }
        let decompressed = guarded(self.stream.name(), KIND, || {
            Ok::<_, String>(decompressed_bytes(&message(&bytes)?, &bytes[start..]))
        })?;
        self.check_memory(length.saturating_add(decompressed))?;
        let block = Block::new(0, start as i32, length as i64);
        Ok((block, Buffer::from_vec(bytes)))
    }

    fn check_memory(&self, bytes: u64) -> Result<()> {
        self.budget
            .check(self.stream.name(), "a record batch", bytes)
    }

    /// Up to `count` bytes, fewer only at the end.
    fn read(&mut self, count: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = (&mut self.stream).take(count).read_to_end(&mut bytes);
        read.map_err(|error| self.stream.error(error))?;
        Ok(bytes)
    }

    fn damaged(&self, problem: &str) -> Error {
        damaged(self.stream.name(), KIND, problem)
    }
}

fn message(bytes: &[u8]) -> Result<Message<'_>, String> {
    root_as_message(&bytes[PREFIX_BYTES..]).map_err(text)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The decompressed sizes that the buffers state; the decoder allocates as much.
fn decompressed_bytes(message: &Message<'_>, body: &[u8]) -> u64 {
    let dictionary = message.header_as_dictionary_batch();
    let batch = match dictionary {
        Some(dictionary) => dictionary.data(),
        None => message.header_as_record_batch(),
    };
    let batch = batch.filter(|batch| batch.compression().is_some());
    let buffers = batch.and_then(|batch| batch.buffers());
    let sizes = buffers.into_iter().flatten().map(|buffer| {
        let start = usize::try_from(buffer.offset()).ok();
        let size = start.and_then(|start| body.get(start..)?.first_chunk());
        let size = size.map_or(0, |size| i64::from_le_bytes(*size));
        match buffer.length() {
            0 => 0,
            // -1 marks a buffer that is not compressed.
            _ => u64::try_from(size).unwrap_or(0),
        }
    });
    sizes.fold(0, u64::saturating_add)
}

/// The schema with strings as plain bytes of the same layout, so that invalid UTF-8 rejects its row
/// only.
fn without_text_types(schema: &Schema) -> Schema {
    map_types(schema, &|data_type| match data_type {
        DataType::Utf8 => Some(DataType::Binary),
        DataType::LargeUtf8 => Some(DataType::LargeBinary),
        DataType::Utf8View => Some(DataType::BinaryView),
        _ => None,
    })
}
