//! Parquet files.

use std::io;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::formats::RowWriter;
use crate::formats::arrow::{WriteColumns, io_error, map_types};
use crate::output::{Layout, vector_column};
use crate::row::{Embedded, Row};
use crate::staged::Staged;

/// Rows of a row group if columns carried along are short: 25 MB of vectors of 768 floats.
const GROUP_ROWS: usize = 8192;
/// Rows that are handed to the writer together.
const BATCH_ROWS: usize = 1024;
/// A row group ends with the record batch that brings it to this size, because the writer holds it
/// in memory.
const GROUP_BYTES: usize = 32 << 20;

/// A file of row groups.
pub struct ParquetWriter {
    out: ArrowWriter<Staged>,
    columns: WriteColumns,
    schema: SchemaRef,
    group_bytes: usize,
}

impl ParquetWriter {
    /// Begins the file.
    pub fn new(file: Staged, layout: Layout) -> io::Result<Self> {
        let columns = WriteColumns::new(&layout, BATCH_ROWS).map_err(io_error)?;
        let schema = Arc::new(map_types(&columns.schema(), &stored));
        let metadata = layout.metadata().into_iter();
        let metadata = metadata
            .map(|(name, value)| KeyValue::new(name, value))
            .collect();
        let level = ZstdLevel::try_new(1).map_err(parquet_error)?;
        let mut properties = WriterProperties::builder()
            .set_created_by(format!("lanewise {}", layout.space.version))
            .set_key_value_metadata(Some(metadata))
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(GROUP_ROWS));
        // Vectors look random: a dictionary or compression does not make them smaller, and
        // statistics are useless.
        for (number, precision) in layout.space.precision.iter().enumerate() {
            let name = vector_column(number, precision);
            let path = [&name, "list", Field::LIST_FIELD_DEFAULT_NAME].map(String::from);
            let vectors = ColumnPath::new(path.into());
            properties = properties
                .set_column_compression(vectors.clone(), Compression::UNCOMPRESSED)
                .set_column_dictionary_enabled(vectors.clone(), false)
                .set_column_statistics_enabled(vectors, EnabledStatistics::None);
        }
        let out = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties.build()));
        Ok(Self {
            out: out.map_err(parquet_error)?,
            columns,
            schema,
            group_bytes: 0,
        })
    }

    fn write(&mut self, batch: Option<RecordBatch>) -> Result<(), ParquetError> {
        let Some(batch) = batch else {
            return Ok(());
        };
        let fields = self.schema.fields().iter();
        let columns = fields.zip(batch.columns());
        let columns = columns.map(|(field, column)| as_stored(column, field.data_type()));
        let columns = columns.collect::<Result<_, _>>()?;
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        self.group_bytes += batch.get_array_memory_size();
        self.out.write(&batch)?;
        if self.group_bytes >= GROUP_BYTES {
            self.out.flush()?;
        }
        if self.out.in_progress_rows() == 0 {
            self.group_bytes = 0;
        }
        Ok(())
    }
}

impl RowWriter for ParquetWriter {
    fn row(&mut self, row: &Row<Embedded>, embedded: &Embedded) -> io::Result<()> {
        let batch = self.columns.push(row, embedded).map_err(io_error)?;
        self.write(batch).map_err(parquet_error)
    }

    fn finish(mut self: Box<Self>) -> io::Result<Vec<Staged>> {
        let batch = self.columns.take().map_err(io_error)?;
        self.write(batch).map_err(parquet_error)?;
        Ok(vec![self.out.into_inner().map_err(parquet_error)?])
    }
}

/// The type in place of one that Parquet has no annotation for: readers would find bare numbers.
fn stored(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Timestamp(TimeUnit::Second, zone) => {
            Some(DataType::Timestamp(TimeUnit::Millisecond, zone.clone()))
        }
        DataType::Time32(TimeUnit::Second) => Some(DataType::Time32(TimeUnit::Millisecond)),
        DataType::Date64 => Some(DataType::Timestamp(TimeUnit::Millisecond, None)),
        _ => None,
    }
}

/// The column as that type; an error if a time is beyond it.
fn as_stored(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    if column.data_type() == data_type {
        return Ok(Arc::clone(column));
    }
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(column, data_type, &options)
}

/// Checks that Parquet can hold a column like this array.
pub fn check_column(nulls: ArrayRef) -> Result<(), String> {
    let write = || -> Result<(), ParquetError> {
        let field = Field::new("column", nulls.data_type().clone(), true);
        let schema = map_types(&Schema::new(vec![field]), &stored);
        let column = as_stored(&nulls, schema.field(0).data_type())?;
        let batch = RecordBatch::try_new(Arc::new(schema), vec![column])?;
        let mut out = ArrowWriter::try_new(io::sink(), batch.schema(), None)?;
        out.write(&batch)?;
        out.close().map(drop)
    };
    write().map_err(|error| error.to_string())
}

/// The I/O error inside, if there is one.
fn parquet_error(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}
