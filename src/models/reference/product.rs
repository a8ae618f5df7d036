//! The matrix product in `f32`.

use multiversion::multiversion;

use crate::engine::Matrix;

/// Rows of a panel. A loop over 32 lanes becomes vector instructions; one over 16 the compiler
/// unrolls first and then leaves scalar.
const LANES: usize = 32;
/// Tokens of a register tile: with 32 lanes, 12 of AVX2's 16 registers or 6 of AVX-512's 32.
const TOKENS: usize = 3;

/// A dequantized matrix in panels of [`LANES`] rows.
///
/// Column after column, a panel holds its rows' values side by side, so that a product adds to
/// as many outputs at once and never across lanes.
pub(in crate::models) struct Panels {
    columns: usize,
    panels: Vec<[f32; LANES]>,
}

impl Panels {
    /// Dequantizes a matrix, whose rows must be a multiple of [`LANES`]: all of a model's are.
    pub(in crate::models) fn new(matrix: &Matrix) -> Self {
        assert!(
            matrix.rows().is_multiple_of(LANES),
            "rows of {}",
            matrix.name()
        );
        let mut row = vec![0.0; matrix.columns()];
        let mut panels = vec![[0.0; LANES]; matrix.rows() / LANES * matrix.columns()];
        for (first, panel) in (0..).step_by(LANES).zip(panels.chunks_exact_mut(row.len())) {
            for lane in 0..LANES {
                matrix.dequantize_row(first + lane, &mut row);
                for (lanes, &value) in panel.iter_mut().zip(&row) {
                    lanes[lane] = value;
                }
            }
        }
        Self {
            columns: matrix.columns(),
            panels,
        }
    }

    /// The product with each token: `tokens * columns` values give `tokens * rows`.
    ///
    /// Each output is one sum from the first column to the last, whatever else is in `x`.
    pub(in crate::models) fn multiply(&self, x: &[f32]) -> Vec<f32> {
        let rows = self.panels.len() / self.columns * LANES;
        let mut out = vec![0.0; x.len() / self.columns * rows];
        multiply(x, &self.panels, self.columns, &mut out, rows);
        out
    }
}

/// Panel after panel, because a panel stays in the second-level cache while all tokens pass.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn multiply(x: &[f32], panels: &[[f32; LANES]], columns: usize, out: &mut [f32], rows: usize) {
    for (index, panel) in panels.chunks_exact(columns).enumerate() {
        let tiles = x.chunks(TOKENS * columns);
        for (x, out) in tiles.zip(out.chunks_mut(TOKENS * rows)) {
            if x.len() == TOKENS * columns {
                multiply_tile::<TOKENS>(x, panel, &mut out[index * LANES..], rows);
                continue;
            }
            for (x, out) in x.chunks_exact(columns).zip(out.chunks_exact_mut(rows)) {
                multiply_tile::<1>(x, panel, &mut out[index * LANES..], rows);
            }
        }
    }
}

/// One panel times `N` tokens; the outputs of a token begin `rows` values after those of the one
/// before.
#[inline(always)]
fn multiply_tile<const N: usize>(x: &[f32], panel: &[[f32; LANES]], out: &mut [f32], rows: usize) {
    let columns = panel.len();
    let tokens: [&[f32]; N] = std::array::from_fn(|token| &x[token * columns..][..columns]);
    let mut sums = [[0.0; LANES]; N];
    for (column, weights) in panel.iter().enumerate() {
        for (sums, token) in sums.iter_mut().zip(tokens) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum = token[column].mul_add(*weight, *sum);
            }
        }
    }
    for (token, sums) in sums.iter().enumerate() {
        out[token * rows..][..LANES].copy_from_slice(sums);
    }
}
