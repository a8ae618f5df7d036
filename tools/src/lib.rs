//! What measures, compares, converts and checks Lanewise.

pub mod gguf_writer;
pub mod tiny_model;
