//! Softmax with integer weights.

use super::exp::exp;
use crate::layout::WEIGHT_MAX;
use crate::simd::{LANES, Simd};

/// Softmax over `scores[..padded]` as integer weights, [`WEIGHT_MAX`] for the largest. Returns
/// their sum.
///
/// Scores of −∞ get the weight 0, which is how the caller leaves scores out.
///
/// # Safety
///
/// - `padded` is a multiple of [`LANES`].
/// - `scores` is valid for reading, `out` for writing `padded` values.
/// - The CPU supports the instruction set of `S`.
#[inline(always)]
pub unsafe fn softmax<S: Simd>(scores: *const f32, padded: usize, out: *mut i16) -> i32 {
    // SAFETY: `at` is a multiple of `LANES` below `padded`, so the `LANES` values at it lie within
    // the `padded` values that the caller guarantees.
    unsafe {
        let mut largest = S::splat(f32::NEG_INFINITY);
        for at in (0..padded).step_by(LANES) {
            largest = largest.max(S::load(scores.add(at)));
        }
        let largest = S::splat(largest.reduce_max());
        let mut sum = S::splat(0.0).round();
        for at in (0..padded).step_by(LANES) {
            let weight = exp(S::load(scores.add(at)).sub(largest))
                .mul(S::splat(WEIGHT_MAX as f32))
                .round();
            S::store_i16(weight, out.add(at));
            sum = S::add_int(sum, weight);
        }
        S::reduce_int(sum)
    }
}
