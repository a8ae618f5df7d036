//! The hyperparameters of a file, each checked as it is read.

use std::ops::RangeInclusive;

use crate::gguf::Gguf;
use crate::{Error, Result};

pub(super) const RECONVERT: &str = "convert the model again from its checkpoint";

/// The keys of one architecture, which begin with its name.
pub(super) struct Keys<'a> {
    pub gguf: &'a Gguf,
    pub architecture: &'static str,
}

impl Keys<'_> {
    /// The whole name of a key.
    pub fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    /// A size within limits that must be there.
    pub fn size(&self, name: &str, limits: RangeInclusive<u32>) -> Result<usize> {
        let value = self.gguf.required_u32(&self.key(name))?;
        self.within(name, value, limits)
    }

    /// A size within limits.
    pub fn optional_size(&self, name: &str, limits: RangeInclusive<u32>) -> Result<Option<usize>> {
        let value = self.gguf.optional_u32(&self.key(name))?;
        value
            .map(|value| self.within(name, value, limits))
            .transpose()
    }

    /// A finite number above 0 that must be there.
    pub fn positive(&self, name: &str) -> Result<f32> {
        let value = self.gguf.required_f32(&self.key(name))?;
        self.finite_and_positive(name, value)
    }

    /// A finite number above 0.
    pub fn optional_positive(&self, name: &str) -> Result<Option<f32>> {
        let value = self.gguf.optional_f32(&self.key(name))?;
        value
            .map(|value| self.finite_and_positive(name, value))
            .transpose()
    }

    /// The number of tokens in the vocabulary.
    pub fn vocabulary(&self) -> Result<usize> {
        const KEY: &str = "tokenizer.ggml.tokens";
        let count = self.gguf.required_array(KEY)?.len();
        if (1..=1 << 24).contains(&count) {
            return Ok(count);
        }
        let problem = format!("has {count} tokens, not from 1 to {}", 1 << 24);
        Err(self.gguf.file_error(KEY, problem, RECONVERT))
    }

    /// Refuses causal attention, which a file that says nothing has, for a family without it.
    pub fn check_bidirectional(&self, family: &str) -> Result<()> {
        const CAUSAL: &str = "attention.causal";
        let problem = match self.gguf.optional_bool(&self.key(CAUSAL))? {
            Some(false) => return Ok(()),
            Some(true) => format!("is true, but attention of {family} is bidirectional"),
            None => format!(
                "is missing, which says that attention is causal, but that of {family} is bidirectional"
            ),
        };
        Err(self.error(CAUSAL, problem, RECONVERT))
    }

    /// The most tokens of a text: the positions, or what a key of Lanewise's own says.
    pub fn max_tokens(&self, positions: usize) -> Result<usize> {
        const KEY: &str = "lanewise.max_tokens";
        match self.gguf.optional_u32(KEY)? {
            None => Ok(positions),
            Some(limit) if (3..=positions).contains(&(limit as usize)) => Ok(limit as usize),
            Some(limit) => {
                let problem = format!("is {limit}, not from 3 to context_length, {positions}");
                Err(self.gguf.file_error(KEY, problem, RECONVERT))
            }
        }
    }

    /// Refuses RoPE of other values than all of a head, and angles that are scaled. `suffix` is that of the
    /// kind of layers.
    pub fn check_plain_rope(&self, suffix: &str, head_dim: usize) -> Result<()> {
        const OTHER_MODEL: &str = "use a model whose RoPE this engine supports";
        let rotated = format!("rope.dimension_count{suffix}");
        if let Some(count) = self.gguf.optional_u32(&self.key(&rotated))?
            && count as usize != head_dim
        {
            let problem = format!("is {count}, but RoPE turns all {head_dim} values of a head");
            return Err(self.error(&rotated, problem, OTHER_MODEL));
        }
        let scaling = "rope.scaling.type";
        match self.gguf.optional_str(&self.key(scaling))?.as_deref() {
            Some("none") => return Ok(()),
            // Without a factor other readers do not scale by "linear" either; but no converter writes that, so
            // the factor of a scaled model may be lost.
            Some(kind) => {
                let problem = format!("is {kind:?}, but RoPE is not scaled here");
                return Err(self.error(scaling, problem, OTHER_MODEL));
            }
            None => {}
        }
        // Of a file that states no type, a factor scales angles linearly; 0 and 1 leave them as they are.
        for name in ["rope.scaling.factor", "rope.scale_linear"] {
            let factor = self.gguf.optional_f32(&self.key(name))?;
            if let Some(factor) = factor.filter(|factor| ![0.0, 1.0].contains(factor)) {
                let problem = format!("is {factor}, but RoPE is not scaled here");
                return Err(self.error(name, problem, OTHER_MODEL));
            }
        }
        Ok(())
    }

    /// An error at a key.
    pub fn error(&self, name: &str, problem: impl Into<String>, remedy: &str) -> Error {
        self.gguf.file_error(self.key(name), problem, remedy)
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

    fn finite_and_positive(&self, name: &str, value: f32) -> Result<f32> {
        if value.is_finite() && value > 0.0 {
            return Ok(value);
        }
        let problem = format!("is {value}, not a finite number above 0");
        Err(self.error(name, problem, RECONVERT))
    }
}
