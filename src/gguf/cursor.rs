//! A bounds-checked walk through the header.

use std::ops::Range;
use std::path::Path;

use crate::{Error, Result};

/// What helps against nearly every damaged file.
pub(super) const FETCH_AGAIN: &str =
    "the file is damaged or incomplete: fetch it again and compare its size and digest";

/// A position in the mapped file; every step names the field that it reads.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
    path: &'a Path,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], path: &'a Path) -> Self {
        Self {
            bytes,
            position: 0,
            path,
        }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// Skips `length` bytes and returns their range.
    pub(super) fn skip(&mut self, length: u64, field: &str) -> Result<Range<usize>> {
        let start = self.position;
        match usize::try_from(length) {
            Ok(length) if length <= self.remaining() => {
                self.position += length;
                Ok(start..self.position)
            }
            _ => Err(self.error(
                field,
                format!(
                    "needs {length} bytes at byte {start}, but the file ends after {}",
                    self.bytes.len()
                ),
                FETCH_AGAIN,
            )),
        }
    }

    pub(super) fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N]> {
        let range = self.skip(N as u64, field)?;
        let mut value = [0; N];
        value.copy_from_slice(&self.bytes[range]);
        Ok(value)
    }

    pub(super) fn u32(&mut self, field: &str) -> Result<u32> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, field: &str) -> Result<u64> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// A count or length that may not pass `limit`.
    pub(super) fn count(&mut self, field: &str, limit: u64) -> Result<u64> {
        let count = self.u64(field)?;
        if count > limit {
            return Err(self.error(
                field,
                format!("is {count}, above the limit of {limit}"),
                FETCH_AGAIN,
            ));
        }
        Ok(count)
    }

    /// A string (length, then bytes) of at most `limit` bytes.
    pub(super) fn string(&mut self, field: &str, limit: u64) -> Result<Range<usize>> {
        let length = self.count(field, limit)?;
        self.skip(length, field)
    }

    /// A name: a string that must be UTF-8 and not empty. It is copied before it is checked,
    /// because the bytes of the map may change at any time.
    pub(super) fn name(&mut self, field: &str, limit: u64) -> Result<String> {
        let range = self.string(field, limit)?;
        match String::from_utf8(self.bytes[range].to_vec()) {
            Ok(name) if name.is_empty() => Err(self.error(field, "is empty", FETCH_AGAIN)),
            Ok(name) => Ok(name),
            Err(_) => Err(self.error(field, "is not UTF-8", FETCH_AGAIN)),
        }
    }

    /// Skips `count` strings.
    ///
    /// The vocabulary has 262,144 of them, so this loop is most of the time that opening takes.
    pub(super) fn skip_strings(&mut self, count: u64, field: &str) -> Result<Range<usize>> {
        let start = self.position;
        for _ in 0..count {
            let length = self.u64(field)?;
            self.skip(length, field)?;
        }
        Ok(start..self.position)
    }

    pub(super) fn error(
        &self,
        field: &str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Error {
        Error::File {
            path: self.path.to_path_buf(),
            field: field.to_owned(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}
