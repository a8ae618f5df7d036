//! Conversion of half-precision floats.

/// Converts a half-precision float, given as its bits, exactly; every NaN becomes a NaN.
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

/// Converts to a half-precision float, rounded to nearest even; every NaN becomes a NaN.
#[inline(always)]
pub(crate) fn f32_to_f16(value: f32) -> u16 {
    let sign = (value.to_bits() >> 16 & 0x8000) as u16;
    let magnitude = value.to_bits() & 0x7fff_ffff;
    let half = match magnitude {
        0x7f80_0001.. => 0x7e00,
        // 2¹⁶ and more.
        0x4780_0000.. => 0x7c00,
        // Below the smallest normal number: adding 1/2 leaves the count of 2⁻²⁴ in the lowest bits.
        0..0x3880_0000 => (f32::from_bits(magnitude) + 0.5).to_bits() - 0.5f32.to_bits(),
        // Rounding may carry into the exponent, up to infinity.
        _ => (magnitude - ((127 - 15) << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13,
    };
    sign | half as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversion_rounds_as_the_crate_half_does() {
        let check = |bits: u32| {
            for value in [f32::from_bits(bits), -f32::from_bits(bits)] {
                let (found, expected) = (f32_to_f16(value), half::f16::from_f32(value));
                let same = found == expected.to_bits()
                    || half::f16::from_bits(found).is_nan() && expected.is_nan();
                assert!(same, "{value:e}: {found:#06x}, expected {expected:?}");
            }
        };
        // Every f16, and what lies between two of them.
        for half in 0..=0x7c00u16 {
            let [this, next] = [half, half + 1].map(|half| f16_to_f32(half).to_bits());
            let middle = this / 2 + next / 2 + (this & next & 1);
            for bits in [this, this + 1, middle - 1, middle, middle + 1, next - 1] {
                check(bits);
            }
        }
        for bits in (0..0x7fff_ffff).step_by(65_521) {
            check(bits);
        }
    }
}
