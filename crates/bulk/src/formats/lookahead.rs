//! The next bytes of a stream, as many as a row takes, so that a reader can go back to where the row
//! began. This works on pipes and compressed files too.

use std::io::{self, Read};

use crate::source::Stream;

/// Bytes asked for at a time.
const STEP_BYTES: usize = 1 << 17;
/// After a long row, more room than this is given back.
const KEPT_BYTES: usize = 1 << 20;

/// A stream and those of its bytes that have been read and not consumed.
pub struct Lookahead {
    stream: Stream,
    buffer: Vec<u8>,
    start: usize,
    position: u64,
    ended: bool,
}

impl Lookahead {
    /// Nothing read yet.
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            start: 0,
            position: 0,
            ended: false,
        }
    }

    /// The stream.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The bytes that have been read and not consumed.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Reads more bytes behind those; false at the end of the stream.
    pub fn more(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let filled = self.buffer.len();
        if filled < KEPT_BYTES && self.buffer.capacity() > 2 * KEPT_BYTES {
            self.buffer.shrink_to(KEPT_BYTES);
        }
        self.buffer.resize(filled + STEP_BYTES, 0);
        let read = loop {
            match self.stream.read(&mut self.buffer[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => break other,
            }
        };
        self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
        self.ended = read? == 0;
        Ok(!self.ended)
    }

    /// How many bytes have been consumed.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether nothing comes after the bytes that have been read.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Reads until there are `count` bytes; false if the stream has fewer.
    pub fn fill(&mut self, count: usize) -> io::Result<bool> {
        while self.bytes().len() < count {
            if !self.more()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The byte at an offset, read if need be; `None` behind the end.
    pub fn get(&mut self, at: usize) -> io::Result<Option<u8>> {
        self.fill(at + 1)?;
        Ok(self.bytes().get(at).copied())
    }

    /// Consumes bytes that have been read.
    pub fn consume(&mut self, count: usize) {
        self.start += count;
        self.position += count as u64;
        debug_assert!(self.start <= self.buffer.len(), "only what has been read");
    }

    /// Consumes the rest of the line and its end without holding it in memory; returns how many
    /// bytes there were before the end.
    pub fn skip_line(&mut self, is_end: impl Fn(u8) -> bool) -> io::Result<u64> {
        let mut skipped = 0;
        loop {
            let bytes = self.bytes();
            if let Some(end) = bytes.iter().position(|&byte| is_end(byte)) {
                self.consume(end + 1);
                return Ok(skipped + end as u64);
            }
            let all = bytes.len();
            skipped += all as u64;
            self.consume(all);
            if !self.more()? {
                return Ok(skipped);
            }
        }
    }
}
