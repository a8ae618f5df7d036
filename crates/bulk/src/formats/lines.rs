//! Plain text, one text per line; an empty line is an empty text.

use super::RowReader;
use crate::error::{Error, Result};
use crate::message::{Setting, message};
use crate::read_options::ReadOptions;
use crate::row::{Cell, CellType, ColumnTypes, Row};
use crate::source::{Source, Stream};

/// What the only column is called.
const TEXT: &str = "text";

/// A file of lines.
pub struct LinesReader {
    stream: Stream,
    limit: usize,
    number: u64,
    /// How many times the text is kept: once or not at all.
    kept: usize,
}

impl LinesReader {
    /// Opens the file.
    pub fn open(source: &Source, options: &ReadOptions) -> Result<Self> {
        if options.id_field.is_some() || options.keep.iter().any(|name| name != TEXT) {
            return Err(Error::argument(message![
                format!("{}: lines have no columns for ", source.name()),
                Setting::IdField,
                " or ",
                Setting::Keep,
                format!(" but `{TEXT}`; give "),
                Setting::InputFormat,
                " if these are JSONL or CSV",
            ]));
        }
        Ok(Self {
            stream: source.stream()?.into_lines()?,
            limit: options.max_row_bytes,
            number: 0,
            kept: options.keep.len(),
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
        Ok(line.map(|text| {
            let text = text.map(without_mark);
            let kept = text.iter().map(|text| Cell::Text(text.clone()));
            Row {
                kept: kept.take(self.kept).collect(),
                outcome: text.map_err(|problem| format!("the line {problem}")),
                ..Row::at_line(self.number)
            }
        }))
    }

    fn types(&self) -> ColumnTypes {
        ColumnTypes {
            id: None,
            kept: vec![Some(CellType::Text); self.kept],
        }
    }

    fn bytes_read(&self) -> u64 {
        self.stream.bytes_read()
    }
}
