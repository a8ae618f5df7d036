//! INT8 blocks from rows of f32, and rows of f32 from Q8_0.

use super::load_piece;
use crate::f16::f16_to_f32;
use crate::layout::{ActivationBlock, BLOCK, Q8_0_BYTES, Q8_0_SCALE_BYTES};
use crate::scale::ActivationScale;
use crate::simd::{LANES, Simd};

/// The factor that turns values up to `largest` into integers up to `most`; 0 where that would
/// overflow, so that values below 1e-30, which no later sum can tell from 0, become 0.
#[inline(always)]
pub fn inverse_scale(largest: f32, most: f32) -> f32 {
    if largest > 1e-30 { most / largest } else { 0.0 }
}

/// Quantizes a piece to INT8: the scale is the largest magnitude / 127, rounded up to an
/// [`ActivationScale`], and values are rounded to nearest even. A NaN or an infinity becomes the
/// scale, so that it reaches the embedding and is reported.
///
/// # Safety
///
/// `out` is valid for writing one block.
#[inline(always)]
pub unsafe fn quantize_piece<S: Simd>(low: S, high: S, out: *mut ActivationBlock) {
    let scale = scale_of(low, high);
    // SAFETY: `low` exists, so its instruction set is available; the caller guarantees the block.
    unsafe {
        let inverse = S::splat(scale.inverse());
        let (low, high) = (low.mul(inverse).round(), high.mul(inverse).round());
        store_block::<S>(low, high, scale, out);
    }
}

/// The scale with which the largest magnitude of a piece becomes 127 at most.
#[inline(always)]
fn scale_of<S: Simd>(low: S, high: S) -> ActivationScale {
    let largest = low.abs().max_magnitude(high.abs()).reduce_max_magnitude();
    ActivationScale::at_least(largest * (1.0 / 127.0))
}

/// Quantizes a piece to two INT8 terms: the second holds the rounding error of the first in units
/// of 1/256.
///
/// # Safety
///
/// `out` is valid for writing two blocks.
#[inline(always)]
unsafe fn quantize_piece_twice<S: Simd>(low: S, high: S, out: *mut ActivationBlock) {
    let scale = scale_of(low, high);
    // SAFETY: `low` exists, so its instruction set is available; the caller guarantees two blocks.
    unsafe {
        let inverse = S::splat(scale.inverse());
        let (low, high) = (low.mul(inverse), high.mul(inverse));
        let (first_low, first_high) = (low.round(), high.round());
        let scale = scale.divided_by_256();
        store_block::<S>(first_low, first_high, scale, out);
        let (second_low, second_high) = (remainder(low, first_low), remainder(high, first_high));
        store_block::<S>(second_low, second_high, scale, out.add(1));
    }
}

/// The rounding error of `first` against `value`, in units of 1/256.
#[inline(always)]
fn remainder<S: Simd>(value: S, first: S::Int) -> S::Int {
    // SAFETY: `value` exists, so its instruction set is available, which is all that `splat` needs.
    let splat = |value| unsafe { S::splat(value) };
    // The error is at most 1/2, so 256 × it is at most 128, one more than fits.
    let remainder = value.sub(S::from_int(first)).mul(splat(256.0));
    remainder.min(splat(127.0)).round()
}

/// Stores the integers of a piece with their scale and correction.
///
/// # Safety
///
/// `out` is valid for writing one block.
#[inline(always)]
unsafe fn store_block<S: Simd>(
    low: S::Int,
    high: S::Int,
    scale: ActivationScale,
    out: *mut ActivationBlock,
) {
    // SAFETY: all writes go to fields of the block that the caller guarantees; its values are
    // `BLOCK` bytes, two times `LANES`.
    unsafe {
        let values = (&raw mut (*out).values).cast::<i8>();
        S::store_i8(low, values);
        S::store_i8(high, values.add(LANES));
        (*out).scale = scale;
        // Wrapping: integers made of infinities are meaningless, and the scale keeps the infinity.
        (*out).correction = S::reduce_int(S::add_int(low, high)).wrapping_mul(-128);
    }
}

/// Quantizes a plain row to INT8 with `terms` terms, 1 or 2.
///
/// # Safety
///
/// - `x` is valid for reading `pieces * BLOCK` values.
/// - `out + piece * out_stride` is valid for writing `terms` blocks for each `piece` below
///   `pieces`.
/// - The CPU supports the instruction set of `S`.
#[inline(always)]
pub unsafe fn quantize<S: Simd>(
    x: *const f32,
    pieces: usize,
    terms: usize,
    out: *mut ActivationBlock,
    out_stride: usize,
) {
    // SAFETY: `piece < pieces`, so each piece is one that the caller guarantees, and so are the one
    // or two blocks written for it.
    unsafe {
        for piece in 0..pieces {
            let (low, high) = load_piece::<S>(x.add(piece * BLOCK));
            let out = out.add(piece * out_stride);
            if terms == 2 {
                quantize_piece_twice(low, high, out);
            } else {
                quantize_piece(low, high, out);
            }
        }
    }
}

/// Dequantizes a Q8_0 row and multiplies it by `factor`.
///
/// # Safety
///
/// `row` is valid for reading `pieces * Q8_0_BYTES` bytes, `out` for writing `pieces * BLOCK`
/// values. The CPU supports the instruction set of `S`.
#[inline(always)]
pub unsafe fn dequantize_q8_0<S: Simd>(row: *const u8, pieces: usize, factor: f32, out: *mut f32) {
    // SAFETY: `piece < pieces`, so the scale and the two times `LANES` bytes after it lie within
    // the `Q8_0_BYTES` of a block that the caller guarantees, and the results within `out`.
    unsafe {
        for piece in 0..pieces {
            let block = row.add(piece * Q8_0_BYTES);
            let scale = f16_to_f32(block.cast::<u16>().read_unaligned());
            for half in [0, LANES] {
                S::from_int(S::load_i8(block.add(Q8_0_SCALE_BYTES + half).cast()))
                    .mul(S::splat(scale))
                    .mul(S::splat(factor))
                    .store(out.add(piece * BLOCK + half));
            }
        }
    }
}
