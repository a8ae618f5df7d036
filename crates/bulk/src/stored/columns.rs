//! Columns of Arrow arrays, in Parquet and Arrow IPC.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Int8Type, UInt8Type, UInt32Type, UInt64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, RecordBatch,
};
use arrow_schema::Schema;
use lanewise_vectors::Precision;

use super::{Metadata, Stored, StoredRow, StoredRows, Texts, no_texts};
use crate::digest::TextDigest;
use crate::error::Result;
use crate::format::InputFormat;
use crate::formats::arrow::{ArrowReader, BatchColumns, BatchRows, plain_text};
use crate::formats::guard::guarded;
use crate::formats::parquet::ParquetReader;
use crate::output::{TEXT_DIGEST, vector_column};
use crate::read_budget::ReadBudget;
use crate::row::{Embedded, Reading};
use crate::source::Source;
use crate::space::Space;

/// Opens the output in `source`, whose metadata are `metadata`.
pub fn open(
    source: Source,
    metadata: &BTreeMap<String, String>,
    texts: Texts<'_>,
    budget: ReadBudget,
) -> Result<Stored> {
    let name = source.name().to_owned();
    let find = |schema: &Schema| {
        let names = schema.fields().iter().map(|field| field.name().clone());
        StoredColumns::find(&name, &names.collect::<Vec<_>>(), metadata, texts)
    };
    let found = Metadata::of(&name, metadata, texts)?;
    let rows: Box<dyn StoredRows> = if source.format() == InputFormat::Parquet {
        let reader = ParquetReader::open_with(&source, budget, |schema, _| find(schema))?;
        Box::new(ParquetRows {
            name: name.clone(),
            reader,
        })
    } else {
        let reader = ArrowReader::open_with(&source, budget, find)?;
        Box::new(ArrowRows {
            name: name.clone(),
            reader,
        })
    };
    Ok(Stored {
        space: found.space,
        field: found.field,
        record: found.record,
        carried: source,
        rows,
    })
}

struct ParquetRows {
    name: String,
    reader: ParquetReader<StoredColumns>,
}

impl StoredRows for ParquetRows {
    fn next_row(&mut self) -> Result<Option<StoredRow>> {
        row(&self.name, self.reader.next_in_batch()?)
    }
}

struct ArrowRows {
    name: String,
    reader: ArrowReader<StoredColumns>,
}

impl StoredRows for ArrowRows {
    fn next_row(&mut self) -> Result<Option<StoredRow>> {
        row(&self.name, self.reader.next_in_batch()?)
    }
}

/// The row at a place of a batch of the file `name`.
fn row(name: &str, place: Option<(&StoredBatch, usize, u64)>) -> Result<Option<StoredRow>> {
    let Some((batch, index, _)) = place else {
        return Ok(None);
    };
    let row = guarded(name, "an output of embed", || batch.row(index))?;
    Ok(Some(row))
}

/// The columns of an output.
struct StoredColumns {
    space: Space,
    id: Option<String>,
    text: Option<String>,
    paths: Vec<Vec<String>>,
}

impl StoredColumns {
    /// Finds the columns among `names` in the file `name`, which has these metadata.
    fn find(
        name: &str,
        names: &[String],
        metadata: &BTreeMap<String, String>,
        texts: Texts<'_>,
    ) -> Result<Self> {
        let Metadata {
            space,
            text,
            needs_text,
            ..
        } = Metadata::of(name, metadata, texts)?;
        let text = match text {
            Some(column) if !names.contains(&column) => match needs_text {
                true => return Err(no_texts(name, &column)),
                false => None,
            },
            text => text,
        };
        let id = names.iter().find(|name| *name == "id").cloned();
        let own = ["index", "tokens", "truncated", "windows", TEXT_DIGEST];
        let scale = space.precision.has_scale().then_some("scale");
        let precisions = space.precision.iter().enumerate();
        let vectors: Vec<String> = precisions
            .map(|(number, precision)| vector_column(number, precision))
            .collect();
        let others = scale
            .into_iter()
            .chain(vectors.iter().map(String::as_str))
            .chain(id.as_deref())
            .chain(text.as_deref());
        let paths = own.into_iter().chain(others);
        Ok(Self {
            paths: paths.map(|column| vec![column.to_owned()]).collect(),
            space,
            id,
            text,
        })
    }
}

impl BatchColumns for StoredColumns {
    type Rows = StoredBatch;

    fn paths(&self) -> impl Iterator<Item = &Vec<String>> {
        self.paths.iter()
    }

    /// The columns must have the types that they are written with, and no nulls.
    fn batch(&self, batch: &RecordBatch) -> Result<StoredBatch, String> {
        let own = Own(batch);
        let other = |name: &Option<String>| name.as_ref().map(|name| own.array(name)).transpose();
        let (precisions, dims) = (self.space.precision, self.space.dims);
        let vectors = precisions.iter().enumerate().map(|(number, precision)| {
            let name = vector_column(number, precision);
            let stored = vectors(
                &name,
                &own.array(&name)?,
                precision,
                precision.numbers(dims),
            )?;
            Ok((stored, precision.bytes(dims)))
        });
        let vectors = vectors.collect::<Result<_, String>>()?;
        Ok(StoredBatch {
            rows: batch.num_rows(),
            index: own.column("index")?,
            tokens: own.column("tokens")?,
            truncated: own.column("truncated")?,
            windows: own.column("windows")?,
            digest: own.column(TEXT_DIGEST)?,
            scale: match precisions.has_scale() {
                true => Some(own.column("scale")?),
                false => None,
            },
            id: other(&self.id)?,
            text: other(&self.text)?,
            vectors,
        })
    }
}

/// The rows of a record batch.
struct StoredBatch {
    rows: usize,
    index: PrimitiveArray<UInt64Type>,
    tokens: PrimitiveArray<UInt64Type>,
    truncated: BooleanArray,
    windows: PrimitiveArray<UInt32Type>,
    digest: FixedSizeBinaryArray,
    scale: Option<PrimitiveArray<Float32Type>>,
    id: Option<ArrayRef>,
    text: Option<ArrayRef>,
    /// In each precision the vectors of all rows, one after the other, and the bytes of one.
    vectors: Vec<(Vec<u8>, usize)>,
}

impl BatchRows for StoredBatch {
    fn rows(&self) -> usize {
        self.rows
    }
}

impl StoredBatch {
    fn row(&self, at: usize) -> Result<StoredRow, String> {
        let text = |array: &Option<ArrayRef>| array.as_ref().map(|array| plain_text(array, at));
        let digest = self.digest.value(at).try_into();
        let scale = self.scale.as_ref().map_or(1.0, |scale| scale.value(at));
        let vectors = self.vectors.iter();
        let vector = vectors.flat_map(|(stored, bytes)| &stored[at * bytes..(at + 1) * bytes]);
        Ok(StoredRow {
            index: self.index.value(at),
            id: text(&self.id),
            text: text(&self.text),
            embedded: Embedded {
                reading: Reading {
                    tokens: self.tokens.value(at),
                    truncated: self.truncated.value(at),
                    windows: self.windows.value(at),
                    digest: TextDigest(digest.map_err(|_| wrong(TEXT_DIGEST))?),
                },
                scale: match scale.is_finite() {
                    true => scale,
                    false => return Err(wrong("scale")),
                },
                vector: vector.copied().collect(),
            },
        })
    }
}

/// The columns of a batch that embed has made.
struct Own<'a>(&'a RecordBatch);

impl Own<'_> {
    fn array(&self, name: &str) -> Result<ArrayRef, String> {
        self.0
            .column_by_name(name)
            .cloned()
            .ok_or_else(|| wrong(name))
    }

    fn column<T: Array + Clone + 'static>(&self, name: &str) -> Result<T, String> {
        let array = self.array(name)?;
        let column = array.as_any().downcast_ref::<T>().cloned();
        column
            .filter(|column| column.null_count() == 0)
            .ok_or_else(|| wrong(name))
    }
}

fn wrong(name: &str) -> String {
    format!("the column \"{name}\" is not as embed writes it")
}

/// The stored numbers of the column `name`, of lists of `numbers` each.
fn vectors(
    name: &str,
    lists: &ArrayRef,
    precision: Precision,
    numbers: usize,
) -> Result<Vec<u8>, String> {
    let wrong = || wrong(name);
    if lists.null_count() > 0 {
        return Err(wrong());
    }
    let (values, range): (&ArrayRef, Range<usize>) =
        if let Some(lists) = lists.as_fixed_size_list_opt() {
            let first = lists.value_offset_at(0);
            (
                lists.values(),
                first..first + lists.len() * lists.value_length() as usize,
            )
        } else if let Some(lists) = lists.as_list_opt::<i32>() {
            let offsets = lists.value_offsets();
            if offsets
                .windows(2)
                .any(|ends| ends[1] - ends[0] != numbers as i32)
            {
                return Err(wrong());
            }
            (
                lists.values(),
                offsets[0] as usize..offsets[lists.len()] as usize,
            )
        } else {
            return Err(wrong());
        };
    if range.len() != lists.len() * numbers || range.end > values.len() || values.null_count() > 0 {
        return Err(wrong());
    }
    let bytes = match precision {
        Precision::F32 => values.as_primitive_opt::<Float32Type>().and_then(|values| {
            let values = &values.values()[range];
            let finite = values.iter().all(|value| value.is_finite());
            finite.then(|| {
                values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect()
            })
        }),
        Precision::F16 => values.as_primitive_opt::<Float16Type>().and_then(|values| {
            let values = &values.values()[range];
            let finite = values.iter().all(|value| value.is_finite());
            finite.then(|| {
                values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect()
            })
        }),
        Precision::I8 => values.as_primitive_opt::<Int8Type>().map(|values| {
            values.values()[range]
                .iter()
                .map(|&value| value as u8)
                .collect()
        }),
        Precision::Binary => values
            .as_primitive_opt::<UInt8Type>()
            .map(|values| values.values()[range].to_vec()),
    };
    bytes.ok_or_else(wrong)
}
