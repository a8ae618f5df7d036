//! Softmax with integer weights.

use super::exp::exp;
use super::load_piece;
use crate::layout::{BLOCK, SoftmaxBlock};
use crate::simd::{LANES, Simd};

/// Weights that are smaller than this against the largest become 0; scores of −∞ do.
const NEGLIGIBLE: f32 = 1e-20;

/// Softmax over `blocks` blocks of scores whose starts lie `stride` values apart, as integer
/// weights of `terms` terms with a scale a block, not divided by their sum. Returns the sum of the
/// weights.
///
/// Scores of −∞ get the weight 0, which is how the caller leaves scores out.
///
/// # Safety
///
/// - `scores + block * stride` is valid for reading [`BLOCK`] values, and
///   `out + block * terms` for writing `terms` blocks, for each `block` below `blocks`.
/// - The CPU supports the instruction set of `S`.
#[inline(always)]
pub unsafe fn softmax<S: Simd>(
    scores: *const f32,
    stride: usize,
    blocks: usize,
    terms: usize,
    out: *mut SoftmaxBlock,
) -> f32 {
    // With two terms the largest weight is 255 in the first and 0 in the second.
    let steps = if terms == 2 { 65280.0 } else { 255.0 };
    // SAFETY: `block < blocks`, so each access is one that the caller guarantees.
    unsafe {
        let mut largest = S::splat(f32::NEG_INFINITY);
        for block in 0..blocks {
            let (low, high) = load_piece::<S>(scores.add(block * stride));
            largest = largest.max(low).max(high);
        }
        let largest = S::splat(largest.reduce_max());
        let mut sum = S::splat(0.0);
        for block in 0..blocks {
            let (low, high) = load_piece::<S>(scores.add(block * stride));
            let (low, high) = (exp(low.sub(largest)), exp(high.sub(largest)));
            let most = low.max_magnitude(high).reduce_max_magnitude();
            let (scale, inverse) = if most < NEGLIGIBLE {
                (0.0, 0.0)
            } else {
                (most / steps, steps / most)
            };
            let inverse = S::splat(inverse);
            let (low, high) = (low.mul(inverse).round(), high.mul(inverse).round());
            let integers = S::from_int(S::add_int(low, high));
            sum = sum.add(integers.mul(S::splat(scale)));
            let out = out.add(block * terms);
            if terms == 2 {
                let (low, high) = (S::split_int(low), S::split_int(high));
                store::<S>(low.0, high.0, scale, out);
                store::<S>(low.1, high.1, scale, out.add(1));
            } else {
                store::<S>(low, high, scale, out);
            }
        }
        sum.reduce_add()
    }
}

/// Stores the weights of a block.
///
/// # Safety
///
/// `out` is valid for writing one block.
#[inline(always)]
unsafe fn store<S: Simd>(low: S::Int, high: S::Int, scale: f32, out: *mut SoftmaxBlock) {
    // SAFETY: all writes go to fields of the block that the caller guarantees; its values are
    // `BLOCK` bytes, two times `LANES`. `low` exists, so its instruction set is available.
    unsafe {
        (*out).scale = scale;
        let values = (&raw mut (*out).values).cast::<u8>();
        S::store_u8(low, values);
        S::store_u8(high, values.add(LANES));
    }
}

const _: () = assert!(BLOCK == 2 * LANES);
