//! The number formats that vectors are stored in.

use std::fmt;

use half::f16;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

/// How the values of a vector are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Precision {
    /// 32-bit floats: the values as they are.
    F32,
    /// 16-bit floats.
    F16,
    /// 8-bit integers; times the row's `scale`, they are the values.
    I8,
    /// One bit a value, 1 for values above 0; eight to a byte, the first one highest.
    Binary,
}

impl Precision {
    /// All of them, the largest first.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::I8, Self::Binary];

    /// Its name in settings and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::I8 => "i8",
            Self::Binary => "binary",
        }
    }

    /// The bytes of one stored number, and how many of the vector's values it holds.
    fn item(self) -> (usize, usize) {
        match self {
            Self::F32 => (4, 1),
            Self::F16 => (2, 1),
            Self::I8 => (1, 1),
            Self::Binary => (1, 8),
        }
    }

    /// The numbers stored for a vector of `dims` values.
    pub fn numbers(self, dims: usize) -> usize {
        dims.div_ceil(self.item().1)
    }

    /// The bytes stored for a vector of `dims` values.
    pub fn bytes(self, dims: usize) -> usize {
        self.numbers(dims) * self.item().0
    }

    /// Whether every vector has a scale of its own.
    pub fn has_scale(self) -> bool {
        self == Self::I8
    }

    /// Appends the vector in little-endian order; returns the scale, 1 where there is none.
    ///
    /// The scale of `i8` is the largest magnitude divided by 127, so that a vector loses as little
    /// as possible.
    pub fn encode(self, vector: &[f32], out: &mut Vec<u8>) -> f32 {
        match self {
            Self::F32 => out.extend(vector.iter().flat_map(|value| value.to_le_bytes())),
            Self::F16 => out.extend(
                vector
                    .iter()
                    .flat_map(|&value| f16::from_f32(value).to_le_bytes()),
            ),
            Self::I8 => {
                let largest = vector
                    .iter()
                    .fold(0.0_f32, |max, value| max.max(value.abs()));
                let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
                // The cast saturates.
                out.extend(
                    vector
                        .iter()
                        .map(|value| (value / scale).round() as i8 as u8),
                );
                return scale;
            }
            Self::Binary => out.extend(vector.chunks(8).map(|values| {
                let bits = values.iter().enumerate();
                bits.fold(0, |byte, (bit, &value)| {
                    byte | u8::from(value > 0.0) << (7 - bit)
                })
            })),
        }
        1.0
    }

    /// Appends a stored number that a text format has, as [`decode`](Self::decode) gave it; false if
    /// it is none.
    ///
    /// A float in a text is the shortest decimal that becomes the same `f32` again. It is read as
    /// `f32`: by way of `f64` it might be rounded twice.
    pub fn parse(self, number: &str, out: &mut Vec<u8>) -> bool {
        let float = || number.parse().ok().filter(|value: &f32| value.is_finite());
        let bytes = match self {
            Self::F32 => float().map(|value| out.extend(value.to_le_bytes())),
            Self::F16 => float().map(|value| out.extend(f16::from_f32(value).to_le_bytes())),
            Self::I8 => number.parse().ok().map(|value: i8| out.push(value as u8)),
            Self::Binary => number.parse().ok().map(|value| out.push(value)),
        };
        bytes.is_some()
    }

    /// The stored numbers of a vector, as text formats write them.
    pub fn decode(self, bytes: &[u8]) -> impl Iterator<Item = Number> {
        bytes
            .chunks_exact(self.item().0)
            .map(move |item| match *item {
                [a, b, c, d] => Number::Float(f32::from_le_bytes([a, b, c, d])),
                [a, b] => Number::Float(f16::from_le_bytes([a, b]).to_f32()),
                [byte] if self == Self::I8 => Number::Integer((byte as i8).into()),
                _ => Number::Integer(item[0].into()),
            })
    }
}

/// One stored number.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize))]
#[cfg_attr(feature = "serde", serde(untagged))]
pub enum Number {
    /// Of `f32` and `f16`.
    Float(f32),
    /// Of `i8` and `binary`.
    Integer(i16),
}

impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float(value) => value.fmt(formatter),
            Self::Integer(value) => value.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTOR: [f32; 8] = [0.5, -0.25, 0.1, 0.0, -0.7, 1e-9, 0.125, -1e-9];

    fn stored(precision: Precision) -> (Vec<Number>, f32) {
        let mut bytes = Vec::new();
        let scale = precision.encode(&VECTOR, &mut bytes);
        assert_eq!(bytes.len(), precision.bytes(VECTOR.len()));
        (precision.decode(&bytes).collect(), scale)
    }

    #[test]
    fn f32_is_exact_and_f16_is_the_nearest() {
        assert_eq!(stored(Precision::F32).0, VECTOR.map(Number::Float));
        let nearest = VECTOR.map(|value| Number::Float(f16::from_f32(value).to_f32()));
        assert_eq!(stored(Precision::F16).0, nearest);
    }

    #[test]
    fn stored_numbers_are_read_back_from_their_texts() {
        for precision in [
            Precision::F32,
            Precision::F16,
            Precision::I8,
            Precision::Binary,
        ] {
            let (mut bytes, mut parsed) = (Vec::new(), Vec::new());
            precision.encode(&VECTOR, &mut bytes);
            for number in precision.decode(&bytes) {
                let text = number.to_string();
                assert!(precision.parse(&text, &mut parsed), "{text}");
            }
            assert_eq!(parsed, bytes, "{precision:?}");
            for wrong in ["", "x", "NaN", "1e99", "300", "-129", "1 "] {
                let float = matches!(precision, Precision::F32 | Precision::F16);
                if !(float && ["300", "-129"].contains(&wrong)) {
                    assert!(!precision.parse(wrong, &mut parsed), "{wrong}");
                }
            }
        }
    }

    #[test]
    fn i8_times_its_scale_is_within_half_a_step() {
        let (numbers, scale) = stored(Precision::I8);
        assert_eq!(scale, 0.7 / 127.0);
        for (number, value) in numbers.iter().zip(VECTOR) {
            let Number::Integer(number) = *number else {
                panic!("{number:?}")
            };
            assert!((f32::from(number) * scale - value).abs() <= 0.5001 * scale);
        }
        let mut zeros = Vec::new();
        assert_eq!(Precision::I8.encode(&[0.0; 4], &mut zeros), 1.0);
        assert_eq!(zeros, [0; 4]);
    }

    #[test]
    fn binary_has_the_first_value_in_the_highest_bit() {
        assert_eq!(stored(Precision::Binary).0, [Number::Integer(0b1010_0110)]);
    }
}
