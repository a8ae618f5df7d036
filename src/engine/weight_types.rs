//! The types of GGUF tensors that matrices may have: one [`WeightType`] each.
//!
//! To add a type, implement the trait and list it in [`ALL`]; [`TensorType`] states its block.

mod blocks;
mod k_quants;

use std::fmt;
use std::ops::Range;

use blocks::{Exact, Iq4Nl, Q4_0, Q4_1, Q5_0, Q5_1, Requantized};
use half::{bf16, f16};
use k_quants::{Q4K, Q5K, Q6K};
use lanewise_kernels::{BLOCK, BlockFormat, Kernels, Line, Prefetcher, Q8_0_BYTES, Q8Rows};

use crate::gguf::TensorType;

/// What the engine does with the stored rows of one type of tensor.
///
/// A row is whole blocks; [`TensorType::block`] states the values and bytes of one.
pub trait WeightType: fmt::Debug + Sync {
    /// The type as files name it.
    fn tensor_type(&self) -> TensorType;

    /// Writes a row as `f32`, exact but for one rounding a value: the specification of the type.
    fn dequantize(&self, row: &[u8], out: &mut [f32]);

    /// Writes a row times `factor`, with the bits of [`dequantize`](Self::dequantize) and one
    /// multiplication a value.
    fn dequantize_scaled(&self, kernels: Kernels, row: &[u8], factor: f32, out: &mut [f32]) {
        let _ = kernels;
        self.dequantize(row, out);
        out.iter_mut().for_each(|value| *value *= factor);
    }

    /// What of a row is infinite or not a number: `"scale"` or `"value"`, `None` if nothing is.
    fn non_finite(&self, row: &[u8]) -> Option<&'static str>;

    /// How the panels of matrix products come from rows of this type.
    fn panels(&self) -> Panels;
}

/// Packs blocks of a panel of rows for the matrix products, as [`Kernels::pack_panel`] does.
pub type PackPanel = fn(&Kernels, Q8Rows<'_>, Range<usize>, &mut [Line], &mut Prefetcher<'_>);

/// How the panels of matrix products come from stored rows.
#[derive(Clone, Copy, Debug)]
pub enum Panels {
    /// Packed from the mapped rows as they are.
    Packed(PackPanel),
    /// The rows become Q8_0 each time that they are packed, a panel at a time.
    Unpacked(BlockFormat),
    /// The rows are quantized to Q8_0 once, on the first pass, and packed from there.
    Quantized,
}

/// Every type that matrices may have.
const ALL: [&dyn WeightType; 12] = [
    &Q8_0,
    &F32,
    &F16,
    &BF16,
    &Exact(Q4_0),
    &Requantized(Q4_1),
    &Exact(Q5_0),
    &Requantized(Q5_1),
    &Exact(Iq4Nl),
    &Requantized(Q4K),
    &Requantized(Q5K),
    &Requantized(Q6K),
];

/// The weight type of a tensor, `None` if matrices of that type are not supported.
pub fn weight_type(tensor_type: TensorType) -> Option<&'static dyn WeightType> {
    ALL.into_iter()
        .find(|weight_type| weight_type.tensor_type() == tensor_type)
}

/// The names of the types that matrices may have, as a message lists them.
pub fn supported_types() -> String {
    let names = ALL.map(|weight_type| weight_type.tensor_type().to_string());
    let (last, others) = names.split_last().expect("there are some");
    format!("{} and {last}", others.join(", "))
}

/// Blocks of 32 int8 with one f16 scale.
#[derive(Debug)]
pub struct Q8_0;

impl WeightType for Q8_0 {
    fn tensor_type(&self) -> TensorType {
        TensorType::Q8_0
    }

    fn dequantize(&self, row: &[u8], out: &mut [f32]) {
        let (blocks, _) = row.as_chunks::<Q8_0_BYTES>();
        for (values, [low, high, quants @ ..]) in out.chunks_exact_mut(BLOCK).zip(blocks) {
            let scale = f16::from_le_bytes([*low, *high]).to_f32();
            for (value, &quant) in values.iter_mut().zip(quants) {
                *value = scale * f32::from(quant.cast_signed());
            }
        }
    }

    fn dequantize_scaled(&self, kernels: Kernels, row: &[u8], factor: f32, out: &mut [f32]) {
        kernels.dequantize_q8_0(row, factor, out);
    }

    fn non_finite(&self, row: &[u8]) -> Option<&'static str> {
        let (blocks, _) = row.as_chunks::<Q8_0_BYTES>();
        let finite =
            |block: &[u8; Q8_0_BYTES]| f16::from_le_bytes([block[0], block[1]]).is_finite();
        (!blocks.iter().all(finite)).then_some("scale")
    }

    fn panels(&self) -> Panels {
        Panels::Packed(Kernels::pack_panel)
    }
}

/// Floats of `SIZE` bytes, little-endian.
pub struct Float<const SIZE: usize> {
    tensor_type: TensorType,
    value: fn([u8; SIZE]) -> f32,
}

/// IEEE single precision.
pub static F32: Float<4> = Float {
    tensor_type: TensorType::F32,
    value: f32::from_le_bytes,
};

/// IEEE half precision.
pub static F16: Float<2> = Float {
    tensor_type: TensorType::F16,
    value: |bytes| f16::from_le_bytes(bytes).to_f32(),
};

/// The upper half of an `f32`.
pub static BF16: Float<2> = Float {
    tensor_type: TensorType::Bf16,
    value: |bytes| bf16::from_le_bytes(bytes).to_f32(),
};

impl<const SIZE: usize> WeightType for Float<SIZE> {
    fn tensor_type(&self) -> TensorType {
        self.tensor_type
    }

    fn dequantize(&self, row: &[u8], out: &mut [f32]) {
        for (out, &bytes) in out.iter_mut().zip(row.as_chunks().0) {
            *out = (self.value)(bytes);
        }
    }

    fn non_finite(&self, row: &[u8]) -> Option<&'static str> {
        let mut values = row.as_chunks().0.iter().map(|&bytes| (self.value)(bytes));
        (!values.all(f32::is_finite)).then_some("value")
    }

    fn panels(&self) -> Panels {
        Panels::Quantized
    }
}

impl<const SIZE: usize> fmt::Debug for Float<SIZE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.tensor_type)
    }
}

/// Appends a row of floats as Q8_0 blocks, by the rule of ggml's `quantize_row_q8_0_ref`: the scale
/// is the largest magnitude / 127 as f16, and values are rounded half away from zero by the scale
/// before its own rounding. A float file so gives the bits of the Q8_0 file made from it.
///
/// A block with a value that is not a number has such a scale, so that it is noticed.
pub fn quantize_q8_0(row: &[f32], out: &mut Vec<u8>) {
    for block in row.chunks_exact(BLOCK) {
        // `max` passes a NaN over.
        let largest = match block.iter().any(|value| value.is_nan()) {
            true => f32::NAN,
            false => block.iter().map(|value| value.abs()).fold(0.0, f32::max),
        };
        let scale = largest / 127.0;
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        out.extend(f16::from_f32(scale).to_le_bytes());
        out.extend(
            block
                .iter()
                .map(|value| (value * inverse).round() as i8 as u8),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_not_a_number_is_not_quantized_away() {
        for value in [f32::NAN, f32::INFINITY, -f32::INFINITY] {
            let mut row = [1.0; 2 * BLOCK];
            row[BLOCK + 3] = value;
            let mut blocks = Vec::new();
            quantize_q8_0(&row, &mut blocks);
            let (first, second) = blocks.split_at(Q8_0_BYTES);
            assert_eq!(Q8_0.non_finite(first), None);
            assert_eq!(Q8_0.non_finite(second), Some("scale"), "{value}");
        }
    }
}
