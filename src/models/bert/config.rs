//! The hyperparameters, each read from the file.

use lanewise_kernels::{BLOCK, MAX_HEAD_DIM};

use super::FAMILY;
use crate::Result;
use crate::engine::{HeadShape, Pooling, Shape};
use crate::gguf::Gguf;
use crate::models::keys::{Keys, RECONVERT};
use crate::models::{Dims, OpenOptions, ScoreFunction, pooling, reranker};

/// The longest text of a model, in tokens, as BGE-M3 takes it. Scratch for scores grows with it.
const MAX_CONTEXT: u32 = 8192;

const OTHER_MODEL: &str = "use a BERT model whose hyperparameters this engine supports";

/// What a family of encoders has in place of another's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Variant {
    /// BERT: a table of positions, biases in all products, and GELU in feed-forward layers.
    Bert,
    /// Nomic BERT: RoPE, no biases in products, and feed-forward layers gated by SiLU.
    Nomic {
        /// The base of RoPE.
        rope_base: f32,
    },
}

/// Hyperparameters of an encoder that normalizes after its residual additions.
///
/// All of them come from the file and have been checked against each other and against limits far above
/// any real model, so that products of two of them fit in 64 bits with room to spare.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Which encoder it is.
    pub variant: Variant,
    /// Layers of the transformer.
    pub layers: usize,
    /// Values of the residual stream, and of an embedding; a multiple of 32.
    pub hidden: usize,
    /// Values between the two halves of a feed-forward layer; a multiple of 32.
    pub feed_forward: usize,
    /// Heads of queries, and of keys and values.
    pub heads: usize,
    /// Positions of the longest text, and rows of the table of them; at least 3.
    pub positions: usize,
    /// The most tokens of a text, counting `[CLS]` and `[SEP]`: the positions, or fewer where the file says
    /// that the model was trained for fewer; at least 3.
    pub context: usize,
    /// What LayerNorm adds to the variance.
    pub layer_norm_eps: f32,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Rows of the table of token types, if the file states them.
    pub token_types: Option<usize>,
    /// How the vectors of tokens become one.
    pub pooling: Pooling,
    /// What scores pass at last, of a reranker, whose head takes the first token.
    pub score_function: Option<ScoreFunction>,
    /// The lengths that vectors may have.
    pub dims: Dims,
}

impl Config {
    /// Reads and checks the hyperparameters of BERT.
    ///
    /// # Errors
    /// If a key is missing, out of its limits, or requires what this engine does not support.
    pub fn from_gguf(gguf: &Gguf, options: &OpenOptions) -> Result<Self> {
        let keys = Keys {
            gguf,
            architecture: FAMILY.architecture,
        };
        Self::of_variant(&keys, options, Variant::Bert)
    }

    /// Reads and checks the hyperparameters that all variants have.
    ///
    /// # Errors
    /// As [`from_gguf`](Self::from_gguf).
    pub(in crate::models) fn of_variant(
        keys: &Keys,
        options: &OpenOptions,
        variant: Variant,
    ) -> Result<Self> {
        let gguf = keys.gguf;
        // Two positions are `[CLS]` and `[SEP]`.
        let positions = keys.size("context_length", 3..=MAX_CONTEXT)?;
        let hidden = keys.size("embedding_length", 1..=1 << 16)?;
        let score_function = reranker::of_file(keys)?;
        let config = Self {
            variant,
            layers: keys.size("block_count", 1..=1 << 10)?,
            hidden,
            feed_forward: keys.size("feed_forward_length", 1..=1 << 18)?,
            heads: keys.size("attention.head_count", 1..=1 << 10)?,
            positions,
            context: keys.max_tokens(positions)?,
            layer_norm_eps: keys.positive("attention.layer_norm_epsilon")?,
            vocabulary: keys.vocabulary()?,
            token_types: token_types(gguf)?,
            pooling: match score_function {
                Some(_) => Pooling::Cls,
                None => pooling::of(gguf, keys.architecture, options)?,
            },
            score_function,
            dims: Dims::UpTo(hidden),
        };
        config.check_relations(keys)?;
        keys.check_bidirectional(FAMILY.name)?;
        Ok(config)
    }

    /// Values of a head.
    pub fn head_dim(&self) -> usize {
        self.hidden / self.heads
    }

    /// The heads of every layer.
    pub fn head_shape(&self) -> HeadShape {
        HeadShape {
            heads: self.heads,
            kv_heads: self.heads,
            head_dim: self.head_dim(),
        }
    }

    fn check_relations(&self, keys: &Keys) -> Result<()> {
        for (name, size) in [
            ("embedding_length", self.hidden),
            ("feed_forward_length", self.feed_forward),
        ] {
            if !size.is_multiple_of(BLOCK) {
                let problem = format!("is {size}, not a multiple of {BLOCK}");
                return Err(keys.error(name, problem, OTHER_MODEL));
            }
        }
        let (hidden, heads, head_dim) = (self.hidden, self.heads, self.head_dim());
        if !hidden.is_multiple_of(heads) {
            let problem = format!("is {heads}, which does not divide embedding_length, {hidden}");
            return Err(keys.error("attention.head_count", problem, RECONVERT));
        }
        if !head_dim.is_multiple_of(BLOCK) || head_dim > MAX_HEAD_DIM {
            let problem = format!(
                "is {heads}, which makes heads of {head_dim} values: not a multiple of {BLOCK} up to {MAX_HEAD_DIM}"
            );
            return Err(keys.error("attention.head_count", problem, OTHER_MODEL));
        }
        for (name, expected) in [
            ("attention.head_count_kv", heads),
            ("attention.key_length", head_dim),
            ("attention.value_length", head_dim),
        ] {
            if let Some(value) = keys.optional_size(name, 0..=u32::MAX)?
                && value != expected
            {
                let problem = format!("is {value}, but BERT with {heads} heads has {expected}");
                return Err(keys.error(name, problem, OTHER_MODEL));
            }
        }
        Ok(())
    }

    /// The dimensions that decide how batches are laid out.
    pub fn shape(&self) -> Shape {
        Shape {
            hidden: self.hidden,
            width: match self.score_function {
                Some(_) => 1,
                None => self.hidden,
            },
            heads: [self.head_shape(); 2],
            context: self.context,
            vocabulary: self.vocabulary,
        }
    }

    /// Multiply-adds of attention over one text: queries by keys and weights by values, for each pair
    /// of positions.
    pub(super) fn attention_multiply_adds(&self, tokens: usize) -> u64 {
        let pairs = (tokens * tokens) as u64;
        pairs * 2 * (self.layers * self.hidden) as u64
    }
}

/// Rows of the table of token types, where the file states them.
fn token_types(gguf: &Gguf) -> Result<Option<usize>> {
    const KEY: &str = "tokenizer.ggml.token_type_count";
    match gguf.optional_u32(KEY)? {
        Some(count) if count > 1 << 10 => {
            let problem = format!("is {count}, not from 0 to {}", 1 << 10);
            Err(gguf.file_error(KEY, problem, RECONVERT))
        }
        count => Ok(count.map(|count| count as usize)),
    }
}
