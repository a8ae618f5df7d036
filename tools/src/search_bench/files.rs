//! Files of random unit vectors, as `embed` writes them, and the indexes over them.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, Int8Array, RecordBatch, UInt8Array};
use arrow_ipc::MetadataVersion;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use lanewise_bulk::OverflowPolicy;
use lanewise_bulk::outputs::{metadata_of, vector_column};
use lanewise_pool::Pool;
use lanewise_pool::partition::chunks;
use lanewise_search::{Index, OpenOptions, Precision, Space};
use lanewise_testkit::random::Random;
use lanewise_vectors::Precisions;

/// Rows of a record batch, as `embed` makes them of INT8 vectors.
const BATCH_ROWS: usize = 8192;

/// Where buffers begin in a file, as in those of `embed`.
const ALIGNMENT: usize = 64;

/// Vectors of about uniform directions. The same row has the same vector in every file.
#[derive(Clone, Copy)]
pub struct Vectors {
    pub rows: usize,
    pub dims: usize,
}

impl Vectors {
    /// Writes them in some precisions, such as `i8+binary`, and opens the file. `progress` is told how
    /// many rows are written.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, or is no index.
    pub fn index(
        self,
        directory: &Path,
        precisions: &str,
        pool: &mut Pool,
        progress: impl FnMut(usize),
    ) -> Result<Index, String> {
        let path = directory.join(format!("{precisions}-{}.arrow", self.rows));
        let precisions: Precisions = precisions.parse().map_err(|error| format!("{error}"))?;
        let written = self.write(&path, precisions, pool, progress);
        written.map_err(|error| {
            format!(
                "cannot write {}: {error}; name another directory by --scratch, or take fewer --rows",
                path.display()
            )
        })?;
        let options = OpenOptions {
            threads: Some(pool.threads()),
            ..OpenOptions::default()
        };
        Index::open_all(&[path], &options).map_err(|error| error.to_string())
    }

    fn write(
        self,
        path: &Path,
        precisions: Precisions,
        pool: &mut Pool,
        mut progress: impl FnMut(usize),
    ) -> Result<(), ArrowError> {
        let schema = self.schema(precisions);
        let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?;
        let mut file = FileWriter::try_new_with_options(File::create(path)?, &schema, options)?;
        let mut encoded = vec![(Vec::new(), 0.0); BATCH_ROWS];
        for start in (0..self.rows).step_by(BATCH_ROWS) {
            let count = BATCH_ROWS.min(self.rows - start);
            let mut vectors = vec![Vec::new(); pool.threads()];
            let parts = chunks(&mut encoded[..count], 1);
            pool.for_each_part(parts, &mut vectors, |row, encoded, vector| {
                let (bytes, scale) = &mut encoded[0];
                fill(start + row, self.dims, vector);
                bytes.clear();
                *scale = precisions.encode(vector, bytes);
            });
            file.write(&batch(&schema, self.dims, precisions, &encoded[..count])?)?;
            progress(start + count);
        }
        file.finish()
    }

    fn schema(self, precisions: Precisions) -> SchemaRef {
        let space = Space {
            version: env!("CARGO_PKG_VERSION").into(),
            model: "random".into(),
            model_sha256: "0".repeat(64),
            prompt: "none".into(),
            prompt_text: String::new(),
            pooling: "mean".into(),
            dense_heads: false,
            dims: self.dims,
            precision: precisions,
            overflow: OverflowPolicy::Error,
        };
        let mut fields = Vec::new();
        if precisions.has_scale() {
            fields.push(Field::new("scale", DataType::Float32, false));
        }
        for (number, precision) in precisions.iter().enumerate() {
            let item = Arc::new(Field::new_list_field(number_type(precision), false));
            let list = DataType::FixedSizeList(item, precision.numbers(self.dims) as i32);
            fields.push(Field::new(vector_column(number, precision), list, false));
        }
        let metadata: HashMap<String, String> =
            metadata_of(&space, self.rows as u64).into_iter().collect();
        Arc::new(Schema::new(fields).with_metadata(metadata))
    }
}

/// A unit vector.
pub fn vector(row: usize, dims: usize) -> Vec<f32> {
    let mut vector = Vec::new();
    fill(row, dims, &mut vector);
    vector
}

fn fill(row: usize, dims: usize, vector: &mut Vec<f32>) {
    let mut random = Random(row as u64);
    random = Random(random.bits());
    vector.clear();
    vector.extend((0..dims).map(|_| {
        // The sum of four uniform numbers is nearly normal.
        let bits = random.bits();
        let parts = (0..4).map(|part| (bits >> (16 * part) & 0xffff) as i64);
        (parts.sum::<i64>() - 2 * 0xffff) as f32
    }));
    let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|value| *value /= norm);
}

fn number_type(precision: Precision) -> DataType {
    match precision {
        Precision::I8 => DataType::Int8,
        Precision::Binary => DataType::UInt8,
        Precision::F16 => DataType::Float16,
        Precision::F32 => DataType::Float32,
    }
}

fn batch(
    schema: &SchemaRef,
    dims: usize,
    precisions: Precisions,
    rows: &[(Vec<u8>, f32)],
) -> Result<RecordBatch, ArrowError> {
    let mut columns: Vec<ArrayRef> = Vec::new();
    if precisions.has_scale() {
        let scales = rows.iter().map(|(_, scale)| *scale);
        columns.push(Arc::new(Float32Array::from_iter_values(scales)));
    }
    for (precision, part) in precisions.parts(dims) {
        let bytes = rows.iter().flat_map(|(bytes, _)| &bytes[part.clone()]);
        let values: ArrayRef = match precision {
            Precision::I8 => Arc::new(Int8Array::from_iter_values(
                bytes.map(|byte| byte.cast_signed()),
            )),
            Precision::Binary => Arc::new(UInt8Array::from_iter_values(bytes.copied())),
            Precision::F32 => {
                let bytes: Vec<u8> = bytes.copied().collect();
                let values = bytes.as_chunks().0.iter();
                let values = values.map(|bytes| f32::from_le_bytes(*bytes));
                Arc::new(Float32Array::from_iter_values(values))
            }
            Precision::F16 => return Err(ArrowError::NotYetImplemented("f16".into())),
        };
        let item = Arc::new(Field::new_list_field(number_type(precision), false));
        let size = precision.numbers(dims) as i32;
        columns.push(Arc::new(FixedSizeListArray::try_new(
            item, size, values, None,
        )?));
    }
    RecordBatch::try_new(Arc::clone(schema), columns)
}
