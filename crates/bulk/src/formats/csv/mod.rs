//! Comma- and tab-separated values.

mod read;
mod write;

pub use read::CsvReader;
pub use write::CsvWriter;
