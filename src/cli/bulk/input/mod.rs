//! Rows from the files people have: lines, JSONL, CSV, TSV, Parquet and Arrow IPC, compressed or not.
//!
//! A format is a [`Source`]: it opens one file and yields its rows. [`Rows`] puts files behind each other. What spoils
//! one row is in the row; what spoils the file is a [`Failure`] and ends the iteration.

mod arrow;
mod bytes;
mod columns;
mod csv;
mod format;
mod guard;
mod jsonl;
mod lines;
mod pages;
mod parquet;
mod parquet_fields;
mod share;
mod thrift;

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::row::{Cell, Row};
use crate::cli::failure::{self, Failure};
use bytes::Input;
pub use format::InputFormat;
pub use share::Share;

/// What to read of each row.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// The format of every file; `None` takes it from each file's name.
    pub format: Option<InputFormat>,
    /// The column with the text, with dots between the names of nested ones. Lines have none.
    pub field: String,
    /// The column with the id.
    pub id_field: Option<String>,
    /// The columns to carry along.
    pub keep: Vec<String>,
    /// A longer row (text formats) or text (Parquet and Arrow) is rejected.
    pub max_row_bytes: usize,
    /// The memory for what is in one piece in a file.
    pub share: Share,
}

/// What the cells of a kept column are, nulls apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CellType {
    /// [`Cell::Bool`].
    Bool,
    /// [`Cell::Integer`].
    Integer,
    /// [`Cell::Float`].
    Float,
    /// [`Cell::Text`].
    Text,
}

/// One file being read.
trait Source: Send {
    /// The next row; its [`Row::file`] is set by [`Rows`].
    fn next_row(&mut self) -> Result<Option<Row>, Failure>;

    /// Passes over up to `count` rows; fewer only at the end of the file.
    fn skip_rows(&mut self, count: u64) -> Result<u64, Failure> {
        for skipped in 0..count {
            if self.next_row()?.is_none() {
                return Ok(skipped);
            }
        }
        Ok(count)
    }

    /// The type of each kept column, where the format has types.
    fn kept_types(&self) -> Vec<Option<CellType>>;

    /// How many rows the file says it has.
    fn total_rows(&self) -> Option<u64> {
        None
    }

    /// How much of the file, as it lies on the disk, has been read.
    fn bytes_read(&self) -> u64;
}

/// The rows of all files, in order.
pub struct Rows {
    inputs: Vec<Input>,
    options: Arc<ReadOptions>,
    /// The file being read; `inputs.len()` after the last.
    file: usize,
    source: Option<Box<dyn Source>>,
    kept_types: Vec<Option<CellType>>,
    total: Option<u64>,
    bytes_before: u64,
}

/// Opens the files, to be read one after the other; `-` is standard input.
///
/// Every file is opened and its header read here, so that what is missing is told before the work begins; the exceptions
/// are what can be read only once (pipes) and Parquet files that have to be decompressed first.
pub fn open(files: &[PathBuf], options: ReadOptions) -> Result<Rows, Failure> {
    if files.iter().filter(|file| file.as_os_str() == "-").count() > 1 {
        return Err(Failure::usage("standard input (-) can be read once only"));
    }
    let mut inputs = Vec::new();
    for file in files {
        inputs.push(Input::find(file, options.format)?);
    }
    let options = Arc::new(options);
    let mut rows = Rows {
        kept_types: vec![None; options.keep.len()],
        inputs,
        options,
        file: 0,
        source: None,
        total: Some(0),
        bytes_before: 0,
    };
    rows.check_files()?;
    Ok(rows)
}

impl Rows {
    /// Opens each file that can be opened again, and gathers what it tells; the first one stays open.
    fn check_files(&mut self) -> Result<(), Failure> {
        let mut kept_types = Vec::new();
        for (index, input) in self.inputs.iter().enumerate() {
            if index > 0 && !input.can_reopen() {
                self.total = None;
                kept_types.push(vec![None; self.options.keep.len()]);
                continue;
            }
            let source = open_source(input, &self.options)?;
            self.total = self.total.zip(source.total_rows()).map(|(a, b)| a + b);
            kept_types.push(source.kept_types());
            if index == 0 {
                self.source = Some(source);
            }
        }
        for (column, merged) in self.kept_types.iter_mut().enumerate() {
            *merged = merge_types(kept_types.iter().map(|types| types[column]));
        }
        Ok(())
    }

    /// Passes over up to `count` rows, faster than reading them; fewer only at the end of the input.
    pub fn skip_rows(&mut self, count: u64) -> Result<u64, Failure> {
        let mut skipped = 0;
        while skipped < count {
            let Some(source) = self.source()? else {
                break;
            };
            let left = count - skipped;
            let here = source.skip_rows(left)?;
            skipped += here;
            if here < left {
                self.finish_file();
            }
        }
        Ok(skipped)
    }

    /// How many rows there are, where the files say so.
    pub fn total_hint(&self) -> Option<u64> {
        self.total
    }

    /// What the cells of each kept column are, in every row of every file; `None` where only reading tells.
    pub fn kept_types(&self) -> &[Option<CellType>] {
        &self.kept_types
    }

    /// How many bytes of the files, as they lie on the disk, have been read.
    pub fn bytes_read(&self) -> u64 {
        let here = self.source.as_ref().map_or(0, |source| source.bytes_read());
        self.bytes_before + here
    }

    /// How many bytes the files have, where all have a size.
    pub fn bytes_total(&self) -> Option<u64> {
        self.inputs.iter().map(Input::size).sum()
    }

    /// The file with this [`Row::file`], as messages name it.
    pub fn file_name(&self, file: u32) -> &str {
        self.inputs[file as usize].name()
    }

    /// The source of the file being read, opened if need be; `None` after the last.
    fn source(&mut self) -> Result<Option<&mut Box<dyn Source>>, Failure> {
        if self.source.is_none() {
            let Some(input) = self.inputs.get(self.file) else {
                return Ok(None);
            };
            self.source = Some(open_source(input, &self.options)?);
        }
        Ok(self.source.as_mut())
    }

    fn finish_file(&mut self) {
        let read = self.source.take().map_or(0, |source| source.bytes_read());
        self.bytes_before += self.inputs[self.file].size().unwrap_or(read);
        self.file += 1;
    }

    fn next_row(&mut self) -> Result<Option<Row>, Failure> {
        while let Some(source) = self.source()? {
            if let Some(mut row) = source.next_row()? {
                row.file = self.file as u32;
                for (cell, kept) in row.kept.iter_mut().zip(&self.kept_types) {
                    conform(cell, *kept);
                }
                return Ok(Some(row));
            }
            self.finish_file();
        }
        Ok(None)
    }
}

impl Iterator for Rows {
    type Item = Result<Row, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.next_row();
        if result.is_err() {
            self.file = self.inputs.len();
            self.source = None;
        }
        result.transpose()
    }
}

fn open_source(input: &Input, options: &Arc<ReadOptions>) -> Result<Box<dyn Source>, Failure> {
    let options = Arc::clone(options);
    Ok(match input.format() {
        InputFormat::Lines => Box::new(lines::Lines::open(input, &options)?),
        InputFormat::Jsonl => Box::new(jsonl::Jsonl::open(input, options)?),
        InputFormat::Csv => Box::new(csv::Csv::open(input, options, b',')?),
        InputFormat::Tsv => Box::new(csv::Csv::open(input, options, b'\t')?),
        InputFormat::Parquet => Box::new(parquet::Parquet::open(input, options)?),
        InputFormat::Arrow => Box::new(arrow::Arrow::open(input, options)?),
    })
}

/// One type for a column of several files.
fn merge_types(types: impl Iterator<Item = Option<CellType>>) -> Option<CellType> {
    types
        .reduce(|a, b| match (a?, b?) {
            (a, b) if a == b => Some(a),
            (CellType::Integer, CellType::Float) | (CellType::Float, CellType::Integer) => {
                Some(CellType::Float)
            }
            _ => Some(CellType::Text),
        })
        .flatten()
}

/// Makes the cell one of its column's type, which is wider if another file has it so.
fn conform(cell: &mut Cell, kept: Option<CellType>) {
    *cell = match (std::mem::replace(cell, Cell::Null), kept) {
        (Cell::Integer(value), Some(CellType::Float)) => Cell::Float(value as f64),
        (Cell::Bool(value), Some(CellType::Text)) => Cell::Text(value.to_string()),
        (Cell::Integer(value), Some(CellType::Text)) => Cell::Text(value.to_string()),
        (Cell::Float(value), Some(CellType::Text)) => Cell::Text(value.to_string()),
        (other, _) => other,
    };
}

/// The failure of a whole file, with what to do about it.
fn unreadable(name: &str, problem: impl std::fmt::Display, remedy: &str) -> Failure {
    Failure::Stopped {
        code: failure::PARTIAL,
        message: format!("{name}: {problem}; {remedy}"),
    }
}

/// The failure of an option that names a column which the file has not, or not so.
fn bad_column(name: &str, problem: impl std::fmt::Display, present: &[String]) -> Failure {
    Failure::usage(format!(
        "{name}: {problem}; its columns are: {}",
        list(present)
    ))
}

/// The names, in a message of bearable length.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 40;
    let mut list = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN {
        list += &format!(" and {} more", names.len() - SHOWN);
    }
    list
}

#[cfg(test)]
mod tests;
