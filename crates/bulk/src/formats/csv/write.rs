//! Comma-separated values, one column per number.

use std::io;

use csv::Writer;
use lanewise_vectors::Number;

use crate::formats::RowWriter;
use crate::output::Layout;
use crate::row::{Cell, Embedded, Row};
use crate::staged::Staged;

/// A file with a header line.
pub struct CsvWriter {
    out: Writer<Staged>,
    layout: Layout,
}

impl CsvWriter {
    /// Writes the header.
    pub fn new(file: Staged, layout: Layout) -> io::Result<Self> {
        let mut out = Writer::from_writer(file);
        let mut names: Vec<String> = vec!["index".into()];
        names.extend(layout.has_ids.then(|| "id".into()));
        names.extend(layout.kept.iter().map(|(name, _)| name.clone()));
        names.extend(["tokens", "truncated", "windows"].map(String::from));
        names.extend(layout.space.precision.has_scale().then(|| "scale".into()));
        let numbers = layout.space.precision.numbers(layout.space.dims);
        names.extend((0..numbers).map(|number| format!("e{number}")));
        out.write_record(names).map_err(csv_error)?;
        Ok(Self { out, layout })
    }

    fn text(&mut self, value: &str) -> io::Result<()> {
        self.out.write_field(value).map_err(csv_error)
    }

    fn field(&mut self, value: impl ToString) -> io::Result<()> {
        self.text(&value.to_string())
    }
}

impl RowWriter for CsvWriter {
    fn row(&mut self, row: &Row<Embedded>, embedded: &Embedded) -> io::Result<()> {
        let precision = self.layout.space.precision;
        self.field(row.index)?;
        if self.layout.has_ids {
            self.text(row.id.as_deref().unwrap_or_default())?;
        }
        for cell in &row.kept {
            match cell {
                Cell::Null => self.text("")?,
                Cell::Bool(value) => self.field(value)?,
                Cell::Integer(value) => self.field(value)?,
                Cell::Float(value) => self.field(value)?,
                Cell::Text(value) => self.text(value)?,
            }
        }
        self.field(embedded.reading.tokens)?;
        self.field(embedded.reading.truncated)?;
        self.field(embedded.reading.windows)?;
        if precision.has_scale() {
            self.field(embedded.scale)?;
        }
        for number in precision.decode(&embedded.vector) {
            match number {
                Number::Float(value) => self.field(value)?,
                Number::Integer(value) => self.field(value)?,
            }
        }
        self.out.write_record(None::<&[u8]>).map_err(csv_error)
    }

    fn finish(self: Box<Self>) -> io::Result<Vec<Staged>> {
        let file = self.out.into_inner();
        Ok(vec![file.map_err(csv::IntoInnerError::into_error)?])
    }
}

/// The I/O error inside, whose kind decides on the remedy.
fn csv_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}
