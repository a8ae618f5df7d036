//! Scales of activations, which a kernel can apply with or without a multiplication.

use crate::layout::BLOCK;

/// The scale of an [`ActivationBlock`](crate::ActivationBlock), as a float and as two shifts,
/// additions and a power of two: `q * factor` is
/// `(q + (q << shifts[0]) + (q << shifts[1])) * 2^exponent`.
///
/// The integer in parentheses is exact, so both give the same bits: that of the exact product,
/// rounded once.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct ActivationScale {
    factor: f32,
    shifts: [u32; 2],
    exponent: f32,
}

/// The most that an [`ActivationScale`] shifts: an integer of 20 bits, as the sum of a block is,
/// still fits 32.
const MAX_SHIFT: u32 = 8;

/// A shift by as many bits as a lane has gives 0.
const NO_SHIFT: u32 = 32;

const _: () =
    assert!((BLOCK as i64 * 128 * 128) * (1 + (1 << MAX_SHIFT) + (1 << (MAX_SHIFT - 1))) < 1 << 31);

/// Bits of the mantissa of an `f32` after its leading 1.
const MANTISSA_BITS: u32 = f32::MANTISSA_DIGITS - 1;

/// Those bits, all set.
const MANTISSA: u32 = (1 << MANTISSA_BITS) - 1;

/// The unit of the mantissas of scales.
const STEP: u32 = 1 << (MANTISSA_BITS - MAX_SHIFT);

/// A mantissa that is a sum of up to three powers of two, the leading 1 among them.
#[derive(Clone, Copy)]
struct MantissaStep {
    /// Its bits after the leading 1; the one above them in a mantissa of 2.
    mantissa: u32,
    shifts: [u8; 2],
    /// By how much the first of the shifts raises the power of two.
    raised: u8,
}

/// The smallest of these mantissas that is at least 1 + `i` / 2^[`MAX_SHIFT`], for each `i`.
static STEPS: [MantissaStep; (1 << MAX_SHIFT) + 1] = {
    let mut steps = [MantissaStep {
        mantissa: 0,
        shifts: [NO_SHIFT as u8; 2],
        raised: 0,
    }; (1 << MAX_SHIFT) + 1];
    let mut i = 1;
    while i < 1 << MAX_SHIFT {
        // The highest bit stays, and the rest is rounded up to one bit, which may carry.
        let highest = 1 << u32::ilog2(i);
        let rest = i - highest;
        let units = if rest == 0 {
            i
        } else {
            highest + rest.next_power_of_two()
        };
        let lowest = units.trailing_zeros();
        if lowest < MAX_SHIFT {
            let first = MAX_SHIFT - lowest;
            let second = u32::ilog2(units) - lowest;
            steps[i as usize].shifts[0] = first as u8;
            if second > 0 {
                steps[i as usize].shifts[1] = second as u8;
            }
            steps[i as usize].raised = first as u8;
        }
        steps[i as usize].mantissa = units * STEP;
        i += 1;
    }
    steps[i as usize].mantissa = i * STEP;
    steps
};

impl ActivationScale {
    /// The smallest scale that is at least `least`, which is not negative: 0 below 1e-32, which no
    /// later sum can tell from 0, and infinite from 1e38 on. A NaN stays one.
    ///
    /// In between it is at most 8/7 of `least`. The steps raise the energy of rounding errors by
    /// 8 % on average (docs/LOG.md).
    #[inline(always)]
    pub fn at_least(least: f32) -> Self {
        // NaN is in neither range.
        if !(1e-32..1e38).contains(&least) {
            // 2 to the power of −∞ is 0.
            let (factor, exponent) = if least < 1e-32 {
                (0.0, f32::NEG_INFINITY)
            } else {
                (least + f32::INFINITY, least + f32::INFINITY)
            };
            return Self {
                factor,
                shifts: [NO_SHIFT; 2],
                exponent,
            };
        }
        let bits = least.to_bits();
        let mantissa = bits & MANTISSA;
        let step = STEPS[(mantissa.div_ceil(STEP)) as usize];
        // A mantissa of 2 carries into the exponent.
        let bits = bits - mantissa + step.mantissa;
        let exponent = (bits >> MANTISSA_BITS) as i32 - 127 - i32::from(step.raised);
        Self {
            factor: f32::from_bits(bits),
            shifts: step.shifts.map(u32::from),
            exponent: exponent as f32,
        }
    }

    /// What values are multiplied by to become integers: 1 / scale, 0 of a scale of 0.
    #[inline(always)]
    pub(crate) fn inverse(self) -> f32 {
        if self.factor > 0.0 {
            1.0 / self.factor
        } else {
            0.0
        }
    }

    /// The scale as a float.
    #[inline(always)]
    pub fn factor(self) -> f32 {
        self.factor
    }

    /// Bits by which a sum is shifted before it is added to itself; as many as it has if nothing is
    /// to be added.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn shifts(self) -> [u32; 2] {
        self.shifts
    }

    /// The power of two that is left, as an integer; infinite or NaN for a scale of 0, ∞ or NaN.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn exponent(self) -> f32 {
        self.exponent
    }

    /// The scale times 256.
    #[must_use]
    pub fn times_256(self) -> Self {
        Self::at_least(self.factor * 256.0)
    }

    /// The scale / 256, or 0 where that is below 1e-32.
    #[inline(always)]
    pub(crate) fn divided_by_256(self) -> Self {
        Self::at_least(self.factor * (1.0 / 256.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_an_activation_scale_are_the_same_number() {
        let mut least = 1e-32f32;
        while least < 7e37 {
            let scale = ActivationScale::at_least(least);
            assert!(scale.factor >= least && f64::from(scale.factor) < f64::from(least) * 1.143);
            let shifted = |shift: u32| match shift {
                NO_SHIFT => 0.0,
                shift => {
                    assert!(shift <= MAX_SHIFT);
                    f64::from(shift).exp2()
                }
            };
            let [first, second] = scale.shifts.map(shifted);
            let shifted = (1.0 + first + second) * f64::from(scale.exponent).exp2();
            assert_eq!(shifted, f64::from(scale.factor));
            assert_eq!(ActivationScale::at_least(scale.factor), scale);
            least *= 1.000_731;
        }
    }

    #[test]
    fn extreme_activation_scales_are_zero_infinite_or_nan() {
        for (least, factor) in [(0.0, 0.0), (9e-33, 0.0), (1e38, f32::INFINITY)] {
            assert_eq!(ActivationScale::at_least(least).factor, factor);
        }
        assert_eq!(ActivationScale::at_least(0.0).exponent, f32::NEG_INFINITY);
        assert!(ActivationScale::at_least(f32::NAN).factor.is_nan());
        assert!(ActivationScale::at_least(f32::NAN).exponent.is_nan());
    }
}
