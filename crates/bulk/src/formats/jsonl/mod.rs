//! JSON objects, one a line.

mod read;
mod write;

pub use read::JsonlReader;
pub use write::{Fields, JsonlWriter};
