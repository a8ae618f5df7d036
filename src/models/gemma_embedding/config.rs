//! The hyperparameters, each read from the file.

use lanewise_kernels::{BLOCK, MAX_HEAD_DIM};

use super::FAMILY;
use crate::Result;
use crate::engine::{HeadShape, Reach, Shape};
use crate::gguf::Gguf;
use crate::models::keys::{Keys, RECONVERT};

/// The longest text of a model, in tokens: twice what EmbeddingGemma takes. Scratch for scores grows
/// with it.
const MAX_CONTEXT: usize = 4096;

/// That of EmbeddingGemma 2, which its model card states. Files have the far larger number of positions
/// that the architecture has.
pub(in crate::models) const MAX_CONTEXT_2: usize = 8192;

/// Local layers' RoPE base in files that do not state it, as in the checkpoint's configuration.
const DEFAULT_ROPE_BASE_LOCAL: f32 = 10_000.0;
/// One of this many layers is global in files that do not state the pattern, as in the checkpoint's
/// configuration.
const DEFAULT_SLIDING_WINDOW_PATTERN: usize = 6;
/// The number of mean pooling in `pooling_type`.
const MEAN_POOLING: u32 = 1;

pub(in crate::models) const OTHER_MODEL: &str =
    "use an EmbeddingGemma model whose hyperparameters this engine supports";

/// Which EmbeddingGemma it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The first: heads as the hidden size has them, and two dense heads after pooling.
    First,
    /// EmbeddingGemma 2: value heads are normalized, each layer has a signal from the embeddings of the
    /// tokens, and one matrix follows pooling.
    Second {
        /// Values of the signal of a layer; a multiple of 32, at most `hidden`.
        signal: usize,
        /// Values of a vector; a multiple of 32.
        width: usize,
    },
}

/// The attention of one kind of layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerKind {
    /// The heads.
    pub heads: HeadShape,
    /// The factor of scores before softmax.
    pub scale: f32,
    /// The base of RoPE.
    pub rope_base: f32,
    /// Which keys a token sees.
    pub reach: Reach,
}

/// Hyperparameters of a model of EmbeddingGemma.
///
/// All of them come from the file and have been checked against each other and against limits
/// far above any real model, so that products of two of them fit in 64 bits with room to spare.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Which EmbeddingGemma it is.
    pub version: Version,
    /// Values of the residual stream; a multiple of 32.
    pub hidden: usize,
    /// Values between the two halves of a feed-forward layer; a multiple of 32.
    pub feed_forward: usize,
    /// The layers whose attention sees the whole text.
    pub global: LayerKind,
    /// The layers whose attention sees a window.
    pub local: LayerKind,
    /// Whether each layer of the transformer is global.
    pub global_layers: Vec<bool>,
    /// The most positions of a text, counting `<bos>` and `<eos>`; at least 3.
    pub context: usize,
    /// What RMSNorm adds to the mean of squares.
    pub rms_norm_eps: f32,
    /// The window of local layers as the file has it; position `i` sees `j` where
    /// `|i - j| <= sliding_window / 2`.
    pub sliding_window: usize,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
}

impl Config {
    /// Reads and checks the hyperparameters of the first EmbeddingGemma.
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
        let layers = keys.size("block_count", 1..=1 << 10)?;
        let feed_forward = keys.size("feed_forward_length", 1..=1 << 18)?;
        let kv_heads = keys.size("attention.head_count_kv", 1..=1 << 10)?;
        let value_dim = keys.optional_size("attention.value_length", 1..=1 << 12)?;
        // Two positions are `<bos>` and `<eos>`.
        let context = keys.max_tokens(keys.size("context_length", 3..=1 << 17)?)?;
        let rms_norm_eps = keys.positive("attention.layer_norm_rms_epsilon")?;
        let sliding_window = keys.size("attention.sliding_window", 1..=1 << 24)?;
        let pattern = keys.optional_size("attention.sliding_window_pattern", 1..=1 << 10)?;
        let rope_base = keys.positive("rope.freq_base")?;
        let local_base = keys.optional_positive("rope.freq_base_swa")?;
        let global = LayerKind {
            heads: HeadShape {
                heads,
                kv_heads,
                head_dim,
            },
            scale: 1.0 / (head_dim as f32).sqrt(),
            rope_base,
            reach: Reach::ALL,
        };
        let config = Self {
            version: Version::First,
            hidden,
            feed_forward,
            global,
            local: LayerKind {
                rope_base: local_base.unwrap_or(DEFAULT_ROPE_BASE_LOCAL),
                reach: Reach::within(sliding_window / 2),
                ..global
            },
            global_layers: every_nth(layers, pattern),
            context,
            rms_norm_eps,
            sliding_window,
            vocabulary: keys.vocabulary()?,
        };
        config.check_relations(&keys)?;
        if let Some(value_dim) = value_dim.filter(|&value_dim| value_dim != head_dim) {
            let problem = format!("is {value_dim}, but key_length is {head_dim}");
            return Err(keys.error("attention.value_length", problem, OTHER_MODEL));
        }
        check_divides(&keys, global.heads)?;
        let pooling = gguf.required_u32(&keys.key("pooling_type"))?;
        if pooling != MEAN_POOLING {
            let problem = format!("is {pooling}; only {MEAN_POOLING} (mean) is supported");
            return Err(keys.error("pooling_type", problem, OTHER_MODEL));
        }
        check_bidirectional(&keys)?;
        keys.check_plain_rope("", head_dim)?;
        Ok(config)
    }

    /// Layers of the transformer.
    pub fn layers(&self) -> usize {
        self.global_layers.len()
    }

    /// The attention of a layer.
    pub fn kind(&self, layer: usize) -> &LayerKind {
        match self.global_layers[layer] {
            true => &self.global,
            false => &self.local,
        }
    }

    /// Refuses sizes that are not whole blocks.
    pub(in crate::models) fn check_relations(&self, keys: &Keys) -> Result<()> {
        for (name, size) in [
            ("embedding_length", self.hidden),
            ("feed_forward_length", self.feed_forward),
            ("attention.key_length", self.global.heads.head_dim),
            ("attention.key_length_swa", self.local.heads.head_dim),
        ] {
            if size == 0 || !size.is_multiple_of(BLOCK) {
                let problem = format!("is {size}, not a multiple of {BLOCK}");
                return Err(keys.error(name, problem, OTHER_MODEL));
            }
        }
        Ok(())
    }

    /// Refuses what kernels and scratch are not made for.
    pub(super) fn check_limits(&self, gguf: &Gguf) -> Result<()> {
        let longest = match self.version {
            Version::First => MAX_CONTEXT,
            Version::Second { .. } => MAX_CONTEXT_2,
        };
        for (name, value, limit) in [
            (
                "attention.key_length",
                self.global.heads.head_dim,
                MAX_HEAD_DIM,
            ),
            (
                "attention.key_length_swa",
                self.local.heads.head_dim,
                MAX_HEAD_DIM,
            ),
            ("context_length", self.context, longest),
        ] {
            if value > limit {
                let architecture = gguf.required_str("general.architecture")?;
                return Err(gguf.file_error(
                    format!("{architecture}.{name}"),
                    format!("{value} is more than the limit of {limit}"),
                    "use EmbeddingGemma or a model of its size",
                ));
            }
        }
        Ok(())
    }

    /// Values of a vector.
    pub fn width(&self) -> usize {
        match self.version {
            Version::First => self.hidden,
            Version::Second { width, .. } => width,
        }
    }

    /// What RMSNorm of value heads adds to the mean of squares, if they pass one.
    pub fn value_norm(&self) -> Option<f32> {
        match self.version {
            Version::First => None,
            Version::Second { .. } => Some(self.rms_norm_eps),
        }
    }

    /// The dimensions that decide how batches are laid out.
    pub fn shape(&self) -> Shape {
        Shape {
            hidden: self.hidden,
            width: self.width(),
            heads: [self.global.heads, self.local.heads],
            context: self.context,
            vocabulary: self.vocabulary,
        }
    }

    /// Multiply-adds of attention over one text: queries by keys and weights by values, for each
    /// pair of positions that see each other.
    pub(super) fn attention_multiply_adds(&self, tokens: usize) -> u64 {
        let of_layer = |layer| {
            let kind = self.kind(layer);
            kind.reach.pairs(tokens) * 2 * kind.heads.query_width() as u64
        };
        (0..self.layers()).map(of_layer).sum()
    }
}

/// Layers of which the last of each `pattern` is global.
pub(in crate::models) fn every_nth(layers: usize, pattern: Option<usize>) -> Vec<bool> {
    let pattern = pattern.unwrap_or(DEFAULT_SLIDING_WINDOW_PATTERN);
    (1..=layers)
        .map(|layer| layer.is_multiple_of(pattern))
        .collect()
}

/// Refuses heads of keys and values that those of queries cannot share evenly.
pub(in crate::models) fn check_divides(keys: &Keys, shape: HeadShape) -> Result<()> {
    if shape.heads.is_multiple_of(shape.kv_heads) {
        return Ok(());
    }
    let problem = format!(
        "is {}, which does not divide head_count, {}",
        shape.kv_heads, shape.heads
    );
    Err(keys.error("attention.head_count_kv", problem, RECONVERT))
}

/// Refuses attention that this engine would give another reach.
pub(in crate::models) fn check_bidirectional(keys: &Keys) -> Result<()> {
    const CAUSAL: &str = "attention.causal";
    if keys.gguf.optional_bool(&keys.key(CAUSAL))? != Some(true) {
        return Ok(());
    }
    let problem = "is true, but attention here is bidirectional";
    Err(keys.error(CAUSAL, problem, OTHER_MODEL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiply_adds_count_the_pairs_of_the_band() {
        for (tokens, window) in [(1, 8), (5, 8), (6, 8), (40, 8), (7, 0)] {
            let config = tiny(window);
            let pairs = |reach: usize| {
                let all = (0..tokens).flat_map(|i| (0..tokens).map(move |j| usize::abs_diff(i, j)));
                all.filter(|&distance| distance <= reach).count() as u64
            };
            let expected = (2 * pairs(window / 2) + pairs(tokens)) * 3 * 2 * 32;
            assert_eq!(
                config.attention_multiply_adds(tokens),
                expected,
                "{tokens} tokens"
            );
        }
    }

    #[test]
    fn one_layer_of_the_pattern_is_global() {
        let global: Vec<usize> = (0..24).filter(|&at| every_nth(24, None)[at]).collect();
        assert_eq!(global, [5, 11, 17, 23]);
        assert_eq!(every_nth(3, Some(1)), [true; 3]);
    }

    fn tiny(sliding_window: usize) -> Config {
        let global = LayerKind {
            heads: HeadShape {
                heads: 3,
                kv_heads: 1,
                head_dim: 32,
            },
            scale: 1.0,
            rope_base: 1e6,
            reach: Reach::ALL,
        };
        Config {
            version: Version::First,
            hidden: 64,
            feed_forward: 96,
            global,
            local: LayerKind {
                reach: Reach::within(sliding_window / 2),
                ..global
            },
            global_layers: vec![false, false, true],
            context: 64,
            rms_norm_eps: 1e-6,
            sliding_window,
            vocabulary: 300,
        }
    }
}
