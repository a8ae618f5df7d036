//! RMS norms.

use super::quantize::quantize_piece;
use super::{load_piece, pieces_at, prefetch_later_row};
use crate::layout::{ActivationBlock, BLOCK};
use crate::simd::{LANES, Simd};

/// 1 / sqrt(mean of squares + eps) over the pieces `0..pieces` that `load` returns.
///
/// Two accumulators hide the latency of the additions; their order is part of the specification.
///
/// # Safety
///
/// The CPU supports the instruction set of `S`.
#[inline(always)]
pub unsafe fn inverse_rms<S: Simd>(load: impl Fn(usize) -> (S, S), pieces: usize, eps: f32) -> f32 {
    // SAFETY: the caller guarantees the instruction set.
    let (mut even, mut odd) = unsafe { (S::splat(0.0), S::splat(0.0)) };
    for piece in 0..pieces {
        let (low, high) = load(piece);
        even = even.add(low.mul(low));
        odd = odd.add(high.mul(high));
    }
    let mean = even.add(odd).reduce_add() / (pieces * BLOCK) as f32;
    1.0 / (mean + eps).sqrt()
}

/// `x += rms_norm(y + base) * weight`, or `rms_norm(y)` where `base` is null: the residual addition
/// after attention and after the feed-forward network.
///
/// # Safety
///
/// - `x` is valid for reading and writing `pieces * BLOCK` values.
/// - `y + piece * stride` is valid for reading `BLOCK` values for each `piece` below `pieces`.
/// - `base` is null or valid for reading `pieces * BLOCK` values.
/// - `weight` is valid for reading `pieces * BLOCK` values.
/// - The CPU supports the instruction set of `S`.
#[inline(always)]
pub unsafe fn add_rms_norm<S: Simd>(
    x: *mut f32,
    y: *const f32,
    stride: usize,
    base: *const f32,
    weight: *const f32,
    pieces: usize,
    eps: f32,
) {
    prefetch_later_row(y, stride, pieces);
    // SAFETY: `add_normed` loads the pieces `0..pieces`, which the caller guarantees of `y` and of
    // `base` where it is not null; `x` and `weight` are passed on as they are.
    unsafe {
        let y = pieces_at::<S>(y, stride);
        if base.is_null() {
            return add_normed(x, y, weight, pieces, eps);
        }
        let sum = |piece: usize| {
            let (low, high) = y(piece);
            let (base_low, base_high) = load_piece::<S>(base.add(piece * BLOCK));
            (low.add(base_low), high.add(base_high))
        };
        add_normed(x, sum, weight, pieces, eps);
    }
}

/// `x += rms_norm(y) * weight` for the pieces `0..pieces` of `y` that `load` returns.
///
/// # Safety
///
/// `x` is valid for reading and writing, `weight` for reading `pieces * BLOCK` values. The CPU
/// supports the instruction set of `S`.
#[inline(always)]
unsafe fn add_normed<S: Simd>(
    x: *mut f32,
    load: impl Fn(usize) -> (S, S),
    weight: *const f32,
    pieces: usize,
    eps: f32,
) {
    // SAFETY: `piece < pieces`, so `at + LANES` is at most the `pieces * BLOCK` values that the
    // caller guarantees of `x` and `weight`.
    unsafe {
        let scale = S::splat(inverse_rms::<S>(&load, pieces, eps));
        for piece in 0..pieces {
            let (low, high) = load(piece);
            for (half, y) in [(0, low), (LANES, high)] {
                let at = piece * BLOCK + half;
                let normed = y.mul(scale).mul(S::load(weight.add(at)));
                S::load(x.add(at)).add(normed).store(x.add(at));
            }
        }
    }
}

/// `out = quantize(rms_norm(x) * weight)`, one block a piece.
///
/// # Safety
///
/// - `x` and `weight` are valid for reading `pieces * BLOCK` values.
/// - `out + piece * out_stride` is valid for writing one block for each `piece` below `pieces`.
/// - The CPU supports the instruction set of `S`.
#[inline(always)]
pub unsafe fn rms_norm_quantize<S: Simd>(
    x: *const f32,
    weight: *const f32,
    pieces: usize,
    eps: f32,
    out: *mut ActivationBlock,
    out_stride: usize,
) {
    // SAFETY: `piece < pieces`, so each piece and each block is one that the caller guarantees.
    unsafe {
        let scale = S::splat(inverse_rms::<S>(pieces_at(x, BLOCK), pieces, eps));
        for piece in 0..pieces {
            let (low, high) = load_piece::<S>(x.add(piece * BLOCK));
            let (weight_low, weight_high) = load_piece::<S>(weight.add(piece * BLOCK));
            quantize_piece(
                low.mul(scale).mul(weight_low),
                high.mul(scale).mul(weight_high),
                out.add(piece * out_stride),
            );
        }
    }
}

/// `x = rms_norm(x) * weight`, in place.
///
/// # Safety
///
/// `x` is valid for reading and writing, `weight` for reading `pieces * BLOCK` values. The CPU
/// supports the instruction set of `S`.
#[inline(always)]
pub unsafe fn rms_norm<S: Simd>(x: *mut f32, weight: *const f32, pieces: usize, eps: f32) {
    // SAFETY: `2 * pieces` times `LANES` values are the `pieces * BLOCK` that the caller
    // guarantees.
    unsafe {
        let scale = S::splat(inverse_rms::<S>(pieces_at(x, BLOCK), pieces, eps));
        for lanes in 0..2 * pieces {
            S::load(x.add(lanes * LANES))
                .mul(scale)
                .mul(S::load(weight.add(lanes * LANES)))
                .store(x.add(lanes * LANES));
        }
    }
}
