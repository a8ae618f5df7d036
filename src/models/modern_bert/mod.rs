//! ModernBERT and its kin (ModernBERT-embed, GTE, Granite): attention over windows and, in every third
//! layer, over the whole text.

mod config;
mod prompts;

use std::sync::Arc;

use super::pre_norm::{Config, Layer, PreNorm, Weights};
use super::tensors::Tensors;
use super::{Dims, Family, OpenOptions};
use crate::Result;
use crate::gguf::Gguf;
use crate::tokenizer::{ByteBpe, Ends};

/// ModernBERT.
pub static FAMILY: Family = Family {
    name: "ModernBERT",
    architecture: "modern-bert",
    open: |gguf, options| Ok(Arc::new(open(gguf, options)?)),
    prompts: prompts::prompts,
    tokenizer: |gguf| Ok(Box::new(ByteBpe::from_gguf(gguf, Ends::Both)?)),
};

/// Reads and checks hyperparameters and tensors, but not the values of matrices.
///
/// # Errors
/// [`crate::Error`] naming the field that is missing, damaged or not supported.
pub fn open(gguf: Arc<Gguf>, options: &OpenOptions) -> Result<PreNorm> {
    let config = config::read(&gguf, options)?;
    let mut tensors = Tensors::new(&gguf, &FAMILY);
    const DENSE: &str = "dense_2.weight";
    if gguf.tensor(DENSE).is_some() {
        let problem = "belongs to a late-interaction (ColBERT) model, which gives a vector a token";
        let remedy = "use a model that gives a text one vector";
        return Err(tensors.error(DENSE, problem, remedy));
    }
    let weights = Weights::read(&mut tensors, &config, true, layer)?;
    tensors.check_all_used()?;
    let dims = Dims::UpTo(config.sizes.hidden);
    Ok(PreNorm::new(&FAMILY, gguf, config, weights, dims))
}

fn layer(tensors: &mut Tensors, config: &Config, layer: usize) -> Result<Layer> {
    let (hidden, feed_forward) = (config.sizes.hidden, config.sizes.feed_forward);
    let name = |part: &str| format!("blk.{layer}.{part}.weight");
    // The embeddings are normed already, so that the first layer needs no norm of its own.
    let attn_norm = (layer > 0).then(|| tensors.vector(&name("attn_norm"), hidden));
    let attn_norm = attn_norm.transpose()?;
    let [attn_q, attn_k, attn_v] = tensors.stacked(&name("attn_qkv"), hidden, hidden)?;
    let [ffn_gate, ffn_up] = tensors.stacked(&name("ffn_up"), feed_forward, hidden)?;
    Ok(Layer {
        attn_norm,
        attn_q,
        attn_k,
        attn_v,
        head_norms: None,
        attn_output: tensors.matrix(&name("attn_output"), hidden, hidden)?,
        ffn_norm: tensors.vector(&name("ffn_norm"), hidden)?,
        ffn_gate,
        ffn_up,
        ffn_down: tensors.matrix(&name("ffn_down"), hidden, feed_forward)?,
    })
}
