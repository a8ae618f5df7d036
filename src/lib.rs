//! Text embeddings with EmbeddingGemma and BERT's kin on hand-vectorized INT8 kernels.
//!
//! [`Embedder`] is the way in: it opens a GGUF file and turns texts into vectors.
// What only the command line, tools and tests use is dead without the feature that shows it.
#![cfg_attr(not(feature = "internals"), allow(dead_code, unused_imports))]

mod builder;
mod embedder;
mod engine;
mod error;
mod gguf;
mod model_path;
mod models;
mod packed;
mod prompt;
mod reranker;
mod roofline;
mod runtime;
mod shared_runtime;
mod tokenizer;
mod vectors;

pub use builder::EmbedderBuilder;
pub use embedder::{Embedder, Embedding, Encoded, Input, OpeningTimes, Overflow, Usage};
pub use engine::Pooling;
pub use error::{Error, Result};
pub use gguf::exit_on_lost_page;
pub use lanewise_kernels::Isa;
pub use model_path::{find_model, resolve_model};
pub use packed::PackedWeights;
pub use prompt::{Prompt, PromptName};
pub use reranker::{Reranker, Score};
pub use vectors::{Precision, cosine};

/// What the command line, tools and tests use beneath [`Embedder`]. It may change in any version.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals {
    pub use lanewise_pool::ThreadPlan;

    pub use crate::embedder::TOKENS_PER_CALL;
    pub use crate::model_path::{cache_directory, short_name};
    pub use crate::roofline::Limits;
    pub use crate::runtime::{Runtime, RuntimeOptions, SCRATCH_BYTES_PER_TOKEN, TOKENS_PER_PASS};

    /// What forward passes are made of.
    pub mod engine {
        pub use crate::engine::*;
    }
    /// Packed weights in files.
    pub mod packed {
        pub use crate::packed::{PackedState, Place, open, write};
    }
    /// The reader of model files.
    pub mod gguf {
        pub use crate::gguf::*;
    }
    /// The families of models.
    pub mod models {
        pub use crate::models::*;
    }
    /// The tokenizers.
    pub mod tokenizer {
        pub use crate::tokenizer::*;
    }
}
