//! Parquet, one row group after the other, in batches of about the same size whatever the length of
//! the texts.
//!
//! Pages are decoded by the parquet crate. The footer and page headers are checked before it sees
//! them (`pages`, `fields`, `thrift`), because it allocates what they state, and panics or loops on
//! some that are damaged.

use std::fs::File;
use std::sync::Arc;

use arrow_schema::{DataType, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{Compression, ConvertedType, Type as PhysicalType};
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::PageIndexPolicy;
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use super::pages::{PagedFile, Unread};
use crate::error::{Error, Result};
use crate::formats::RowReader;
use crate::formats::arrow::{BatchColumns, BatchRows, ReadColumns, map_types};
use crate::formats::guard::{damaged, guarded, unsupported};
use crate::read_budget::ReadBudget;
use crate::read_options::ReadOptions;
use crate::row::{ColumnTypes, Row};
use crate::source::Source;

const KIND: &str = "Parquet";
/// The memory that the columns of a batch should take.
const BATCH_BYTES: u64 = 1 << 22;
const MOST_BATCH_ROWS: u64 = 1 << 10;

const WRITE_ANOTHER: &str = "write it again with zstd, snappy or no compression";

/// The error of a file that has something that is not read.
fn not_read(name: &str, unread: Unread) -> Error {
    match unread {
        Unread::Encrypted => unsupported(
            name,
            "is an encrypted Parquet file, or some of its columns are",
            "read it with its keys, as pyarrow does, and write it without encryption",
        ),
        Unread::Codec(codec) => {
            let problem = format!("has a compression that is not known (codec {codec})");
            unsupported(name, &problem, WRITE_ANOTHER)
        }
        Unread::Encoding(encoding) => {
            let problem = format!("has an encoding that is not known (number {encoding})");
            unsupported(
                name,
                &problem,
                "write it again with plain or dictionary encoding",
            )
        }
    }
}

/// A Parquet file.
pub struct ParquetReader<C: BatchColumns = ReadColumns> {
    name: String,
    size: u64,
    file: File,
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    columns: C,
    row_group: usize,
    reader: Option<ParquetRecordBatchReader>,
    /// The rows that the reader yields before the next one wanted.
    rows_to_drop: u64,
    batch: Option<C::Rows>,
    /// The next row in the batch, in the row group and in the file.
    next_in_batch: usize,
    next_in_group: u64,
    next_in_file: u64,
}

impl ParquetReader {
    /// Opens the file and finds the columns, that of the texts only if they are to be read.
    pub fn open(source: &Source, with_text: bool, options: Arc<ReadOptions>) -> Result<Self> {
        Self::open_with(source, options.budget, |schema, before| {
            ReadColumns::find(source.name(), schema, before, with_text, options)
        })
    }
}

impl<C: BatchColumns> ParquetReader<C> {
    /// Opens the file to read the columns that `find` finds in its schema, and in the one that an
    /// Arrow writer has added, if there is one.
    pub fn open_with(
        source: &Source,
        budget: ReadBudget,
        find: impl FnOnce(&Schema, Option<&Schema>) -> Result<C>,
    ) -> Result<Self> {
        let name = source.name().to_owned();
        let file = source.seekable()?;
        // The schema that Arrow writers add to Parquet's own is not trusted with decoding. It says
        // which types kept columns had before.
        let reading = ArrowReaderOptions::new()
            .with_skip_arrow_metadata(true)
            .with_page_index_policy(PageIndexPolicy::Skip);
        let unread = guarded(&name, KIND, || {
            PagedFile::new(file.try_clone()?)?.check_footer()
        })?;
        if let Some(unread) = unread {
            return Err(not_read(&name, unread));
        }
        let written = guarded(&name, KIND, || {
            ArrowReaderMetadata::load(&file, reading.clone())
        })?;
        let before = guarded(&name, KIND, || {
            let reading = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Skip);
            ArrowReaderMetadata::try_new(Arc::clone(written.metadata()), reading)
        });
        let before = before
            .as_ref()
            .ok()
            .map(|metadata| metadata.schema().as_ref());
        let columns = find(written.schema(), before)?;
        let metadata = guarded(&name, KIND, || {
            let schema = without_text_types(written.parquet_schema())?;
            let reading = reading.with_parquet_schema(Arc::new(schema));
            let metadata = ArrowReaderMetadata::load(&file, reading)?;
            // Views share the bytes of the page, however many rows have the same entry of a
            // dictionary.
            let schema = map_types(metadata.schema(), &|data_type| {
                (*data_type == DataType::Binary).then_some(DataType::BinaryView)
            });
            let reading = ArrowReaderOptions::new().with_schema(Arc::new(schema));
            ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), reading)
        })?;
        let leaves = metadata.parquet_schema().columns().iter();
        let wanted = leaves.enumerate().filter(|(_, leaf)| {
            let mut paths = columns.paths();
            paths.any(|path| leaf.path().parts().starts_with(path))
        });
        let wanted: Vec<usize> = wanted.map(|(index, _)| index).collect();
        let groups = written.metadata().row_groups().iter();
        let mut chunks = groups.flat_map(|group| wanted.iter().map(|&leaf| group.column(leaf)));
        if chunks.any(|chunk| chunk.compression() == Compression::LZO) {
            let problem = "is compressed with LZO, which is not read";
            return Err(unsupported(&name, problem, WRITE_ANOTHER));
        }
        let needed = memory_needed(&file, &metadata, &wanted, budget);
        let needed = needed.map_err(|error| damaged(&name, KIND, &error.to_string()))?;
        budget.check(&name, "a row group with the largest pages", needed)?;
        Ok(Self {
            mask: ProjectionMask::leaves(metadata.parquet_schema(), wanted),
            size: file.metadata().map_or(0, |metadata| metadata.len()),
            name,
            file,
            metadata,
            columns,
            row_group: 0,
            reader: None,
            rows_to_drop: 0,
            batch: None,
            next_in_batch: 0,
            next_in_group: 0,
            next_in_file: 0,
        })
    }

    /// The rows of a row group, as the file states them; `None` after the last.
    fn group_rows(&self) -> Option<u64> {
        let groups = self.metadata.metadata().row_groups();
        let group = groups.get(self.row_group)?;
        Some(group.num_rows().try_into().unwrap_or(0))
    }

    /// How many rows take about [`BATCH_BYTES`].
    fn batch_rows(&self, group_rows: u64) -> u64 {
        let group = self.metadata.metadata().row_group(self.row_group);
        let columns = group.columns().iter().enumerate();
        let read = columns.filter(|(index, _)| self.mask.leaf_included(*index));
        let bytes = read.map(|(_, column)| u64::try_from(column.uncompressed_size()).unwrap_or(0));
        let row_bytes = bytes.fold(0, u64::saturating_add) / group_rows.max(1);
        (BATCH_BYTES / row_bytes.max(1)).clamp(1, MOST_BATCH_ROWS)
    }

    /// Whether a column that is read has lists in it.
    fn repeats(&self) -> bool {
        let leaves = self.metadata.parquet_schema().columns().iter();
        let mut leaves = leaves.enumerate();
        leaves.any(|(index, leaf)| self.mask.leaf_included(index) && leaf.max_rep_level() > 0)
    }

    /// A reader of the row group from its `next_in_group` row on, once `rows_to_drop` are dropped.
    fn group_reader(&mut self, group_rows: u64) -> ParquetResult<ParquetRecordBatchReader> {
        let file = PagedFile::new(self.file.try_clone()?)?;
        // In a page with fewer repetition levels than it says, the parquet crate skips without end;
        // reading them fails.
        self.rows_to_drop = if self.repeats() {
            self.next_in_group
        } else {
            0
        };
        ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_row_groups(vec![self.row_group])
            .with_projection(self.mask.clone())
            .with_batch_size(self.batch_rows(group_rows) as usize)
            .with_offset((self.next_in_group - self.rows_to_drop) as usize)
            .build()
    }

    /// Ensures that the batch has a next row; false at the end of the file.
    fn fill(&mut self) -> Result<bool> {
        loop {
            if let Some(batch) = &self.batch
                && self.next_in_batch < batch.rows()
            {
                return Ok(true);
            }
            self.batch = None;
            let Some(group_rows) = self.group_rows() else {
                return Ok(false);
            };
            let name = self.name.clone();
            self.batch = guarded(&name, KIND, || {
                let mut reader = match self.reader.take() {
                    Some(reader) => reader,
                    None => self.group_reader(group_rows).map_err(|e| e.to_string())?,
                };
                let batch = loop {
                    let batch = reader.next().transpose().map_err(|e| e.to_string())?;
                    let Some(batch) = batch else { break None };
                    let rows = batch.num_rows();
                    if self.rows_to_drop < rows as u64 {
                        let start = std::mem::take(&mut self.rows_to_drop) as usize;
                        break Some(batch.slice(start, rows - start));
                    }
                    self.rows_to_drop -= rows as u64;
                };
                self.reader = Some(reader);
                batch.map(|batch| self.columns.batch(&batch)).transpose()
            })?;
            self.next_in_batch = 0;
            if self.batch.is_none() {
                if self.next_in_group != group_rows {
                    let problem = format!(
                        "row group {} has {} rows instead of {group_rows}",
                        self.row_group, self.next_in_group
                    );
                    return Err(damaged(&name, KIND, &problem));
                }
                self.next_group();
            }
        }
    }

    /// The batch with the next row and the row's number in it, once; and its number in the file.
    pub fn next_in_batch(&mut self) -> Result<Option<(&C::Rows, usize, u64)>> {
        if !self.fill()? {
            return Ok(None);
        }
        let (index, row) = (self.next_in_batch, self.next_in_file);
        self.next_in_batch += 1;
        self.next_in_group += 1;
        self.next_in_file += 1;
        Ok(self.batch.as_ref().map(|batch| (batch, index, row)))
    }

    fn next_group(&mut self) {
        self.reader = None;
        self.rows_to_drop = 0;
        self.batch = None;
        self.next_in_batch = 0;
        self.row_group += 1;
        self.next_in_group = 0;
    }
}

impl RowReader for ParquetReader {
    fn next_row(&mut self) -> Result<Option<Row>> {
        let name = self.name.clone();
        let Some((batch, index, row)) = self.next_in_batch()? else {
            return Ok(None);
        };
        guarded(&name, KIND, || Ok::<_, String>(batch.row(index, row + 1))).map(Some)
    }

    fn skip_rows(&mut self, count: u64) -> Result<u64> {
        let mut left = count;
        while left > 0
            && let Some(group_rows) = self.group_rows()
        {
            let in_batch = self.batch.as_ref().map_or(0, BatchRows::rows);
            let in_batch = in_batch.saturating_sub(self.next_in_batch);
            let in_group = group_rows.saturating_sub(self.next_in_group);
            let here = match in_batch as u64 {
                0 => left.min(in_group),
                in_batch => left.min(in_batch),
            };
            left -= here;
            self.next_in_file += here;
            self.next_in_group += here;
            if in_batch > 0 {
                self.next_in_batch += here as usize;
            } else if self.next_in_group >= group_rows {
                self.next_group();
            } else if self.reader.is_some() {
                // A new reader would begin with the first page again, for every row of a shard.
                self.rows_to_drop += here;
            }
        }
        Ok(count - left)
    }

    fn types(&self) -> ColumnTypes {
        self.columns.types()
    }

    fn use_types(&mut self, types: &ColumnTypes) {
        self.columns.use_types(types);
    }

    fn total_rows(&self) -> Option<u64> {
        let groups = self.metadata.metadata().row_groups().iter();
        let rows = groups.map(|group| u64::try_from(group.num_rows()).unwrap_or(0));
        Some(rows.fold(0, u64::saturating_add))
    }

    /// In proportion to the rows, since only some columns are read.
    fn bytes_read(&self) -> u64 {
        let total = self.total_rows().unwrap_or(0).max(1) as f64;
        (self.size as f64 * (self.next_in_file as f64 / total).min(1.0)) as u64
    }
}

/// The memory for the pages of the row group that needs most; 0 if all of each would fit into the
/// budget.
fn memory_needed(
    file: &File,
    metadata: &ArrowReaderMetadata,
    leaves: &[usize],
    budget: ReadBudget,
) -> ParquetResult<u64> {
    let size = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
    let file = PagedFile::new(file.try_clone()?)?;
    let mut needed = 0;
    for group in metadata.metadata().row_groups() {
        let chunks = leaves.iter().map(|&leaf| group.column(leaf));
        let most = chunks.clone().map(|chunk| {
            size(chunk.compressed_size()).saturating_add(size(chunk.uncompressed_size()))
        });
        if most.fold(0, u64::saturating_add) <= budget.bytes {
            continue;
        }
        let mut of_group = 0;
        for chunk in chunks {
            let first = chunk
                .dictionary_page_offset()
                .unwrap_or(chunk.data_page_offset());
            let start = size(first.min(chunk.data_page_offset()));
            of_group += file.memory_for_chunk(start, size(chunk.compressed_size()))?;
        }
        needed = of_group.max(needed);
    }
    Ok(needed)
}

/// The schema with strings as plain bytes: the parquet crate would refuse a whole batch for one
/// that is not UTF-8.
fn without_text_types(schema: &SchemaDescriptor) -> ParquetResult<SchemaDescriptor> {
    Ok(SchemaDescriptor::new(without_text_type(
        &schema.root_schema_ptr(),
    )?))
}

fn without_text_type(schema: &TypePtr) -> ParquetResult<TypePtr> {
    let info = schema.get_basic_info();
    let id = info.has_id().then(|| info.id());
    let is_text = |converted| {
        matches!(
            converted,
            ConvertedType::UTF8 | ConvertedType::JSON | ConvertedType::ENUM
        )
    };
    Ok(Arc::new(match &**schema {
        Type::GroupType { fields, .. } => {
            let fields = fields
                .iter()
                .map(without_text_type)
                .collect::<Result<_, _>>()?;
            let mut group = Type::group_type_builder(schema.name())
                .with_fields(fields)
                .with_converted_type(info.converted_type())
                .with_logical_type(info.logical_type_ref().cloned())
                .with_id(id);
            if info.has_repetition() {
                group = group.with_repetition(info.repetition());
            }
            group.build()?
        }
        Type::PrimitiveType {
            physical_type: PhysicalType::BYTE_ARRAY,
            ..
        } if is_text(info.converted_type()) => {
            Type::primitive_type_builder(schema.name(), PhysicalType::BYTE_ARRAY)
                .with_repetition(info.repetition())
                .with_id(id)
                .build()?
        }
        Type::PrimitiveType { .. } => return Ok(Arc::clone(schema)),
    }))
}
