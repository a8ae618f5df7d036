//! Passes over the residual stream: one row a token.

use lanewise_kernels::{ActivationBlock, Kernels, Pieces};
use lanewise_pool::partition::chunks;

use super::batch::Batch;
use super::buffers::{Activations, PanelBuffer};
use super::executor::Executor;
use super::profile::Phase;
use super::scratch::sized;

/// The output of a product, to be added to the residual stream.
#[derive(Clone, Copy)]
pub struct Addend<'a> {
    /// A row a token, after the shared ones.
    pub values: &'a PanelBuffer,
    /// Rows of each text, before those of the tokens, that are added to the rows of all its tokens.
    pub shared: usize,
}

/// The row of a token, and what belongs to it.
pub struct Row<'a> {
    /// The row of the residual stream: `hidden` values.
    pub x: &'a mut [f32],
    /// The row to be added, and the sum of the shared rows that is added to it first.
    pub addend: Option<(Pieces<'a>, Option<&'a [f32]>)>,
    /// As many values, for use in between.
    pub scratch: &'a mut [f32],
    /// Where the row is quantized to, from its first block on.
    pub input: &'a mut [ActivationBlock],
    /// Blocks of `input` from one block of the row to the next.
    pub stride: usize,
}

impl Executor {
    /// Calls `body` once for each row of the residual stream `x`, on all threads, with the row of
    /// `addend` and the place in `input` that belong to it: one pass over a row while it is in the cache.
    pub fn for_each_row(
        &mut self,
        batch: &Batch,
        x: &mut [f32],
        addend: Option<Addend<'_>>,
        input: &mut Activations,
        body: impl Fn(Kernels, Row<'_>) + Sync,
    ) {
        let (kernels, hidden) = (self.kernels(), batch.shape().hidden);
        let terms = input.shape().terms;
        let shared = addend.map_or(0, |addend| addend.shared);
        let first = shared * batch.texts().len();
        let parts = (
            input.chunks_mut(),
            chunks(&mut x[..batch.tokens() * hidden], batch.chunk() * hidden),
        );
        self.for_each_part(parts, |chunk, (input, x), worker| {
            let count = x.len() / hidden;
            let tokens = chunk * batch.chunk()..chunk * batch.chunk() + count;
            let mut rows = x.chunks_exact_mut(hidden).zip(tokens.clone()).enumerate();
            for (text, tokens) in batch.texts_within(tokens) {
                let base = addend.and_then(|addend| {
                    let shared = text * shared..(text + 1) * shared;
                    let rows = shared.map(|row| addend.values.row(row));
                    sum_rows(rows, hidden, &mut worker.row)
                });
                for (index, (x, token)) in rows.by_ref().take(tokens.len()) {
                    let addend = addend.map(|addend| (addend.values.row(first + token), base));
                    let row = Row {
                        x,
                        addend,
                        scratch: sized(&mut worker.normed, hidden),
                        input: &mut input[index * terms..],
                        stride: count * terms,
                    };
                    body(kernels, row);
                }
            }
            worker.stopwatch.lap(Phase::Norm);
        });
    }
}

/// The sum of rows of `length` values, `None` if there are no rows.
fn sum_rows<'a>(
    rows: impl ExactSizeIterator<Item = Pieces<'a>>,
    length: usize,
    sum: &mut Vec<f32>,
) -> Option<&[f32]> {
    if rows.len() == 0 {
        return None;
    }
    sum.clear();
    sum.resize(length, 0.0);
    rows.for_each(|row| row.add_to(sum));
    Some(sum)
}
