//! Arrow IPC files (Feather version 2).

use std::io;

use arrow_ipc::writer::FileWriter;

use super::write_columns::{WriteColumns, io_error};
use crate::formats::RowWriter;
use crate::output::Layout;
use crate::row::{Embedded, Row};
use crate::staged::Staged;

/// A file of record batches.
pub struct ArrowWriter {
    out: FileWriter<Staged>,
    columns: WriteColumns,
}

impl ArrowWriter {
    /// Writes the schema.
    pub fn new(file: Staged, layout: Layout) -> io::Result<Self> {
        let columns = WriteColumns::new(&layout).map_err(io_error)?;
        let out = FileWriter::try_new(file, &columns.schema()).map_err(io_error)?;
        Ok(Self { out, columns })
    }
}

impl RowWriter for ArrowWriter {
    fn row(&mut self, row: &Row<Embedded>, embedded: &Embedded) -> io::Result<()> {
        if let Some(batch) = self.columns.push(row, embedded).map_err(io_error)? {
            self.out.write(&batch).map_err(io_error)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<Vec<Staged>> {
        if let Some(batch) = self.columns.take().map_err(io_error)? {
            self.out.write(&batch).map_err(io_error)?;
        }
        Ok(vec![self.out.into_inner().map_err(io_error)?])
    }
}
