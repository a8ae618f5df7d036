//! EmbeddingGemma 2, text: the hyperparameters of what is otherwise a
//! [version](crate::models::gemma_embedding::Version) of EmbeddingGemma.

mod config;

use std::sync::Arc;

use super::Family;
use super::gemma_embedding::{self, GemmaEmbedding};
use crate::tokenizer::Gemma4;

/// EmbeddingGemma 2.
pub static FAMILY: Family = Family {
    name: "EmbeddingGemma 2",
    architecture: "gemma-embedding2",
    open: |gguf, options| {
        let config = config::of_file(&gguf, options)?;
        Ok(Arc::new(GemmaEmbedding::from_gguf(gguf, config, &FAMILY)?))
    },
    prompts: |_| Ok(gemma_embedding::prompts()),
    tokenizer: |gguf| Ok(Box::new(Gemma4::from_gguf(gguf)?)),
};
