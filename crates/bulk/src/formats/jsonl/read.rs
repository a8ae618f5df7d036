//! Rows of JSON objects. White space and blank lines between them are skipped.
//!
//! Only the fields asked for are parsed, each from its slice of the object. A general JSON value, or
//! Arrow's JSON reader with its inferred schema, would take a multiple of the object's bytes in
//! memory and fail the whole file for one that is invalid.

use std::sync::Arc;

use super::object::{self, Object};
use super::values::{Found, Values};
use crate::error::Result;
use crate::formats::RowReader;
use crate::presence::Presence;
use crate::read_options::ReadOptions;
use crate::row::{ColumnTypes, Row};
use crate::source::Source;

/// A file of JSON objects.
pub struct JsonlReader {
    values: Values,
    options: Arc<ReadOptions>,
    presence: Presence,
}

impl JsonlReader {
    /// Opens the file.
    pub fn open(source: &Source, options: Arc<ReadOptions>) -> Result<Self> {
        let stream = source.stream()?.into_lines()?;
        let names = object::names(&options);
        Ok(Self {
            values: Values::new(stream, options.max_row_bytes, names),
            presence: Presence::new(&options),
            options,
        })
    }

    /// What the reader makes of the object that was found last.
    fn with_object<T>(
        &mut self,
        found: &Found,
        read: impl FnOnce(Object<'_, '_>, &ReadOptions) -> Result<T, String>,
    ) -> Result<T, String> {
        let (bytes, scanner, names) = self.values.object();
        let json = std::str::from_utf8(bytes).map_err(|error| {
            let byte = found.column + error.valid_up_to() + 1;
            format!("the line is not valid UTF-8 (byte {byte})")
        })?;
        let object = Object::new(json, scanner, names);
        if !self.presence.is_complete() {
            object.note(&self.options, &mut self.presence);
        }
        read(object, &self.options)
    }
}

impl RowReader for JsonlReader {
    fn next_row(&mut self) -> Result<Option<Row>> {
        let Some(mut found) = self.values.next()? else {
            return Ok(None);
        };
        let mut row = Row::at_line(found.line);
        row.outcome = match found.problem.take() {
            Some(problem) => Err(problem),
            None => self.with_object(&found, |object, options| object.read(options, &mut row)),
        };
        Ok(Some(row))
    }

    fn skip_rows(&mut self, count: u64) -> Result<u64> {
        for skipped in 0..count {
            let Some(found) = self.values.next()? else {
                return Ok(skipped);
            };
            if found.problem.is_none() && !self.presence.is_complete() {
                // An object that cannot be read has no fields.
                let _ = self.with_object(&found, |_, _| Ok(()));
            }
        }
        Ok(count)
    }

    fn types(&self) -> ColumnTypes {
        ColumnTypes::unknown(self.options.keep.len())
    }

    fn presence(&self) -> Option<&Presence> {
        Some(&self.presence)
    }

    fn bytes_read(&self) -> u64 {
        self.values.stream().bytes_read()
    }
}
