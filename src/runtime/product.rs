//! Matrix products: panels of weights, packed from the mapped file as they are needed, times quantised activations.

use crate::gguf::Gguf;
use crate::model::{Config, Matrix, MatrixType};
use crate::runtime::batch::{Batch, QUERY_TOKENS};
use crate::runtime::pool::Pool;
use crate::runtime::reserve;
use crate::runtime::split::chunks;
use half::{bf16, f16};
use lanewise_kernels::{
    ActivationBlock, Activations, BLOCK, Kernels, Line, PANEL, Q8_0_BYTES, Q8Rows,
};
use std::collections::TryReserveError;

/// Tokens that pass gate, up and GELU together: the two products of 32 rows stay in the L1 cache.
const FEED_FORWARD_TOKENS: usize = 48;

/// Scratch of one thread.
#[derive(Default)]
pub(super) struct Worker {
    panel: Vec<Line>,
    second_panel: Vec<Line>,
    /// Q8_0 rows of a panel whose file holds another type.
    rows: Vec<u8>,
    gate: Vec<f32>,
    up: Vec<f32>,
    pub scores: Vec<f32>,
    pub weights: Vec<i16>,
    pub factors: Vec<f32>,
    pub attended: Vec<f32>,
    pub keys: Vec<i16>,
}

impl Worker {
    /// Makes room for its part of a batch; `lines` are those of the longest panel.
    pub fn reserve(
        &mut self,
        config: &Config,
        batch: &Batch,
        lines: usize,
    ) -> Result<(), TryReserveError> {
        let dim = config.head_dim;
        let queries = QUERY_TOKENS * config.heads / config.kv_heads;
        let keys = queries * batch.longest.next_multiple_of(PANEL);
        reserve(&mut self.panel, lines)?;
        reserve(&mut self.second_panel, lines)?;
        reserve(&mut self.gate, FEED_FORWARD_TOKENS * PANEL)?;
        reserve(&mut self.up, FEED_FORWARD_TOKENS * PANEL)?;
        reserve(&mut self.scores, keys)?;
        reserve(&mut self.weights, keys)?;
        reserve(&mut self.factors, queries)?;
        reserve(&mut self.attended, queries * dim)?;
        reserve(&mut self.keys, PANEL * dim)
    }
}

/// What every product needs: the kernels and the file.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub kernels: Kernels,
    pub gguf: &'a Gguf,
}

/// Quantised activations in chunks of tokens, each chunk laid out as [`Activations`] says.
#[derive(Clone, Copy)]
pub(super) struct Chunked<'a> {
    pub blocks: &'a [ActivationBlock],
    pub tokens: usize,
    /// Tokens a chunk; the last may hold fewer.
    pub chunk: usize,
    pub terms: usize,
}

impl<'a> Chunked<'a> {
    fn iter(self) -> impl Iterator<Item = Activations<'a>> {
        let token_blocks = self.blocks.len() / self.tokens;
        self.blocks
            .chunks(self.chunk * token_blocks)
            .map(move |blocks| Activations {
                blocks,
                tokens: blocks.len() / token_blocks,
                terms: self.terms,
            })
    }
}

impl Source<'_> {
    /// `out[panel][token][32]`: the rows of `matrices`, one below the other, times the activations.
    pub fn product(
        self,
        pool: &mut Pool,
        workers: &mut [Worker],
        matrices: &[&Matrix],
        activations: Chunked<'_>,
        out: &mut [f32],
    ) {
        let parts = chunks(out, PANEL * activations.tokens);
        pool.for_each_part(parts, workers, |mut index, out, worker| {
            let Some(matrix) = matrices.iter().find(|matrix| {
                let panels = matrix.rows / PANEL;
                let found = index < panels;
                if !found {
                    index -= panels;
                }
                found
            }) else {
                return;
            };
            self.pack(matrix, index, &mut worker.rows, &mut worker.panel);
            let mut rest = out;
            for chunk in activations.iter() {
                let (out, after) = rest.split_at_mut(chunk.tokens * PANEL);
                self.kernels
                    .gemm(&worker.panel, chunk, 0..chunk.tokens, out);
                rest = after;
            }
        });
    }

    /// The first half of the feed-forward layer: `out = quantise(gelu(gate h) * (up h))`, one block of 32 a panel.
    pub fn gated_product(
        self,
        pool: &mut Pool,
        workers: &mut [Worker],
        [gate, up]: [&Matrix; 2],
        activations: Chunked<'_>,
        out: &mut [ActivationBlock],
    ) {
        let parts = chunks(out, activations.tokens);
        pool.for_each_part(parts, workers, |index, out, worker| {
            self.pack(gate, index, &mut worker.rows, &mut worker.panel);
            self.pack(up, index, &mut worker.rows, &mut worker.second_panel);
            let mut rest = out;
            for chunk in activations.iter() {
                for first in (0..chunk.tokens).step_by(FEED_FORWARD_TOKENS) {
                    let tokens = first..(first + FEED_FORWARD_TOKENS).min(chunk.tokens);
                    let (out, after) = rest.split_at_mut(tokens.len());
                    worker.gate.resize(tokens.len() * PANEL, 0.0);
                    worker.up.resize(tokens.len() * PANEL, 0.0);
                    self.kernels
                        .gemm(&worker.panel, chunk, tokens.clone(), &mut worker.gate);
                    self.kernels
                        .gemm(&worker.second_panel, chunk, tokens, &mut worker.up);
                    self.kernels
                        .gelu_multiply_quantise(&worker.gate, &worker.up, out);
                    rest = after;
                }
            }
        });
    }

    /// Packs one panel of 32 rows.
    fn pack(self, matrix: &Matrix, panel: usize, rows: &mut Vec<u8>, packed: &mut Vec<Line>) {
        packed.resize(self.kernels.panel_lines(matrix.columns), Line::ZERO);
        let bytes = PANEL * matrix.row_bytes();
        let data = &matrix.data(self.gguf)[panel * bytes..][..bytes];
        let row_bytes = matrix.columns / BLOCK * Q8_0_BYTES;
        let bytes = match matrix.kind {
            MatrixType::Q8_0 => data,
            MatrixType::F32 => quantise_rows(data, rows, |&b: &[u8; 4]| f32::from_le_bytes(b)),
            MatrixType::F16 => {
                quantise_rows(data, rows, |&b: &[u8; 2]| f16::from_le_bytes(b).to_f32())
            }
            MatrixType::Bf16 => {
                quantise_rows(data, rows, |&b: &[u8; 2]| bf16::from_le_bytes(b).to_f32())
            }
        };
        self.kernels.pack_panel(Q8Rows { bytes, row_bytes }, packed);
    }
}

/// Rows of floats as Q8_0, by the rule of ggml: the scale is the largest magnitude / 127 as f16, rounding is half away from
/// zero by the unrounded scale. A float file so gives the bits of the Q8_0 file made from it.
fn quantise_rows<'a, const SIZE: usize>(
    data: &[u8],
    rows: &'a mut Vec<u8>,
    value: impl Fn(&[u8; SIZE]) -> f32,
) -> &'a [u8] {
    rows.clear();
    let (values, _) = data.as_chunks::<SIZE>();
    for block in values.chunks_exact(BLOCK) {
        let largest = block.iter().map(|b| value(b).abs()).fold(0.0, f32::max);
        let scale = largest / 127.0;
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        rows.extend(f16::from_f32(scale).to_le_bytes());
        rows.extend(
            block
                .iter()
                .map(|b| (value(b) * inverse).round() as i8 as u8),
        );
    }
    rows
}
