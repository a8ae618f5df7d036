//! JSON objects, one per line.

use std::io::{self, Write};

use lanewise_vectors::Precision;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use crate::formats::RowWriter;
use crate::formats::cells::JsonCell;
use crate::output::{Layout, TEXT_DIGEST, vector_column};
use crate::row::{Embedded, Row};
use crate::staged::Staged;

/// Which fields objects have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fields {
    /// All fields.
    All,
    /// All but the vector, which is in another file.
    WithoutVector,
}

/// A file of objects.
pub struct JsonlWriter {
    file: Staged,
    layout: Layout,
    fields: Fields,
}

impl JsonlWriter {
    /// A writer of objects with these fields.
    pub fn new(file: Staged, layout: Layout, fields: Fields) -> Self {
        Self {
            file,
            layout,
            fields,
        }
    }

    /// Writes the object of a row.
    pub fn write(&mut self, row: &Row<Embedded>, embedded: &Embedded) -> io::Result<()> {
        let object = Object {
            layout: &self.layout,
            fields: self.fields,
            row,
            embedded,
        };
        serde_json::to_writer(&mut self.file, &object)?;
        self.file.write_all(b"\n")
    }

    /// The file.
    pub fn into_file(self) -> Staged {
        self.file
    }
}

impl RowWriter for JsonlWriter {
    fn row(&mut self, row: &Row<Embedded>, embedded: &Embedded) -> io::Result<()> {
        self.write(row, embedded)
    }

    fn finish(self: Box<Self>) -> io::Result<Vec<Staged>> {
        Ok(vec![self.into_file()])
    }
}

/// Fields in the order of all formats' columns.
struct Object<'a> {
    layout: &'a Layout,
    fields: Fields,
    row: &'a Row<Embedded>,
    embedded: &'a Embedded,
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let space = &self.layout.space;
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("index", &self.row.index)?;
        if let Some(column) = &self.layout.id {
            let id = self.row.id.as_ref().map(|id| JsonCell(id, column));
            object.serialize_entry("id", &id)?;
        }
        for (column, cell) in self.layout.kept.iter().zip(&self.row.kept) {
            object.serialize_entry(&column.name, &JsonCell(cell, column))?;
        }
        object.serialize_entry("tokens", &self.embedded.reading.tokens)?;
        object.serialize_entry("truncated", &self.embedded.reading.truncated)?;
        object.serialize_entry("windows", &self.embedded.reading.windows)?;
        object.serialize_entry(TEXT_DIGEST, &self.embedded.reading.digest.to_string())?;
        if space.precision.has_scale() {
            object.serialize_entry("scale", &self.embedded.scale)?;
        }
        if self.fields == Fields::All {
            for (number, (precision, part)) in space.precision.parts(space.dims).enumerate() {
                let numbers = Numbers(precision, &self.embedded.vector[part]);
                object.serialize_entry(&vector_column(number, precision), &numbers)?;
            }
        }
        object.end()
    }
}

struct Numbers<'a>(Precision, &'a [u8]);

impl Serialize for Numbers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for number in self.0.decode(self.1) {
            list.serialize_element(&number)?;
        }
        list.end()
    }
}
