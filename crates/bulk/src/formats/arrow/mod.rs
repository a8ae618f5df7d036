//! Arrow IPC, and the columns of Arrow arrays that Parquet shares.

mod batches;
mod column;
mod flatbuffer;
mod footer;
mod mapped;
mod messages;
mod read;
mod read_columns;
mod show;
mod stream;
mod value;
mod write;
mod write_columns;

pub use batches::{BatchColumns, BatchRows};
#[cfg(test)]
pub use column::{Column, data_type};
pub use mapped::MappedArrow;
pub use read::ArrowReader;
pub use read_columns::{ReadColumns, map_types};
pub use show::{json, plain_text, shown};
pub use write::ArrowWriter;
pub use write_columns::{WriteColumns, io_error, nulls};
