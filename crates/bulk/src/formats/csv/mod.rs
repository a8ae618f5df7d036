//! Comma- and tab-separated values.

mod header;
mod read;
mod records;
mod write;

pub use read::CsvReader;
pub use write::CsvWriter;
