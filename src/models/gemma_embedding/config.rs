//! The hyperparameters, each read from the file.

use lanewise_kernels::{BLOCK, MAX_HEAD_DIM};

use super::FAMILY;
use crate::Result;
use crate::engine::{Reach, Shape};
use crate::gguf::Gguf;
use crate::models::keys::{Keys, RECONVERT};

/// The longest text of a model, in tokens: twice what EmbeddingGemma takes. Scratch for scores grows
/// with it.
const MAX_CONTEXT: usize = 4096;

/// Local layers' RoPE base in files that do not state it, as in the checkpoint's configuration.
const DEFAULT_ROPE_BASE_LOCAL: f32 = 10_000.0;
/// One of this many layers is global in files that do not state the pattern, as in the checkpoint's
/// configuration.
const DEFAULT_SLIDING_WINDOW_PATTERN: usize = 6;
/// The number of mean pooling in `pooling_type`.
const MEAN_POOLING: u32 = 1;

const OTHER_MODEL: &str = "use an EmbeddingGemma model whose hyperparameters this engine supports";

/// Hyperparameters of a model of the `gemma-embedding` architecture.
///
/// All of them come from the file and have been checked against each other and against limits
/// far above any real model, so that products of two of them fit in 64 bits with room to spare.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Layers of the transformer.
    pub layers: usize,
    /// Values of the residual stream, and of an embedding; a multiple of 32.
    pub hidden: usize,
    /// Values between the two halves of a feed-forward layer; a multiple of 32.
    pub feed_forward: usize,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Values of a head of queries and keys; a multiple of 32.
    pub head_dim: usize,
    /// Values of a head of values; equal to `head_dim`.
    pub value_dim: usize,
    /// The most positions of a text, counting `<bos>` and `<eos>`; at least 3.
    pub context: usize,
    /// What RMSNorm adds to the mean of squares.
    pub rms_norm_eps: f32,
    /// The window of local layers as the file has it; position `i` sees `j` where
    /// `|i - j| <= sliding_window / 2`.
    pub sliding_window: usize,
    /// Layer `l` is global where `l % sliding_window_pattern` is the last remainder; the others
    /// are local.
    pub sliding_window_pattern: usize,
    /// The base of RoPE in global layers.
    pub rope_base_global: f32,
    /// The base of RoPE in local layers.
    pub rope_base_local: f32,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
}

impl Config {
    /// Reads and checks the hyperparameters.
    ///
    /// # Errors
    /// If a key is missing, out of its limits, or requires what this engine does not support.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let keys = Keys {
            gguf,
            architecture: FAMILY.architecture,
        };
        let hidden = keys.size("embedding_length", 1..=1 << 16)?;
        let heads = keys.size("attention.head_count", 1..=1 << 10)?;
        let head_dim = match keys.optional_size("attention.key_length", 1..=1 << 12)? {
            Some(head_dim) => head_dim,
            None => hidden / heads,
        };
        let config = Self {
            layers: keys.size("block_count", 1..=1 << 10)?,
            hidden,
            feed_forward: keys.size("feed_forward_length", 1..=1 << 18)?,
            heads,
            kv_heads: keys.size("attention.head_count_kv", 1..=1 << 10)?,
            head_dim,
            value_dim: keys
                .optional_size("attention.value_length", 1..=1 << 12)?
                .unwrap_or(head_dim),
            // Two positions are `<bos>` and `<eos>`.
            context: keys.size("context_length", 3..=1 << 17)?,
            rms_norm_eps: keys.positive("attention.layer_norm_rms_epsilon")?,
            sliding_window: keys.size("attention.sliding_window", 1..=1 << 24)?,
            sliding_window_pattern: keys
                .optional_size("attention.sliding_window_pattern", 1..=1 << 10)?
                .unwrap_or(DEFAULT_SLIDING_WINDOW_PATTERN),
            rope_base_global: keys.positive("rope.freq_base")?,
            rope_base_local: keys
                .optional_positive("rope.freq_base_swa")?
                .unwrap_or(DEFAULT_ROPE_BASE_LOCAL),
            vocabulary: keys.vocabulary()?,
        };
        config.check_relations(&keys)?;
        config.check_unsupported(&keys)?;
        Ok(config)
    }

    /// Whether a layer's attention sees the whole text rather than a sliding window.
    pub fn is_global(&self, layer: usize) -> bool {
        layer % self.sliding_window_pattern == self.sliding_window_pattern - 1
    }

    fn check_relations(&self, keys: &Keys) -> Result<()> {
        for (name, size) in [
            ("embedding_length", self.hidden),
            ("feed_forward_length", self.feed_forward),
            ("attention.key_length", self.head_dim),
        ] {
            if size == 0 || !size.is_multiple_of(BLOCK) {
                let problem = format!("is {size}, not a multiple of {BLOCK}");
                return Err(keys.error(name, problem, OTHER_MODEL));
            }
        }
        if self.value_dim != self.head_dim {
            let problem = format!("is {}, but key_length is {}", self.value_dim, self.head_dim);
            return Err(keys.error("attention.value_length", problem, OTHER_MODEL));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            let problem = format!(
                "is {}, which does not divide head_count, {}",
                self.kv_heads, self.heads
            );
            return Err(keys.error("attention.head_count_kv", problem, RECONVERT));
        }
        Ok(())
    }

    /// Refuses settings that this engine would ignore, with other vectors as the result.
    fn check_unsupported(&self, keys: &Keys) -> Result<()> {
        let gguf = keys.gguf;
        let pooling = gguf.required_u32(&keys.key("pooling_type"))?;
        if pooling != MEAN_POOLING {
            let problem = format!("is {pooling}; only {MEAN_POOLING} (mean) is supported");
            return Err(keys.error("pooling_type", problem, OTHER_MODEL));
        }
        if gguf.optional_bool(&keys.key("attention.causal"))? == Some(true) {
            let problem = "is true, but attention here is bidirectional";
            return Err(keys.error("attention.causal", problem, OTHER_MODEL));
        }
        keys.check_plain_rope(self.head_dim)
    }

    /// Refuses what kernels and scratch are not made for.
    pub(super) fn check_limits(&self, gguf: &Gguf) -> Result<()> {
        for (name, value, limit) in [
            ("attention.key_length", self.head_dim, MAX_HEAD_DIM),
            ("context_length", self.context, MAX_CONTEXT),
        ] {
            if value > limit {
                return Err(gguf.file_error(
                    format!("{}.{name}", FAMILY.architecture),
                    format!("{value} is more than the limit of {limit}"),
                    "use EmbeddingGemma or a model of its size",
                ));
            }
        }
        Ok(())
    }

    /// The dimensions that decide how batches are laid out.
    pub fn shape(&self) -> Shape {
        Shape {
            hidden: self.hidden,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            context: self.context,
            vocabulary: self.vocabulary,
        }
    }

    /// Which keys the tokens of a layer see.
    pub fn reach(&self, layer: usize) -> Reach {
        match self.is_global(layer) {
            true => Reach::ALL,
            false => Reach::within(self.sliding_window / 2),
        }
    }

    /// Multiply-adds of attention over one text: queries by keys and weights by values, for each
    /// pair of positions that see each other.
    pub(super) fn attention_multiply_adds(&self, tokens: usize) -> u64 {
        let pairs = (0..self.layers).map(|layer| self.reach(layer).pairs(tokens));
        pairs.sum::<u64>() * self.heads as u64 * (self.head_dim + self.value_dim) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiply_adds_count_the_pairs_of_the_band() {
        for (tokens, window) in [(1, 8), (5, 8), (6, 8), (40, 8), (7, 0)] {
            let half = window / 2;
            let config = Config {
                layers: 3,
                sliding_window: window,
                sliding_window_pattern: 3,
                ..tiny()
            };
            let pairs = |reach: usize| {
                let all = (0..tokens).flat_map(|i| (0..tokens).map(move |j| usize::abs_diff(i, j)));
                all.filter(|&distance| distance <= reach).count() as u64
            };
            let expected = (2 * pairs(half) + pairs(tokens)) * 3 * 2 * 32;
            assert_eq!(
                config.attention_multiply_adds(tokens),
                expected,
                "{tokens} tokens"
            );
        }
    }

    fn tiny() -> Config {
        Config {
            layers: 0,
            hidden: 64,
            feed_forward: 96,
            heads: 3,
            kv_heads: 1,
            head_dim: 32,
            value_dim: 32,
            context: 64,
            rms_norm_eps: 1e-6,
            sliding_window: 0,
            sliding_window_pattern: 1,
            rope_base_global: 1e6,
            rope_base_local: 1e4,
            vocabulary: 300,
        }
    }
}
