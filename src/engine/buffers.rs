//! What goes into matrix products and what comes out of them.

use std::collections::TryReserveError;
use std::ops::Range;

use lanewise_kernels::{ActivationBlock, ActivationChunk, BLOCK, PANEL, Pieces};
use lanewise_pool::partition::{Chunks, Cut, Grid, chunks, grid};

use super::batch::Batch;
use super::scratch::{reserve, sized};

/// Rows of activations, quantized for a matrix product, in chunks of tokens.
///
/// Each chunk is laid out as [`ActivationChunk`] says, so that a product reads one run of memory a
/// block of columns. The memory grows as needed and is kept.
#[derive(Default)]
pub struct Activations {
    blocks: Vec<ActivationBlock>,
    shape: ActivationShape,
}

/// The shape of [`Activations`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ActivationShape {
    /// Number of rows.
    pub tokens: usize,
    /// Values of a row; a multiple of 32.
    pub columns: usize,
    /// Tokens a chunk; the last chunk may hold fewer.
    pub chunk: usize,
    /// INT8 terms a value: 1, or 2 where 8 bits are not enough.
    pub terms: usize,
}

impl ActivationShape {
    /// The rows of the residual stream of a batch, as the input of a layer's products.
    pub fn of_stream(batch: &Batch, terms: usize) -> Self {
        Self {
            tokens: batch.tokens(),
            columns: batch.shape().hidden,
            chunk: batch.chunk(),
            terms,
        }
    }

    /// The input of `ffn_down`: one chunk, since each panel of the product before it is one block of all
    /// tokens.
    pub fn of_feed_forward(batch: &Batch, feed_forward: usize) -> Self {
        Self {
            tokens: batch.tokens(),
            columns: feed_forward,
            chunk: batch.tokens(),
            terms: 1,
        }
    }

    /// Blocks of one row.
    fn row_blocks(self) -> usize {
        self.columns / BLOCK * self.terms
    }

    /// Blocks of all rows.
    pub fn blocks(self) -> usize {
        self.tokens * self.row_blocks()
    }
}

impl Activations {
    /// Makes room for `blocks` blocks.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn reserve(&mut self, blocks: usize) -> Result<(), TryReserveError> {
        reserve(&mut self.blocks, blocks)
    }

    /// Takes another shape; what the blocks hold is unspecified until they are written.
    pub fn reshape(&mut self, shape: ActivationShape) {
        sized(&mut self.blocks, shape.blocks());
        self.shape = shape;
    }

    /// The shape taken last.
    pub fn shape(&self) -> ActivationShape {
        self.shape
    }

    /// All blocks of the shape.
    pub fn blocks_mut(&mut self) -> &mut [ActivationBlock] {
        &mut self.blocks[..self.shape.blocks()]
    }

    /// The chunks, to be written by one task each.
    pub fn chunks_mut(&mut self) -> Chunks<'_, ActivationBlock> {
        let blocks = self.shape.chunk * self.shape.row_blocks();
        chunks(self.blocks_mut(), blocks)
    }

    /// Parts of one block of columns each: the block of every token, or of the tokens of one part
    /// after the other. There must be one chunk.
    pub(super) fn columns_mut(&mut self, tokens: Cut) -> Grid<'_, ActivationBlock> {
        assert!(self.shape.chunk >= self.shape.tokens, "one chunk of tokens");
        let terms = self.shape.terms;
        let blocks = self.shape.tokens * terms;
        grid(self.blocks_mut(), blocks, tokens.times(terms))
    }

    /// The chunks that hold `tokens`, each with those of them that it holds, counted from its
    /// first, as products read them.
    pub(super) fn chunks_with(
        &self,
        tokens: Range<usize>,
    ) -> impl Iterator<Item = (ActivationChunk<'_>, Range<usize>)> {
        let ActivationShape { chunk, terms, .. } = self.shape;
        let row_blocks = self.shape.row_blocks();
        let first = tokens.start / chunk;
        self.blocks[..self.shape.blocks()]
            .chunks(chunk * row_blocks)
            .enumerate()
            .take(tokens.end.div_ceil(chunk))
            .skip(first)
            .map(move |(index, blocks)| {
                let (before, count) = (index * chunk, blocks.len() / row_blocks);
                let within = tokens.start.saturating_sub(before)..(tokens.end - before).min(count);
                let chunk = ActivationChunk {
                    blocks,
                    tokens: count,
                    terms,
                };
                (chunk, within)
            })
    }
}

/// The output of a matrix product: panels of 32 rows of the matrix, `[panel][token][32]`.
///
/// Panels begin a token more apart than there are tokens, so that the pieces of one token's row do
/// not fall into the same cache sets where the number of tokens is a power of two. The memory grows
/// as needed and is kept.
#[derive(Default)]
pub struct PanelBuffer {
    values: Vec<f32>,
    width: usize,
    tokens: usize,
}

impl PanelBuffer {
    /// The number of values of a product with `width` outputs for each of `tokens` tokens.
    pub fn values(width: usize, tokens: usize) -> usize {
        width / PANEL * panel_stride(tokens)
    }

    /// Makes room for `values` values, see [`values`](Self::values).
    ///
    /// # Errors
    /// If there is no memory.
    pub fn reserve(&mut self, values: usize) -> Result<(), TryReserveError> {
        reserve(&mut self.values, values)
    }

    /// Takes the shape of a product of `width` outputs, a multiple of 32, for each token; what the
    /// values are is unspecified until they are written.
    pub fn reshape(&mut self, width: usize, tokens: usize) {
        sized(&mut self.values, Self::values(width, tokens));
        (self.width, self.tokens) = (width, tokens);
    }

    /// The panels, to be written by one task for each part of the tokens: `[token][32]`.
    pub(super) fn panels_mut(&mut self, tokens: Cut) -> Grid<'_, f32> {
        let values = Self::values(self.width, self.tokens);
        let stride = panel_stride(self.tokens);
        grid(&mut self.values[..values], stride, tokens.times(PANEL))
    }

    /// The outputs of one token.
    pub fn row(&self, token: usize) -> Pieces<'_> {
        self.columns(token, 0, self.width)
    }

    /// Outputs `first..first + width` of one token, both multiples of 32.
    pub fn columns(&self, token: usize, first: usize, width: usize) -> Pieces<'_> {
        let stride = panel_stride(self.tokens);
        let start = first / PANEL * stride + token * PANEL;
        Pieces::new(&self.values[start..], stride, width / PANEL)
    }

    /// The outputs of one panel, `[token][32]`.
    pub fn panel(&self, panel: usize) -> &[f32] {
        &self.values[panel * panel_stride(self.tokens)..][..self.tokens * PANEL]
    }

    /// Copies the outputs of one token into a row of them.
    pub fn copy_row(&self, token: usize, out: &mut [f32]) {
        for (panel, piece) in out.chunks_exact_mut(PANEL).enumerate() {
            piece.copy_from_slice(&self.panel(panel)[token * PANEL..][..PANEL]);
        }
    }
}

/// Values from one panel to the next.
fn panel_stride(tokens: usize) -> usize {
    PANEL * (tokens + 1)
}
