//! Rows of Q8_0 from blocks of integers of a few bits, as ggml has them.
//!
//! Where the values of a block are integers times one scale ([`blocks`]), the block becomes one of Q8_0
//! without rounding. Where each is a scale times an integer less a minimum, or scales are those of 16
//! values, it is quantized anew by [`quantize_row`].
//!
//! Nothing here maps arrays of lanes or passes closures that make lanes: the compiler makes functions of
//! those, without the instruction set, which pass vectors through memory and are ten times as slow.

mod blocks;
mod k_quants;

use std::mem::MaybeUninit;

pub use blocks::{Iq4Nl, Q4_0, Q4_1, Q5_0, Q5_1};
pub use k_quants::{Q4K, Q5K, Q6K};

use super::load_piece;
use crate::layout::{BLOCK, Q8_0_BYTES, Q8_0_SCALE_BYTES};
use crate::simd::{LANES, Simd};

/// Values whose blocks of Q8_0 are made together, so that the lanes of a vector are their scales.
const TOGETHER: usize = LANES * BLOCK;

/// A format of blocks.
pub trait Format {
    /// Values of a block.
    const VALUES: usize;
    /// Bytes of a block.
    const BYTES: usize;

    /// Writes `blocks` blocks as blocks of Q8_0.
    ///
    /// # Safety
    ///
    /// `row` is valid for reading `blocks * BYTES` bytes, `out` for writing
    /// `blocks * VALUES / BLOCK * Q8_0_BYTES`. The CPU supports the instruction set of `S`.
    unsafe fn unpack<S: Simd>(row: *const u8, blocks: usize, out: *mut u8);
}

/// A format whose blocks are quantized anew.
trait Values: Format {
    /// Writes the values of `blocks` blocks.
    ///
    /// # Safety
    ///
    /// `row` is valid for reading `blocks * BYTES` bytes, `to` for writing `blocks * VALUES` values, which
    /// are `TOGETHER` at most. The CPU supports the instruction set of `S`.
    unsafe fn values<S: Simd>(row: *const u8, blocks: usize, to: *mut f32);
}

/// Writes a row as blocks of Q8_0.
///
/// # Safety
///
/// `row` is valid for reading `blocks * F::BYTES` bytes, `out` for writing
/// `blocks * F::VALUES / BLOCK * Q8_0_BYTES`. The CPU supports the instruction set of `S`.
#[inline(always)]
pub unsafe fn unpack<S: Simd, F: Format>(row: *const u8, blocks: usize, out: *mut u8) {
    // SAFETY: the caller guarantees the same.
    unsafe { F::unpack::<S>(row, blocks, out) }
}

/// Writes a block of Q8_0 of a scale, in the bytes of f16, and integers from −128 to 127.
///
/// # Safety
///
/// `out` is valid for writing `Q8_0_BYTES` bytes.
#[inline(always)]
unsafe fn store<S: Simd>(scale: [u8; Q8_0_SCALE_BYTES], [low, high]: [S::Int; 2], out: *mut u8) {
    // SAFETY: the scale and the two times `LANES` bytes after it are those that the caller guarantees.
    unsafe {
        out.cast::<[u8; Q8_0_SCALE_BYTES]>().write(scale);
        let values = out.add(Q8_0_SCALE_BYTES).cast::<i8>();
        S::store_i8(low, values);
        S::store_i8(high, values.add(LANES));
    }
}

/// Quantizes a row to blocks of Q8_0: a scale is the largest magnitude of 32 values / 127 as f16, and they
/// are rounded to nearest even by it. Infinities and NaN become the scale, so that they reach the embedding
/// and are reported; the integers are then unspecified.
///
/// This is not the rule by which ggml makes Q8_0 of floats, whose rounding takes longer: nobody has a
/// file to compare with.
///
/// # Safety
///
/// As for [`unpack`].
#[inline(always)]
unsafe fn quantize_row<S: Simd, F: Values>(row: *const u8, blocks: usize, out: *mut u8) {
    let mut values = [const { MaybeUninit::<f32>::uninit() }; TOGETHER];
    let values: *mut f32 = values.as_mut_ptr().cast();
    let at_a_time = TOGETHER / F::VALUES;
    // SAFETY: of `blocks` blocks each is read once, and what is made of it written where it belongs; at
    // most `at_a_time` of them are `TOGETHER` values.
    unsafe {
        for first in (0..blocks).step_by(at_a_time) {
            let count = at_a_time.min(blocks - first);
            F::values::<S>(row.add(first * F::BYTES), count, values);
            let out = out.add(first * (F::VALUES / BLOCK) * Q8_0_BYTES);
            quantize_blocks::<S>(values, count * (F::VALUES / BLOCK), out);
        }
    }
}

/// Quantizes values to blocks of Q8_0, as [`quantize_row`] describes.
///
/// # Safety
///
/// `blocks` is at most `LANES`, `values` valid for reading as many times `BLOCK` values, and `out` for writing
/// as many blocks of Q8_0. The CPU supports the instruction set of `S`.
#[inline(always)]
unsafe fn quantize_blocks<S: Simd>(values: *const f32, blocks: usize, out: *mut u8) {
    let (mut largest, mut inverses) = ([0.0; LANES], [0.0; LANES]);
    // SAFETY: the caller guarantees `BLOCK` values for each of `blocks` blocks, and room for it; the arrays
    // hold the 16 values of a vector.
    unsafe {
        for (block, largest) in largest.iter_mut().enumerate().take(blocks) {
            let (low, high) = load_piece::<S>(values.add(block * BLOCK));
            *largest = low.abs().max_magnitude(high.abs()).reduce_max_magnitude();
        }
        let scales = S::load(largest.as_ptr()).div(S::splat(127.0)).to_halves();
        let inverse = S::splat(1.0).div(S::from_halves(scales));
        inverse.store(inverses.as_mut_ptr());
        for block in 0..blocks {
            let scale = scales[block];
            let inverse = match scale {
                0x0400..0x7c00 => inverses[block],
                // A subnormal scale may be rounded so far down that the largest value would not fit.
                0x0001..0x0400 if inverses[block] * largest[block] >= 127.5 => {
                    127.0 / largest[block]
                }
                0x0001..0x0400 => inverses[block],
                _ => 0.0,
            };
            let inverse = S::splat(inverse);
            let (low, high) = load_piece::<S>(values.add(block * BLOCK));
            let integers = [low.mul(inverse).round(), high.mul(inverse).round()];
            store::<S>(scale.to_le_bytes(), integers, out.add(block * Q8_0_BYTES));
        }
    }
}
