//! Nomic BERT (nomic-embed-text v1 and v1.5): the hyperparameters and prompts of what is otherwise a
//! [variant](crate::models::bert::Variant) of BERT.

mod config;
mod prompts;

use std::sync::Arc;

use super::Family;
use super::bert::Bert;
use crate::tokenizer::WordPiece;

/// Nomic BERT. Its mixture of experts (`nomic-bert-moe`) is another architecture.
pub static FAMILY: Family = Family {
    name: "Nomic BERT",
    architecture: "nomic-bert",
    open: |gguf, options| {
        let config = config::of_file(&gguf, options)?;
        Ok(Arc::new(Bert::from_gguf(gguf, config, &FAMILY)?))
    },
    prompts: prompts::prompts,
    tokenizer: |gguf| Ok(Box::new(WordPiece::from_gguf(gguf)?)),
};
