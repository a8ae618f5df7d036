//! The shapes of the quantized inputs of products.

use super::{Config, Version};
use crate::engine::{ActivationShape, Batch};

/// INT8 terms of the input of `attn_q`, `attn_k` and `attn_v` in EmbeddingGemma 2, where nothing but the weights
/// of the norms of heads keeps scores from magnifying the errors of queries and keys.
const ATTN_INPUT_TERMS_2: usize = 2;

/// INT8 terms of the residual stream and of the embeddings as inputs of the products of the signal: no norm
/// evens out the sizes of their channels.
const SIGNAL_TERMS: usize = 2;

/// INT8 terms of the input of queries, keys and values.
pub(super) fn attn_terms(config: &Config) -> usize {
    match config.version {
        Version::First => 1,
        Version::Second { .. } => ATTN_INPUT_TERMS_2,
    }
}

/// The shape of `x` as the input of the gate of the signal, and of the embeddings as that of the signal.
pub(super) fn signal_input(batch: &Batch) -> ActivationShape {
    ActivationShape::of_stream(batch, SIGNAL_TERMS)
}
