//! Corpora: files of many rows in, files of vectors out.
//!
//! Rows are read ([`input`]), become tokens, vectors and records on three threads ([`pipeline`]), and are appended to a
//! [`spool`]. When it is complete, the [`output`] is made from it in one pass ([`finish`]). Resuming goes on with the spool;
//! a shard is a spool of every n-th row, and merging makes the output from several.

mod batch;
mod disk;
mod finish;
mod input;
mod interrupt;
mod memory;
pub mod merge;
mod options;
mod output;
mod overflow;
mod pipeline;
mod progress;
mod row;
mod run;
mod settings;
mod spool;
mod target;
mod vector;

pub use options::BulkOptions;
pub use run::{Arguments, run};
