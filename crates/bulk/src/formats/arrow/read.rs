//! Arrow IPC: a file or a stream of record batches.
//!
//! Batches and dictionaries are decoded by `arrow_ipc`. A string that is not UTF-8 must reject its
//! row and not its batch, so strings are decoded as bytes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow_ipc::MessageHeader;
use arrow_ipc::reader::FileDecoder;
use arrow_schema::{DataType, Field, Schema};

use super::batches::{BatchColumns, BatchRows};
use super::messages::{KIND, Messages, Metadata, text};
use super::read_columns::{ReadColumns, map_types};
use crate::error::Result;
use crate::formats::RowReader;
use crate::formats::guard::guarded;
use crate::read_budget::ReadBudget;
use crate::read_options::ReadOptions;
use crate::row::{ColumnTypes, Row};
use crate::source::Source;

/// An Arrow file or stream.
pub struct ArrowReader<C: BatchColumns = ReadColumns> {
    messages: Messages,
    decoder: FileDecoder,
    /// The dictionaries of columns that are read, and the memory that each takes.
    dictionaries: HashMap<i64, u64>,
    /// What a count of variadic buffers may stand for, in the order of the columns: true for views,
    /// false for dictionaries of views, which have a count in files of early versions of Polars 1.
    counts: Vec<bool>,
    columns: C,
    batch: Option<C::Rows>,
    next_in_batch: usize,
    next_in_file: u64,
}

impl ArrowReader {
    /// Opens the file and finds the columns in its schema, that of the texts only if they are to be
    /// read.
    pub fn open(source: &Source, with_text: bool, options: Arc<ReadOptions>) -> Result<Self> {
        Self::open_with(source, options.budget, |schema| {
            ReadColumns::find(source.name(), schema, None, with_text, options)
        })
    }
}

impl<C: BatchColumns> ArrowReader<C> {
    /// Opens the file to read the columns that `find` finds in its schema.
    pub fn open_with(
        source: &Source,
        budget: ReadBudget,
        find: impl FnOnce(&Schema) -> Result<C>,
    ) -> Result<Self> {
        let (messages, described) = Messages::open(source, budget)?;
        let schema = described.schema;
        let columns = find(&schema)?;
        let mut projection = Vec::new();
        for path in columns.paths() {
            projection.extend(schema.index_of(&path[0]).ok());
        }
        projection.sort_unstable();
        projection.dedup();
        let mut ids = HashSet::new();
        for &column in &projection {
            dictionary_ids(schema.field(column), &mut ids);
        }
        let mut counts = Vec::new();
        for field in schema.fields() {
            variadic_counts(field.data_type(), &mut counts);
        }
        let decoder = FileDecoder::new(Arc::new(without_text_types(&schema)), described.version);
        Ok(Self {
            messages,
            decoder: decoder.with_projection(projection),
            dictionaries: ids.into_iter().map(|id| (id, 0)).collect(),
            counts,
            columns,
            batch: None,
            next_in_batch: 0,
            next_in_file: 0,
        })
    }

    /// Ensures that the batch has a next row, after skipping whole batches while they have no more
    /// than `skip` rows; false at the end of the file.
    fn fill(&mut self, skip: &mut u64) -> Result<bool> {
        loop {
            if let Some(batch) = &self.batch {
                let left = (batch.rows() - self.next_in_batch) as u64;
                if left > *skip {
                    return Ok(true);
                }
                *skip -= left;
                self.next_in_file += left;
                self.batch = None;
            }
            let Some(mut metadata) = self.messages.next()? else {
                return Ok(false);
            };
            let name = self.messages.name().to_owned();
            let (kind, rows) = guarded(&name, KIND, || {
                let message = metadata.message()?;
                let batch = message.header_as_record_batch();
                let rows = batch.and_then(|batch| u64::try_from(batch.length()).ok());
                Ok::<_, String>((message.header_type(), rows))
            })?;
            match kind {
                MessageHeader::RecordBatch => {
                    if let Some(rows) = rows.filter(|rows| rows <= skip) {
                        self.messages.skip_body(&metadata)?;
                        *skip -= rows;
                        self.next_in_file += rows;
                        continue;
                    }
                    if self.counts.contains(&false) {
                        metadata.keep_counts(&self.counts);
                    }
                    let held = self.dictionaries.values().sum();
                    let whole = self.messages.read_body(&metadata, held)?;
                    self.batch = guarded(&name, KIND, || {
                        let batch = self.decoder.read_record_batch(&whole.block, &whole.bytes);
                        let batch = batch.map_err(text)?;
                        batch.map(|batch| self.columns.batch(&batch)).transpose()
                    })?;
                    self.next_in_batch = 0;
                }
                MessageHeader::DictionaryBatch => self.read_dictionary(&name, &metadata)?,
                _ => self.messages.skip_body(&metadata)?,
            }
        }
    }
}

impl<C: BatchColumns> ArrowReader<C> {
    /// The batch with the next row and the row's number in it, once; and its number in the file.
    pub fn next_in_batch(&mut self) -> Result<Option<(&C::Rows, usize, u64)>> {
        if !self.fill(&mut 0)? {
            return Ok(None);
        }
        let (index, row) = (self.next_in_batch, self.next_in_file);
        self.next_in_batch += 1;
        self.next_in_file += 1;
        Ok(self.batch.as_ref().map(|batch| (batch, index, row)))
    }

    fn read_dictionary(&mut self, name: &str, metadata: &Metadata) -> Result<()> {
        let (id, is_delta) = guarded(name, KIND, || {
            let message = metadata.message()?;
            let dictionary = message.header_as_dictionary_batch();
            let dictionary = dictionary.ok_or("a dictionary without its header")?;
            Ok::<_, String>((dictionary.id(), dictionary.isDelta()))
        })?;
        if !self.dictionaries.contains_key(&id) {
            return self.messages.skip_body(metadata);
        }
        let held = self.dictionaries.values().sum();
        let whole = self.messages.read_body(metadata, held)?;
        let decoder = &mut self.decoder;
        guarded(name, KIND, || {
            decoder.read_dictionary(&whole.block, &whole.bytes)
        })?;
        let before = self.dictionaries.get(&id).filter(|_| is_delta);
        let memory = before
            .map_or(0, |&before| before)
            .saturating_add(whole.memory);
        self.dictionaries.insert(id, memory);
        Ok(())
    }
}

impl RowReader for ArrowReader {
    fn next_row(&mut self) -> Result<Option<Row>> {
        let name = self.messages.name().to_owned();
        let Some((batch, index, row)) = self.next_in_batch()? else {
            return Ok(None);
        };
        guarded(&name, KIND, || Ok::<_, String>(batch.row(index, row + 1))).map(Some)
    }

    fn skip_rows(&mut self, count: u64) -> Result<u64> {
        let mut left = count;
        if self.fill(&mut left)? {
            // The batch has more rows than are left to skip.
            self.next_in_batch += left as usize;
            self.next_in_file += left;
            left = 0;
        }
        Ok(count - left)
    }

    fn types(&self) -> ColumnTypes {
        self.columns.types()
    }

    fn use_types(&mut self, types: &ColumnTypes) {
        self.columns.use_types(types);
    }

    fn bytes_read(&self) -> u64 {
        self.messages.bytes_read()
    }
}

fn variadic_counts(data_type: &DataType, counts: &mut Vec<bool>) {
    let is_view =
        |data_type: &DataType| matches!(data_type, DataType::Utf8View | DataType::BinaryView);
    match data_type {
        view if is_view(view) => counts.push(true),
        DataType::Dictionary(_, values) if is_view(values) => counts.push(false),
        DataType::Struct(fields) => {
            let fields = fields.iter();
            fields.for_each(|field| variadic_counts(field.data_type(), counts));
        }
        DataType::Union(fields, _) => {
            let fields = fields.iter();
            fields.for_each(|(_, field)| variadic_counts(field.data_type(), counts));
        }
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::Map(field, _)
        | DataType::RunEndEncoded(_, field) => variadic_counts(field.data_type(), counts),
        _ => {}
    }
}

/// The dictionaries of a column, and of those in it.
fn dictionary_ids(field: &Field, ids: &mut HashSet<i64>) {
    #[expect(deprecated, reason = "messages have no other name for a dictionary")]
    ids.extend(field.dict_id());
    inner_dictionary_ids(field.data_type(), ids);
}

fn inner_dictionary_ids(data_type: &DataType, ids: &mut HashSet<i64>) {
    match data_type {
        DataType::Struct(fields) => fields.iter().for_each(|field| dictionary_ids(field, ids)),
        DataType::Union(fields, _) => {
            fields
                .iter()
                .for_each(|(_, field)| dictionary_ids(field, ids));
        }
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::Map(field, _) => dictionary_ids(field, ids),
        DataType::RunEndEncoded(_, values) => dictionary_ids(values, ids),
        DataType::Dictionary(_, values) => inner_dictionary_ids(values, ids),
        _ => {}
    }
}

/// The schema with strings as plain bytes of the same layout, so that invalid UTF-8 rejects its row
/// only.
fn without_text_types(schema: &Schema) -> Schema {
    map_types(schema, &|data_type| match data_type {
        DataType::Utf8 => Some(DataType::Binary),
        DataType::LargeUtf8 => Some(DataType::LargeBinary),
        DataType::Utf8View => Some(DataType::BinaryView),
        _ => None,
    })
}
