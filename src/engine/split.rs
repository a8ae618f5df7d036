//! How a product is cut into tasks.
//!
//! A task is a panel of 32 rows, for all tokens or a part of them. Panels alone are few: 24 to 40
//! in a layer of EmbeddingGemma, which 32 threads share badly and 96 cannot. But each task packs
//! its panel, so tokens are cut only where the threads are better balanced for it.

use std::ops::Range;

use lanewise_pool::partition::Cut;

/// What packing a panel takes, in tokens of its product: 3 on AVX2, 4 to 5 on AVX-512
/// (docs/KERNELS.md).
pub(super) const PACKING: usize = 5;

/// Fewest tokens of a part: with fewer a product waits for its weights, and a thread more would
/// only read them once more.
const FEWEST: usize = 16;

/// Tokens that parts are multiples of where the input is not in chunks: whole tiles on every
/// instruction set.
const TILES: usize = 6;

/// A gain too small to pack panels once more for it, as its reciprocal: one part in this number.
const NEGLIGIBLE: usize = 50;

/// The tasks of a product: panel after panel, each for one part of the tokens after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    panels: usize,
    tokens: Cut,
}

impl Split {
    /// Cuts a product of `panels` panels for `threads` threads. Its input has `tokens` rows in
    /// chunks of `chunk`, which no part divides.
    pub fn new(panels: usize, tokens: usize, chunk: usize, threads: usize) -> Self {
        let unit = if chunk < tokens { chunk } else { TILES };
        let cut = |parts| Cut {
            length: tokens,
            unit,
            parts,
        };
        // The time of the thread that has most to do, in tokens of a panel.
        let time = |parts: usize| {
            let longest = cut(parts).range(0).len();
            (panels * parts).div_ceil(threads) * (PACKING + longest)
        };
        let mut best = 1;
        if !panels.is_multiple_of(threads) {
            for parts in 2..=tokens / FEWEST {
                let worth = time(parts) + time(best) / NEGLIGIBLE < time(best);
                best = if worth { parts } else { best };
            }
        }
        Split {
            panels,
            tokens: cut(best),
        }
    }

    /// The number of tasks.
    pub fn tasks(self) -> usize {
        self.panels * self.tokens.parts
    }

    /// The panel of a task.
    pub fn panel(self, task: usize) -> usize {
        task / self.tokens.parts
    }

    /// The tokens of a task.
    pub fn tokens(self, task: usize) -> Range<usize> {
        self.tokens.range(task % self.tokens.parts)
    }

    /// How the tokens of each panel are cut.
    pub fn cut(self) -> Cut {
        self.tokens
    }
}

#[cfg(test)]
mod tests {
    use lanewise_pool::thread_loads;

    use super::*;

    /// The mean load of the threads divided by the largest, in multiply-adds.
    fn balance(split: Split, threads: usize) -> f64 {
        let loads: Vec<u64> = (0..split.tasks())
            .map(|task| split.tokens(task).len() as u64)
            .collect();
        let largest = thread_loads(&loads, threads).into_iter().max().unwrap();
        loads.iter().sum::<u64>() as f64 / threads as f64 / largest as f64
    }

    #[test]
    fn panels_that_balance_are_not_cut() {
        for (panels, threads) in [(24, 1), (24, 2), (40, 8), (36, 12), (36, 2)] {
            let split = Split::new(panels, 512, 48, threads);
            assert_eq!((split.tasks(), split.tokens(0)), (panels, 0..512));
        }
    }

    #[test]
    fn few_tokens_are_not_cut() {
        for threads in [3, 32, 96] {
            assert_eq!(Split::new(40, 31, 8, threads).tasks(), 40);
        }
    }

    #[test]
    fn tasks_are_panel_after_panel_in_whole_chunks() {
        let split = Split::new(24, 512, 16, 32);
        assert_eq!(split.tasks(), 96);
        let parts = [0..128, 128..256, 256..384, 384..512];
        for task in 0..split.tasks() {
            assert_eq!(split.panel(task), task / 4);
            assert_eq!(split.tokens(task), parts[task % 4]);
        }
    }

    #[test]
    fn many_threads_are_balanced_from_512_tokens_on() {
        for threads in 3..=64 {
            // Elsewhere packing a panel twice may cost more than the better balance gains.
            let least = if threads == 32 { 0.9 } else { 0.8 };
            for panels in [24, 36, 40] {
                for tokens in (512usize..=2048).step_by(67) {
                    for chunk in [tokens.div_ceil(threads), 16, tokens] {
                        let balance = balance(Split::new(panels, tokens, chunk, threads), threads);
                        assert!(
                            balance >= least,
                            "{panels} panels, {tokens} tokens in chunks of {chunk}, {threads} threads: {balance}"
                        );
                    }
                }
            }
        }
    }
}
