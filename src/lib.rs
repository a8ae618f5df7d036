//! Text embeddings with EmbeddingGemma on hand-vectorised INT8 kernels.

mod error;
pub mod gguf;
pub mod model;
pub mod runtime;
pub mod tokenizer;

pub use error::{Error, Result};
