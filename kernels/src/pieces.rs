//! Rows in pieces, and whether runs of values at a stride fit a slice.

use crate::layout::{ActivationBlock, BLOCK};

/// A row in pieces of [`BLOCK`] values, the input of row operations.
///
/// In a plain row the pieces are adjacent, so their starts lie [`BLOCK`] values apart. In the
/// output of a matrix product, which is stored panel after panel, the pieces of one token's row lie
/// at least `BLOCK * tokens` values apart.
#[derive(Clone, Copy, Debug)]
pub struct Pieces<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) count: usize,
}

impl<'a> Pieces<'a> {
    /// `count` pieces whose starts lie `stride` values apart, the first at the start of `values`.
    ///
    /// # Panics
    ///
    /// If the last piece does not end inside `values`, or pieces overlap.
    #[inline]
    pub fn new(values: &'a [f32], stride: usize, count: usize) -> Self {
        assert!(stride >= BLOCK || count <= 1, "pieces overlap");
        assert!(
            fit(count, stride, BLOCK, values.len()),
            "{count} pieces {stride} apart do not fit {} values",
            values.len()
        );
        Pieces {
            values,
            stride,
            count,
        }
    }

    /// `sum += self`.
    ///
    /// # Panics
    ///
    /// If `sum` is not as long as the row.
    #[inline]
    pub fn add_to(self, sum: &mut [f32]) {
        assert_eq!(sum.len(), self.count * BLOCK);
        for (piece, sum) in sum.chunks_exact_mut(BLOCK).enumerate() {
            for (sum, value) in sum.iter_mut().zip(&self.values[piece * self.stride..]) {
                *sum += value;
            }
        }
    }
}

/// Whether `count` runs of `length`, `stride` apart, end within `available`. Never overflows.
#[inline]
pub(crate) fn fit(count: usize, stride: usize, length: usize, available: usize) -> bool {
    let last = stride.checked_mul(count.saturating_sub(1));
    let end = last.and_then(|last| last.checked_add(length));
    count == 0 || end.is_some_and(|end| end <= available)
}

/// Checks that `out` has room for the blocks of `pieces` pieces, `terms` each and `stride` apart.
///
/// # Panics
///
/// If it has not, or blocks of different pieces overlap.
#[track_caller]
#[inline]
pub(crate) fn assert_blocks(out: &[ActivationBlock], pieces: usize, stride: usize, terms: usize) {
    assert!(stride >= terms, "blocks overlap");
    assert!(
        fit(pieces, stride, terms, out.len()),
        "{pieces} blocks {stride} apart do not fit {}",
        out.len()
    );
}

/// Number of pieces of a row of `length` values.
///
/// # Panics
///
/// If the last piece is not whole.
#[track_caller]
#[inline]
pub(crate) fn pieces_of(length: usize) -> usize {
    assert_eq!(length % BLOCK, 0, "rows are multiples of {BLOCK}");
    length / BLOCK
}
