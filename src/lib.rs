//! Text embeddings with EmbeddingGemma on hand-vectorised INT8 kernels.
//!
//! [`Embedder`] is the way in: it opens a GGUF file and turns texts into vectors. The modules
//! below it are public for tools and tests.

mod builder;
mod embedder;
mod error;
pub mod gguf;
pub mod limits;
mod locate;
pub mod model;
mod prompt;
pub mod runtime;
pub mod tokenizer;
mod turns;
mod vectors;

pub use builder::{EmbedderBuilder, OpeningTimes};
pub use embedder::{Embedder, Embedding, Encoded, Input, Overflow, TOKENS_PER_CALL, Usage};
pub use error::{Error, Result};
pub use lanewise_kernels::Isa;
pub use locate::find_model;
pub use prompt::Prompt;
pub use runtime::{SCRATCH_BYTES_PER_TOKEN, TOKENS_PER_PASS};
pub use vectors::{Precision, cosine};
