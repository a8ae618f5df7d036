//! Comma-separated values, one column per number.

use std::io;

use csv::Writer;
use lanewise_vectors::Number;

use crate::formats::RowWriter;
use crate::formats::cells::{natural, text};
use crate::output::{Layout, TEXT_DIGEST};
use crate::row::{Cell, Embedded, Row};
use crate::staged::Staged;

/// A file with a header line, of vectors in one precision.
pub struct CsvWriter {
    out: Writer<Staged>,
    layout: Layout,
}

impl CsvWriter {
    /// Writes the header.
    pub fn new(file: Staged, layout: Layout) -> io::Result<Self> {
        let mut out = Writer::from_writer(file);
        let mut names: Vec<String> = vec!["index".into()];
        names.extend(
            layout
                .id
                .iter()
                .chain(&layout.kept)
                .map(|column| column.name.clone()),
        );
        names.extend(["tokens", "truncated", "windows", TEXT_DIGEST].map(String::from));
        let precision = layout.space.precision.first();
        names.extend(precision.has_scale().then(|| "scale".into()));
        let numbers = precision.numbers(layout.space.dims);
        names.extend((0..numbers).map(|number| format!("e{number}")));
        out.write_record(names).map_err(csv_error)?;
        Ok(Self { out, layout })
    }

    fn field(&mut self, value: impl ToString) -> io::Result<()> {
        self.out.write_field(value.to_string()).map_err(csv_error)
    }
}

impl RowWriter for CsvWriter {
    fn row(&mut self, row: &Row<Embedded>, embedded: &Embedded) -> io::Result<()> {
        let precision = self.layout.space.precision.first();
        self.field(row.index)?;
        let id = self
            .layout
            .id
            .as_ref()
            .map(|_| row.id.as_ref().unwrap_or(&Cell::Null));
        let columns = self.layout.id.iter().chain(&self.layout.kept);
        for (cell, column) in id.into_iter().chain(&row.kept).zip(columns) {
            let cell = natural(cell, column);
            let cell = cell.ok_or_else(|| io::Error::other("a cell is of another type"))?;
            let text = text(&cell).unwrap_or_default();
            self.out.write_field(&*text).map_err(csv_error)?;
        }
        self.field(embedded.reading.tokens)?;
        self.field(embedded.reading.truncated)?;
        self.field(embedded.reading.windows)?;
        self.field(embedded.reading.digest)?;
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
