//! What a user relies on when giving files of each format.

mod columnar;
mod csv;
mod files;
mod hostile;
mod json;
mod kept;
mod text;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::{
    Cell, CellType, Dialect, Error, InputFormat, Quote, ReadBudget, ReadOptions, Row, Rows,
};

fn options() -> ReadOptions {
    ReadOptions {
        format: None,
        dialect: Dialect::default(),
        field: "text".into(),
        id_field: None,
        keep: Vec::new(),
        max_row_bytes: 1 << 20,
        budget: ReadBudget {
            bytes: 1 << 30,
            rest_bytes: 0,
        },
    }
}

fn with_columns(field: &str, id: &str, keep: &[&str]) -> ReadOptions {
    ReadOptions {
        field: field.into(),
        id_field: Some(id.into()),
        keep: keep.iter().map(|name| name.to_string()).collect(),
        ..options()
    }
}

/// A directory of files, gone after the test.
struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// The rows, or the message of the failure.
fn read(path: &Path, options: ReadOptions) -> Result<Vec<Row>, String> {
    let rows = Rows::open(&[path.to_owned()], options).map_err(message)?;
    rows.map(|row| row.map_err(message)).collect()
}

/// The rows of a file of this name and content.
fn read_bytes(
    name: &str,
    bytes: impl AsRef<[u8]>,
    options: ReadOptions,
) -> Result<Vec<Row>, String> {
    read(&Directory::new().file(name, bytes), options)
}

/// What a program with flags shows.
fn message(error: Error) -> String {
    error.message(|setting| format!("--{}", setting.name().replace('_', "-")))
}

/// Line and text, or line and what is wrong.
fn texts(rows: &[Row]) -> Vec<(u64, Result<&str, &str>)> {
    rows.iter()
        .map(|row| match &row.outcome {
            Ok(text) => (row.line, Ok(text.as_str())),
            Err(reason) => (row.line, Err(reason.as_str())),
        })
        .collect()
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn parquet(batch: &RecordBatch, compression: Compression, group_rows: usize) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_max_row_group_row_count(Some(group_rows))
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn arrow_file(batches: &[RecordBatch], compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default()
        .try_with_compression(compression)
        .unwrap();
    let mut bytes = Vec::new();
    let schema = batches[0].schema();
    let mut writer = FileWriter::try_new_with_options(&mut bytes, &schema, options).unwrap();
    batches
        .iter()
        .for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    drop(writer);
    bytes
}

fn arrow_stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &batches[0].schema()).unwrap();
    batches
        .iter()
        .for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    drop(writer);
    bytes
}
