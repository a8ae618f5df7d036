//! The hyperparameters, each read from the file.

use std::ops::RangeInclusive;

use crate::Result;
use crate::gguf::Gguf;

/// The only architecture that this engine runs, and the prefix of its keys.
const ARCHITECTURE: &str = "gemma-embedding";
/// Local layers' RoPE base in files that do not name one: what the checkpoint's configuration has.
const DEFAULT_ROPE_BASE_LOCAL: f32 = 10_000.0;
/// Every so many layers one is global, in files that do not say: what the checkpoint's configuration has.
const DEFAULT_SLIDING_WINDOW_PATTERN: usize = 6;
/// The number of mean pooling in `pooling_type`.
const MEAN_POOLING: u32 = 1;
/// Kernels work on blocks of 32 values, so every matrix's columns are a multiple of it.
const BLOCK: usize = 32;

const RECONVERT: &str = "convert the model again from its checkpoint";
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
    /// Layer `l` is global where `l % sliding_window_pattern` is the last remainder; the others are local.
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
    /// If the file is of another architecture, or a key is missing, out of its limits, or asks for
    /// what this engine does not do.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let architecture = gguf.required_str("general.architecture")?;
        if architecture != ARCHITECTURE {
            return Err(gguf.file_error(
                "general.architecture",
                format!("is {architecture:?}, but only {ARCHITECTURE:?} is supported"),
                "give a GGUF file of EmbeddingGemma",
            ));
        }
        let keys = Keys { gguf };
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
            vocabulary: read_vocabulary(gguf)?,
        };
        config.check_relations(&keys)?;
        keys.check_unsupported(&config)?;
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
}

/// The architecture's keys of a file.
struct Keys<'a> {
    gguf: &'a Gguf,
}

impl Keys<'_> {
    fn size(&self, name: &str, limits: RangeInclusive<u32>) -> Result<usize> {
        let value = self.gguf.required_u32(&key(name))?;
        self.within(name, value, limits)
    }

    fn optional_size(&self, name: &str, limits: RangeInclusive<u32>) -> Result<Option<usize>> {
        let value = self.gguf.optional_u32(&key(name))?;
        value
            .map(|value| self.within(name, value, limits))
            .transpose()
    }

    fn within(&self, name: &str, value: u32, limits: RangeInclusive<u32>) -> Result<usize> {
        if limits.contains(&value) {
            return Ok(value as usize);
        }
        let problem = format!(
            "is {value}, not from {} to {}",
            limits.start(),
            limits.end()
        );
        Err(self.error(name, problem, RECONVERT))
    }

    fn positive(&self, name: &str) -> Result<f32> {
        let value = self.gguf.required_f32(&key(name))?;
        self.finite_and_positive(name, value)
    }

    fn optional_positive(&self, name: &str) -> Result<Option<f32>> {
        let value = self.gguf.optional_f32(&key(name))?;
        value
            .map(|value| self.finite_and_positive(name, value))
            .transpose()
    }

    fn finite_and_positive(&self, name: &str, value: f32) -> Result<f32> {
        if value.is_finite() && value > 0.0 {
            return Ok(value);
        }
        let problem = format!("is {value}, not a finite number above 0");
        Err(self.error(name, problem, RECONVERT))
    }

    /// Refuses what would silently give other vectors.
    fn check_unsupported(&self, config: &Config) -> Result<()> {
        let gguf = self.gguf;
        let pooling = gguf.required_u32(&key("pooling_type"))?;
        if pooling != MEAN_POOLING {
            let problem = format!("is {pooling}; only {MEAN_POOLING} (mean) is supported");
            return Err(self.error("pooling_type", problem, OTHER_MODEL));
        }
        if gguf.optional_bool(&key("attention.causal"))? == Some(true) {
            let problem = "is true, but attention here is bidirectional";
            return Err(self.error("attention.causal", problem, OTHER_MODEL));
        }
        if let Some(rotated) = gguf.optional_u32(&key("rope.dimension_count"))?
            && rotated as usize != config.head_dim
        {
            let problem = format!(
                "is {rotated}, but RoPE turns all {} values of a head",
                config.head_dim
            );
            return Err(self.error("rope.dimension_count", problem, OTHER_MODEL));
        }
        if let Some(scaling) = gguf.optional_str(&key("rope.scaling.type"))?
            && scaling != "none"
        {
            let problem = format!("is {scaling:?}, but RoPE is not scaled here");
            return Err(self.error("rope.scaling.type", problem, OTHER_MODEL));
        }
        Ok(())
    }

    fn error(&self, name: &str, problem: impl Into<String>, remedy: &str) -> crate::Error {
        self.gguf.file_error(key(name), problem, remedy)
    }
}

fn key(name: &str) -> String {
    format!("{ARCHITECTURE}.{name}")
}

fn read_vocabulary(gguf: &Gguf) -> Result<usize> {
    const KEY: &str = "tokenizer.ggml.tokens";
    let count = gguf.required_array(KEY)?.len();
    if (1..=1 << 24).contains(&count) {
        return Ok(count);
    }
    let problem = format!("has {count} tokens, not from 1 to {}", 1 << 24);
    Err(gguf.file_error(KEY, problem, RECONVERT))
}
