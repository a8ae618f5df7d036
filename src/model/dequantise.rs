//! Matrices of any stored type as `f32`, a row at a time.

use half::{bf16, f16};

use super::{Matrix, MatrixType};
use crate::gguf::Gguf;

impl Matrix {
    /// Writes row `row` as `f32` into `out`, which takes [`columns`](Self::columns) values.
    ///
    /// Exact but for Q8_0, whose values are the block's scale times an int8, rounded once.
    /// `gguf` must be the file that the matrix came from.
    ///
    /// # Panics
    /// If there is no such row, or `out` has another length.
    pub fn dequantise_row(&self, gguf: &Gguf, row: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.columns, "values of a row of {}", self.name);
        let bytes = &self.data(gguf)[row * self.row_bytes()..][..self.row_bytes()];
        match self.kind {
            MatrixType::Q8_0 => {
                let (blocks, _) = bytes.as_chunks::<34>();
                for (values, [low, high, quants @ ..]) in out.chunks_exact_mut(32).zip(blocks) {
                    let scale = f16::from_le_bytes([*low, *high]).to_f32();
                    for (value, &quant) in values.iter_mut().zip(quants) {
                        *value = scale * f32::from(quant.cast_signed());
                    }
                }
            }
            MatrixType::F32 => convert(bytes, out, f32::from_le_bytes),
            MatrixType::F16 => convert(bytes, out, |bytes| f16::from_le_bytes(bytes).to_f32()),
            MatrixType::Bf16 => convert(bytes, out, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        }
    }
}

fn convert<const N: usize>(bytes: &[u8], out: &mut [f32], value: impl Fn([u8; N]) -> f32) {
    for (out, &bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
        *out = value(bytes);
    }
}
