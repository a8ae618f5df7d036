//! The messages of a stream, also of a file that can only be read from its beginning.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};

use super::messages::{
    CONTINUATION, FILE_MAGIC, FILE_START_BYTES, KIND, MOST_METADATA_BYTES, Metadata, Whole,
};
use crate::error::{Error, Result};
use crate::formats::guard::damaged;
use crate::read_budget::ReadBudget;
use crate::source::{Stream, temporary_file_error};

/// A file's end: the length of the footer and the magic bytes.
const FILE_END_BYTES: usize = 10;

/// The messages, each with its metadata and then a body to read or skip.
pub struct StreamMessages {
    stream: Stream,
    budget: ReadBudget,
    /// Whether this is the file format, which ends with a footer.
    is_file: bool,
    /// Bytes that were read ahead.
    ahead: Vec<u8>,
    /// Whether the last message was preceded by the continuation mark.
    is_continued: bool,
    ended: bool,
}

impl StreamMessages {
    /// The messages of a stream or, after its magic bytes, of a file.
    pub fn new(stream: Stream, budget: ReadBudget, is_file: bool) -> Self {
        Self {
            stream,
            budget,
            is_file,
            ahead: Vec::new(),
            is_continued: false,
            ended: false,
        }
    }

    /// Copies the file if the schema at its beginning cannot be read, as in files of Polars 2,
    /// which state no length there.
    pub fn unframed(&mut self) -> Result<Option<File>> {
        if !self.is_file {
            return Ok(None);
        }
        // Writers align the first message with zeros.
        let mut word = self.read(4)?;
        while word == [0; 4] {
            word = self.read(4)?;
        }
        if word == CONTINUATION || word.len() < 4 {
            self.ahead = word;
            return Ok(None);
        }
        let temporary = tempfile::tempfile().map_err(temporary_file_error)?;
        let mut copy = BufWriter::new(temporary);
        let mut start = FILE_MAGIC.to_vec();
        start.resize(FILE_START_BYTES as usize, 0);
        start.extend(word);
        copy.write_all(&start).map_err(temporary_file_error)?;
        loop {
            let piece = self.read(1 << 16)?;
            if piece.is_empty() {
                break;
            }
            copy.write_all(&piece).map_err(temporary_file_error)?;
        }
        let copy = copy.into_inner();
        let copy = copy.map_err(|error| temporary_file_error(error.into_error()))?;
        Ok(Some(copy))
    }

    /// The name of the file in messages.
    pub fn name(&self) -> &str {
        self.stream.name()
    }

    /// How many bytes have been read from the file, before decompression.
    pub fn bytes_read(&self) -> u64 {
        self.stream.bytes_read()
    }

    /// The metadata of the next message; `None` at the end.
    pub fn next(&mut self) -> Result<Option<Metadata>> {
        if self.ended {
            return Ok(None);
        }
        let mut word = match self.ahead.is_empty() {
            true => self.read(4)?,
            false => std::mem::take(&mut self.ahead),
        };
        if word.is_empty() && !self.is_file {
            self.ended = true;
            return Ok(None);
        }
        if word == CONTINUATION {
            word = self.read(4)?;
            self.is_continued = true;
        } else if self.is_continued && self.is_file {
            return self.footer(word);
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
        let metadata = self.read(length as u64)?;
        if metadata.len() < length as usize {
            return Err(self.damaged("it is cut short"));
        }
        Ok(Some(Metadata::new(metadata)))
    }

    /// Checks that what begins here is a footer: some writers put no end marker before it.
    fn footer(&mut self, start: Vec<u8>) -> Result<Option<Metadata>> {
        let mut rest = start;
        rest.extend(self.read(MOST_METADATA_BYTES as u64)?);
        let end = rest.split_last_chunk::<FILE_END_BYTES>();
        let is_footer = end.is_some_and(|(footer, end)| {
            let length = end.first_chunk().copied().map(u32::from_le_bytes);
            length.map(u64::from) == Some(footer.len() as u64) && end.ends_with(FILE_MAGIC)
        });
        if !is_footer {
            return Err(self.damaged("it is cut short"));
        }
        self.ended = true;
        Ok(None)
    }

    /// Passes over the body.
    pub fn skip_body(&mut self, metadata: &Metadata) -> Result<()> {
        let length = metadata.body_bytes(self.name())?;
        let skipped = io::copy(&mut (&mut self.stream).take(length), &mut io::sink());
        match skipped {
            Ok(skipped) if skipped == length => Ok(()),
            Ok(_) => Err(self.damaged("it is cut short")),
            Err(error) => Err(self.stream.error(error)),
        }
    }

    /// The whole message.
    pub fn read_body(&mut self, metadata: &Metadata, held: u64) -> Result<Whole> {
        let name = self.name().to_owned();
        let length = metadata.body_bytes(&name)?;
        Whole::read(&name, self.budget, held, metadata, length, |bytes| {
            let read = (&mut self.stream).take(length).read_to_end(bytes);
            read.map(drop).map_err(|error| self.stream.error(error))
        })
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
