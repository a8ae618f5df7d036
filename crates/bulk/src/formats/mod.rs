//! The formats of files, each with its reader and its writer.
//!
//! A reader ([`RowReader`]) yields the rows of one file, and a writer ([`RowWriter`]) makes an
//! output in one pass over the rows, in their order.

pub(crate) mod arrow;
mod cells;
mod csv;
pub(crate) mod guard;
mod jsonl;
mod lines;
mod lookahead;
mod metadata;
pub(crate) mod npy;
pub(crate) mod parquet;

use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow_schema::DataType;

use crate::error::Result;
use crate::format::{InputFormat, OutputFormat};
use crate::output::{Layout, ids_path};
use crate::output_compression::OutputCompression;
use crate::presence::Presence;
use crate::read_options::ReadOptions;
use crate::row::{ColumnTypes, Embedded, Row};
use crate::source::Source;
use crate::staged::Staged;

pub use cells::JsonCell;
pub use guard::panics_are_caught;
pub use metadata::read_metadata;

/// One input file being read.
pub trait RowReader: Send {
    /// The next row; its [`Row::file`] and [`Row::index`] are set later.
    fn next_row(&mut self) -> Result<Option<Row>>;

    /// Skips up to `count` rows; fewer only at the end of the file.
    fn skip_rows(&mut self, count: u64) -> Result<u64> {
        for skipped in 0..count {
            if self.next_row()?.is_none() {
                return Ok(skipped);
            }
        }
        Ok(count)
    }

    /// The types of the ids and of each kept column, if the format has types.
    fn types(&self) -> ColumnTypes;

    /// Takes the types over all files. Where one is not the same as here, cells must be of no
    /// [`CellType::Arrow`](crate::CellType::Arrow).
    fn use_types(&mut self, _types: &ColumnTypes) {}

    /// Which of the columns asked for the rows so far had, if the format does not state its columns
    /// in advance.
    fn presence(&self) -> Option<&Presence> {
        None
    }

    /// The number of rows, if the file states it.
    fn total_rows(&self) -> Option<u64> {
        None
    }

    /// How many bytes of the file, before decompression, have been read.
    fn bytes_read(&self) -> u64;
}

/// Opens a file in its format.
pub fn open_reader(source: &Source, options: &Arc<ReadOptions>) -> Result<Box<dyn RowReader>> {
    let options = Arc::clone(options);
    Ok(match source.format() {
        InputFormat::Lines => Box::new(lines::LinesReader::open(source, &options)?),
        InputFormat::Jsonl => Box::new(jsonl::JsonlReader::open(source, options)?),
        InputFormat::Csv | InputFormat::Tsv => Box::new(csv::CsvReader::open(source, options)?),
        InputFormat::Parquet => Box::new(parquet::ParquetReader::open(source, true, options)?),
        InputFormat::Arrow => Box::new(arrow::ArrowReader::open(source, true, options)?),
    })
}

/// Opens an output for the ids and columns that it carries. Those of JSON lines also need a text,
/// which any field with strings is.
pub fn open_carried(source: &Source, options: ReadOptions) -> Result<Box<dyn RowReader>> {
    let options = Arc::new(options);
    Ok(match source.format() {
        InputFormat::Parquet => Box::new(parquet::ParquetReader::open(source, false, options)?),
        InputFormat::Arrow => Box::new(arrow::ArrowReader::open(source, false, options)?),
        _ => Box::new(jsonl::JsonlReader::open(source, options)?),
    })
}

/// Checks that a format can hold a column of this type.
pub fn check_column(format: OutputFormat, data_type: &DataType) -> Result<(), String> {
    let nulls = arrow::nulls(data_type)?;
    match format {
        OutputFormat::Parquet => parquet::check_column(nulls),
        _ => Ok(()),
    }
}

/// An output being made.
pub trait RowWriter {
    /// Adds a row and its vector.
    fn row(&mut self, row: &Row<Embedded>, embedded: &Embedded) -> io::Result<()>;

    /// Writes what comes after the last row.
    fn finish(self: Box<Self>) -> io::Result<Vec<Staged>>;
}

/// Begins an output in `file`; the files get their names once all is written.
pub fn create_writer(
    format: OutputFormat,
    output: &Path,
    file: Staged,
    layout: Layout,
) -> io::Result<Box<dyn RowWriter>> {
    Ok(match format {
        OutputFormat::Jsonl => Box::new(jsonl::JsonlWriter::new(file, layout, jsonl::Fields::All)),
        OutputFormat::Csv => Box::new(csv::CsvWriter::new(file, layout)?),
        OutputFormat::Npy => {
            let ids = Staged::create(&ids_path(output), OutputCompression::Plain)?;
            Box::new(npy::NpyWriter::new(file, ids, layout)?)
        }
        OutputFormat::Parquet => Box::new(parquet::ParquetWriter::new(file, layout)?),
        OutputFormat::Arrow => Box::new(arrow::ArrowWriter::new(file, layout)?),
    })
}

#[cfg(test)]
mod tests;
