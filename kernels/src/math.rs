//! Elementary functions on [`Vector`] lanes, as short polynomials.

use crate::vector::Vector;

/// e to the power of each lane, within 2 units in the last place from −87 to 88; outside, the value at the bound.
///
/// x = n ln 2 + r with n an integer and |r| ≤ ln 2 / 2, so eˣ = 2ⁿ eʳ. ln 2 is subtracted in two parts (Cody and
/// Waite): the high one has 9 trailing zero bits, so n × high is exact. eʳ is its Taylor polynomial of degree 7,
/// whose first missing term is below 2⁻²⁷ of the result.
///
/// # Safety
///
/// As for every function of [`Vector`].
#[inline(always)]
pub unsafe fn exp<V: Vector>(x: V) -> V {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const TAYLOR: [f32; 8] = [
        1.0 / 5040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    // SAFETY: arithmetic on lanes; the caller vouches for the instruction set. The clamp keeps n within −126..=127.
    unsafe {
        // Operand order matters for NaN: min and max return their second operand then.
        let x = x.max(V::splat(-87.0)).min(V::splat(88.0));
        let power = x.mul(V::splat(std::f32::consts::LOG2_E)).round();
        let n = V::from_int(power);
        let r = x
            .sub(n.mul(V::splat(LN2_HIGH)))
            .sub(n.mul(V::splat(LN2_LOW)));
        let mut sum = V::splat(TAYLOR[0]);
        for coefficient in &TAYLOR[1..] {
            sum = sum.mul(r).add(V::splat(*coefficient));
        }
        sum.mul(V::exp2_int(power))
    }
}

/// GELU in its tanh form: `x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))`, computed as `x / (1 + e^−2z)`.
///
/// # Safety
///
/// As for every function of [`Vector`].
#[inline(always)]
pub unsafe fn gelu_tanh<V: Vector>(x: V) -> V {
    const MINUS_TWO_SQRT_2_OVER_PI: f32 = -1.595_769;
    const CUBIC: f32 = 0.044_715;
    // SAFETY: arithmetic on lanes; the caller vouches for the instruction set.
    unsafe {
        let cubic = x.mul(x).mul(V::splat(CUBIC)).add(V::splat(1.0));
        let exponent = x.mul(cubic).mul(V::splat(MINUS_TWO_SQRT_2_OVER_PI));
        x.div(exp(exponent).add(V::splat(1.0)))
    }
}
