//! Arrow IPC files (Feather version 2).

use std::io;

use arrow_ipc::MetadataVersion;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};

use super::write_columns::{WriteColumns, io_error};
use crate::formats::RowWriter;
use crate::output::Layout;
use crate::row::{Embedded, Row};
use crate::staged::Staged;

/// Where buffers begin in the file: multiples of this, a line of the cache, so that a program that
/// maps the file can use the vectors where they lie.
const ALIGNMENT: usize = 64;
/// Rows of a record batch at most: a scan goes from batch to batch through the footer, so few large
/// ones are better, 123 for a million of vectors.
const MOST_BATCH_ROWS: usize = 8192;
/// Bytes of a batch's vectors at most: readers and this writer have a batch in memory.
const BATCH_VECTOR_BYTES: usize = 8 << 20;

/// Rows of a batch whose vectors take `bytes` each: a power of two.
fn batch_rows(bytes: usize) -> usize {
    let most = (BATCH_VECTOR_BYTES / bytes.max(1)).clamp(1, MOST_BATCH_ROWS);
    1 << most.ilog2()
}

/// A file of record batches, not compressed.
pub struct ArrowWriter {
    out: FileWriter<Staged>,
    columns: WriteColumns,
}

impl ArrowWriter {
    /// Writes the schema.
    pub fn new(file: Staged, layout: Layout) -> io::Result<Self> {
        let space = &layout.space;
        let rows = batch_rows(space.precision.bytes(space.dims));
        let columns = WriteColumns::new(&layout, rows).map_err(io_error)?;
        let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5);
        let options = options.map_err(io_error)?;
        let out = FileWriter::try_new_with_options(file, &columns.schema(), options);
        let out = out.map_err(io_error)?;
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

#[cfg(test)]
mod tests {
    use super::batch_rows;

    #[test]
    fn a_batch_has_many_rows_and_few_megabytes() {
        for (bytes, rows) in [
            (96, 8192),
            (768, 8192),
            (768 + 96, 8192),
            (3072, 2048),
            (768 + 96 + 3072, 2048),
            (4 << 16, 32),
            (usize::MAX, 1),
        ] {
            assert_eq!(batch_rows(bytes), rows, "{bytes}");
        }
    }
}
