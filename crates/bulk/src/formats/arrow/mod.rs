//! Arrow IPC, and the columns of Arrow arrays that Parquet shares.

mod column;
mod flatbuffer;
mod footer;
mod messages;
mod read;
mod read_columns;
mod show;
mod stream;
mod value;
mod write;
mod write_columns;

#[cfg(test)]
pub use column::{Column, data_type};
pub use read::ArrowReader;
pub use read_columns::{ReadColumns, RowsOfBatch, map_types};
pub use show::shown;
pub use write::ArrowWriter;
pub use write_columns::{EMBEDDING, WriteColumns, io_error, nulls};
