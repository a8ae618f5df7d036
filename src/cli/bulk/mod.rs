//! Corpora: files of many rows in, files of vectors out.

#![expect(dead_code, reason = "the pipeline follows")]

mod input;
mod row;
