//! The hyperparameters, each read from the file.

use lanewise_kernels::Activation;

use super::FAMILY;
use crate::Result;
use crate::engine::{Pooling, Reach};
use crate::gguf::Gguf;
use crate::models::keys::{Keys, RECONVERT};
use crate::models::pre_norm::{Config, Norm, Sight, Sizes};
use crate::models::{OpenOptions, pooling};

/// The most tokens of a text, as the models were trained; files state the positions of the language model
/// they were made from, which are more.
const MAX_CONTEXT: usize = 1 << 15;

/// Reads and checks the hyperparameters.
///
/// # Errors
/// If a key is missing, out of its limits, or requires what this engine does not support.
pub(super) fn read(gguf: &Gguf, options: &OpenOptions) -> Result<Config> {
    let keys = Keys {
        gguf,
        architecture: FAMILY.architecture,
    };
    let sizes = Sizes::from_keys(&keys)?;
    let kv_heads = keys.optional_size("attention.head_count_kv", 1..=1 << 10)?;
    let head_dim = keys.optional_size("attention.key_length", 1..=1 << 12)?;
    let positions = keys.size("context_length", 3..=1 << 20)?;
    let config = Config {
        kv_heads: kv_heads.unwrap_or(sizes.heads),
        head_dim: head_dim.unwrap_or(sizes.hidden / sizes.heads),
        context: keys.max_tokens(positions.min(MAX_CONTEXT))?,
        norm: Norm::Rms(keys.positive("attention.layer_norm_rms_epsilon")?),
        activation: Activation::Silu,
        pooling: pooling::one_of(&[Pooling::Last], gguf, FAMILY.architecture, options)?,
        full: Sight {
            reach: Reach::CAUSAL,
            rope_base: keys.positive("rope.freq_base")?,
        },
        windows: None,
        sizes,
    };
    config.check_relations(&keys, "attention.key_length")?;
    const CAUSAL: &str = "attention.causal";
    if gguf.optional_bool(&keys.key(CAUSAL))? == Some(false) {
        let problem = "is false, but attention of Qwen3 is causal";
        return Err(keys.error(CAUSAL, problem, RECONVERT));
    }
    Ok(config)
}
