//! Comma- and tab-separated values under a header line, as in RFC 4180: a quoted field may contain
//! delimiters, line breaks and doubled quotes. Blank lines are skipped.
//!
//! Written on `csv-core` and not on `csv::Reader` or Arrow's CSV reader: a record beyond the limit
//! must be measured and skipped without being held in memory, a ragged or invalid record must be
//! rejected alone, and every row needs the line number that an editor shows, also after quoted line
//! breaks.

use std::io::{self, BufRead};
use std::sync::Arc;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use crate::error::{Error, Result};
use crate::formats::RowReader;
use crate::read_options::ReadOptions;
use crate::row::{Cell, CellType, ColumnTypes, Row};
use crate::source::{Source, Stream};

/// A header with more columns is a damaged file, not a table.
const MOST_COLUMNS: usize = 1 << 16;
const FIRST_FIELD_BYTES: usize = 1 << 12;

/// A file of delimited fields.
pub struct CsvReader {
    records: Records,
    options: Arc<ReadOptions>,
    columns: usize,
    text: usize,
    id: Option<usize>,
    kept: Vec<usize>,
}

impl CsvReader {
    /// Opens the file and finds the columns in its header.
    pub fn open(source: &Source, options: Arc<ReadOptions>, delimiter: u8) -> Result<Self> {
        let stream = source.stream()?.into_text()?;
        let mut records = Records::new(stream, delimiter, options.max_row_bytes);
        let header = records.next(MOST_COLUMNS)?;
        let name = source.name();
        let problem = match header {
            None => Some("is empty".to_owned()),
            Some(header) => header
                .problem
                .map(|problem| format!("the header {problem}")),
        };
        if let Some(problem) = problem {
            let remedy = "the first line has to name the columns";
            return Err(Error::named_file(name, problem, remedy));
        }
        let names: Vec<String> = (0..records.fields)
            .map(|index| String::from_utf8_lossy(records.field(index)).into_owned())
            .collect();
        let find = |wanted: &String| {
            let mut places = (0..names.len()).filter(|&index| names[index] == *wanted);
            match (places.next(), places.next()) {
                (Some(place), None) => Ok(place),
                (None, _) => {
                    let problem = format!("no column \"{wanted}\"");
                    Err(Error::bad_column(name, &problem, &names))
                }
                (Some(_), Some(_)) => {
                    let problem = format!("more than one column \"{wanted}\"");
                    Err(Error::bad_column(name, &problem, &names))
                }
            }
        };
        Ok(Self {
            columns: names.len(),
            text: find(&options.field)?,
            id: options.id_field.as_ref().map(find).transpose()?,
            kept: options.keep.iter().map(find).collect::<Result<_, _>>()?,
            records,
            options,
        })
    }

    fn read_fields(&self, row: &mut Row) -> Result<String, String> {
        let text = |index: usize, name: &str| {
            lanewise_lines::text(self.records.field(index).to_vec())
                .map_err(|problem| format!("the column \"{name}\" {problem}"))
        };
        for (&index, name) in self.kept.iter().zip(&self.options.keep) {
            row.kept.push(Cell::Text(text(index, name)?));
        }
        if let (Some(index), Some(name)) = (self.id, &self.options.id_field) {
            row.id = Some(Cell::Text(text(index, name)?));
        }
        text(self.text, &self.options.field)
    }
}

impl RowReader for CsvReader {
    fn next_row(&mut self) -> Result<Option<Row>> {
        let Some(record) = self.records.next(self.columns)? else {
            return Ok(None);
        };
        let mut row = Row::at_line(record.line);
        let fields = self.records.fields;
        row.outcome = match record.problem {
            Some(problem) => Err(format!("the row {problem}")),
            None if fields != self.columns => Err(format!(
                "the row has {fields} fields, the header {}",
                self.columns
            )),
            None => self.read_fields(&mut row),
        };
        Ok(Some(row))
    }

    fn skip_rows(&mut self, count: u64) -> Result<u64> {
        for skipped in 0..count {
            if self.records.next(self.columns)?.is_none() {
                return Ok(skipped);
            }
        }
        Ok(count)
    }

    fn types(&self) -> ColumnTypes {
        ColumnTypes {
            id: Some(CellType::Text),
            kept: vec![Some(CellType::Text); self.kept.len()],
        }
    }

    fn bytes_read(&self) -> u64 {
        self.records.stream.bytes_read()
    }
}

/// The records of a stream, one at a time and of bounded size.
struct Records {
    stream: Stream,
    reader: Reader,
    limit: usize,
    /// The number of the next line.
    line: u64,
    /// The fields of the record, concatenated.
    bytes: Vec<u8>,
    /// The end of each field in `bytes`.
    ends: Vec<usize>,
    /// The number of fields.
    fields: usize,
}

/// A record that [`Records::next`] has read.
struct Record {
    line: u64,
    /// Why its fields cannot be used.
    problem: Option<String>,
}

impl Records {
    fn new(stream: Stream, delimiter: u8, limit: usize) -> Self {
        Self {
            stream,
            reader: ReaderBuilder::new().delimiter(delimiter).build(),
            limit,
            line: 1,
            bytes: vec![0; FIRST_FIELD_BYTES],
            ends: vec![0; 16],
            fields: 0,
        }
    }

    fn field(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }

    /// Reads a record. One that is too long or has more than `most_fields` is skipped and its
    /// problem stated.
    fn next(&mut self, most_fields: usize) -> Result<Option<Record>> {
        let record = self.read(most_fields);
        record.map_err(|error| self.stream.error(error))
    }

    fn read(&mut self, most_fields: usize) -> io::Result<Option<Record>> {
        if !self.skip_blank_lines()? {
            return Ok(None);
        }
        let line = self.line;
        let (mut bytes, mut dropped_bytes) = (0, 0);
        let (mut fields, mut dropped_fields) = (0, 0);
        loop {
            let input = self.stream.fill_buf()?;
            let (result, used, written, ended) =
                self.reader
                    .read_record(input, &mut self.bytes[bytes..], &mut self.ends[fields..]);
            self.line += newlines(&input[..used]);
            self.stream.consume(used);
            bytes += written;
            fields += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                // One byte more than the limit, so that a record of exactly that size does not fill
                // it.
                ReadRecordResult::OutputFull if bytes <= self.limit => {
                    let larger = (2 * bytes).min(self.limit + 1);
                    self.bytes.resize(larger, 0);
                }
                ReadRecordResult::OutputFull => {
                    dropped_bytes += std::mem::take(&mut bytes) as u64;
                }
                ReadRecordResult::OutputEndsFull if fields <= most_fields => {
                    let larger = (2 * fields).min(most_fields + 1);
                    self.ends.resize(larger, 0);
                }
                ReadRecordResult::OutputEndsFull => {
                    dropped_fields += std::mem::take(&mut fields);
                }
                ReadRecordResult::Record | ReadRecordResult::End => break,
            }
        }
        self.fields = fields;
        let total_bytes = dropped_bytes + bytes as u64;
        let problem = if total_bytes > self.limit as u64 {
            Some(lanewise_lines::too_long(total_bytes, self.limit))
        } else if dropped_fields > 0 {
            let total = dropped_fields + fields;
            Some(format!("has {total} fields, more than {most_fields}"))
        } else {
            None
        };
        Ok(Some(Record { line, problem }))
    }

    /// Skips line breaks; false at the end of the stream.
    fn skip_blank_lines(&mut self) -> io::Result<bool> {
        loop {
            let input = self.stream.fill_buf()?;
            if input.is_empty() {
                return Ok(false);
            }
            let is_end = |&byte: &u8| byte == b'\n' || byte == b'\r';
            let blank = input.iter().position(|byte| !is_end(byte));
            let used = blank.unwrap_or(input.len());
            self.line += newlines(&input[..used]);
            self.stream.consume(used);
            if blank.is_some() {
                return Ok(true);
            }
        }
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}
