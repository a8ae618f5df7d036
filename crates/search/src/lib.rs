//! Exact search over files of vectors.
//!
//! The file that `lanewise embed` wrote is the index. [`Index::open`] maps an Arrow IPC file and reads
//! its vectors where they lie; outputs in Parquet and JSONL are read into memory, with a
//! [note](Index::notes) on how to avoid that. [`Index::open_all`] takes several files or shards as one
//! index, with rows numbered through.
//!
//! | call | gives |
//! | --- | --- |
//! | [`Index::search`], [`Index::search_batch`] | the `k` best [`Hit`]s of a vector, or of several |
//! | [`Search`] | the settings: [`k`](Search::k), two stages ([`approximate`](Search::approximate)), [`rescore`](Search::rescore), [`Filter`] |
//! | [`Index::similar`] | the rows most similar to a row |
//! | [`Index::duplicates`] | all [`Pair`]s of rows from a score on |
//! | [`Index::recall`] | what two stages find of the exact result, and the times of both |
//! | [`Index::record`] | id, text and columns of a hit, decoded from its record batch only |
//! | [`Index::space`], [`Index::prompts`] | how a query must be embedded |
//!
//! # Scores and their order
//!
//! A query is as long as the index's [`dims`](lanewise_bulk::Space::dims); it is stored in the precision
//! of the vectors as [`Precision::encode`] does. The score is
//!
//! - of `i8`: the integer dot product, times the row's scale, times the query's, each rounded to `f32`;
//! - of `f32` and `f16`: the dot product of sixteen partial sums in a fixed order;
//! - of `binary`: 1 − 2 × differing bits / `dims`.
//!
//! Higher scores come first, and of equal ones the row with the lower number. The result is the same on
//! every instruction set, with any number of threads and in any batch. Where a file has vectors in
//! several precisions, those of the first of `i8`, `f32`, `f16` and `binary` that all files have are
//! searched.
//!
//! # Memory
//!
//! Beyond the pages of mapped files: 80 bytes a record batch, less than 1 MB a thread, and `k` hits of 16
//! bytes a query and thread. [`Index::duplicates`] takes up to 100 MB more if almost all pairs are found.
//!
//! [`Precision::encode`]: lanewise_vectors::Precision::encode

mod chunks;
mod columns;
mod error;
mod filter;
mod index;
mod load;
mod open;
mod pairs;
mod planes;
mod query;
mod recall;
mod scan;
mod search;
mod threshold;
mod tile;
mod top_k;

pub use columns::Record;
pub use error::{Error, Result};
pub use filter::{Filter, RowSet, Where};
pub use index::{FileInfo, Index, OpenOptions};
pub use lanewise_bulk::{CancelToken, Space};
pub use lanewise_vectors::Precision;
pub use pairs::Pair;
pub use recall::Recall;
pub use search::{CANDIDATES, Search};
pub use top_k::Hit;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
