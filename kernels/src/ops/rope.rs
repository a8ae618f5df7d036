//! Query and key heads: RMS norm, rotary position embedding, bias, INT16.

use super::norm::inverse_rms;
use super::quantize::inverse_scale;
use super::{pieces_at, prefetch_later_row};
use crate::layout::{BLOCK, HEAD_MAX, MAX_HEAD_DIM};
use crate::simd::{LANES, Simd};

/// One query or key head: `out = quantize(rope(rms_norm(x) * weight))` as INT16 up to [`HEAD_MAX`].
/// Returns the scale.
///
/// With `dim = pieces * BLOCK`, `rope` holds the cosines of the position's `dim / 2` angles, then
/// the sines; value `i` is rotated with value `i + dim / 2` (NEOX order).
///
/// # Safety
///
/// - `pieces * BLOCK` is at most [`MAX_HEAD_DIM`].
/// - `x + piece * stride` is valid for reading `BLOCK` values for each `piece` below `pieces`.
/// - `weight` and `rope` are valid for reading, `out` for writing `pieces * BLOCK` values.
/// - The CPU supports the instruction set of `S`.
#[inline(always)]
pub unsafe fn head_norm_rope<S: Simd>(
    x: *const f32,
    stride: usize,
    weight: *const f32,
    rope: *const f32,
    pieces: usize,
    eps: f32,
    out: *mut i16,
) -> f32 {
    // SAFETY: `at` is a multiple of `LANES` below `pieces * BLOCK`, so `at / BLOCK` is a piece of `x`, and
    // each access ends within the lengths that the caller guarantees.
    unsafe {
        prefetch_later_row(x, stride, pieces);
        let scale = S::splat(inverse_rms::<S>(pieces_at(x, stride), pieces, eps));
        let normed = |at: usize| {
            S::load(x.add(at / BLOCK * stride + at % BLOCK))
                .mul(scale)
                .mul(S::load(weight.add(at)))
        };
        rotate_and_quantize(normed, rope, pieces, out)
    }
}

/// One query or key head: `out = quantize(rope(x))`, as [`head_norm_rope`] without the norm. Returns the
/// scale.
///
/// # Safety
///
/// As [`head_norm_rope`], but for `weight`.
#[inline(always)]
pub unsafe fn head_rope<S: Simd>(
    x: *const f32,
    stride: usize,
    rope: *const f32,
    pieces: usize,
    out: *mut i16,
) -> f32 {
    // SAFETY: `at` is a multiple of `LANES` below `pieces * BLOCK`, so `at / BLOCK` is a piece of `x`, and
    // each access ends within the lengths that the caller guarantees.
    unsafe {
        prefetch_later_row(x, stride, pieces);
        let value = |at: usize| S::load(x.add(at / BLOCK * stride + at % BLOCK));
        rotate_and_quantize(value, rope, pieces, out)
    }
}

/// `out = quantize(rope(x))` of the [`LANES`] values from each place on that `load` returns. Returns the
/// scale.
///
/// # Safety
///
/// - `pieces * BLOCK` is at most [`MAX_HEAD_DIM`].
/// - `rope` is valid for reading, `out` for writing `pieces * BLOCK` values.
/// - The CPU supports the instruction set of `S`.
#[inline(always)]
unsafe fn rotate_and_quantize<S: Simd>(
    load: impl Fn(usize) -> S,
    rope: *const f32,
    pieces: usize,
    out: *mut i16,
) -> f32 {
    // SAFETY: `2 * half` is `pieces * BLOCK`, a multiple of `LANES` on either side of `half`. So
    // each access at `at` or `half + at` ends within the lengths that the caller guarantees and
    // within `head`.
    unsafe {
        let mut head = [0.0f32; MAX_HEAD_DIM];
        let head = head.as_mut_ptr();
        let half = pieces * BLOCK / 2;
        let mut largest = S::splat(0.0);
        for at in (0..half).step_by(LANES) {
            let (first, second) = (load(at), load(at + half));
            let (cosine, sine) = (S::load(rope.add(at)), S::load(rope.add(half + at)));
            let rotated_first = first.mul(cosine).sub(second.mul(sine));
            let rotated_second = second.mul(cosine).add(first.mul(sine));
            largest = largest
                .max_magnitude(rotated_first.abs())
                .max_magnitude(rotated_second.abs());
            rotated_first.store(head.add(at));
            rotated_second.store(head.add(half + at));
        }
        let largest = largest.reduce_max_magnitude();
        let inverse = S::splat(inverse_scale(largest, HEAD_MAX as f32));
        for at in (0..2 * half).step_by(LANES) {
            S::store_i16(S::load(head.add(at)).mul(inverse).round(), out.add(at));
        }
        largest / HEAD_MAX as f32
    }
}

/// One query or key head: `out = quantize(x + bias)`, or of `x` where `bias` is null, as INT16 up to
/// [`HEAD_MAX`]. Returns the scale.
///
/// # Safety
///
/// - `x + piece * stride` is valid for reading `BLOCK` values for each `piece` below `pieces`.
/// - `bias` is null or valid for reading `pieces * BLOCK` values.
/// - `out` is valid for writing `pieces * BLOCK` values.
/// - The CPU supports the instruction set of `S`.
#[inline(always)]
pub unsafe fn head_bias<S: Simd>(
    x: *const f32,
    stride: usize,
    bias: *const f32,
    pieces: usize,
    out: *mut i16,
) -> f32 {
    // SAFETY: `at` is below `pieces * BLOCK` and a multiple of `LANES`, so each access at it ends within
    // the lengths that the caller guarantees, and `at / BLOCK` is a piece of `x`.
    unsafe {
        prefetch_later_row(x, stride, pieces);
        let biased = |at: usize| {
            let value = S::load(x.add(at / BLOCK * stride + at % BLOCK));
            match bias.is_null() {
                true => value,
                false => value.add(S::load(bias.add(at))),
            }
        };
        let mut largest = S::splat(0.0);
        for at in (0..pieces * BLOCK).step_by(LANES) {
            largest = largest.max_magnitude(biased(at).abs());
        }
        let largest = largest.reduce_max_magnitude();
        let inverse = S::splat(inverse_scale(largest, HEAD_MAX as f32));
        for at in (0..pieces * BLOCK).step_by(LANES) {
            S::store_i16(biased(at).mul(inverse).round(), out.add(at));
        }
        largest / HEAD_MAX as f32
    }
}
