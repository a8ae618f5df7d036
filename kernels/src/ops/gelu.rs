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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::scalar::Lanes;
    use crate::simd::LANES;

    #[test]
    fn gelu_is_near_its_tanh_form_in_f64() {
        for step in -900..=4000 {
            let x = step as f32 / 200.0;
            let mut out = [0.0; LANES];
            // SAFETY: portable lanes need no instruction set, and the array holds 16 values.
            unsafe { gelu_tanh(Lanes::splat(x)).store(out.as_mut_ptr()) };
            let (actual, x) = (f64::from(out[0]), f64::from(x));
            let exponent = -2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            let exact = x / (1.0 + exponent.exp());
            // The absolute error of the exponent z, a few roundings of its size, becomes a relative
            // error of eᶻ.
            let bound = (10.0 + 6.0 * exponent.abs().min(88.0)) * 2f64.powi(-24) * exact.abs();
            assert!(
                (actual - exact).abs() <= bound,
                "gelu({x}) = {actual:e}, not {exact:e}"
            );
        }
    }
}
