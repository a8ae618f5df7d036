//! Matrix products: panels of weights, packed from the mapped file as they are needed, times quantised activations.

use crate::gguf::Gguf;
use crate::model::{Config, Matrix, MatrixType};
use crate::runtime::batch::{Batch, QUERY_TOKENS};
use crate::runtime::phases::{Phase, Stopwatch};
use crate::runtime::pool::{Pool, share};
use crate::runtime::reserve;
use crate::runtime::split::chunks;
use half::{bf16, f16};
use lanewise_kernels::{
    ActivationBlock, Activations, Ahead, BLOCK, Kernels, Line, PANEL, Q8_0_BYTES, Q8Rows, stream,
};
use std::collections::TryReserveError;
use std::ops::Range;

/// Scratch of one thread, on cache lines of its own: its stopwatch is written often.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Worker {
    pub stopwatch: Stopwatch,
    panel: Vec<Line>,
    /// Q8_0 rows of a panel whose file holds another type.
    rows: Vec<u8>,
    /// Addresses of the weights that were asked for while the panel before was used.
    asked: Range<usize>,
    gate: Vec<f32>,
    up: Vec<f32>,
    pub scores: Vec<f32>,
    pub weights: Vec<i16>,
    pub factors: Vec<f32>,
    pub attended: Vec<f32>,
    pub base: Vec<f32>,
    pub keys: Vec<i16>,
}

impl Worker {
    /// Makes room for a batch, `lines` being those of the longest panel and `row_bytes` those of the longest row that is
    /// quantised first. The same for each worker: tasks go to whichever thread is free.
    pub fn reserve(
        &mut self,
        config: &Config,
        batch: &Batch,
        lines: usize,
        row_bytes: usize,
    ) -> Result<(), TryReserveError> {
        let dim = config.head_dim;
        let queries = QUERY_TOKENS * config.heads / config.kv_heads;
        let keys = queries * batch.longest.next_multiple_of(PANEL);
        reserve(&mut self.panel, lines)?;
        reserve(&mut self.rows, PANEL * row_bytes)?;
        reserve(&mut self.gate, batch.tokens() * PANEL)?;
        reserve(&mut self.up, batch.chunk * PANEL)?;
        reserve(&mut self.scores, keys)?;
        reserve(&mut self.weights, keys)?;
        reserve(&mut self.factors, queries)?;
        reserve(&mut self.attended, queries * dim)?;
        reserve(&mut self.base, config.hidden)?;
        reserve(&mut self.keys, PANEL * dim)
    }
}

/// One product of the forward pass.
#[derive(Clone, Copy)]
pub(super) struct Stage<'a> {
    pub phase: Phase,
    /// Its weights: matrices that lie one below the other.
    pub matrices: &'a [&'a Matrix],
    /// The matrices of the product after it, none if that is another pass's.
    pub following: &'a [&'a Matrix],
}

/// What every product needs: the kernels and the file.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub kernels: Kernels,
    pub gguf: &'a Gguf,
}

/// Values from one panel to the next in the output of a product: a token more than there are, so that the pieces of one
/// token's row do not share the sets of a cache where the number of tokens is a power of two.
pub(super) fn panel_stride(tokens: usize) -> usize {
    PANEL * (tokens + 1)
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
    /// `out[panel][token][32]`, panels [`panel_stride`] apart: the rows of the stage's matrices times the activations.
    pub fn product(
        self,
        pool: &mut Pool,
        workers: &mut [Worker],
        stage: Stage<'_>,
        activations: Chunked<'_>,
        out: &mut [f32],
    ) {
        let (phase, threads) = (stage.phase, pool.threads());
        let parts = chunks(out, panel_stride(activations.tokens));
        pool.for_each_part(parts, workers, |index, out, worker| {
            worker.stopwatch.lap(Phase::Wait);
            let Some(panel) = Panel::of(stage.matrices, index) else {
                return;
            };
            let mut ahead = self.ahead(Panel::after(
                index,
                stage.matrices,
                stage.following,
                threads,
            ));
            self.pack(panel, worker, &mut ahead);
            worker.stopwatch.lap(Phase::Pack);
            self.multiply(&worker.panel, activations, out, &mut ahead);
            worker.asked = addresses(ahead.asked());
            worker.stopwatch.lap(phase);
        });
    }

    /// The first half of the feed-forward layer: `out = quantise(gelu(gate h) * (up h))`, one block of 32 a panel.
    pub fn gated_product(
        self,
        pool: &mut Pool,
        workers: &mut [Worker],
        [gate, up]: [&Matrix; 2],
        following: &[&Matrix],
        activations: Chunked<'_>,
        out: &mut [ActivationBlock],
    ) {
        let threads = pool.threads();
        let parts = chunks(out, activations.tokens);
        // One panel packed at a time: two of them would not stay in the L1 cache.
        pool.for_each_part(parts, workers, |index, mut out, worker| {
            worker.stopwatch.lap(Phase::Wait);
            let [gate_panel, up_panel] = [gate, up].map(|matrix| Panel { matrix, index });
            let mut ahead = self.ahead(Some(up_panel));
            self.pack(gate_panel, worker, &mut ahead);
            worker.stopwatch.lap(Phase::Pack);
            worker.gate.resize(activations.tokens * PANEL, 0.0);
            self.multiply(&worker.panel, activations, &mut worker.gate, &mut ahead);
            worker.asked = addresses(ahead.asked());
            worker.stopwatch.lap(Phase::FfnInput);

            let mut ahead = self.ahead(Panel::after(index, &[gate], following, threads));
            self.pack(up_panel, worker, &mut ahead);
            worker.stopwatch.lap(Phase::Pack);
            let mut gate = &worker.gate[..];
            for chunk in activations.iter() {
                worker.up.resize(chunk.tokens * PANEL, 0.0);
                let (packed, up) = (&worker.panel, &mut worker.up);
                self.kernels
                    .gemm(packed, chunk, 0..chunk.tokens, up, &mut ahead);
                worker.stopwatch.lap(Phase::FfnInput);
                let (gate_of_chunk, gate_after) = gate.split_at(up.len());
                let (out_of_chunk, out_after) = out.split_at_mut(chunk.tokens);
                self.kernels
                    .gelu_multiply_quantise(gate_of_chunk, up, out_of_chunk);
                worker.stopwatch.lap(Phase::Gelu);
                (gate, out) = (gate_after, out_after);
            }
            worker.asked = addresses(ahead.asked());
        });
    }

    /// The product of one packed panel, chunk after chunk.
    fn multiply(
        self,
        packed: &[Line],
        activations: Chunked<'_>,
        mut out: &mut [f32],
        ahead: &mut Ahead<'_>,
    ) {
        for chunk in activations.iter() {
            let (out_of_chunk, after) = out.split_at_mut(chunk.tokens * PANEL);
            self.kernels
                .gemm(packed, chunk, 0..chunk.tokens, out_of_chunk, ahead);
            out = after;
        }
    }

    /// Packs one panel.
    fn pack(self, panel: Panel<'_>, worker: &mut Worker, ahead: &mut Ahead<'_>) {
        let (matrix, data) = (panel.matrix, panel.bytes(self.gguf));
        let row_bytes = matrix.columns / BLOCK * Q8_0_BYTES;
        let rows = &mut worker.rows;
        let bytes = match matrix.kind {
            MatrixType::Q8_0 => {
                let expected = worker.asked.start == addresses(data).start;
                let asked = if expected { worker.asked.len() } else { 0 };
                stream(data.get(asked..).unwrap_or_default());
                data
            }
            MatrixType::F32 => quantise_rows(data, rows, |&b: &[u8; 4]| f32::from_le_bytes(b)),
            MatrixType::F16 => {
                quantise_rows(data, rows, |&b: &[u8; 2]| f16::from_le_bytes(b).to_f32())
            }
            MatrixType::Bf16 => {
                quantise_rows(data, rows, |&b: &[u8; 2]| bf16::from_le_bytes(b).to_f32())
            }
        };
        let lines = self.kernels.panel_lines(matrix.columns);
        worker.panel.resize(lines, Line::ZERO);
        self.kernels
            .pack_panel(Q8Rows { bytes, row_bytes }, &mut worker.panel, ahead);
    }

    fn ahead<'a>(&'a self, panel: Option<Panel<'a>>) -> Ahead<'a> {
        Ahead::new(panel.map_or(&[], |panel| panel.bytes(self.gguf)))
    }
}

/// 32 rows of a matrix.
#[derive(Clone, Copy)]
struct Panel<'a> {
    matrix: &'a Matrix,
    index: usize,
}

impl<'a> Panel<'a> {
    /// Panel `index` of matrices that lie one below the other.
    fn of(matrices: &[&'a Matrix], mut index: usize) -> Option<Self> {
        for &matrix in matrices {
            let panels = matrix.rows / PANEL;
            if index < panels {
                return Some(Panel { matrix, index });
            }
            index -= panels;
        }
        None
    }

    /// What a thread packs after panel `index`: the next one of its share, or the first of its share of the product that
    /// follows.
    fn after(
        index: usize,
        matrices: &[&'a Matrix],
        following: &[&'a Matrix],
        threads: usize,
    ) -> Option<Self> {
        let panels = |matrices: &[&Matrix]| {
            let rows: usize = matrices.iter().map(|matrix| matrix.rows).sum();
            rows / PANEL
        };
        let last_of = |thread: &usize| share(panels(matrices), threads, *thread).end == index + 1;
        match (0..threads).find(last_of) {
            None => Panel::of(matrices, index + 1),
            Some(thread) => {
                let first = share(panels(following), threads, thread).start;
                Panel::of(following, first)
            }
        }
    }

    fn bytes(self, gguf: &'a Gguf) -> &'a [u8] {
        let bytes = PANEL * self.matrix.row_bytes();
        &self.matrix.data(gguf)[self.index * bytes..][..bytes]
    }
}

fn addresses(bytes: &[u8]) -> Range<usize> {
    let start = bytes.as_ptr().addr();
    start..start + bytes.len()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(name: &str, panels: usize) -> Matrix {
        Matrix {
            name: name.into(),
            kind: MatrixType::Q8_0,
            rows: panels * PANEL,
            columns: BLOCK,
            range: 0..panels * PANEL * Q8_0_BYTES,
        }
    }

    #[test]
    fn each_thread_asks_for_the_panel_that_it_packs_next() {
        let (first, second, third) = (matrix("a", 3), matrix("b", 2), matrix("c", 4));
        let after = |index, following: &[&Matrix]| {
            let panel = Panel::after(index, &[&first, &second], following, 2)?;
            Some((panel.matrix.name.clone(), panel.index))
        };
        let panel = |name: &str, index| Some((name.to_string(), index));
        assert_eq!(after(0, &[&third]), panel("a", 1));
        assert_eq!(after(2, &[&third]), panel("c", 0), "end of the first share");
        assert_eq!(after(3, &[&third]), panel("b", 1));
        assert_eq!(after(4, &[&third]), panel("c", 2), "end of the second");
        assert_eq!(after(4, &[]), None);
    }
}
