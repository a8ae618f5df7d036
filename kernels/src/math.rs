//! Elementary functions on [`Vector`] lanes, as short polynomials.

use crate::vector::Vector;

/// e to the power of each lane, within 2⁻²¹ of it from −87 to 88; outside, the value at the bound.
///
/// x = n ln 2 + r with n an integer and |r| ≤ ln 2 / 2, so eˣ = 2ⁿ eʳ. ln 2 is subtracted in two parts (Cody and
/// Waite): the high one has 9 trailing zero bits, so n × high is exact. eʳ is its Chebyshev
/// polynomial of degree 5 on that interval, off by 2⁻²² at most; its last two coefficients are set to 1, so that e⁰ = 1.
/// What it gives becomes an integer of 8 or 12 bits.
///
/// # Safety
///
/// As for every function of [`Vector`].
#[inline(always)]
pub unsafe fn exp<V: Vector>(x: V) -> V {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const CHEBYSHEV: [f32; 6] = [
        0.008_375_171,
        0.041_917_782,
        0.166_664_15,
        0.499_988_68,
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
        let mut sum = V::splat(CHEBYSHEV[0]);
        for coefficient in &CHEBYSHEV[1..] {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::Lanes;
    use crate::vector::LANES;

    #[test]
    fn exp_is_near_the_f64_result_over_its_whole_range() {
        let mut largest = 0.0f64;
        for step in -87_000..=88_000 {
            let x = step as f32 / 1000.0;
            let mut out = [0.0; LANES];
            // SAFETY: plain Rust, and the array holds sixteen values.
            unsafe { exp(Lanes::splat(x)).store(out.as_mut_ptr()) };
            largest = largest.max((f64::from(out[0]) / f64::from(x).exp() - 1.0).abs());
        }
        assert!(largest < 2f64.powi(-21), "off by {largest:e}");
    }
}
