//! Values as files have them: from safetensors' types to those of GGUF.

use half::{bf16, f16};

use crate::safetensors::Dtype;

/// Values in a block of Q8_0 and Q4_0.
pub const BLOCK: usize = 32;
/// Bytes of a block: an f16 scale, then the integers.
const Q8_0_BYTES: usize = 2 + BLOCK;
const Q4_0_BYTES: usize = 2 + BLOCK / 2;

/// How a tensor is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    F32,
    F16,
    Q8_0,
    Q4_0,
}

impl Encoding {
    /// The type's number in ggml.
    pub fn number(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q8_0 => 8,
        }
    }

    /// Values and bytes of one block, of which rows consist.
    pub fn block(self) -> (u64, u64) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 => (1, 2),
            Self::Q8_0 => (BLOCK as u64, Q8_0_BYTES as u64),
            Self::Q4_0 => (BLOCK as u64, Q4_0_BYTES as u64),
        }
    }

    /// Appends values, whole blocks of them, to `out`.
    ///
    /// # Errors
    /// With what the type cannot hold.
    pub fn encode(self, values: &[f32], out: &mut Vec<u8>) -> Result<(), String> {
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(format!("holds {value}, which is no number"));
        }
        match self {
            Self::F32 => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::F16 => {
                for &value in values {
                    out.extend(finite_f16(value, value)?.to_le_bytes());
                }
            }
            Self::Q8_0 => {
                for block in values.as_chunks().0 {
                    out.extend(q8_0(block)?);
                }
            }
            Self::Q4_0 => {
                for block in values.as_chunks().0 {
                    out.extend(q4_0(block)?);
                }
            }
        }
        Ok(())
    }
}

/// `stored` as f16; `value` is what a message names.
fn finite_f16(stored: f32, value: f32) -> Result<f16, String> {
    let half = f16::from_f32(stored);
    match half.is_finite() {
        true => Ok(half),
        false => Err(format!("holds {value}, which is too large for the type")),
    }
}

/// A block of Q8_0 as ggml's `quantize_row_q8_0_ref` has it: the scale maps the largest magnitude
/// to 127, and halves are rounded away from zero.
fn q8_0(values: &[f32; BLOCK]) -> Result<[u8; Q8_0_BYTES], String> {
    let largest = values.iter().fold(0f32, |max, value| max.max(value.abs()));
    let scale = largest / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let mut block = [0; Q8_0_BYTES];
    let half = finite_f16(scale, largest)?;
    block[..2].copy_from_slice(&half.to_le_bytes());
    for (byte, value) in block[2..].iter_mut().zip(values) {
        *byte = round_away(value * inverse) as i8 as u8;
    }
    Ok(block)
}

/// [`f32::round`] for magnitudes below 2^22, in operations that are vectorized.
fn round_away(value: f32) -> f32 {
    let whole = value as i32 as f32;
    let up = if (value - whole).abs() >= 0.5 {
        1f32.copysign(value)
    } else {
        0.0
    };
    whole + up
}

/// A block of Q4_0 as ggml's `quantize_row_q4_0_ref` has it: the scale maps the value of largest
/// magnitude, the first of several, to −8.
fn q4_0(values: &[f32; BLOCK]) -> Result<[u8; Q4_0_BYTES], String> {
    let larger = |max: f32, &value: &f32| if value.abs() > max.abs() { value } else { max };
    let largest = values.iter().fold(0f32, larger);
    let scale = largest / -8.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let mut block = [0; Q4_0_BYTES];
    let half = finite_f16(scale, largest)?;
    block[..2].copy_from_slice(&half.to_le_bytes());
    let quantize = |value: f32| ((value * inverse + 8.5) as i8).min(15) as u8;
    let (low, high) = values.split_at(BLOCK / 2);
    for ((byte, low), high) in block[2..].iter_mut().zip(low).zip(high) {
        *byte = quantize(*low) | quantize(*high) << 4;
    }
    Ok(block)
}

/// Appends the values of `bytes` to `out`.
pub fn decode(dtype: Dtype, bytes: &[u8], out: &mut Vec<f32>) {
    match dtype {
        Dtype::F32 => out.extend(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b))),
        Dtype::F16 => {
            let values = bytes.as_chunks().0.iter();
            out.extend(values.map(|&b| f16::from_le_bytes(b).to_f32()));
        }
        Dtype::Bf16 => {
            let values = bytes.as_chunks().0.iter();
            out.extend(values.map(|&b| bf16::from_le_bytes(b).to_f32()));
        }
        // Refused when the tensor was planned.
        Dtype::Other(_) => {}
    }
}

/// Bytes of a value, or `None` for a type that is not converted.
pub fn value_bytes(dtype: Dtype) -> Option<u64> {
    match dtype {
        Dtype::F32 => Some(4),
        Dtype::F16 | Dtype::Bf16 => Some(2),
        Dtype::Other(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Floats of all magnitudes that scales reach, and their halves.
    fn samples() -> impl Iterator<Item = f32> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        (0..200_000).map(move |i| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let value = (state >> 40) as f32 / (1 << 16) as f32 - 128.0;
            match i % 3 {
                0 => value,
                1 => value.round() + 0.5,
                _ => f32::from_bits((value.round() + 0.5).to_bits() - 1),
            }
        })
    }

    #[test]
    fn rounding_is_that_of_the_standard_library() {
        for value in samples().chain([0.0, -0.0, 0.499_999_97, -0.5]) {
            assert_eq!(round_away(value), value.round(), "{value}");
        }
    }

    #[test]
    fn blocks_are_those_of_ggml() {
        let mut state = 12_345_u64;
        let mut next = || {
            state = (state * 1_103_515_245 + 12_345) & 0x7fff_ffff;
            ((state as f64 / f64::from(1 << 30) - 1.0) * 3.0) as f32
        };
        let values: Vec<f32> = (0..64).map(|_| next()).collect();
        // Of the library of llama.cpp b11549, from the same values.
        for (encoding, expected) in [
            (Encoding::Q8_0, &GGML_Q8_0[..]),
            (Encoding::Q4_0, &GGML_Q4_0),
        ] {
            let mut bytes = Vec::new();
            encoding.encode(&values, &mut bytes).unwrap();
            assert_eq!(bytes, expected, "{encoding:?}");
        }
    }

    const GGML_Q8_0: [u8; 68] = [
        230, 37, 40, 205, 46, 154, 4, 253, 27, 222, 193, 223, 85, 171, 203, 37, 75, 127, 78, 247,
        10, 33, 191, 53, 56, 125, 211, 242, 54, 62, 171, 130, 74, 137, 218, 37, 26, 189, 15, 4,
        229, 173, 38, 57, 205, 124, 88, 227, 54, 158, 28, 13, 52, 106, 229, 87, 31, 129, 223, 154,
        16, 222, 164, 80, 144, 147, 176, 105,
    ];
    const GGML_Q4_0: [u8; 36] = [
        219, 181, 53, 155, 117, 110, 200, 88, 70, 10, 188, 154, 83, 77, 219, 246, 51, 240, 206, 53,
        186, 244, 105, 216, 166, 3, 106, 44, 149, 111, 46, 214, 27, 18, 58, 249,
    ];

    #[test]
    fn a_block_of_zeros_has_the_scale_zero() {
        assert_eq!(q8_0(&[0.0; BLOCK]).unwrap(), [0; Q8_0_BYTES]);
        let zeros = q4_0(&[0.0; BLOCK]).unwrap();
        assert_eq!(zeros[2..], [0x88; BLOCK / 2]);
    }

    #[test]
    fn the_first_of_two_extremes_decides_the_sign_of_a_q4_0_scale() {
        let mut values = [0.0; BLOCK];
        (values[3], values[20]) = (8.0, -8.0);
        let block = q4_0(&values).unwrap();
        assert_eq!(f16::from_le_bytes([block[0], block[1]]).to_f32(), -1.0);
        // -8 would be 16, which four bits cannot hold.
        assert_eq!((block[2 + 3] & 15, block[2 + 4] >> 4), (0, 15));
    }

    #[test]
    fn values_that_a_type_cannot_hold_are_refused() {
        for (encoding, value) in [
            (Encoding::F32, f32::NAN),
            (Encoding::Q8_0, f32::INFINITY),
            (Encoding::F16, 65_520.0),
            (Encoding::Q8_0, 1e7),
            (Encoding::Q4_0, 1e6),
        ] {
            let problem = encoding.encode(&[value; BLOCK], &mut Vec::new());
            assert!(problem.is_err(), "{encoding:?} {value}");
        }
    }
}
