//! Comma- and tab-separated values under a header line, as RFC 4180 has them: a quoted field may hold delimiters, line
//! ends and doubled quotes. Blank lines are no rows.

use std::io::{self, BufRead};
use std::sync::Arc;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::bytes::{Input, Stream};
use super::{CellType, ReadOptions, Source, bad_column, unreadable};
use crate::cli::bulk::row::{Cell, Reject, Row};
use crate::cli::failure::Failure;
use crate::cli::line;

/// More are no table but a damaged file.
const MOST_COLUMNS: usize = 1 << 16;
const FIRST_FIELD_BYTES: usize = 1 << 12;

/// A file of delimited fields.
pub struct Csv {
    records: Records,
    options: Arc<ReadOptions>,
    columns: usize,
    text: usize,
    id: Option<usize>,
    kept: Vec<usize>,
}

impl Csv {
    /// Opens the file and finds the columns in its header.
    pub fn open(input: &Input, options: Arc<ReadOptions>, delimiter: u8) -> Result<Self, Failure> {
        let stream = input.stream()?.into_text()?;
        let mut records = Records::new(stream, delimiter, options.max_row_bytes);
        let header = records.next(MOST_COLUMNS)?;
        let name = input.name();
        let problem = match header {
            None => Some("is empty".to_owned()),
            Some(header) => header
                .problem
                .map(|problem| format!("the header {problem}")),
        };
        if let Some(problem) = problem {
            let remedy = "the first line has to name the columns";
            return Err(unreadable(name, problem, remedy));
        }
        let names: Vec<String> = (0..records.fields)
            .map(|index| String::from_utf8_lossy(records.field(index)).into_owned())
            .collect();
        let find = |wanted: &String| {
            let mut places = (0..names.len()).filter(|&index| names[index] == *wanted);
            match (places.next(), places.next()) {
                (Some(place), None) => Ok(place),
                (None, _) => Err(bad_column(name, format!("no column \"{wanted}\""), &names)),
                (Some(_), Some(_)) => {
                    let problem = format!("more than one column \"{wanted}\"");
                    Err(bad_column(name, problem, &names))
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
            line::text(self.records.field(index).to_vec())
                .map_err(|problem| format!("the column \"{name}\" {problem}"))
        };
        for (&index, name) in self.kept.iter().zip(&self.options.keep) {
            row.kept.push(Cell::Text(text(index, name)?));
        }
        if let (Some(index), Some(name)) = (self.id, &self.options.id_field) {
            row.id = Some(text(index, name)?);
        }
        text(self.text, &self.options.field)
    }
}

impl Source for Csv {
    fn next_row(&mut self) -> Result<Option<Row>, Failure> {
        let Some(record) = self.records.next(self.columns)? else {
            return Ok(None);
        };
        let mut row = Row {
            file: 0,
            line: record.line,
            id: None,
            text: Ok(String::new()),
            kept: Vec::new(),
        };
        let fields = self.records.fields;
        let read = match record.problem {
            Some(problem) => Err(format!("the row {problem}")),
            None if fields != self.columns => Err(format!(
                "the row has {fields} fields, the header {}",
                self.columns
            )),
            None => self.read_fields(&mut row),
        };
        row.text = read.map_err(Reject);
        Ok(Some(row))
    }

    fn skip_rows(&mut self, count: u64) -> Result<u64, Failure> {
        for skipped in 0..count {
            if self.records.next(self.columns)?.is_none() {
                return Ok(skipped);
            }
        }
        Ok(count)
    }

    fn kept_types(&self) -> Vec<Option<CellType>> {
        vec![Some(CellType::Text); self.kept.len()]
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
    /// The line that is read next.
    line: u64,
    /// The fields of the record, one behind the other.
    bytes: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
    /// How many there are.
    fields: usize,
}

/// What [`Records::next`] has read.
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

    /// Reads a record; of one that is too long, or has more than `most_fields`, only the end is found.
    fn next(&mut self, most_fields: usize) -> Result<Option<Record>, Failure> {
        let record = self.read(most_fields);
        record.map_err(|error| self.stream.failure(error))
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
                // One byte more than the limit, so that a record of just this size is not full.
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
            Some(line::too_long(total_bytes, self.limit))
        } else if dropped_fields > 0 {
            let total = dropped_fields + fields;
            Some(format!("has {total} fields, more than {most_fields}"))
        } else {
            None
        };
        Ok(Some(Record { line, problem }))
    }

    /// Passes over line ends; false at the end of the stream.
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
