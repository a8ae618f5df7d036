//! What the machine allows at best: the limits that a forward pass is held against.
//!
//! The limit of a forward pass is the greater of two times: that of reading the layers' weights
//! once at the measured bandwidth, and that of all multiply-adds at the measured INT8 peak.
//! Everything else, from norms to waiting, counts as loss.

use std::hint::black_box;
use std::time::{Duration, Instant};

use lanewise_kernels::{Isa, peak};
use lanewise_pool::Pool;

use crate::Result;
use crate::models::Model;
use crate::runtime::Runtime;

/// The measured limits of the machine, on as many threads as run the forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the layers' weights, and of the region whose reading gives the bandwidth.
    pub weight_bytes: usize,
    /// Bytes read a second from a region of [`weight_bytes`](Self::weight_bytes).
    pub bytes_per_s: f64,
    /// INT8 multiply-adds a second in registers, with the multiply of the runtime's instruction
    /// set.
    pub multiply_adds_per_s: f64,
}

impl Limits {
    /// Measures for about half a second on the threads and with the instruction set of `runtime`.
    ///
    /// # Errors
    /// If the threads cannot be started.
    pub fn measure(model: &dyn Model, runtime: &Runtime) -> Result<Self> {
        let isa = runtime.isa();
        let mut pool = Pool::new(runtime.threads())?;
        let threads = pool.threads();
        let matrices = model.matrices();
        let weight_bytes = matrices
            .of_layers()
            .map(|matrix| matrix.range().len())
            .sum();
        // Ones and not zeros: untouched zeros would all be one page.
        let region = vec![1u64; weight_bytes / size_of::<u64>()];
        let part = region.len().div_ceil(threads).max(1);
        let reading = shortest(30, || {
            pool.for_each(threads, |task, _| {
                let part = region.chunks(part).nth(task).unwrap_or_default();
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
        model: &dyn Model,
        lengths: impl IntoIterator<Item = usize>,
    ) -> Duration {
        let multiply_adds: u64 = lengths
            .into_iter()
            .map(|tokens| model.multiply_adds(tokens))
            .sum();
        let reading = self.weight_bytes as f64 / self.bytes_per_s;
        let multiplying = multiply_adds as f64 / self.multiply_adds_per_s;
        Duration::from_secs_f64(reading.max(multiplying))
    }
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
