//! GELU of the gate of a feed-forward layer.

use super::exp::exp;
use super::load_piece;
use super::quantize::quantize_piece;
use crate::layout::{ActivationBlock, BLOCK};
use crate::simd::Simd;

/// `out[t] = quantize(gelu(gate[t]) * up[t])` for `tokens` rows of [`BLOCK`] values.
///
/// # Safety
///
/// `gate` and `up` are valid for reading `tokens * BLOCK` values, `out` for writing `tokens`
/// blocks. The CPU supports the instruction set of `S`.
#[inline(always)]
pub unsafe fn gelu_multiply_quantize<S: Simd>(
    gate: *const f32,
    up: *const f32,
    tokens: usize,
    out: *mut ActivationBlock,
) {
    // SAFETY: `token < tokens`, so each piece and each block lies within the lengths that the
    // caller guarantees.
    unsafe {
        for token in 0..tokens {
            let (gate_low, gate_high) = load_piece::<S>(gate.add(token * BLOCK));
            let (up_low, up_high) = load_piece::<S>(up.add(token * BLOCK));
            quantize_piece(
                gelu_tanh(gate_low).mul(up_low),
                gelu_tanh(gate_high).mul(up_high),
                out.add(token),
            );
        }
    }
}

/// GELU in its tanh form: `x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))`, computed as `x / (1 +
/// e^−2z)`.
#[inline(always)]
fn gelu_tanh<S: Simd>(x: S) -> S {
    const MINUS_TWO_SQRT_2_OVER_PI: f32 = -1.595_769;
    const CUBIC: f32 = 0.044_715;
    // SAFETY: `x` exists, so its instruction set is available, which is all that `splat` needs.
    let splat = |value| unsafe { S::splat(value) };
    let cubic = x.mul(x).mul(splat(CUBIC)).add(splat(1.0));
    let exponent = x.mul(cubic).mul(splat(MINUS_TWO_SQRT_2_OVER_PI));
    x.div(exp(exponent).add(splat(1.0)))
}
