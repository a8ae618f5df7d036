//! Embedding a batch in passes of about a second, so that a run that is cancelled ends soon.

use std::time::{Duration, Instant};

use crate::cancel::CancelToken;
use crate::embed::Embed;

/// How long a pass may take.
const PASS: Duration = Duration::from_millis(1000);
/// However slow the model is, passes do not get smaller: the weights are read once in each.
const LEAST_TOKENS: usize = 256;

/// How many tokens go into a pass. Vectors do not depend on it.
#[derive(Debug)]
pub struct Passes {
    tokens: usize,
    most: usize,
}

impl Passes {
    /// Passes of at most as many tokens as the model takes at a time.
    pub fn new<E: Embed>(embedder: &E) -> Self {
        let most = embedder.memory().tokens_per_pass as usize;
        // The first pass tells how fast the model is.
        let tokens = most.min(LEAST_TOKENS);
        Self { tokens, most }
    }

    /// Embeds texts into a buffer of vectors until the run is cancelled; returns how many it has
    /// embedded.
    pub fn embed<E: Embed>(
        &mut self,
        embedder: &E,
        texts: &[E::Encoded],
        vectors: &mut [f32],
        cancel: &CancelToken,
    ) -> Result<usize, E::Error> {
        let dims = embedder.dims();
        let mut done = 0;
        while done < texts.len() && !cancel.is_cancelled() {
            let lengths = texts[done..].iter().map(|text| E::usage(text).tokens);
            let (count, tokens) = pass(lengths, self.tokens);
            let start = Instant::now();
            let end = done + count;
            embedder.embed(&texts[done..end], &mut vectors[done * dims..end * dims])?;
            self.adapt(tokens, start.elapsed());
            done = end;
        }
        Ok(done)
    }

    fn adapt(&mut self, tokens: usize, took: Duration) {
        // Short passes say little about long ones.
        let least = LEAST_TOKENS.min(self.most);
        if tokens >= least / 2 {
            let in_time = tokens as f64 * PASS.as_secs_f64() / took.as_secs_f64().max(1e-9);
            self.tokens = (in_time as usize).clamp(least, self.most);
        }
    }
}

/// How many of the texts of these lengths make a pass of at most `most` tokens, at least one; and
/// the tokens in it.
fn pass(lengths: impl Iterator<Item = usize>, most: usize) -> (usize, usize) {
    let (mut count, mut tokens) = (0, 0);
    for length in lengths {
        if count > 0 && tokens + length > most {
            break;
        }
        count += 1;
        tokens += length;
    }
    (count, tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_full_or_one_long_text() {
        assert_eq!(pass([9, 2].into_iter(), 4), (1, 9));
        assert_eq!(pass([1, 2, 1, 5].into_iter(), 4), (3, 4));
        assert_eq!(pass([].into_iter(), 4), (0, 0));
    }

    #[test]
    fn a_slow_model_gets_short_passes() {
        let mut passes = Passes {
            tokens: 2048,
            most: 2048,
        };
        passes.adapt(2048, Duration::from_secs(4));
        assert_eq!(passes.tokens, 512);
        passes.adapt(512, Duration::from_secs(9));
        assert_eq!(passes.tokens, LEAST_TOKENS);
        passes.adapt(100, Duration::from_micros(1));
        assert_eq!(passes.tokens, LEAST_TOKENS, "too short to tell");
        passes.adapt(256, Duration::from_millis(10));
        assert_eq!(passes.tokens, 2048);
    }
}
