//! Columns of Arrow arrays, for Arrow IPC and Parquet.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, FixedSizeBinaryBuilder, Float32Builder, UInt32Builder, UInt64Builder,
};
use arrow_array::{
    ArrayRef, FixedSizeListArray, Float16Array, Float32Array, Int8Array, RecordBatch, UInt8Array,
};
use arrow_buffer::{Buffer, MutableBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use lanewise_vectors::Precision;

use super::column::{Column, data_type};
use crate::output::{Layout, TEXT_DIGEST, vector_column};
use crate::row::{Cell, Embedded, Row};

/// Bytes of columns carried along in one record batch, except for its last row.
const BATCH_BYTES: usize = 8 << 20;

/// The length of a [`TextDigest`](crate::digest::TextDigest).
const DIGEST_BYTES: i32 = 16;

/// Collects rows into record batches. Where a batch ends depends on the rows only, so the same rows
/// give the same file.
pub struct WriteColumns {
    schema: SchemaRef,
    batch_rows: usize,
    rows: usize,
    bytes: usize,
    index: UInt64Builder,
    has_ids: bool,
    /// The ids, if there are any, and the columns carried along.
    given: Vec<Column>,
    tokens: UInt64Builder,
    truncated: BooleanBuilder,
    windows: UInt32Builder,
    digest: FixedSizeBinaryBuilder,
    scale: Option<Float32Builder>,
    /// Of each precision.
    vectors: Vec<Vectors>,
}

/// The vectors of a batch in one precision.
struct Vectors {
    precision: Precision,
    /// Its numbers in a list.
    numbers: i32,
    /// Its part of the bytes of a stored vector.
    part: Range<usize>,
    /// Allocated with the alignment that arrays need.
    stored: MutableBuffer,
}

impl WriteColumns {
    /// Columns for a layout, in batches of `batch_rows` rows if columns carried along are short; lists
    /// hold what its precisions store.
    pub fn new(layout: &Layout, batch_rows: usize) -> Result<Self, ArrowError> {
        let space = &layout.space;
        let vectors = space
            .precision
            .parts(space.dims)
            .map(|(precision, part)| Vectors::new(precision, space.dims, part, batch_rows))
            .collect::<Result<Vec<_>, _>>()?;
        let mut fields = vec![Field::new("index", DataType::UInt64, false)];
        let given = || layout.id.iter().chain(&layout.kept);
        fields
            .extend(given().map(|column| Field::new(&column.name, data_type(&column.cells), true)));
        fields.extend([
            Field::new("tokens", DataType::UInt64, false),
            Field::new("truncated", DataType::Boolean, false),
            Field::new("windows", DataType::UInt32, false),
            Field::new(TEXT_DIGEST, DataType::FixedSizeBinary(DIGEST_BYTES), false),
        ]);
        let has_scale = space.precision.has_scale();
        fields.extend(has_scale.then(|| Field::new("scale", DataType::Float32, false)));
        fields.extend(vectors.iter().enumerate().map(|(number, vectors)| {
            let name = vector_column(number, vectors.precision);
            Field::new(name, vectors.data_type(), false)
        }));
        let metadata: HashMap<String, String> = layout.metadata().into_iter().collect();
        let schema = Schema::new(fields).with_metadata(metadata);
        Ok(Self {
            schema: Arc::new(schema),
            batch_rows,
            rows: 0,
            bytes: 0,
            index: UInt64Builder::new(),
            has_ids: layout.id.is_some(),
            given: given()
                .map(|column| Column::new(&data_type(&column.cells)))
                .collect::<Result<_, _>>()?,
            tokens: UInt64Builder::new(),
            truncated: BooleanBuilder::new(),
            windows: UInt32Builder::new(),
            digest: FixedSizeBinaryBuilder::new(DIGEST_BYTES),
            scale: has_scale.then(Float32Builder::new),
            vectors,
        })
    }

    /// The columns' names, types and metadata.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Adds a row; returns a batch when there are enough.
    pub fn push(
        &mut self,
        row: &Row<Embedded>,
        embedded: &Embedded,
    ) -> Result<Option<RecordBatch>, ArrowError> {
        self.index.append_value(row.index);
        let id = self.has_ids.then(|| row.id.as_ref().unwrap_or(&Cell::Null));
        for (column, cell) in self.given.iter_mut().zip(id.into_iter().chain(&row.kept)) {
            column.push(cell)?;
            self.bytes += cell.bytes().max(column.null_bytes());
        }
        self.tokens.append_value(embedded.reading.tokens);
        self.truncated.append_value(embedded.reading.truncated);
        self.windows.append_value(embedded.reading.windows);
        self.digest.append_value(embedded.reading.digest.0)?;
        if let Some(scale) = &mut self.scale {
            scale.append_value(embedded.scale);
        }
        for vectors in &mut self.vectors {
            let part = &embedded.vector[vectors.part.clone()];
            vectors.stored.extend_from_slice(part);
        }
        self.rows += 1;
        if self.rows < self.batch_rows && self.bytes < BATCH_BYTES {
            return Ok(None);
        }
        self.take()
    }

    /// The rows that have not been returned yet.
    pub fn take(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        if self.rows == 0 {
            return Ok(None);
        }
        let mut columns: Vec<ArrayRef> = vec![Arc::new(self.index.finish())];
        for column in &mut self.given {
            columns.push(column.finish()?);
        }
        columns.push(Arc::new(self.tokens.finish()));
        columns.push(Arc::new(self.truncated.finish()));
        columns.push(Arc::new(self.windows.finish()));
        columns.push(Arc::new(self.digest.finish()));
        if let Some(scale) = &mut self.scale {
            columns.push(Arc::new(scale.finish()));
        }
        for vectors in &mut self.vectors {
            columns.push(vectors.take(self.rows)?);
        }
        (self.rows, self.bytes) = (0, 0);
        RecordBatch::try_new(self.schema(), columns).map(Some)
    }
}

impl Vectors {
    fn new(
        precision: Precision,
        dims: usize,
        part: Range<usize>,
        batch_rows: usize,
    ) -> Result<Self, ArrowError> {
        let numbers = i32::try_from(precision.numbers(dims))
            .map_err(|_| ArrowError::SchemaError("vectors are too long".into()))?;
        Ok(Self {
            precision,
            numbers,
            stored: MutableBuffer::new(batch_rows * part.len()),
            part,
        })
    }

    fn data_type(&self) -> DataType {
        DataType::FixedSizeList(item(self.precision), self.numbers)
    }

    /// The lists of `rows` rows.
    fn take(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        let capacity = self.stored.len();
        let stored = std::mem::replace(&mut self.stored, MutableBuffer::new(capacity));
        let stored = Buffer::from(stored);
        let count = rows * self.numbers as usize;
        let values: ArrayRef = match self.precision {
            Precision::F32 => {
                Arc::new(Float32Array::new(ScalarBuffer::new(stored, 0, count), None))
            }
            Precision::F16 => {
                Arc::new(Float16Array::new(ScalarBuffer::new(stored, 0, count), None))
            }
            Precision::I8 => Arc::new(Int8Array::new(ScalarBuffer::new(stored, 0, count), None)),
            Precision::Binary => {
                Arc::new(UInt8Array::new(ScalarBuffer::new(stored, 0, count), None))
            }
        };
        let lists = FixedSizeListArray::try_new(item(self.precision), self.numbers, values, None)?;
        Ok(Arc::new(lists))
    }
}

/// The numbers in a vector's list.
fn item(precision: Precision) -> Arc<Field> {
    let number = match precision {
        Precision::F32 => DataType::Float32,
        Precision::F16 => DataType::Float16,
        Precision::I8 => DataType::Int8,
        Precision::Binary => DataType::UInt8,
    };
    Arc::new(Field::new_list_field(number, false))
}

/// A column of one null; the problem, if columns of this type cannot be written.
pub fn nulls(data_type: &DataType) -> Result<ArrayRef, String> {
    let mut column = Column::new(data_type).map_err(|error| error.to_string())?;
    column.push(&Cell::Null).map_err(|_| "it has no nulls")?;
    column.finish().map_err(|error| error.to_string())
}

/// The I/O error inside, if there is one.
pub fn io_error(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, error) => error,
        other => io::Error::other(other),
    }
}
