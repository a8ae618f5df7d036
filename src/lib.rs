//! Text embeddings with EmbeddingGemma on hand-vectorised INT8 kernels.
//!
//! [`Embedder`] is the way in: it opens a GGUF file and turns texts into vectors. The modules
//! below it are public for tools and tests.

mod embedder;
mod error;
pub mod gguf;
mod locate;
pub mod model;
mod prompt;
pub mod runtime;
pub mod stub;
pub mod tokenizer;

pub use embedder::{
    Embedder, EmbedderBuilder, Embedding, Encoded, Input, OpeningTimes, Overflow, Usage, cosine,
};
pub use error::{Error, Result};
pub use locate::find_model;
pub use prompt::Prompt;
pub use stub::isa::Isa;
