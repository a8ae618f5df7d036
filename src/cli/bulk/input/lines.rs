//! A text a line; an empty line is an empty text.

use super::bytes::{Input, Stream};
use super::{CellType, ReadOptions, Source};
use crate::cli::bulk::row::{Reject, Row};
use crate::cli::failure::Failure;
use crate::cli::line;

/// A file of lines.
pub struct Lines {
    stream: Stream,
    limit: usize,
    number: u64,
}

impl Lines {
    /// Opens the file.
    pub fn open(input: &Input, options: &ReadOptions) -> Result<Self, Failure> {
        if options.id_field.is_some() || !options.keep.is_empty() {
            return Err(Failure::usage(format!(
                "{}: lines have no columns for --id-field or --keep; give --input-format if these are JSONL or CSV",
                input.name()
            )));
        }
        Ok(Self {
            stream: input.stream()?.into_text()?,
            limit: options.max_row_bytes,
            number: 0,
        })
    }
}

impl Source for Lines {
    fn next_row(&mut self) -> Result<Option<Row>, Failure> {
        let line = line::read_line(&mut self.stream, self.limit);
        let line = line.map_err(|error| self.stream.failure(error))?;
        self.number += 1;
        Ok(line.map(|text| Row {
            file: 0,
            line: self.number,
            id: None,
            text: text.map_err(|problem| Reject(format!("the line {problem}"))),
            kept: Vec::new(),
        }))
    }

    fn kept_types(&self) -> Vec<Option<CellType>> {
        Vec::new()
    }

    fn bytes_read(&self) -> u64 {
        self.stream.bytes_read()
    }
}
