//! Arrow IPC files whose bytes are in memory already: batches are decoded where they lie.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::MetadataVersion;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_schema::{Schema, SchemaRef};

use super::footer::{Place, footer_range, read_footer, unframed};
use super::messages::{FILE_MAGIC, KIND, Metadata};
use crate::error::{Error, Result};
use crate::formats::guard::{damaged, guarded, unsupported};

/// A file of record batches in memory, such as a map of it. Its footer has been checked against its
/// length.
pub struct MappedArrow {
    name: String,
    bytes: Buffer,
    schema: SchemaRef,
    version: MetadataVersion,
    batches: Vec<Place>,
    dictionaries: HashMap<i64, ArrayRef>,
}

impl MappedArrow {
    /// Whether these are the first bytes of such a file.
    pub fn recognizes(bytes: &[u8]) -> bool {
        bytes.starts_with(FILE_MAGIC)
    }

    /// Reads the footer of the file that messages call `name`.
    ///
    /// # Errors
    /// If it is no whole Arrow IPC file.
    pub fn open(name: &str, bytes: Buffer) -> Result<Self> {
        if !Self::recognizes(&bytes) {
            return Err(damaged(name, KIND, "it does not begin as such a file"));
        }
        let cut = || damaged(name, KIND, "it has no footer, so it is cut short");
        let (_, tail) = bytes.split_last_chunk().ok_or_else(cut)?;
        let range = footer_range(name, bytes.len() as u64, tail)?;
        let footer = &bytes[range.start as usize..range.end as usize];
        let (described, places, dictionaries) = read_footer(name, footer, range.start)?;
        let mut file = Self {
            name: name.to_owned(),
            schema: Arc::new(described.schema),
            version: described.version,
            batches: places[dictionaries..].to_vec(),
            dictionaries: HashMap::new(),
            bytes,
        };
        for &place in &places[..dictionaries] {
            file.read_dictionary(place)?;
        }
        Ok(file)
    }

    /// The columns, and the metadata of the file.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// How many record batches there are.
    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    /// Whether the first batch is compressed.
    ///
    /// # Errors
    /// If its message is damaged.
    pub fn is_compressed(&self) -> Result<bool> {
        let Some(&first) = self.batches.first() else {
            return Ok(false);
        };
        let (metadata, _) = self.message(first)?;
        guarded(&self.name, KIND, || {
            let message = metadata.message()?;
            let batch = message.header_as_record_batch();
            Ok::<_, String>(batch.is_some_and(|batch| batch.compression().is_some()))
        })
    }

    /// The columns of a batch that `columns` names by their numbers in the schema, in ascending order.
    /// Their values stay where they are if they lie there as arrays need it.
    ///
    /// # Errors
    /// If the batch is damaged, or compressed.
    pub fn batch(&self, batch: usize, columns: &[usize]) -> Result<RecordBatch> {
        let (metadata, body) = self.message(self.batches[batch])?;
        let compressed = guarded(&self.name, KIND, || {
            let message = metadata.message()?;
            let batch = message.header_as_record_batch();
            let batch = batch.ok_or("the footer lists a message of another kind")?;
            Ok::<_, String>(batch.compression().is_some())
        })?;
        if compressed {
            return Err(self.compressed());
        }
        guarded(&self.name, KIND, || {
            let message = metadata.message()?;
            let batch = message.header_as_record_batch();
            let batch = batch.ok_or("the footer lists a message of another kind")?;
            let schema = Arc::clone(&self.schema);
            let version = self.version;
            let read = read_record_batch(
                &body,
                batch,
                schema,
                &self.dictionaries,
                Some(columns),
                &version,
            );
            read.map_err(|error| error.to_string())
        })
    }

    fn read_dictionary(&mut self, place: Place) -> Result<()> {
        let (metadata, body) = self.message(place)?;
        let (name, schema, version) = (&self.name, &self.schema, self.version);
        let dictionaries = &mut self.dictionaries;
        let compressed = guarded(name, KIND, || {
            let message = metadata.message()?;
            let batch = message.header_as_dictionary_batch();
            let batch = batch.ok_or("the footer lists a message of another kind")?;
            let data = batch.data();
            if data.is_some_and(|data| data.compression().is_some()) {
                return Ok(true);
            }
            let read = read_dictionary(&body, batch, schema, dictionaries, &version);
            read.map(|()| false).map_err(|error| error.to_string())
        })?;
        match compressed {
            true => Err(self.compressed()),
            false => Ok(()),
        }
    }

    /// The metadata and the body of the message at a place.
    fn message(&self, place: Place) -> Result<(Metadata, Buffer)> {
        let damaged = |problem: &dyn Display| damaged(&self.name, KIND, &problem.to_string());
        let range = |start: u64, length: u64| {
            let start = usize::try_from(start).ok()?;
            let end = start.checked_add(usize::try_from(length).ok()?)?;
            (end <= self.bytes.len()).then_some(start..end)
        };
        let outside = || damaged(&"a block that is not in the file");
        let message = range(place.offset, place.metadata).ok_or_else(outside)?;
        let message = unframed(&self.bytes[message]);
        let message = message.ok_or_else(|| damaged(&"metadata longer than it is"))?;
        let metadata = Metadata::new(message.to_vec());
        let length = metadata.body_bytes(&self.name)?;
        if length > place.body {
            return Err(damaged(&"a message longer than the footer says"));
        }
        let body = range(place.offset + place.metadata, length).ok_or_else(outside)?;
        let body = self.bytes.slice_with_length(body.start, body.len());
        Ok((metadata, body))
    }

    fn compressed(&self) -> Error {
        unsupported(
            &self.name,
            "has compressed record batches, which cannot be used in place",
            "write it again without compression",
        )
    }
}
