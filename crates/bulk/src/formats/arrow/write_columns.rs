//! Columns of Arrow arrays, for Arrow IPC and Parquet.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float32Builder, Float64Builder, Int64Builder, StringBuilder, UInt32Builder,
    UInt64Builder,
};
use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, Float16Array, Float32Array, Int8Array, RecordBatch,
    UInt8Array,
};
use arrow_buffer::{Buffer, MutableBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use lanewise_vectors::Precision;

use crate::output::Layout;
use crate::row::{Cell, CellType, Embedded, Row};

/// Rows of a record batch, if their columns carried along are short.
const BATCH_ROWS: usize = 1024;
/// Bytes of columns carried along in one record batch, except for its last row.
const BATCH_BYTES: usize = 8 << 20;

/// The name of the vectors' column.
pub const EMBEDDING: &str = "embedding";

/// Collects rows into record batches. Where a batch ends depends on the rows only, so the same rows
/// give the same file.
pub struct WriteColumns {
    schema: SchemaRef,
    precision: Precision,
    numbers: usize,
    rows: usize,
    bytes: usize,
    index: UInt64Builder,
    id: Option<StringBuilder>,
    kept: Vec<KeptBuilder>,
    tokens: UInt64Builder,
    truncated: BooleanBuilder,
    windows: UInt32Builder,
    scale: Option<Float32Builder>,
    /// Allocated with the alignment that arrays need.
    embedding: MutableBuffer,
}

impl WriteColumns {
    /// Columns for a layout; lists hold what its precision stores.
    pub fn new(layout: &Layout) -> Result<Self, ArrowError> {
        let space = &layout.space;
        let numbers = space.precision.numbers(space.dims);
        let list_size = i32::try_from(numbers)
            .map_err(|_| ArrowError::SchemaError("vectors are too long".into()))?;
        let mut fields = vec![Field::new("index", DataType::UInt64, false)];
        fields.extend(
            layout
                .has_ids
                .then(|| Field::new("id", DataType::Utf8, true)),
        );
        for (name, cells) in &layout.kept {
            fields.push(Field::new(name, KeptBuilder::data_type(*cells), true));
        }
        fields.extend([
            Field::new("tokens", DataType::UInt64, false),
            Field::new("truncated", DataType::Boolean, false),
            Field::new("windows", DataType::UInt32, false),
        ]);
        let has_scale = space.precision.has_scale();
        fields.extend(has_scale.then(|| Field::new("scale", DataType::Float32, false)));
        let list = DataType::FixedSizeList(item(space.precision), list_size);
        fields.push(Field::new(EMBEDDING, list, false));
        let metadata: HashMap<String, String> = layout.metadata().into_iter().collect();
        let schema = Schema::new(fields).with_metadata(metadata);
        Ok(Self {
            schema: Arc::new(schema),
            precision: space.precision,
            numbers,
            rows: 0,
            bytes: 0,
            index: UInt64Builder::new(),
            id: layout.has_ids.then(StringBuilder::new),
            kept: layout
                .kept
                .iter()
                .map(|(_, cells)| KeptBuilder::new(*cells))
                .collect(),
            tokens: UInt64Builder::new(),
            truncated: BooleanBuilder::new(),
            windows: UInt32Builder::new(),
            scale: has_scale.then(Float32Builder::new),
            embedding: MutableBuffer::new(BATCH_ROWS * space.precision.bytes(space.dims)),
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
        if let Some(id) = &mut self.id {
            id.append_option(row.id.as_deref());
        }
        for (builder, cell) in self.kept.iter_mut().zip(&row.kept) {
            builder.push(cell);
            self.bytes += cell.bytes();
        }
        self.bytes += row.id.as_ref().map_or(0, String::len);
        self.tokens.append_value(embedded.reading.tokens);
        self.truncated.append_value(embedded.reading.truncated);
        self.windows.append_value(embedded.reading.windows);
        if let Some(scale) = &mut self.scale {
            scale.append_value(embedded.scale);
        }
        self.embedding.extend_from_slice(&embedded.vector);
        self.rows += 1;
        if self.rows < BATCH_ROWS && self.bytes < BATCH_BYTES {
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
        if let Some(id) = &mut self.id {
            columns.push(Arc::new(id.finish()));
        }
        columns.extend(self.kept.iter_mut().map(KeptBuilder::finish));
        columns.push(Arc::new(self.tokens.finish()));
        columns.push(Arc::new(self.truncated.finish()));
        columns.push(Arc::new(self.windows.finish()));
        if let Some(scale) = &mut self.scale {
            columns.push(Arc::new(scale.finish()));
        }
        let capacity = self.embedding.len();
        let stored = std::mem::replace(&mut self.embedding, MutableBuffer::new(capacity));
        columns.push(self.lists(stored.into())?);
        (self.rows, self.bytes) = (0, 0);
        RecordBatch::try_new(self.schema(), columns).map(Some)
    }

    fn lists(&self, stored: Buffer) -> Result<ArrayRef, ArrowError> {
        let count = self.rows * self.numbers;
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
        // The schema's constructor has checked that this fits.
        let size = self.numbers as i32;
        let lists = FixedSizeListArray::try_new(item(self.precision), size, values, None)?;
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

/// A column carried along.
enum KeptBuilder {
    Bool(BooleanBuilder),
    Integer(Int64Builder),
    Float(Float64Builder),
    Text(StringBuilder),
}

impl KeptBuilder {
    fn new(cells: CellType) -> Self {
        match cells {
            CellType::Bool => Self::Bool(BooleanBuilder::new()),
            CellType::Integer => Self::Integer(Int64Builder::new()),
            CellType::Float => Self::Float(Float64Builder::new()),
            CellType::Text => Self::Text(StringBuilder::new()),
        }
    }

    fn data_type(cells: CellType) -> DataType {
        match cells {
            CellType::Bool => DataType::Boolean,
            CellType::Integer => DataType::Int64,
            CellType::Float => DataType::Float64,
            CellType::Text => DataType::Utf8,
        }
    }

    /// Adds a cell; one that is not of the column's type becomes text in a text column, else null.
    fn push(&mut self, cell: &Cell) {
        match (self, cell) {
            (Self::Bool(builder), Cell::Bool(value)) => builder.append_value(*value),
            (Self::Bool(builder), _) => builder.append_null(),
            (Self::Integer(builder), Cell::Integer(value)) => builder.append_value(*value),
            (Self::Integer(builder), _) => builder.append_null(),
            (Self::Float(builder), Cell::Float(value)) => builder.append_value(*value),
            (Self::Float(builder), Cell::Integer(value)) => builder.append_value(*value as f64),
            (Self::Float(builder), _) => builder.append_null(),
            (Self::Text(builder), Cell::Null) => builder.append_null(),
            (Self::Text(builder), Cell::Bool(value)) => builder.append_value(value.to_string()),
            (Self::Text(builder), Cell::Integer(value)) => builder.append_value(value.to_string()),
            (Self::Text(builder), Cell::Float(value)) => builder.append_value(value.to_string()),
            (Self::Text(builder), Cell::Text(value)) => builder.append_value(value),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Bool(builder) => Arc::new(builder.finish()) as Arc<dyn Array>,
            Self::Integer(builder) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
        }
    }
}

/// The I/O error inside, if there is one.
pub fn io_error(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, error) => error,
        other => io::Error::other(other),
    }
}
