//! Division of the memory that a run may use.

use crate::embed::ModelMemory;
use crate::error::{Error, Result};
use crate::known::BYTES_PER_TEXT;
use crate::message::{Setting, message};
use crate::read_budget::ReadBudget;

/// The tokenizer's index, the rows that are read, wait and are written, and the output's buffers.
const FIXED_BYTES: u64 = 256 << 20;
/// The least that a [`ReadBudget`] allows.
const LEAST_READ_BYTES: u64 = 64 << 20;

/// The division of a run's memory.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Tokens of a batch at most.
    pub batch_tokens: usize,
    /// Texts whose vectors are remembered at most.
    pub known_texts: u64,
    /// The rest, for reading.
    pub read: ReadBudget,
}

/// The most memory for texts that are remembered, unless vectors are reused: 1.4 million texts.
const KNOWN_BYTES: u64 = 128 << 20;

impl Budget {
    /// Divides `max_memory` bytes for a model that reads texts of up to `context` tokens.
    ///
    /// With `reuses`, as much memory as possible is for looking vectors up.
    pub fn new(max_memory: u64, model: ModelMemory, context: usize, reuses: bool) -> Result<Self> {
        let context = context as u64;
        let fixed = model.model_bytes + FIXED_BYTES + LEAST_READ_BYTES;
        let needed = fixed + context * model.bytes_per_token;
        if max_memory < needed {
            return Err(Error::argument(message![
                Setting::MaxMemory,
                format!(
                    ": {} MB are too little for this model; give it {}M or more",
                    max_memory >> 20,
                    needed.div_ceil(1 << 20)
                ),
            ]));
        }
        let rest = max_memory - needed;
        let known = match reuses {
            true => rest / 2,
            false => KNOWN_BYTES.min(rest / 4),
        };
        let rest = max_memory - fixed - known;
        let most = context.max(model.tokens_per_pass);
        let pass = (rest / model.bytes_per_token).min(most);
        let batch_tokens = if pass < model.tokens_per_pass {
            pass
        } else {
            model.tokens_per_call
        };
        Ok(Self {
            batch_tokens: batch_tokens as usize,
            known_texts: known / BYTES_PER_TEXT,
            read: ReadBudget {
                bytes: LEAST_READ_BYTES + (rest - pass * model.bytes_per_token),
                // With more memory, that for known texts grows as well.
                rest_bytes: fixed - LEAST_READ_BYTES
                    + most * model.bytes_per_token
                    + known.max(KNOWN_BYTES),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_shrinks_with_the_memory_and_holds_the_longest_text() {
        let model = ModelMemory {
            model_bytes: 330 << 20,
            bytes_per_token: 40 << 10,
            tokens_per_pass: 2048,
            tokens_per_call: 8192,
        };
        let large = Budget::new(4 << 30, model, 2048, false).unwrap();
        assert_eq!(large.batch_tokens, 8192);
        assert!(large.read.bytes > 3 << 30);
        let small = Budget::new(700 << 20, model, 512, false).unwrap();
        assert!((512..2048).contains(&small.batch_tokens), "{small:?}");
        assert!(Budget::new(300 << 20, model, 2048, false).is_err());
    }
}
