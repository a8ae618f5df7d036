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
