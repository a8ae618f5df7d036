//! Activation functions: of the gate of a feed-forward layer, or of a layer without a gate.

use super::exp::exp;
use super::load_piece;
use super::quantize::quantize_piece;
use crate::layout::{ActivationBlock, BLOCK};
use crate::simd::Simd;

/// Defines functions that give `out[t] = quantize(activation(gate[t]) * up[t])` for `tokens` rows of
/// [`BLOCK`] values.
macro_rules! gated {
    ($($(#[$doc:meta])* $name:ident = $activation:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// `gate` and `up` are valid for reading `tokens * BLOCK` values, `out` for writing `tokens`
        /// blocks. The CPU supports the instruction set of `S`.
        #[inline(always)]
        pub unsafe fn $name<S: Simd>(
            gate: *const f32,
            up: *const f32,
            tokens: usize,
            out: *mut ActivationBlock,
        ) {
            // SAFETY: `token < tokens`, so each piece and each block lies within the lengths that the
            // caller guarantees.
            unsafe {
                for token in 0..tokens {
                    let gate = load_piece::<S>(gate.add(token * BLOCK));
                    let (up_low, up_high) = load_piece::<S>(up.add(token * BLOCK));
                    let [low, high] = $activation([gate.0, gate.1]);
                    quantize_piece(low.mul(up_low), high.mul(up_high), out.add(token));
                }
            }
        }
    )*};
}

gated! {
    /// `out[t] = quantize(gelu(gate[t]) * up[t])`, with GELU in its exact form.
    gelu_multiply_quantize = gelu;
    /// `out[t] = quantize(gelu(gate[t]) * up[t])`, with GELU in its tanh form.
    gelu_tanh_multiply_quantize = gelu_tanh;
    /// `out[t] = quantize(silu(gate[t]) * up[t])`.
    silu_multiply_quantize = silu;
}

/// `out[t] = quantize(gelu(x[t] + bias))` for `tokens` rows of [`BLOCK`] values, with GELU in its
/// exact form.
///
/// # Safety
///
/// `x` is valid for reading `tokens * BLOCK` values, `bias` for reading [`BLOCK`] and `out` for
/// writing `tokens` blocks. The CPU supports the instruction set of `S`.
#[inline(always)]
pub unsafe fn bias_gelu_quantize<S: Simd>(
    x: *const f32,
    bias: *const f32,
    tokens: usize,
    out: *mut ActivationBlock,
) {
    // SAFETY: `token < tokens`, and of two tokens the second as well, so each piece and each block lies
    // within the lengths that the caller guarantees.
    unsafe {
        let (bias_low, bias_high) = load_piece::<S>(bias);
        // Two tokens side by side: the polynomials of one are chains of dependent operations that keep
        // a core a third busy, and are too long for it to look beyond them (docs/LOG.md).
        for token in (0..tokens / 2 * 2).step_by(2) {
            let (low, high) = load_piece::<S>(x.add(token * BLOCK));
            let (next_low, next_high) = load_piece::<S>(x.add((token + 1) * BLOCK));
            let [low, high, next_low, next_high] = gelu([
                low.add(bias_low),
                high.add(bias_high),
                next_low.add(bias_low),
                next_high.add(bias_high),
            ]);
            quantize_piece(low, high, out.add(token));
            quantize_piece(next_low, next_high, out.add(token + 1));
        }
        if tokens % 2 == 1 {
            let token = tokens - 1;
            let (low, high) = load_piece::<S>(x.add(token * BLOCK));
            let [low, high] = gelu([low.add(bias_low), high.add(bias_high)]);
            quantize_piece(low, high, out.add(token));
        }
    }
}

/// GELU: `x Φ(x)` with Φ the cumulative distribution function of the normal distribution, off by
/// less than 4.8 × 10⁻⁷ of `|x|`; 0 from −5.25 down.
///
/// Φ(x) − 1/2 is x times a polynomial in x², here in its distance `at` from the middle of the range, where
/// coefficients are small and alternate little. It is fitted to reach 1/2 at 5.25, where the true
/// value is 1/2 − 8 × 10⁻⁸, so that what remains for large negative values is an exact 0. Its odd and
/// its even powers are two chains of operations, each half as long as one.
#[inline(always)]
fn gelu<S: Simd, const N: usize>(mut x: [S; N]) -> [S; N] {
    const MOST: f32 = 5.25;
    const ODD: [f32; 7] = [
        -5.609_392_5e-4,
        -1.326_394_4e-3,
        -5.119_931_4e-3,
        -1.295_442_2e-2,
        -2.499_493_8e-2,
        -3.976_866e-2,
        -6.712_669e-2,
    ];
    const EVEN: [f32; 7] = [
        1.456_612_3e-3,
        1.869_448_2e-3,
        9.070_378e-3,
        1.832_600_9e-2,
        3.206_427_8e-2,
        4.964_392_6e-2,
        1.346_594_4e-1,
    ];
    // SAFETY: `x` exists, so its instruction set is available, which is all that `splat` needs.
    let splat = |value| unsafe { S::splat(value) };
    let (mut clamped, mut at, mut square) = (x, x, x);
    let (mut odd, mut even) = ([splat(ODD[0]); N], [splat(EVEN[0]); N]);
    for i in 0..N {
        // Operand order matters for NaN, for which min and max return their second operand; the last
        // multiplication brings it back.
        clamped[i] = x[i].max(splat(-MOST)).min(splat(MOST));
        let scaled = clamped[i].mul(splat(2.0 / (MOST * MOST)));
        at[i] = scaled.mul_add(clamped[i], splat(-1.0));
        square[i] = at[i].mul(at[i]);
    }
    for power in 1..ODD.len() {
        for i in 0..N {
            odd[i] = odd[i].mul_add(square[i], splat(ODD[power]));
            even[i] = even[i].mul_add(square[i], splat(EVEN[power]));
        }
    }
    for i in 0..N {
        let sum = odd[i].mul_add(at[i], even[i]);
        let half = clamped[i].mul(sum).max(splat(-0.5)).min(splat(0.5));
        x[i] = x[i].mul(half.add(splat(0.5)));
    }
    x
}

/// GELU in its tanh form: `x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))`, computed as `x / (1 +
/// e^−2z)`.
#[inline(always)]
fn gelu_tanh<S: Simd, const N: usize>(mut x: [S; N]) -> [S; N] {
    const MINUS_TWO_SQRT_2_OVER_PI: f32 = -1.595_769;
    const CUBIC: f32 = 0.044_715;
    // SAFETY: `x` exists, so its instruction set is available, which is all that `splat` needs.
    let splat = |value| unsafe { S::splat(value) };
    for x in &mut x {
        let cubic = x.mul(*x).mul(splat(CUBIC)).add(splat(1.0));
        let exponent = x.mul(cubic).mul(splat(MINUS_TWO_SQRT_2_OVER_PI));
        *x = x.div(exp(exponent).add(splat(1.0)));
    }
    x
}

/// SiLU: `x / (1 + e^-x)`.
#[inline(always)]
fn silu<S: Simd, const N: usize>(mut x: [S; N]) -> [S; N] {
    // SAFETY: `x` exists, so its instruction set is available, which is all that `splat` needs.
    let splat = |value| unsafe { S::splat(value) };
    for x in &mut x {
        *x = x.div(exp(x.mul(splat(-1.0))).add(splat(1.0)));
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::scalar::Lanes;
    use crate::simd::LANES;

    fn gelu_of(x: f32) -> f32 {
        let mut out = [0.0; LANES];
        // SAFETY: portable lanes need no instruction set, and the array holds 16 values.
        unsafe { gelu([Lanes::splat(x)])[0].store(out.as_mut_ptr()) };
        out[0]
    }

    /// The error function in f64: its series, and its continued fraction (Lentz) where that converges.
    fn erf(x: f64) -> f64 {
        if x.abs() > 3.0 {
            let (square, mut tail) = (x * x, 0.0);
            for n in (1..200).rev() {
                tail = f64::from(n) / 2.0 / (x.abs() + tail);
            }
            let complement = (-square).exp() / (x.abs() + tail) / std::f64::consts::PI.sqrt();
            return (1.0 - complement).copysign(x);
        }
        let (mut term, mut sum) = (x, x);
        for n in 1..100 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }

    #[test]
    fn gelu_is_near_its_f64_form_over_its_range() {
        assert!((erf(0.5) - 0.520_499_877_813_046_5).abs() < 1e-15);
        assert!((erf(2.0) - 0.995_322_265_018_952_7).abs() < 1e-14);
        assert!((erf(3.5) - 0.999_999_256_901_627_7).abs() < 1e-15);
        let mut largest = 0.0f64;
        for step in -90_000..=90_000 {
            let x = step as f32 / 10_000.0;
            let exact = f64::from(x) * 0.5 * (1.0 + erf(f64::from(x) / 2f64.sqrt()));
            let error = (f64::from(gelu_of(x)) - exact).abs();
            assert!(
                error <= 4.8e-7 * f64::from(x.abs()),
                "gelu({x}) is off by {error:e}"
            );
            largest = largest.max(error);
        }
        assert!(largest < 2.2e-6, "off by {largest:e}");
    }

    #[test]
    fn gelu_of_large_values_is_the_value_or_nothing() {
        for x in [5.25, 6.0, 100.0, 1e30, f32::MAX] {
            assert_eq!(gelu_of(x), x);
            assert_eq!(gelu_of(-x), 0.0);
        }
        assert_eq!(gelu_of(0.0), 0.0);
        assert_eq!(gelu_of(f32::INFINITY), f32::INFINITY);
        assert!(gelu_of(f32::NAN).is_nan());
    }

    #[test]
    fn gelu_is_near_its_tanh_form_in_f64() {
        for step in -900..=4000 {
            let x = step as f32 / 200.0;
            let mut out = [0.0; LANES];
            // SAFETY: portable lanes need no instruction set, and the array holds 16 values.
            unsafe { gelu_tanh([Lanes::splat(x)])[0].store(out.as_mut_ptr()) };
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

    #[test]
    fn silu_is_near_its_f64_form() {
        for step in -1000..=4000 {
            let x = step as f32 / 100.0;
            let mut out = [0.0; LANES];
            // SAFETY: portable lanes need no instruction set, and the array holds 16 values.
            unsafe { silu([Lanes::splat(x)])[0].store(out.as_mut_ptr()) };
            let (actual, x) = (f64::from(out[0]), f64::from(x));
            let exact = x / (1.0 + (-x).exp());
            let bound = (10.0 + 6.0 * x.abs()) * 2f64.powi(-24) * exact.abs();
            assert!(
                (actual - exact).abs() <= bound,
                "silu({x}) = {actual:e}, not {exact:e}"
            );
        }
    }
}
