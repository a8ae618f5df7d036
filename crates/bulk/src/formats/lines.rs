//! Plain text, one text per line; an empty line is an empty text.

use super::RowReader;
use crate::error::{Error, Result};
use crate::message::{Setting, message};
use crate::read_options::ReadOptions;
use crate::row::{ColumnTypes, Row};
use crate::source::{Source, Stream};

/// A file of lines.
pub struct LinesReader {
    stream: Stream,
    limit: usize,
    number: u64,
}

impl LinesReader {
    /// Opens the file.
    pub fn open(source: &Source, options: &ReadOptions) -> Result<Self> {
        if options.id_field.is_some() || !options.keep.is_empty() {
            return Err(Error::argument(message![
                format!("{}: lines have no columns for ", source.name()),
                Setting::IdField,
                " or ",
                Setting::Keep,
                "; give ",
                Setting::InputFormat,
                " if these are JSONL or CSV",
            ]));
        }
        Ok(Self {
            stream: source.stream()?.into_lines()?,
            limit: options.max_row_bytes,
            number: 0,
        })
    }
}

impl RowReader for LinesReader {
    fn next_row(&mut self) -> Result<Option<Row>> {
        let line = lanewise_lines::read_line(&mut self.stream, self.limit);
        let line = line.map_err(|error| self.stream.error(error))?;
        self.number += 1;
        // Files put together have a byte order mark in the middle.
        let without_mark = |text: String| match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        };
        Ok(line.map(|text| Row {
            outcome: text
                .map(without_mark)
                .map_err(|problem| format!("the line {problem}")),
            ..Row::at_line(self.number)
        }))
    }

    fn types(&self) -> ColumnTypes {
        ColumnTypes::unknown(0)
    }

    fn bytes_read(&self) -> u64 {
        self.stream.bytes_read()
    }
}
