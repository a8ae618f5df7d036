//! Qwen3 as an embedding model (Qwen3-Embedding): causal attention, and the vector of the last token.

mod config;
mod prompts;

use std::sync::Arc;

use super::pre_norm::{Config, HeadNorms, Layer, PreNorm, Weights};
use super::tensors::Tensors;
use super::{Dims, Family, OpenOptions};
use crate::Result;
use crate::gguf::Gguf;
use crate::tokenizer::{ByteBpe, Ends};

/// Qwen3-Embedding.
pub static FAMILY: Family = Family {
    name: "Qwen3-Embedding",
    architecture: "qwen3",
    open: |gguf, options| Ok(Arc::new(open(gguf, options)?)),
    prompts: prompts::prompts,
    tokenizer: |gguf| Ok(Box::new(ByteBpe::from_gguf(gguf, ENDS)?)),
};

/// What the model reads after a text, and whose vector is the text's. Files that were converted before
/// June 2025 name another token.
const ENDS: Ends = Ends::After("<|endoftext|>");

/// The shortest vectors that the models were trained to be cut to.
const SHORTEST: usize = 32;

/// Reads and checks hyperparameters and tensors, but not the values of matrices.
///
/// # Errors
/// [`crate::Error`] naming the field that is missing, damaged or not supported.
pub fn open(gguf: Arc<Gguf>, options: &OpenOptions) -> Result<PreNorm> {
    let config = config::read(&gguf, options)?;
    let mut tensors = Tensors::new(&gguf, &FAMILY);
    let weights = Weights::read(&mut tensors, &config, false, layer)?;
    // The matrix that gives the next token, in files that have it apart from the embedding table.
    tensors.leave_out("output.weight");
    tensors.check_all_used()?;
    let dims = Dims::Between(SHORTEST, config.sizes.hidden);
    Ok(PreNorm::new(&FAMILY, gguf, config, weights, dims))
}

fn layer(tensors: &mut Tensors, config: &Config, layer: usize) -> Result<Layer> {
    let (hidden, feed_forward) = (config.sizes.hidden, config.sizes.feed_forward);
    let (queries, keys) = (
        config.head_shape().query_width(),
        config.head_shape().key_width(),
    );
    let name = |part: &str| format!("blk.{layer}.{part}.weight");
    Ok(Layer {
        attn_norm: Some(tensors.vector(&name("attn_norm"), hidden)?),
        attn_q: tensors.matrix(&name("attn_q"), queries, hidden)?,
        attn_k: tensors.matrix(&name("attn_k"), keys, hidden)?,
        attn_v: tensors.matrix(&name("attn_v"), keys, hidden)?,
        head_norms: Some(HeadNorms {
            query: tensors.vector(&name("attn_q_norm"), config.head_dim)?,
            key: tensors.vector(&name("attn_k_norm"), config.head_dim)?,
        }),
        attn_output: tensors.matrix(&name("attn_output"), hidden, queries)?,
        ffn_norm: tensors.vector(&name("ffn_norm"), hidden)?,
        ffn_gate: tensors.matrix(&name("ffn_gate"), feed_forward, hidden)?,
        ffn_up: tensors.matrix(&name("ffn_up"), feed_forward, hidden)?,
        ffn_down: tensors.matrix(&name("ffn_down"), hidden, feed_forward)?,
    })
}
