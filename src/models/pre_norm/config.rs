//! The hyperparameters of a model that norms before each half of a layer.

use lanewise_kernels::{Activation, ActivationBlock, BLOCK, Kernels, MAX_HEAD_DIM};

use crate::Result;
use crate::engine::{HeadShape, Pooling, Reach, Shape};
use crate::models::keys::{Keys, RECONVERT};
use crate::models::reference;

const OTHER_MODEL: &str = "use a model whose hyperparameters this engine supports";

/// Hyperparameters, as a family's file has them.
///
/// All of them have been checked against each other and against limits far above any real model, so that
/// products of two of them fit in 64 bits with room to spare.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The dimensions that most families have under the same keys.
    pub sizes: Sizes,
    /// Key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Values of a head; a multiple of 32.
    pub head_dim: usize,
    /// The most tokens of a text, counting the special ones at both ends; at least 3.
    pub context: usize,
    /// What is done before each half of a layer, and after the last.
    pub norm: Norm,
    /// What the gate of a feed-forward layer passes.
    pub activation: Activation,
    /// How the vectors of tokens become one.
    pub pooling: Pooling,
    /// How layers whose attention reaches farthest see a text.
    pub full: Sight,
    /// How the others see it, and which these are.
    pub windows: Option<Windows>,
}

/// Dimensions that every family states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Layers of the transformer.
    pub layers: usize,
    /// Values of the residual stream, and of a vector; a multiple of 32.
    pub hidden: usize,
    /// Values between the two halves of a feed-forward layer; a multiple of 32.
    pub feed_forward: usize,
    /// Query heads.
    pub heads: usize,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
}

/// How the attention of a layer sees a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sight {
    /// Which keys a token sees.
    pub reach: Reach,
    /// The base of RoPE.
    pub rope_base: f32,
}

/// Layers that see a window of the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Windows {
    /// The window as the file has it: both sides of a token together.
    pub size: usize,
    /// How these layers see a text.
    pub sight: Sight,
    /// Whether a layer is one of them.
    pub layers: Vec<bool>,
}

/// A norm without a bias, and what it adds to the mean of squares or the variance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Norm {
    /// `x / sqrt(mean(x²) + eps) * weight`
    Rms(f32),
    /// `(x - mean) / sqrt(variance + eps) * weight`
    Layer(f32),
}

impl Norm {
    /// In place.
    pub(super) fn apply(self, kernels: Kernels, x: &mut [f32], weight: &[f32]) {
        match self {
            Self::Rms(eps) => kernels.rms_norm(x, weight, eps),
            Self::Layer(eps) => kernels.layer_norm(x, weight, eps),
        }
    }

    /// As blocks for a product, `stride` apart.
    pub(super) fn quantize(
        self,
        kernels: Kernels,
        x: &[f32],
        weight: &[f32],
        out: &mut [ActivationBlock],
        stride: usize,
    ) {
        match self {
            Self::Rms(eps) => kernels.rms_norm_quantize(x, weight, eps, out, stride),
            Self::Layer(eps) => kernels.layer_norm_quantize(x, weight, eps, out, stride),
        }
    }

    /// Each row of as many values as there are weights, in f32.
    pub(super) fn apply_f32(self, x: &mut [f32], weight: &[f32]) {
        match self {
            Self::Rms(eps) => reference::rms_norm(x, weight, eps),
            Self::Layer(eps) => reference::layer_norm(x, weight, None, eps),
        }
    }

    /// What it adds.
    pub(super) fn eps(self) -> f32 {
        match self {
            Self::Rms(eps) | Self::Layer(eps) => eps,
        }
    }
}

impl Sizes {
    /// Those of a file.
    ///
    /// # Errors
    /// If a key is missing or out of its limits.
    pub(in crate::models) fn from_keys(keys: &Keys) -> Result<Self> {
        Ok(Self {
            layers: keys.size("block_count", 1..=1 << 10)?,
            hidden: keys.size("embedding_length", 1..=1 << 16)?,
            feed_forward: keys.size("feed_forward_length", 1..=1 << 18)?,
            heads: keys.size("attention.head_count", 1..=1 << 10)?,
            vocabulary: keys.vocabulary()?,
        })
    }
}

impl Config {
    /// Whether a layer's attention sees a window of the text.
    pub fn is_windowed(&self, layer: usize) -> bool {
        let windows = self.windows.as_ref();
        windows.is_some_and(|windows| windows.layers[layer])
    }

    /// How the attention of a layer sees a text.
    pub fn sight(&self, layer: usize) -> Sight {
        match &self.windows {
            Some(windows) if windows.layers[layer] => windows.sight,
            _ => self.full,
        }
    }

    /// The heads of every layer.
    pub fn head_shape(&self) -> HeadShape {
        HeadShape {
            heads: self.sizes.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
        }
    }

    /// INT8 terms of the input of `attn_q`, `attn_k` and `attn_v`. After LayerNorm a few channels are far
    /// larger than the others, and attention multiplies the errors of queries and keys (docs/LOG.md).
    pub(super) fn attn_input_terms(&self) -> usize {
        match self.norm {
            Norm::Rms(_) => 1,
            Norm::Layer(_) => 2,
        }
    }

    /// The dimensions that decide how batches are laid out.
    pub fn shape(&self) -> Shape {
        Shape {
            hidden: self.sizes.hidden,
            width: self.sizes.hidden,
            heads: [self.head_shape(); 2],
            context: self.context,
            vocabulary: self.sizes.vocabulary,
        }
    }

    /// Refuses dimensions that do not fit each other or the kernels; `head_dim_key` is the key that
    /// decides the size of a head.
    pub(in crate::models) fn check_relations(&self, keys: &Keys, head_dim_key: &str) -> Result<()> {
        for (name, size) in [
            ("embedding_length", self.sizes.hidden),
            ("feed_forward_length", self.sizes.feed_forward),
        ] {
            if !size.is_multiple_of(BLOCK) {
                let problem = format!("is {size}, not a multiple of {BLOCK}");
                return Err(keys.error(name, problem, OTHER_MODEL));
            }
        }
        let (heads, kv_heads, head_dim) = (self.sizes.heads, self.kv_heads, self.head_dim);
        if head_dim == 0 || !head_dim.is_multiple_of(BLOCK) || head_dim > MAX_HEAD_DIM {
            let problem = format!(
                "makes heads of {head_dim} values: not a multiple of {BLOCK} up to {MAX_HEAD_DIM}"
            );
            return Err(keys.error(head_dim_key, problem, OTHER_MODEL));
        }
        if !heads.is_multiple_of(kv_heads) {
            let problem = format!("is {kv_heads}, which does not divide head_count, {heads}");
            return Err(keys.error("attention.head_count_kv", problem, RECONVERT));
        }
        let value_dim = keys.optional_size("attention.value_length", 0..=u32::MAX)?;
        if let Some(value_dim) = value_dim.filter(|&value_dim| value_dim != head_dim) {
            let problem = format!("is {value_dim}, but heads have {head_dim} values");
            return Err(keys.error("attention.value_length", problem, OTHER_MODEL));
        }
        let stated = keys.optional_size("vocab_size", 0..=u32::MAX)?;
        let vocabulary = self.sizes.vocabulary;
        if let Some(stated) = stated.filter(|&stated| stated != vocabulary) {
            let problem = format!("is {stated}, but tokenizer.ggml.tokens has {vocabulary} tokens");
            return Err(keys.error("vocab_size", problem, RECONVERT));
        }
        keys.check_plain_rope("", head_dim)
    }

    /// Multiply-adds of attention over one text: queries by keys and weights by values, for each pair
    /// of a token and a key that it sees.
    pub(super) fn attention_multiply_adds(&self, tokens: usize) -> u64 {
        let layers = 0..self.sizes.layers;
        let pairs: u64 = layers
            .map(|layer| self.sight(layer).reach.pairs(tokens))
            .sum();
        pairs * 2 * self.head_shape().query_width() as u64
    }
}
