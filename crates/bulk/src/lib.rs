//! Bulk embedding: files of rows in, files of vectors out.
//!
//! A [`Job`] says what is read and written; [`Job::check`], [`CheckedJob::open`] and
//! [`Run::execute`] do it, with a model behind the trait [`Embed`]. Rows are read ([`Rows`]),
//! become tokens and vectors on three threads, and are appended to a *spool*, a file beside the
//! output. When it is complete, the output is made from it in one pass. A run that was interrupted
//! in any way goes on with its spool ([`Job::resume`]); a [`Shard`] is a spool of every n-th row,
//! and a [`MergeJob`] makes the output from several.
//!
//! This crate writes to no terminal, handles no signal and ends no process: a [`CancelToken`] asks
//! a run to end, a [`Progress`] is told how far it has come, and an [`Error`] says what went wrong.

mod batch;
mod budget;
mod cancel;
mod columns;
mod compression;
mod convert;
mod dialect;
mod digest;
mod disk;
mod earlier;
mod embed;
mod error;
mod finish;
mod format;
mod formats;
mod identity;
mod input;
mod known;
mod merge;
mod message;
mod names;
mod output;
mod output_compression;
mod ownership;
mod pipeline;
mod presence;
mod progress;
mod read_budget;
mod read_options;
mod record;
mod reuse;
mod row;
mod run;
mod settings;
mod shard;
mod signature;
mod source;
mod space;
mod spool;
mod staged;
mod stored;
mod target;
mod verify;
mod windows;

pub use cancel::CancelToken;
pub use convert::ConvertJob;
pub use dialect::{Dialect, Quote};
pub use digest::TextDigest;
pub use embed::{Embed, ModelMemory, Usage};
pub use error::{Error, Result};
pub use format::{InputFormat, OutputFormat};
pub use formats::panics_are_caught;
pub use input::Rows;
pub use lanewise_vectors::{Precision, Precisions};
pub use merge::MergeJob;
pub use message::{Message, Setting};
pub use pipeline::Saved;
pub use progress::{Progress, Step};
pub use read_budget::ReadBudget;
pub use read_options::ReadOptions;
pub use row::{Cell, CellType, ColumnTypes, Embedded, Reading, Row};
pub use run::{CheckedJob, Job, Report, Resume, Run};
pub use shard::Shard;
pub use space::{Space, sha256};
pub use spool::Tally;
pub use verify::{Verified, VerifyJob};
pub use windows::OverflowPolicy;

/// Outputs read back, for programs that search them.
pub mod outputs {
    pub use crate::formats::arrow::{MappedArrow, json, plain_text};
    pub use crate::output::{OWN_COLUMNS, vector_column};
    pub use crate::record::metadata_of;
    pub use crate::stored::{Stored, StoredRow, Texts, stated_space};
}

/// The crates that read and write the formats, for tests of programs that use this one.
#[doc(hidden)]
pub mod internals {
    pub use {arrow_array, arrow_ipc, arrow_schema, flate2, parquet, tempfile, zstd};
}
