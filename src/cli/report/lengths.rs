//! Time of the forward pass against the length of text, beside the machine's limit.

use std::time::{Duration, Instant};

use lanewise::internals::models::Model;
use lanewise::internals::tokenizer::Tokenizer;
use lanewise::internals::{Limits, Runtime};
use serde::Serialize;

use super::TEXT;

/// The lengths measured, in tokens.
const LENGTHS: [usize; 10] = [4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048];

/// Timed passes a length, the median of which counts: of short texts more than of long ones.
const TIMED: Duration = Duration::from_millis(500);
const FEWEST: usize = 5;
const MOST: usize = 51;

/// The forward pass at several lengths, and the machine's limits.
#[derive(Debug, Serialize)]
pub struct Lengths {
    /// Reading the layers' weights, in units of 10⁹ bytes a second.
    pub bandwidth_gb_per_s: f64,
    /// INT8 multiply-adds, in units of 10⁹ a second.
    pub peak_gmac_per_s: f64,
    /// The shortest first.
    pub points: Vec<Point>,
}

/// One length.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Point {
    /// The special ones at both ends included.
    pub tokens: usize,
    /// The median time of a pass.
    pub median_ms: f64,
    /// The least that the machine allows.
    pub limit_ms: f64,
}

impl Lengths {
    /// Measures the machine, then all lengths that the model reads.
    pub fn measure(
        model: &dyn Model,
        tokenizer: &dyn Tokenizer,
        runtime: &mut Runtime,
    ) -> lanewise::Result<Self> {
        let limits = Limits::measure(model, runtime)?;
        let mut vector = vec![0.0; model.shape().width];
        let mut points = Vec::new();
        for tokens in LENGTHS.into_iter().filter(|&n| n <= model.shape().context) {
            let ids = text(tokens, tokenizer);
            let median = median_time(runtime, &ids, &mut vector)?;
            points.push(Point {
                tokens,
                median_ms: median.as_secs_f64() * 1e3,
                limit_ms: limits.forward_pass(model, [tokens]).as_secs_f64() * 1e3,
            });
        }
        Ok(Self {
            bandwidth_gb_per_s: limits.bytes_per_s / 1e9,
            peak_gmac_per_s: limits.multiply_adds_per_s / 1e9,
            points,
        })
    }
}

/// [`TEXT`], its words repeated up to a length of `tokens`.
fn text(tokens: usize, tokenizer: &dyn Tokenizer) -> Vec<u32> {
    let mut words = Vec::new();
    tokenizer.encode(TEXT, &mut words);
    let mut ids = Vec::from_iter(tokenizer.bos());
    let between = tokens.saturating_sub(ids.len() + 1);
    ids.extend(words.iter().cycle().take(between));
    ids.push(tokenizer.eos());
    ids
}

fn median_time(
    runtime: &mut Runtime,
    ids: &[u32],
    vector: &mut [f32],
) -> lanewise::Result<Duration> {
    runtime.embed(&[ids], vector)?;
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < FEWEST || times.len() < MOST && start.elapsed() < TIMED {
        let start = Instant::now();
        runtime.embed(&[ids], vector)?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}
