//! Parquet files.

mod fields;
mod pages;
mod read;
mod thrift;
mod write;

pub use read::ParquetReader;
pub use write::{ParquetWriter, check_column};
