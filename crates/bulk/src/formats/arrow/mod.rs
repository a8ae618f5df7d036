//! Arrow IPC, and the columns of Arrow arrays that Parquet shares.

mod read;
mod read_columns;
mod write;
mod write_columns;

pub use read::ArrowReader;
pub use read_columns::{ReadColumns, RowsOfBatch, map_types};
pub use write::ArrowWriter;
pub use write_columns::{EMBEDDING, WriteColumns, io_error};
