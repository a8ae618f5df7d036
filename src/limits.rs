//! What the machine allows at best: the limits that a forward pass is held against.
//!
//! The limit of a forward pass is the greater of two times: that of reading the layers' weights once at the measured
//! bandwidth, and that of all multiply-adds at the measured INT8 peak. Everything else, from norms to waiting, counts
//! as loss.

use std::hint::black_box;
use std::time::{Duration, Instant};

use lanewise_kernels::{Isa, peak};
use lanewise_pool::Pool;

use crate::Result;
use crate::model::{Config, Layer, Matrix, Model};
use crate::runtime::Runtime;

/// The measured limits of the machine, on as many threads as run the forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the layers' weights, and of the region whose reading gives the bandwidth.
    pub weight_bytes: usize,
    /// Bytes read a second from a region of [`weight_bytes`](Self::weight_bytes).
    pub bytes_per_s: f64,
    /// INT8 multiply-adds a second in registers, with the multiply of the runtime's instruction set.
    pub multiply_adds_per_s: f64,
}

impl Limits {
    /// Measures for about half a second on the threads and with the instruction set of `runtime`.
    ///
    /// # Errors
    ///
    /// If the threads cannot be had.
    pub fn measure(model: &Model, runtime: &Runtime) -> Result<Self> {
        let isa = runtime.isa();
        let mut pool = Pool::new(runtime.threads())?;
        let threads = pool.threads();
        let weight_bytes = matrices(model).map(|matrix| matrix.range.len()).sum();
        // Ones and not zeros: untouched zeros would all be one page.
        let region = vec![1u64; weight_bytes / size_of::<u64>()];
        let share = region.len().div_ceil(threads).max(1);
        let reading = shortest(30, || {
            pool.for_each(threads, |task, _| {
                let part = region.chunks(share).nth(task).unwrap_or_default();
                black_box(peak::read(isa, part));
            });
        });
        let iterations = iterations_for(isa, Duration::from_millis(10));
        let multiplying = shortest(20, || {
            pool.for_each(threads, |_, _| {
                peak::int8_peak(isa, iterations);
            });
        });
        let multiply_adds = peak::int8_peak(isa, 1) * iterations * threads as u64;
        Ok(Limits {
            weight_bytes,
            bytes_per_s: size_of_val(&region[..]) as f64 / reading.as_secs_f64(),
            multiply_adds_per_s: multiply_adds as f64 / multiplying.as_secs_f64(),
        })
    }

    /// The least time that a forward pass over texts of these numbers of tokens could take.
    pub fn forward_pass(
        &self,
        model: &Model,
        lengths: impl IntoIterator<Item = usize>,
    ) -> Duration {
        let multiply_adds: u64 = lengths
            .into_iter()
            .map(|tokens| multiply_adds(model, tokens))
            .sum();
        let reading = self.weight_bytes as f64 / self.bytes_per_s;
        let multiplying = multiply_adds as f64 / self.multiply_adds_per_s;
        Duration::from_secs_f64(reading.max(multiplying))
    }
}

/// The matrices of the layers: all that a forward pass streams.
fn matrices(model: &Model) -> impl Iterator<Item = &Matrix> {
    model.weights().layers.iter().flat_map(Layer::matrices)
}

/// Multiply-adds of a forward pass over one text, the two heads, which run once a text, left out.
fn multiply_adds(model: &Model, tokens: usize) -> u64 {
    let of_layers: u64 = matrices(model)
        .map(|matrix| matrix.rows as u64 * matrix.columns as u64)
        .sum();
    of_layers * tokens as u64 + attention_multiply_adds(model.config(), tokens)
}

/// Multiply-adds of attention over one text: queries by keys and weights by values, for each pair of positions that see
/// each other.
fn attention_multiply_adds(config: &Config, tokens: usize) -> u64 {
    let n = tokens as u64;
    // Of the n² pairs, the band |i - j| <= w leaves two triangles of side n - 1 - w out.
    let outside = n.saturating_sub(1 + config.sliding_window as u64 / 2);
    let local = n * n - outside * (outside + 1);
    let global_layers = (config.layers / config.sliding_window_pattern) as u64;
    let pairs = global_layers * n * n + (config.layers as u64 - global_layers) * local;
    pairs * config.heads as u64 * (config.head_dim + config.value_dim) as u64
}

/// Iterations of [`peak::int8_peak`] that take about `time` on one thread.
fn iterations_for(isa: Isa, time: Duration) -> u64 {
    let mut iterations = 1000;
    loop {
        let start = Instant::now();
        peak::int8_peak(isa, iterations);
        if start.elapsed() >= time {
            return iterations;
        }
        iterations *= 2;
    }
}

/// A limit is what the machine can do, so the shortest of several runs counts.
fn shortest(runs: u32, mut body: impl FnMut()) -> Duration {
    let timed = (0..runs).map(|_| {
        let start = Instant::now();
        body();
        start.elapsed()
    });
    timed.min().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_in_the_band_are_counted_exactly() {
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
                attention_multiply_adds(&config, tokens),
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
