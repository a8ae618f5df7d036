//! How fast passes are.

use std::time::Duration;

/// The part of the last pass in the mean.
const WEIGHT: f64 = 0.2;

/// What is supposed before the first pass, in tokens a second: slow, so that the first passes are short.
const FIRST: f64 = 2000.0;

/// Fewer tokens take about the same time, as all weights are read anyway.
const LEAST_TOKENS: usize = 16;

/// A mean of the tokens a second of passes.
#[derive(Debug, Clone, Copy)]
pub struct Rate(f64);

impl Default for Rate {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Rate {
    /// A pass over `tokens` tokens took this time.
    pub fn passed(&mut self, tokens: usize, time: Duration) {
        if tokens >= LEAST_TOKENS {
            let rate = tokens as f64 / time.as_secs_f64().max(1e-6);
            self.0 += WEIGHT * (rate - self.0);
        }
    }

    /// How many tokens a pass of this time has, but no fewer than one reading of the weights is worth.
    pub fn tokens_in(&self, time: Duration) -> usize {
        ((self.0 * time.as_secs_f64()) as usize).max(LEAST_TOKENS)
    }

    /// How long this number of tokens takes.
    pub fn time_of(&self, tokens: usize) -> Duration {
        Duration::from_secs_f64(tokens as f64 / self.0.max(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_follows_the_passes() {
        let mut rate = Rate::default();
        for _ in 0..100 {
            rate.passed(500, Duration::from_millis(100));
        }
        assert_eq!(rate.tokens_in(Duration::from_millis(50)), 249);
        assert_eq!(rate.time_of(10_000).as_secs(), 2);
        // A pass that is too short to tell.
        rate.passed(2, Duration::from_millis(10));
        assert_eq!(rate.tokens_in(Duration::from_millis(50)), 249);
        assert_eq!(rate.tokens_in(Duration::ZERO), LEAST_TOKENS);
    }
}
