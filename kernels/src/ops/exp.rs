//! The exponential function as a short polynomial.

use crate::simd::Simd;

/// e to the power of each lane, with a relative error below 2⁻²¹ from −87 to 88; outside of that
/// range, the value at its nearer end.
///
/// x = n ln 2 + r with n an integer and |r| ≤ ln 2 / 2, so eˣ = 2ⁿ eʳ. ln 2 is subtracted in two
/// parts (Cody and Waite): the high one has 9 trailing zero bits, so n × high is exact. eʳ is its
/// Chebyshev polynomial of degree 5 on that interval, off by 2⁻²² at most; its last two
/// coefficients are set to 1, so that e⁰ = 1. Callers round the result to an integer of 8 or 12
/// bits.
#[inline(always)]
pub fn exp<S: Simd>(x: S) -> S {
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
    // SAFETY: `x` exists, so its instruction set is available, which is all that `splat` needs.
    let splat = |value| unsafe { S::splat(value) };
    // Operand order matters for NaN, for which min and max return their second operand. The clamp
    // keeps n within −126..=127.
    let x = x.max(splat(-87.0)).min(splat(88.0));
    let power = x.mul(splat(std::f32::consts::LOG2_E)).round();
    let n = S::from_int(power);
    let r = x.sub(n.mul(splat(LN2_HIGH))).sub(n.mul(splat(LN2_LOW)));
    let mut sum = splat(CHEBYSHEV[0]);
    for coefficient in &CHEBYSHEV[1..] {
        sum = sum.mul(r).add(splat(*coefficient));
    }
    sum.mul(S::exp2_int(power))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::scalar::Lanes;
    use crate::simd::LANES;

    #[test]
    fn exp_is_near_the_f64_result_over_its_range() {
        let mut largest = 0.0f64;
        for step in -87_000..=88_000 {
            let x = step as f32 / 1000.0;
            let mut out = [0.0; LANES];
            // SAFETY: portable lanes need no instruction set, and the array holds 16 values.
            unsafe { exp(Lanes::splat(x)).store(out.as_mut_ptr()) };
            largest = largest.max((f64::from(out[0]) / f64::from(x).exp() - 1.0).abs());
        }
        assert!(largest < 2f64.powi(-21), "off by {largest:e}");
    }
}
