//! Sums of rows.

use super::{load_sum, prefetch_later_row};
use crate::layout::BLOCK;
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

/// `x += y + base`, or `x += y` where `base` is null: the residual addition of models that normalize
/// before it.
///
/// # Safety
///
/// - `x` is valid for reading and writing `pieces * BLOCK` values.
/// - `y + piece * stride` is valid for reading `BLOCK` values for each `piece` below `pieces`.
/// - `base` is null or valid for reading `pieces * BLOCK` values.
/// - The CPU supports the instruction set of `S`.
#[inline(always)]
pub unsafe fn add<S: Simd>(
    x: *mut f32,
    y: *const f32,
    stride: usize,
    base: *const f32,
    pieces: usize,
) {
    prefetch_later_row(y, stride, pieces);
    // SAFETY: `piece < pieces`, so each piece of `x`, `y` and `base` is one that the caller guarantees.
    unsafe {
        for piece in 0..pieces {
            let (low, high) = load_sum::<S>(y, stride, base, piece);
            let at = x.add(piece * BLOCK);
            S::load(at).add(low).store(at);
            S::load(at.add(LANES)).add(high).store(at.add(LANES));
        }
    }
}
