//! *Forward INT8*: the time of one pass, ids in and vector out.

use std::time::Instant;

use lanewise::internals::Runtime;
use serde::Serialize;

/// Passes before the clock starts: caches fill, the CPU's clock rises.
const WARM_UP: u32 = 10;

/// Times of a number of passes over the same ids, in nanoseconds.
#[derive(Debug, Serialize)]
pub struct Forward {
    /// The ids, the special ones at both ends included.
    pub ids: Vec<u32>,
    /// Timed passes.
    pub count: u32,
    /// The median time: what is shown as ns/op.
    pub median_ns: u64,
    /// The mean, which Go's benchmarks call ns/op.
    pub mean_ns: u64,
    /// The shortest time.
    pub minimum_ns: u64,
    /// A quarter of the passes took no longer.
    pub first_quartile_ns: u64,
    /// Three quarters of the passes took no longer.
    pub third_quartile_ns: u64,
    /// The longest time.
    pub maximum_ns: u64,
}

impl Forward {
    /// Times `count` passes; the vector of the last is in `vector`.
    pub fn measure(
        runtime: &mut Runtime,
        ids: &[u32],
        vector: &mut [f32],
        count: u32,
    ) -> lanewise::Result<Self> {
        for _ in 0..WARM_UP {
            runtime.embed(&[ids], vector)?;
        }
        let mut times = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let start = Instant::now();
            runtime.embed(&[ids], vector)?;
            times.push(start.elapsed().as_nanos() as u64);
        }
        Ok(Self::of(ids, times))
    }

    /// The statistics of at least one time.
    fn of(ids: &[u32], mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        let at = |numerator: usize, denominator: usize| {
            times[(times.len() * numerator / denominator).min(times.len() - 1)]
        };
        Self {
            ids: ids.to_vec(),
            count: times.len() as u32,
            median_ns: at(1, 2),
            mean_ns: times.iter().sum::<u64>() / times.len() as u64,
            minimum_ns: times[0],
            first_quartile_ns: at(1, 4),
            third_quartile_ns: at(3, 4),
            maximum_ns: at(1, 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_that_of_the_sorted_times() {
        let times = Forward::of(&[], vec![50, 10, 30, 20, 40]);
        assert_eq!((times.minimum_ns, times.maximum_ns), (10, 50));
        assert_eq!((times.first_quartile_ns, times.third_quartile_ns), (20, 40));
        assert_eq!((times.median_ns, times.mean_ns, times.count), (30, 30, 5));
        let once = Forward::of(&[], vec![7]);
        assert_eq!((once.median_ns, once.maximum_ns), (7, 7));
    }
}
