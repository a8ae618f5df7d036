//! Layer norms, after a residual addition or alone.

use super::quantize::quantize_piece;
use super::{load_piece, load_sum, prefetch_later_row};
use crate::layout::{ActivationBlock, BLOCK};
use crate::simd::{LANES, Simd};

/// `x = layer_norm(x + (y + base)) * weight + bias`, or of `x + y` where `base` is null: the residual
/// addition of models that normalize after it.
///
/// The variance is the biased one, of the differences from the mean, and `eps` is added to it. The sums
/// have two accumulators each, whose order is part of the specification.
///
/// # Safety
///
/// - `x` is valid for reading and writing `pieces * BLOCK` values.
/// - `y + piece * stride` is valid for reading `BLOCK` values for each `piece` below `pieces`.
/// - `base` is null or valid for reading `pieces * BLOCK` values.
/// - `weight` and `bias` are valid for reading `pieces * BLOCK` values.
/// - The CPU supports the instruction set of `S`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub unsafe fn add_layer_norm<S: Simd>(
    x: *mut f32,
    y: *const f32,
    stride: usize,
    base: *const f32,
    weight: *const f32,
    bias: *const f32,
    pieces: usize,
    eps: f32,
) {
    prefetch_later_row(y, stride, pieces);
    // SAFETY: `piece < pieces`, so each piece of `y` and `base` is one that the caller guarantees, and
    // `at + LANES` is at most the `pieces * BLOCK` values of `x`, `weight` and `bias`.
    unsafe {
        let (mut even, mut odd) = (S::splat(0.0), S::splat(0.0));
        for piece in 0..pieces {
            let (low, high) = load_sum::<S>(y, stride, base, piece);
            let at = x.add(piece * BLOCK);
            let (low, high) = (S::load(at).add(low), S::load(at.add(LANES)).add(high));
            low.store(at);
            high.store(at.add(LANES));
            even = even.add(low);
            odd = odd.add(high);
        }
        let mean = S::splat(even.add(odd).reduce_add() / (pieces * BLOCK) as f32);
        let scale = inverse_deviation(x, mean, pieces, eps);
        for at in (0..pieces * BLOCK).step_by(LANES) {
            S::load(x.add(at))
                .sub(mean)
                .mul(scale)
                .mul(S::load(weight.add(at)))
                .add(S::load(bias.add(at)))
                .store(x.add(at));
        }
    }
}

/// The mean of the values of a row.
///
/// # Safety
///
/// `x` is valid for reading `pieces * BLOCK` values. The CPU supports the instruction set of `S`.
#[inline(always)]
unsafe fn mean<S: Simd>(x: *const f32, pieces: usize) -> S {
    // SAFETY: `piece < pieces`, so each piece of `x` is one that the caller guarantees.
    unsafe {
        let (mut even, mut odd) = (S::splat(0.0), S::splat(0.0));
        for piece in 0..pieces {
            let (low, high) = load_piece::<S>(x.add(piece * BLOCK));
            even = even.add(low);
            odd = odd.add(high);
        }
        S::splat(even.add(odd).reduce_add() / (pieces * BLOCK) as f32)
    }
}

/// 1 / sqrt(variance + eps) of a row with this mean.
///
/// # Safety
///
/// `x` is valid for reading `pieces * BLOCK` values. The CPU supports the instruction set of `S`.
#[inline(always)]
unsafe fn inverse_deviation<S: Simd>(x: *const f32, mean: S, pieces: usize, eps: f32) -> S {
    // SAFETY: `piece < pieces`, so each piece of `x` is one that the caller guarantees.
    unsafe {
        let (mut even, mut odd) = (S::splat(0.0), S::splat(0.0));
        for piece in 0..pieces {
            let (low, high) = load_piece::<S>(x.add(piece * BLOCK));
            let (low, high) = (low.sub(mean), high.sub(mean));
            even = even.add(low.mul(low));
            odd = odd.add(high.mul(high));
        }
        let variance = even.add(odd).reduce_add() / (pieces * BLOCK) as f32;
        S::splat(1.0 / (variance + eps).sqrt())
    }
}

/// `x = layer_norm(x) * weight`, in place.
///
/// # Safety
///
/// `x` is valid for reading and writing, `weight` for reading `pieces * BLOCK` values. The CPU supports
/// the instruction set of `S`.
#[inline(always)]
pub unsafe fn layer_norm<S: Simd>(x: *mut f32, weight: *const f32, pieces: usize, eps: f32) {
    // SAFETY: `2 * pieces` times `LANES` values are the `pieces * BLOCK` that the caller guarantees.
    unsafe {
        let mean = mean::<S>(x, pieces);
        let scale = inverse_deviation(x, mean, pieces, eps);
        for at in (0..pieces * BLOCK).step_by(LANES) {
            S::load(x.add(at))
                .sub(mean)
                .mul(scale)
                .mul(S::load(weight.add(at)))
                .store(x.add(at));
        }
    }
}

/// `out = quantize(layer_norm(x) * weight)`, one block a piece.
///
/// # Safety
///
/// - `x` and `weight` are valid for reading `pieces * BLOCK` values.
/// - `out + piece * out_stride` is valid for writing one block for each `piece` below `pieces`.
/// - The CPU supports the instruction set of `S`.
#[inline(always)]
pub unsafe fn layer_norm_quantize<S: Simd>(
    x: *const f32,
    weight: *const f32,
    pieces: usize,
    eps: f32,
    out: *mut ActivationBlock,
    out_stride: usize,
) {
    // SAFETY: `piece < pieces`, so each piece and each block is one that the caller guarantees.
    unsafe {
        let mean = mean::<S>(x, pieces);
        let scale = inverse_deviation(x, mean, pieces, eps);
        for piece in 0..pieces {
            let (low, high) = load_piece::<S>(x.add(piece * BLOCK));
            let (weight_low, weight_high) = load_piece::<S>(weight.add(piece * BLOCK));
            quantize_piece(
                low.sub(mean).mul(scale).mul(weight_low),
                high.sub(mean).mul(scale).mul(weight_high),
                out.add(piece * out_stride),
            );
        }
    }
}
