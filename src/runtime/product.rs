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
    ActivationBlock, ActivationChunk, BLOCK, Kernels, Line, PANEL, Prefetcher, Q8_0_BYTES, Q8Rows,
    stream,
};
use std::collections::TryReserveError;
use std::ops::Range;

/// Tokens up to which a product waits for memory. A panel of it is packed and multiplied [`SHORT_BLOCKS`] at a time, which
/// stay in the L1 cache beside the weights that come in, and packing asks for weights as well. With more tokens it is the
/// product that takes the time: whole rows spare it sums to load and store.
const SHORT: usize = 16;

/// Blocks of a row that are packed at a time for a short product: 9 KB on AVX-512, 17 on AVX2.
const SHORT_BLOCKS: usize = 8;

/// Tokens that a product reads a packed block for once, so that there is one step less to ask for weights in.
const ONE_TILE: usize = 6;

/// Scratch of one thread, on cache lines of its own: its stopwatch is written often.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Worker {
    pub stopwatch: Stopwatch,
    packing: Packing,
    gate: Vec<f32>,
    up: Vec<f32>,
    pub scores: Vec<f32>,
    pub weights: Vec<i16>,
    pub factors: Vec<f32>,
    pub attended: Vec<f32>,
    pub base: Vec<f32>,
    pub keys: Vec<i16>,
}

/// What packing writes.
#[derive(Default)]
struct Packing {
    /// A panel, or some blocks of it.
    panel: Vec<Line>,
    /// Q8_0 rows of a panel whose file holds another type.
    quantised: Vec<u8>,
    /// Addresses of the weights that were asked for while the panel before was used.
    asked: Range<usize>,
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
        reserve(&mut self.packing.panel, lines)?;
        reserve(&mut self.packing.quantised, PANEL * row_bytes)?;
        reserve(&mut self.gate, batch.tokens() * PANEL)?;
        reserve(&mut self.up, batch.tokens() * PANEL)?;
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

/// The product of one panel.
#[derive(Clone, Copy)]
struct Task<'a> {
    phase: Phase,
    panel: Panel<'a>,
    /// What the thread packs after it, if that is known.
    next: Option<Panel<'a>>,
    activations: Chunked<'a>,
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

/// Quantised activations in chunks of tokens, each chunk laid out as [`ActivationChunk`] says.
#[derive(Clone, Copy)]
pub(super) struct Chunked<'a> {
    pub blocks: &'a [ActivationBlock],
    pub tokens: usize,
    /// Tokens a chunk; the last may hold fewer.
    pub chunk: usize,
    pub terms: usize,
}

impl<'a> Chunked<'a> {
    fn iter(self) -> impl Iterator<Item = ActivationChunk<'a>> {
        let token_blocks = self.blocks.len() / self.tokens;
        self.blocks
            .chunks(self.chunk * token_blocks)
            .map(move |blocks| ActivationChunk {
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
            let task = Task {
                phase,
                panel,
                next: Panel::after(index, stage.matrices, stage.following, threads),
                activations,
            };
            self.multiply(task, out, &mut worker.packing, &mut worker.stopwatch);
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
        pool.for_each_part(parts, workers, |index, out, worker| {
            worker.stopwatch.lap(Phase::Wait);
            let [gate_panel, up_panel] = [gate, up].map(|matrix| Panel { matrix, index });
            let after = Panel::after(index, &[gate], following, threads);
            // One panel packed at a time: two of them would not stay in the L1 cache.
            for (panel, next, out) in [
                (gate_panel, Some(up_panel), &mut worker.gate),
                (up_panel, after, &mut worker.up),
            ] {
                let task = Task {
                    phase: Phase::FfnInput,
                    panel,
                    next,
                    activations,
                };
                out.resize(activations.tokens * PANEL, 0.0);
                self.multiply(task, out, &mut worker.packing, &mut worker.stopwatch);
            }
            self.kernels
                .gelu_multiply_quantize(&worker.gate, &worker.up, out);
            worker.stopwatch.lap(Phase::Gelu);
        });
    }

    /// `out[token][32]`: the product of one panel.
    fn multiply(
        self,
        task: Task<'_>,
        out: &mut [f32],
        packing: &mut Packing,
        stopwatch: &mut Stopwatch,
    ) {
        let Packing {
            panel: packed,
            quantised,
            asked,
        } = packing;
        let (matrix, activations) = (task.panel.matrix, task.activations);
        let row_blocks = matrix.columns / BLOCK;
        let rows = Q8Rows {
            bytes: q8_0_rows(task.panel.bytes(self.gguf), matrix.kind, quantised, asked),
            row_bytes: row_blocks * Q8_0_BYTES,
        };
        let next = task.next.map_or(&[][..], |next| next.bytes(self.gguf));
        let lines_a_step = if activations.tokens <= ONE_TILE { 9 } else { 6 };
        let (mut ahead, mut nothing) = (Prefetcher::new(next, lines_a_step), Prefetcher::default());
        let short = activations.tokens <= SHORT;
        let at_a_time = if short { SHORT_BLOCKS } else { row_blocks };
        let lines = self.kernels.panel_lines(at_a_time * BLOCK);
        packed.resize(packed.len().max(lines), Line::ZERO);
        for first in (0..row_blocks).step_by(at_a_time) {
            let blocks = first..(first + at_a_time).min(row_blocks);
            let asking = if short { &mut ahead } else { &mut nothing };
            self.kernels
                .pack_panel(rows, blocks.clone(), packed, asking);
            stopwatch.lap(Phase::Pack);
            let mut out = &mut *out;
            for chunk in activations.iter() {
                let (out_of_chunk, after) = out.split_at_mut(chunk.tokens * PANEL);
                let (blocks, tokens) = (blocks.clone(), 0..chunk.tokens);
                self.kernels
                    .gemm(packed, chunk, blocks, tokens, out_of_chunk, &mut ahead);
                out = after;
            }
            stopwatch.lap(task.phase);
        }
        *asked = addresses(ahead.requested());
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

/// The rows of a panel as Q8_0, all in the cache: those of the file, or what is made of them in `quantised`.
fn q8_0_rows<'a>(
    data: &'a [u8],
    kind: MatrixType,
    quantised: &'a mut Vec<u8>,
    asked: &Range<usize>,
) -> &'a [u8] {
    match kind {
        MatrixType::Q8_0 => {
            let expected = asked.start == addresses(data).start;
            let asked = if expected { asked.len() } else { 0 };
            stream(data.get(asked..).unwrap_or_default());
            data
        }
        MatrixType::F32 => quantise_rows(data, quantised, |&b: &[u8; 4]| f32::from_le_bytes(b)),
        MatrixType::F16 => quantise_rows(data, quantised, |&b: &[u8; 2]| {
            f16::from_le_bytes(b).to_f32()
        }),
        MatrixType::Bf16 => quantise_rows(data, quantised, |&b: &[u8; 2]| {
            bf16::from_le_bytes(b).to_f32()
        }),
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
