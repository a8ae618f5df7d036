//! Corpora: files of many rows in, files of vectors out.

#![expect(dead_code, reason = "the readers and the pipeline follow")]

mod row;
