//! What the machine allows: how fast memory is read, and how many multiply-adds there are in a second.

use std::time::Instant;

use lanewise_kernels::{Kernels, peak};
use lanewise_pool::partition::chunks;
use lanewise_pool::{CachePadded, Pool};

/// Words of a task: hundreds of tasks, so that no thread waits for another at the end.
const TASK: usize = (1 << 20) / size_of::<u64>();

/// Rounds of multiply-adds of a measurement of the peak: some tens of milliseconds.
const PEAK_ROUNDS: u64 = 4_000_000;

/// Bytes a second of a region that is read on all threads, with prefetch instructions or without, whichever is
/// faster.
pub fn read(pool: &mut Pool, kernels: Kernels, region: &[u64]) -> f64 {
    let rates = [peak::read, peak::read_ahead].map(|read| {
        let start = Instant::now();
        pool.for_each(region.len().div_ceil(TASK), |task, _| {
            let task = &region[task * TASK..region.len().min((task + 1) * TASK)];
            std::hint::black_box(read(kernels.isa(), task));
        });
        size_of_val(region) as f64 / start.elapsed().as_secs_f64()
    });
    rates[0].max(rates[1])
}

/// INT8 multiply-adds a second of all threads together.
pub fn multiply(pool: &mut Pool, kernels: Kernels) -> f64 {
    let threads = pool.threads();
    let mut counts = vec![CachePadded(0); threads];
    let start = Instant::now();
    pool.for_each_part(
        chunks(&mut counts, 1),
        &mut vec![(); threads],
        |_, count, ()| {
            count[0].0 = peak::int8_peak(kernels.isa(), PEAK_ROUNDS);
        },
    );
    let time = start.elapsed().as_secs_f64();
    counts.iter().map(|count| count.0).sum::<u64>() as f64 / time
}
