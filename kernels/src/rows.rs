//! Row operations, written once on [`Vector`] lanes and compiled for each instruction set.
//!
//! Rows come in *pieces* of 32 values, `stride` values apart: 32 for a plain row, `32 * tokens` for one token's row
//! in the output of a matrix product, which lies panel after panel.
//!
//! # Safety
//!
//! All functions here read and write exactly what their documents say; the safe wrappers in [`crate::Kernels`] check
//! lengths. The caller enables the instruction set of `V`.

use crate::ahead::prefetch;
use crate::layout::{ActivationBlock, BLOCK, HEAD_MAX, MAX_HEAD_DIM, Q8_0_BYTES, WEIGHT_MAX};
use crate::math::{exp, gelu_tanh};
use crate::vector::{LANES, Vector};

/// Tokens by which a row scattered over the panels of a product's output is asked for in advance: far enough for memory,
/// few enough for the L1 cache.
const TOKENS_AHEAD: usize = 4;

/// Asks for the row of a token a little after that at `x`: no hardware prefetcher follows as many streams as there are
/// panels. What lies beyond the last token is another panel's or nothing; asking does no harm.
#[inline(always)]
fn prefetch_later_row(x: *const f32, stride: usize, pieces: usize) {
    for piece in 0..pieces {
        let later = x.wrapping_add(piece * stride + TOKENS_AHEAD * BLOCK);
        prefetch(later.cast());
        prefetch(later.wrapping_add(LANES).cast());
    }
}

/// 1 / sqrt(mean of squares + eps) of the pieces `0..pieces` that `load` gives.
///
/// Two accumulators hide the latency of the additions; their order is part of the specification.
#[inline(always)]
unsafe fn inverse_rms<V: Vector>(load: impl Fn(usize) -> (V, V), pieces: usize, eps: f32) -> f32 {
    // SAFETY: see the module.
    unsafe {
        let (mut even, mut odd) = (V::splat(0.0), V::splat(0.0));
        for piece in 0..pieces {
            let (low, high) = load(piece);
            even = even.add(low.mul(low));
            odd = odd.add(high.mul(high));
        }
        let mean = even.add(odd).reduce_add() / (pieces * BLOCK) as f32;
        1.0 / (mean + eps).sqrt()
    }
}

/// How the pieces of a row `stride` values apart are loaded.
#[inline(always)]
unsafe fn pieces_at<V: Vector>(x: *const f32, stride: usize) -> impl Fn(usize) -> (V, V) {
    // SAFETY: see the module.
    move |piece| unsafe { load_piece(x.add(piece * stride)) }
}

#[inline(always)]
unsafe fn load_piece<V: Vector>(from: *const f32) -> (V, V) {
    // SAFETY: see the module.
    unsafe { (V::load(from), V::load(from.add(LANES))) }
}

/// What values up to `largest` are multiplied by to become integers up to `most`; 0 where that would overflow, so that
/// values below 1e-30, which no later sum can tell from 0, become 0.
#[inline(always)]
fn inverse_unit(largest: f32, most: f32) -> f32 {
    if largest > 1e-30 { most / largest } else { 0.0 }
}

/// 32 values as INT8: the scale is the largest magnitude / 127, rounding is to nearest even. A NaN or an infinity makes the
/// scale one, so that it reaches the vector and is reported.
#[inline(always)]
unsafe fn quantise_piece<V: Vector>(low: V, high: V, out: *mut ActivationBlock) {
    // SAFETY: see the module.
    unsafe {
        let largest = low.abs().max_magnitude(high.abs()).reduce_max_magnitude();
        let inverse = V::splat(inverse_unit(largest, 127.0));
        let (low, high) = (low.mul(inverse).round(), high.mul(inverse).round());
        store_block::<V>(low, high, largest / 127.0, out);
    }
}

/// 32 values as two INT8 terms: the second holds the first's rounding error in 1/256 of its unit.
#[inline(always)]
unsafe fn quantise_piece_twice<V: Vector>(low: V, high: V, out: *mut ActivationBlock) {
    // SAFETY: see the module.
    unsafe {
        let largest = low.abs().max_magnitude(high.abs()).reduce_max_magnitude();
        let inverse = V::splat(inverse_unit(largest, 127.0));
        let (low, high) = (low.mul(inverse), high.mul(inverse));
        let (first_low, first_high) = (low.round(), high.round());
        let scale = largest / 127.0 * (1.0 / 256.0);
        store_block::<V>(first_low, first_high, scale, out);
        let (second_low, second_high) = (remainder(low, first_low), remainder(high, first_high));
        store_block::<V>(second_low, second_high, scale, out.add(1));
    }
}

/// What rounding to `first` left of `value`, in 1/256.
#[inline(always)]
unsafe fn remainder<V: Vector>(value: V, first: V::Int) -> V::Int {
    // At most 1/2, so 256 × it is at most 128, one more than fits.
    // SAFETY: see the module.
    unsafe {
        let remainder = value.sub(V::from_int(first)).mul(V::splat(256.0));
        remainder.min(V::splat(127.0)).round()
    }
}

#[inline(always)]
unsafe fn store_block<V: Vector>(low: V::Int, high: V::Int, scale: f32, out: *mut ActivationBlock) {
    // SAFETY: see the module; `out` is one block.
    unsafe {
        let values = (&raw mut (*out).values).cast::<i8>();
        V::store_i8(low, values);
        V::store_i8(high, values.add(LANES));
        (*out).scale = scale;
        // Wrapping: integers made of infinities are meaningless, and the scale carries the infinity on.
        (*out).correction = V::reduce_int(V::add_int(low, high)).wrapping_mul(-128);
    }
}

/// `x += rms_norm(y + base) * weight`: the residual addition after attention and after the feed-forward network. `base`
/// is null where there is none.
#[inline(always)]
pub unsafe fn add_rms_norm<V: Vector>(
    x: *mut f32,
    y: *const f32,
    stride: usize,
    base: *const f32,
    weight: *const f32,
    pieces: usize,
    eps: f32,
) {
    // SAFETY: see the module.
    unsafe {
        prefetch_later_row(y, stride, pieces);
        let y = pieces_at::<V>(y, stride);
        if base.is_null() {
            return add_normed(x, y, weight, pieces, eps);
        }
        let sum = |piece: usize| {
            let (low, high) = y(piece);
            let (base_low, base_high) = load_piece::<V>(base.add(piece * BLOCK));
            (low.add(base_low), high.add(base_high))
        };
        add_normed(x, sum, weight, pieces, eps);
    }
}

/// `x += rms_norm(y) * weight` of the pieces that `load` gives.
#[inline(always)]
unsafe fn add_normed<V: Vector>(
    x: *mut f32,
    load: impl Fn(usize) -> (V, V),
    weight: *const f32,
    pieces: usize,
    eps: f32,
) {
    // SAFETY: see the module.
    unsafe {
        let scale = V::splat(inverse_rms::<V>(&load, pieces, eps));
        for piece in 0..pieces {
            let (low, high) = load(piece);
            for (half, y) in [(0, low), (LANES, high)] {
                let at = piece * BLOCK + half;
                let normed = y.mul(scale).mul(V::load(weight.add(at)));
                V::load(x.add(at)).add(normed).store(x.add(at));
            }
        }
    }
}

/// `out = quantise(rms_norm(x) * weight)`, one block a piece, `out_stride` blocks apart.
#[inline(always)]
pub unsafe fn rms_norm_quantise<V: Vector>(
    x: *const f32,
    weight: *const f32,
    pieces: usize,
    eps: f32,
    out: *mut ActivationBlock,
    out_stride: usize,
) {
    // SAFETY: see the module.
    unsafe {
        let scale = V::splat(inverse_rms::<V>(pieces_at(x, BLOCK), pieces, eps));
        for piece in 0..pieces {
            let (low, high) = load_piece::<V>(x.add(piece * BLOCK));
            let (weight_low, weight_high) = load_piece::<V>(weight.add(piece * BLOCK));
            quantise_piece(
                low.mul(scale).mul(weight_low),
                high.mul(scale).mul(weight_high),
                out.add(piece * out_stride),
            );
        }
    }
}

/// `x = rms_norm(x) * weight`, in place.
#[inline(always)]
pub unsafe fn rms_norm<V: Vector>(x: *mut f32, weight: *const f32, pieces: usize, eps: f32) {
    // SAFETY: see the module.
    unsafe {
        let scale = V::splat(inverse_rms::<V>(pieces_at(x, BLOCK), pieces, eps));
        for lanes in 0..2 * pieces {
            V::load(x.add(lanes * LANES))
                .mul(scale)
                .mul(V::load(weight.add(lanes * LANES)))
                .store(x.add(lanes * LANES));
        }
    }
}

/// One query or key head: `quantise(rope(rms_norm(x) * weight))` as INT16, returning the scale.
///
/// `rope` holds the cosines of the position's `dim / 2` angles, then the sines; value `i` turns with `i + dim / 2`
/// (NEOX order).
#[inline(always)]
pub unsafe fn head_norm_rope<V: Vector>(
    x: *const f32,
    stride: usize,
    weight: *const f32,
    rope: *const f32,
    pieces: usize,
    eps: f32,
    out: *mut i16,
) -> f32 {
    // SAFETY: see the module; `pieces * 32` is at most `MAX_HEAD_DIM`.
    unsafe {
        prefetch_later_row(x, stride, pieces);
        let mut head = [0.0f32; MAX_HEAD_DIM];
        let head = head.as_mut_ptr();
        let half = pieces * BLOCK / 2;
        let scale = V::splat(inverse_rms::<V>(pieces_at(x, stride), pieces, eps));
        let normed = |at: usize| {
            V::load(x.add(at / BLOCK * stride + at % BLOCK))
                .mul(scale)
                .mul(V::load(weight.add(at)))
        };
        let mut largest = V::splat(0.0);
        for at in (0..half).step_by(LANES) {
            let (first, second) = (normed(at), normed(at + half));
            let (cosine, sine) = (V::load(rope.add(at)), V::load(rope.add(half + at)));
            let turned_first = first.mul(cosine).sub(second.mul(sine));
            let turned_second = second.mul(cosine).add(first.mul(sine));
            largest = largest
                .max_magnitude(turned_first.abs())
                .max_magnitude(turned_second.abs());
            turned_first.store(head.add(at));
            turned_second.store(head.add(half + at));
        }
        let largest = largest.reduce_max_magnitude();
        let inverse = V::splat(inverse_unit(largest, HEAD_MAX as f32));
        for at in (0..2 * half).step_by(LANES) {
            V::store_i16(V::load(head.add(at)).mul(inverse).round(), out.add(at));
        }
        largest / HEAD_MAX as f32
    }
}

/// `out[t] = quantise(gelu(gate[t]) * up[t])` for `tokens` rows of 32 values.
#[inline(always)]
pub unsafe fn gelu_multiply_quantise<V: Vector>(
    gate: *const f32,
    up: *const f32,
    tokens: usize,
    out: *mut ActivationBlock,
) {
    // SAFETY: see the module.
    unsafe {
        for token in 0..tokens {
            let (gate_low, gate_high) = load_piece::<V>(gate.add(token * BLOCK));
            let (up_low, up_high) = load_piece::<V>(up.add(token * BLOCK));
            quantise_piece(
                gelu_tanh(gate_low).mul(up_low),
                gelu_tanh(gate_high).mul(up_high),
                out.add(token),
            );
        }
    }
}

/// A plain row as INT8 of `terms` terms, the blocks of a piece `out_stride` blocks apart.
#[inline(always)]
pub unsafe fn quantise<V: Vector>(
    x: *const f32,
    pieces: usize,
    terms: usize,
    out: *mut ActivationBlock,
    out_stride: usize,
) {
    // SAFETY: see the module.
    unsafe {
        for piece in 0..pieces {
            let (low, high) = load_piece::<V>(x.add(piece * BLOCK));
            let out = out.add(piece * out_stride);
            if terms == 2 {
                quantise_piece_twice(low, high, out);
            } else {
                quantise_piece(low, high, out);
            }
        }
    }
}

/// Softmax over `scores[..padded]` as integer weights, [`WEIGHT_MAX`] for the largest; returns their sum.
///
/// `padded` is a multiple of 16; what the caller does not want counted is −∞ and gets 0.
#[inline(always)]
pub unsafe fn softmax<V: Vector>(scores: *const f32, padded: usize, out: *mut i16) -> i32 {
    // SAFETY: see the module.
    unsafe {
        let mut largest = V::splat(f32::NEG_INFINITY);
        for at in (0..padded).step_by(LANES) {
            largest = largest.max(V::load(scores.add(at)));
        }
        let largest = V::splat(largest.reduce_max());
        let mut sum = V::splat(0.0).round();
        for at in (0..padded).step_by(LANES) {
            let weight = exp(V::load(scores.add(at)).sub(largest))
                .mul(V::splat(WEIGHT_MAX as f32))
                .round();
            V::store_i16(weight, out.add(at));
            sum = V::add_int(sum, weight);
        }
        V::reduce_int(sum)
    }
}

/// Values of one panel of 32 channels, less each channel's mean, quantised with one scale a channel and packed for the
/// weighted sum.
///
/// Softmax weights sum to one, so the weighted mean of what remains, plus the mean, is the weighted mean; and rounding a
/// weight, or losing a small one, costs only the distance of its value from the mean. Whoever uses the weighted mean adds
/// the mean.
///
/// Token `t` lies at `values + 32 t`. Out come `ceil(tokens / 2)` steps of 32 lanes; a lane holds two consecutive
/// tokens of its channel as 16-bit words, zeros beyond the last. `scales` takes 32 scales, then 32 means.
#[inline(always)]
pub unsafe fn pack_values<V: Vector>(
    values: *const f32,
    tokens: usize,
    packed: *mut i32,
    scales: *mut f32,
) {
    // SAFETY: see the module.
    unsafe {
        for half in [0, LANES] {
            let load = |token: usize| V::load(values.add(token * BLOCK + half));
            let mut sum = V::splat(0.0);
            for token in 0..tokens {
                sum = sum.add(load(token));
            }
            let mean = sum.div(V::splat(tokens.max(1) as f32));
            let mut largest = V::splat(0.0);
            for token in 0..tokens {
                largest = largest.max(load(token).sub(mean).abs());
            }
            // A channel of zeros: 127 / 0 would be infinite; see `inverse_unit`.
            let inverse = V::splat(127.0).div(largest.max(V::splat(1e-30)));
            largest.div(V::splat(127.0)).store(scales.add(half));
            mean.store(scales.add(BLOCK + half));
            let value = |token: usize| {
                if token < tokens {
                    load(token).sub(mean).mul(inverse).round()
                } else {
                    V::splat(0.0).round()
                }
            };
            for step in 0..tokens.div_ceil(2) {
                let lanes = V::join_int::<16>(value(2 * step), value(2 * step + 1));
                V::store_int(lanes, packed.add(step * BLOCK + half));
            }
        }
    }
}

/// A Q8_0 row, dequantised and multiplied by `factor`.
#[inline(always)]
pub unsafe fn dequantise_q8_0<V: Vector>(
    row: *const u8,
    pieces: usize,
    factor: f32,
    out: *mut f32,
) {
    // SAFETY: see the module.
    unsafe {
        for piece in 0..pieces {
            let block = row.add(piece * Q8_0_BYTES);
            let scale = f16_to_f32(block.cast::<u16>().read_unaligned());
            for half in [0, LANES] {
                V::from_int(V::load_i8(block.add(2 + half).cast()))
                    .mul(V::splat(scale))
                    .mul(V::splat(factor))
                    .store(out.add(piece * BLOCK + half));
            }
        }
    }
}

/// `sum += x`.
#[inline(always)]
pub unsafe fn accumulate<V: Vector>(sum: *mut f32, x: *const f32, pieces: usize) {
    // SAFETY: see the module.
    unsafe {
        for lanes in 0..2 * pieces {
            V::load(sum.add(lanes * LANES))
                .add(V::load(x.add(lanes * LANES)))
                .store(sum.add(lanes * LANES));
        }
    }
}

/// A half-precision float, exactly; every NaN becomes a NaN.
#[inline(always)]
pub fn f16_to_f32(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let magnitude = u32::from(half & 0x7fff);
    let bits = match magnitude {
        0x7c00.. => 0x7f80_0000 | (magnitude & 0x3ff) << 13,
        // Subnormal: the mantissa counts units of 2⁻²⁴.
        0..0x400 => (magnitude as f32 * (1.0 / 16_777_216.0)).to_bits(),
        _ => (magnitude << 13) + ((127 - 15) << 23),
    };
    f32::from_bits(sign | bits)
}
