//! Rows of comma- and tab-separated values. Blank lines are skipped, except where there is one
//! column: there they are rows with an empty text.

use std::sync::Arc;

use super::header;
use super::records::{Record, Records};
use crate::error::{Error, Result};
use crate::formats::RowReader;
use crate::message::{Setting, message};
use crate::read_options::ReadOptions;
use crate::row::{Cell, CellType, ColumnTypes, Row};
use crate::source::Source;

/// A first line with more columns is a damaged file, not a table.
const MOST_COLUMNS: usize = 1 << 16;

/// A file of delimited fields.
pub struct CsvReader {
    records: Records,
    options: Arc<ReadOptions>,
    columns: usize,
    /// What the columns were found in, as messages call it.
    first: &'static str,
    text: usize,
    id: Option<usize>,
    kept: Vec<usize>,
    /// Records that were read to find the columns, and are rows.
    ahead: Ahead,
}

/// Rows in front of those to be read.
struct Ahead {
    /// The numbers of lines before which all are blank, from the next one that is a row.
    blank: std::ops::Range<u64>,
    /// The record after them.
    record: Option<Record>,
}

impl CsvReader {
    /// Opens the file and finds the columns, in its header if it has one.
    pub fn open(source: &Source, options: Arc<ReadOptions>) -> Result<Self> {
        let rules = options.dialect.rules(source.name(), source.format())?;
        let stream = source.stream()?.into_text()?;
        let mut records = Records::new(stream, rules, options.max_row_bytes);
        let first = loop {
            match records.next(MOST_COLUMNS)? {
                Some(record) if record.is_blank => continue,
                other => break other,
            }
        };
        let name = source.name();
        let what = if rules.header {
            "the header"
        } else {
            "the first line"
        };
        let problem = match &first {
            None if rules.header => Some("is empty".to_owned()),
            None => None,
            Some(first) if first.fields > MOST_COLUMNS => {
                let count = first.fields;
                Some(format!(
                    "{what} has {count} fields, more than {MOST_COLUMNS}"
                ))
            }
            Some(first) => first
                .problem
                .as_ref()
                .map(|problem| format!("{what} {problem}")),
        };
        if let Some(problem) = problem {
            let remedy = match rules.header {
                true if first.is_none() => "the first line has to name the columns".into(),
                true => message![
                    "the first line has to name the columns; if something else than usual is between them, give ",
                    Setting::Delimiter,
                ],
                false => "the columns are counted in it: correct it, or remove it".into(),
            };
            return Err(Error::named_file(name, problem, remedy));
        }
        let columns = first.as_ref().map_or(1, |record| record.fields);
        let names = header::names(&records, &rules, columns);
        // A file without a row has all columns, and one.
        let is_empty = first.is_none();
        let find = |wanted: &String| match is_empty {
            true => Ok(0),
            false => header::find(name, &rules, &names, wanted),
        };
        let line = first.as_ref().map_or(1, |record| record.line);
        Ok(Self {
            columns,
            first: what,
            text: find(&options.field)?,
            id: options.id_field.as_ref().map(find).transpose()?,
            kept: options.keep.iter().map(find).collect::<Result<_, _>>()?,
            ahead: Ahead {
                blank: if rules.header || columns != 1 {
                    1..1
                } else {
                    1..line
                },
                record: first.filter(|_| !rules.header),
            },
            records,
            options,
        })
    }

    /// The next record that is a row.
    fn next_record(&mut self) -> Result<Option<Record>> {
        if let Some(line) = self.ahead.blank.next() {
            return Ok(Some(Record {
                line,
                fields: 1,
                is_blank: true,
                problem: None,
            }));
        }
        if let Some(record) = self.ahead.record.take() {
            return Ok(Some(record));
        }
        loop {
            match self.records.next(self.columns)? {
                Some(record) if record.is_blank && self.columns != 1 => continue,
                other => return Ok(other),
            }
        }
    }

    fn read_fields(&self, row: &mut Row) -> Result<String, String> {
        let text = |index: usize, name: &str| {
            let bytes = self.records.field(index);
            let text = bytes.and_then(|bytes| bytes.map(lanewise_lines::text).transpose());
            text.map_err(|problem| format!("the column \"{name}\" {problem}"))
        };
        for (&index, name) in self.kept.iter().zip(&self.options.keep) {
            row.kept
                .push(text(index, name)?.map_or(Cell::Null, Cell::Text));
        }
        let present = |index: usize, name: &str| {
            text(index, name)?.ok_or_else(|| format!("the column \"{name}\" is null"))
        };
        if let (Some(index), Some(name)) = (self.id, &self.options.id_field) {
            row.id = Some(Cell::Text(present(index, name)?));
        }
        present(self.text, &self.options.field)
    }
}

impl RowReader for CsvReader {
    fn next_row(&mut self) -> Result<Option<Row>> {
        let Some(record) = self.next_record()? else {
            return Ok(None);
        };
        let mut row = Row::at_line(record.line);
        row.outcome = match record.problem {
            Some(problem) => Err(format!("the row {problem}")),
            None if record.fields != self.columns => {
                let (fields, columns) = (record.fields, self.columns);
                let first = self.first;
                Err(format!("the row has {fields} fields, {first} {columns}"))
            }
            // All columns are the one.
            None if record.is_blank => {
                let id = self.id.map(|_| Cell::Text(String::new()));
                (row.id, row.kept) = (id, vec![Cell::Text(String::new()); self.kept.len()]);
                Ok(String::new())
            }
            None => self.read_fields(&mut row),
        };
        Ok(Some(row))
    }

    fn skip_rows(&mut self, count: u64) -> Result<u64> {
        for skipped in 0..count {
            if self.next_record()?.is_none() {
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
        self.records.stream().bytes_read()
    }
}
