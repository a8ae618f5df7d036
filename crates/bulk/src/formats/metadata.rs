//! The metadata of outputs that have it inside.

use std::collections::BTreeMap;
use std::fs::File;

use arrow_ipc::reader::FileReader;
use arrow_schema::ArrowError;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;

use super::guard::guarded;
use crate::error::Result;
use crate::format::OutputFormat;

/// The names and values in a file; none in formats without.
pub fn read_metadata(format: OutputFormat, file: File) -> Result<BTreeMap<String, String>> {
    match format {
        OutputFormat::Parquet => guarded("the output", "Parquet", || {
            let metadata = ParquetMetaDataReader::new().parse_and_finish(&file)?;
            let pairs = metadata.file_metadata().key_value_metadata();
            let pairs = pairs.into_iter().flatten();
            let pairs = pairs.filter_map(|pair| Some((pair.key.clone(), pair.value.clone()?)));
            Ok::<_, ParquetError>(pairs.collect())
        }),
        OutputFormat::Arrow => guarded("the output", "Arrow IPC", || {
            let schema = FileReader::try_new(file, None)?.schema();
            let pairs = schema.metadata().iter();
            let pairs = pairs.map(|(name, value)| (name.clone(), value.clone()));
            Ok::<_, ArrowError>(pairs.collect())
        }),
        OutputFormat::Jsonl | OutputFormat::Csv | OutputFormat::Npy => Ok(BTreeMap::new()),
    }
}
