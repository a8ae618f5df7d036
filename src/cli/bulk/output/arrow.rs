//! Arrow IPC files (Feather version 2).

use std::io;

use ::arrow::ipc::writer::FileWriter;

use super::columns::{Columns, io_error};
use super::{Layout, Sink, Staged};
use crate::cli::bulk::spool::{Embedded, Record};

/// A file of record batches.
pub struct Arrow {
    out: FileWriter<Staged>,
    columns: Columns,
}

impl Arrow {
    /// Writes the schema.
    pub fn new(file: Staged, layout: Layout) -> io::Result<Self> {
        let columns = Columns::new(&layout).map_err(io_error)?;
        let out = FileWriter::try_new(file, &columns.schema()).map_err(io_error)?;
        Ok(Self { out, columns })
    }
}

impl Sink for Arrow {
    fn row(&mut self, record: &Record, embedded: &Embedded) -> io::Result<()> {
        if let Some(batch) = self.columns.push(record, embedded).map_err(io_error)? {
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
