//! Products with one row a text, after pooling.

use super::buffers::{ActivationShape, Activations, PanelBuffer};
use super::executor::Executor;
use super::matmul::Product;
use super::matrix::Matrix;
use super::profile::Phase;

/// INT8 terms of their input, whose error goes into the result as it is (docs/LOG.md).
const TERMS: usize = 2;

impl Executor {
    /// `out = matrix × x` for one row a text, the input in two terms; no activation follows. `input` and
    /// `output` are scratch; `next` is the product after it.
    pub fn multiply_rows(
        &mut self,
        matrix: &Matrix,
        next: &[&Matrix],
        x: &[f32],
        (input, output): (&mut Activations, &mut PanelBuffer),
        out: &mut [f32],
    ) {
        let texts = x.len() / matrix.columns();
        input.reshape(dense_input(texts, matrix.columns()));
        let blocks = input.blocks_mut();
        for (text, x) in x.chunks_exact(matrix.columns()).enumerate() {
            let blocks = &mut blocks[text * TERMS..];
            self.kernels().quantize(x, TERMS, blocks, texts * TERMS);
        }
        self.lap(Phase::Dense);
        let product = Product {
            phase: Phase::Dense,
            matrices: &[matrix],
            next,
        };
        self.multiply(product, input, output);
        for (text, row) in out.chunks_exact_mut(matrix.rows()).enumerate() {
            output.copy_row(text, row);
        }
    }
}

/// The shape of the input of [`Executor::multiply_rows`].
pub fn dense_input(texts: usize, columns: usize) -> ActivationShape {
    ActivationShape {
        tokens: texts,
        columns,
        chunk: texts,
        terms: TERMS,
    }
}
