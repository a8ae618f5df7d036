//! JSON objects: one a line, over several lines, or in arrays.

mod object;
mod read;
mod scan;
mod values;
mod write;

pub use read::JsonlReader;
pub use write::{Fields, JsonlWriter};
