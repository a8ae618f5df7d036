//! Sums of rows.

use crate::simd::{LANES, Simd};

/// `sum += x`.
///
/// # Safety
///
/// `sum` is valid for reading and writing, `x` for reading `pieces * BLOCK` values. The CPU
/// supports the instruction set of `S`.
#[inline(always)]
pub unsafe fn accumulate<S: Simd>(sum: *mut f32, x: *const f32, pieces: usize) {
    // SAFETY: `2 * pieces` times `LANES` values are the `pieces * BLOCK` that the caller
    // guarantees.
    unsafe {
        for lanes in 0..2 * pieces {
            S::load(sum.add(lanes * LANES))
                .add(S::load(x.add(lanes * LANES)))
                .store(sum.add(lanes * LANES));
        }
    }
}
