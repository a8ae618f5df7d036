//! The messages of Arrow IPC, from a stream or by the footer of a file.
//!
//! They are framed here and not by `arrow_ipc`'s readers: their sizes must be checked against the
//! memory budget before anything is allocated, whole batches can be skipped without decoding, and
//! a file need not be as its footer says.

use std::io::{self, Read};

use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::{Block, Endianness, Message, MetadataVersion, root_as_message};
use arrow_schema::Schema;

use super::flatbuffer;
use super::footer::FileMessages;
use crate::error::Result;
use crate::formats::guard::{damaged, guarded, unsupported};
use crate::read_budget::ReadBudget;
use crate::source::Source;

pub use super::stream::StreamMessages;

pub const KIND: &str = "Arrow IPC";
pub const FILE_MAGIC: &[u8] = b"ARROW1";
/// The magic bytes and two for alignment.
pub const FILE_START_BYTES: u64 = 8;
pub const CONTINUATION: [u8; 4] = [0xff; 4];
pub const MOST_METADATA_BYTES: i32 = 1 << 26;

/// The messages after the schema.
pub enum Messages {
    Stream(StreamMessages),
    File(FileMessages),
}

/// Columns and the version of what describes them.
pub struct Described {
    pub schema: Schema,
    pub version: MetadataVersion,
}

impl Messages {
    /// Opens a file by its footer where that can be read, and anything else as a stream.
    pub fn open(source: &Source, budget: ReadBudget) -> Result<(Self, Described)> {
        let name = source.name();
        if let Some(mut file) = source.plain_file()? {
            let mut magic = Vec::new();
            let mut start = Read::by_ref(&mut file).take(FILE_MAGIC.len() as u64);
            let read = start.read_to_end(&mut magic);
            read.map_err(|error| super::footer::cannot_read(name, &error))?;
            if magic == FILE_MAGIC {
                let (messages, described) = FileMessages::open(name, file, budget)?;
                return Ok((Self::File(messages), described));
            }
        }
        let mut stream = source.stream()?;
        let is_file = stream.starts_with(FILE_MAGIC);
        if is_file {
            let skipped = io::copy(&mut (&mut stream).take(FILE_START_BYTES), &mut io::sink());
            skipped.map_err(|error| stream.error(error))?;
        }
        let mut messages = StreamMessages::new(stream, budget, is_file);
        if let Some(file) = messages.unframed()? {
            let (messages, described) = FileMessages::open(name, file, budget)?;
            return Ok((Self::File(messages), described));
        }
        let Some(metadata) = messages.next()? else {
            return Err(damaged(name, KIND, "there is no schema"));
        };
        let described = guarded(name, KIND, || {
            let message = metadata.message()?;
            let schema = message.header_as_schema();
            let schema = schema.ok_or("the first message is no schema")?;
            described(schema, message.version())
        })?;
        messages.skip_body(&metadata)?;
        let described = described.map_err(|refused| refused.of(name))?;
        Ok((Self::Stream(messages), described))
    }

    /// The name of the file in messages.
    pub fn name(&self) -> &str {
        match self {
            Self::Stream(messages) => messages.name(),
            Self::File(messages) => messages.name(),
        }
    }

    /// How many bytes have been read from the file, before decompression.
    pub fn bytes_read(&self) -> u64 {
        match self {
            Self::Stream(messages) => messages.bytes_read(),
            Self::File(messages) => messages.bytes_read(),
        }
    }

    /// The next message, whose body is to be read or skipped then; `None` at the end.
    pub fn next(&mut self) -> Result<Option<Metadata>> {
        match self {
            Self::Stream(messages) => messages.next(),
            Self::File(messages) => messages.next(),
        }
    }

    /// Passes over the body.
    pub fn skip_body(&mut self, metadata: &Metadata) -> Result<()> {
        match self {
            Self::Stream(messages) => messages.skip_body(metadata),
            // The next message has a place of its own.
            Self::File(_) => Ok(()),
        }
    }

    /// The whole message as the decoder expects it, and what it takes in memory, after checking
    /// that this and `held` bytes fit together.
    pub fn read_body(&mut self, metadata: &Metadata, held: u64) -> Result<Whole> {
        match self {
            Self::Stream(messages) => messages.read_body(metadata, held),
            Self::File(messages) => messages.read_body(metadata, held),
        }
    }
}

/// A message without its body.
pub struct Metadata(Vec<u8>);

impl Metadata {
    /// The metadata of a message, which the verifier of `arrow_ipc` has still to accept.
    pub fn new(mut message: Vec<u8>) -> Self {
        flatbuffer::align(&mut message);
        Self(message)
    }

    /// Leaves out the counts of variadic buffers that `keep` does not name, if it has an entry for
    /// each.
    pub fn keep_counts(&mut self, keep: &[bool]) {
        flatbuffer::keep_counts(&mut self.0, keep);
    }

    pub fn message(&self) -> Result<Message<'_>, String> {
        root_as_message(&self.0).map_err(text)
    }

    /// The bytes of the body.
    pub fn body_bytes(&self, name: &str) -> Result<u64> {
        let length = guarded(name, KIND, || Ok::<_, String>(self.message()?.bodyLength()))?;
        u64::try_from(length)
            .map_err(|_| damaged(name, KIND, &format!("a record batch of {length} bytes")))
    }
}

/// A message with its body.
pub struct Whole {
    /// Where the metadata and the body are in the bytes.
    pub block: Block,
    pub bytes: Buffer,
    /// The bytes that it takes once decoded.
    pub memory: u64,
}

impl Whole {
    /// Reads a body of `length` bytes after checking its sizes.
    pub fn read(
        name: &str,
        budget: ReadBudget,
        held: u64,
        metadata: &Metadata,
        length: u64,
        body: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<Self> {
        let check = |bytes: u64| budget.check(name, "a record batch", bytes.saturating_add(held));
        check(length)?;
        let mut bytes = CONTINUATION.to_vec();
        bytes.extend((metadata.0.len() as u32).to_le_bytes());
        bytes.extend(&metadata.0);
        let start = bytes.len();
        body(&mut bytes)?;
        if bytes.len() as u64 != start as u64 + length {
            return Err(damaged(name, KIND, "it is cut short"));
        }
        let decompressed = guarded(name, KIND, || {
            Ok::<_, String>(decompressed_bytes(&metadata.message()?, &bytes[start..]))
        })?;
        let memory = length.saturating_add(decompressed);
        check(memory)?;
        Ok(Self {
            block: Block::new(0, start as i32, length as i64),
            bytes: Buffer::from_vec(bytes),
            memory,
        })
    }
}

/// Why a schema is not taken, other than for damage.
pub struct Refused(&'static str);

impl Refused {
    pub fn of(self, name: &str) -> crate::Error {
        let remedy = "write it again on a machine of today, or as Parquet";
        unsupported(name, self.0, remedy)
    }
}

/// The columns that a file states.
pub fn described(
    schema: arrow_ipc::Schema<'_>,
    version: MetadataVersion,
) -> Result<Result<Described, Refused>, String> {
    if schema.endianness() != Endianness::Little {
        return Ok(Err(Refused("is big-endian Arrow data, which is not read")));
    }
    let schema = try_fb_to_schema(schema).map_err(text)?;
    Ok(Ok(Described { schema, version }))
}

pub fn text(error: impl std::fmt::Display) -> String {
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
