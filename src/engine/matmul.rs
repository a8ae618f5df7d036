//! Matrix products: panels of weights, packed as they are needed, times quantized activations.

use std::ops::Range;

use lanewise_kernels::{Activation, BLOCK, Kernels, Line, PANEL, Prefetcher, stream};
use lanewise_pool::{initial_tasks, initial_thread};

use super::buffers::{ActivationShape, Activations, PanelBuffer};
use super::executor::Executor;
use super::matrix::Matrix;
use super::profile::{Phase, Stopwatch};
use super::scratch::Packing;
use super::split::Split;

/// Tokens up to which a product waits for memory. A panel of it is packed and multiplied
/// [`SHORT_BLOCKS`] at a time, which stay in the L1 cache beside the weights that come in, and
/// packing prefetches weights as well. With more tokens it is the product that takes the time:
/// whole rows save it loads and stores of its sums.
const SHORT: usize = 16;

/// Blocks of a row that are packed at a time for a short product: 9 KB on AVX-512, 17 on AVX2.
const SHORT_BLOCKS: usize = 8;

/// Blocks of a row of a packed panel that are multiplied at a time, and the number prefetched ahead:
/// 9 KB each, which stay in an L1 cache of 32 KB beside the activations. Six, eight and twelve are
/// about as fast from 8 to 128 tokens, whole rows slower (docs/LOG.md).
const PACKED_BLOCKS: usize = 8;

/// Tokens up to which packed panels are multiplied in pieces: the sums of a panel, which each piece
/// loads and stores, then are 16 KB.
const PACKED_PIECES: usize = 128;

/// Tokens that a product reads a packed block for once, so that there is one step less to prefetch
/// weights in.
const ONE_TILE: usize = 6;

/// One product of the forward pass.
#[derive(Clone, Copy)]
pub struct Product<'a> {
    /// What its time counts for.
    pub phase: Phase,
    /// Its weights: matrices, the rows of one after those of the other.
    pub matrices: &'a [&'a Matrix],
    /// The matrices of the product after it, none if that is another pass's.
    pub next: &'a [&'a Matrix],
}

/// The product of one panel with some of the tokens.
struct Task<'a> {
    phase: Phase,
    panel: Panel<'a>,
    /// What the thread packs after it, if that is known and another panel.
    next: Option<Panel<'a>>,
    activations: &'a Activations,
    tokens: Range<usize>,
}

impl Executor {
    /// `out[token] = matrices × activations[token]`, the rows of all matrices one below the other.
    pub fn multiply(
        &mut self,
        product: Product<'_>,
        activations: &Activations,
        out: &mut PanelBuffer,
    ) {
        let (kernels, threads) = (self.kernels(), self.threads());
        let (matrices, next) = (product.matrices, product.next);
        let [split, next_split] = [matrices, next].map(|matrices| {
            let ActivationShape { tokens, chunk, .. } = activations.shape();
            Split::new(panels(matrices), tokens, chunk, threads)
        });
        let rows = panels(matrices) * PANEL;
        out.reshape(rows, activations.shape().tokens);
        self.for_each_part(out.panels_mut(split.cut()), |index, out, worker| {
            let Some(panel) = Panel::of(matrices, split.panel(index)) else {
                return;
            };
            let task = Task {
                phase: product.phase,
                panel,
                next: match next_panel(index, split, next_split, threads) {
                    Next::Same => None,
                    Next::Panel(next) => Panel::of(matrices, next),
                    Next::OfNextProduct(first) => Panel::of(next, first),
                },
                activations,
                tokens: split.tokens(index),
            };
            task.run(kernels, out, &mut worker.packing, &mut worker.stopwatch);
        });
    }

    /// `out = quantize(activation(gate × activations) * (up × activations))`, each panel a block of 32
    /// columns of `out`. `next` is the product after it.
    pub fn multiply_gated(
        &mut self,
        activation: Activation,
        [gate, up]: [&Matrix; 2],
        next: &[&Matrix],
        activations: &Activations,
        out: &mut Activations,
    ) {
        let (kernels, threads) = (self.kernels(), self.threads());
        let [split, next_split] = [&[gate], next].map(|matrices| {
            let ActivationShape { tokens, chunk, .. } = activations.shape();
            Split::new(panels(matrices), tokens, chunk, threads)
        });
        self.for_each_part(out.columns_mut(split.cut()), |task, out, worker| {
            let (index, tokens) = (split.panel(task), split.tokens(task));
            let [gate_panel, up_panel] = [gate, up].map(|matrix| Panel { matrix, index });
            let after = match next_panel(task, split, next_split, threads) {
                Next::Same => Some(gate_panel),
                Next::Panel(next) => Panel::of(&[gate], next),
                Next::OfNextProduct(first) => Panel::of(next, first),
            };
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
                    tokens: tokens.clone(),
                };
                out.resize(tokens.len() * PANEL, 0.0);
                task.run(kernels, out, &mut worker.packing, &mut worker.stopwatch);
            }
            kernels.activate_multiply_quantize(activation, &worker.gate, &worker.up, out);
            worker.stopwatch.lap(Phase::Gelu);
        });
    }

    /// `out = quantize(gelu(matrix × activations + bias))`, each panel a block of 32 columns of `out`.
    /// `next` is the product after it.
    pub fn multiply_gelu(
        &mut self,
        matrix: &Matrix,
        bias: &[f32],
        next: &[&Matrix],
        activations: &Activations,
        out: &mut Activations,
    ) {
        let (kernels, threads) = (self.kernels(), self.threads());
        let [split, next_split] = [&[matrix], next].map(|matrices| {
            let ActivationShape { tokens, chunk, .. } = activations.shape();
            Split::new(panels(matrices), tokens, chunk, threads)
        });
        self.for_each_part(out.columns_mut(split.cut()), |task, out, worker| {
            let (index, tokens) = (split.panel(task), split.tokens(task));
            let next = match next_panel(task, split, next_split, threads) {
                Next::Same => None,
                Next::Panel(next) => Panel::of(&[matrix], next),
                Next::OfNextProduct(first) => Panel::of(next, first),
            };
            worker.up.resize(tokens.len() * PANEL, 0.0);
            let task = Task {
                phase: Phase::FfnInput,
                panel: Panel { matrix, index },
                next,
                activations,
                tokens,
            };
            let (values, packing) = (&mut worker.up, &mut worker.packing);
            task.run(kernels, values, packing, &mut worker.stopwatch);
            let bias = &bias[index * PANEL..][..PANEL];
            kernels.bias_gelu_quantize(&worker.up, bias, out);
            worker.stopwatch.lap(Phase::Gelu);
        });
    }
}

impl Task<'_> {
    /// `out[token][32]`: the product of the panel, for the tokens of the task.
    fn run(
        self,
        kernels: Kernels,
        out: &mut [f32],
        packing: &mut Packing,
        stopwatch: &mut Stopwatch,
    ) {
        if let Some(panel) = self.panel.packed_on(kernels) {
            self.run_packed(kernels, panel, out);
            stopwatch.lap(self.phase);
            return;
        }
        let Packing {
            panel: packed,
            rows,
            requested,
        } = packing;
        let (matrix, tokens) = (self.panel.matrix, self.tokens.len());
        let bytes = self.panel.bytes();
        read_rest(bytes, requested);
        let bytes = matrix.packable_rows(kernels, bytes, rows);
        let next = self.next.map_or(&[][..], Panel::bytes);
        let lines_a_step = if tokens <= ONE_TILE { 9 } else { 6 };
        let (mut prefetcher, mut idle) =
            (Prefetcher::new(next, lines_a_step), Prefetcher::default());
        let (short, row_blocks) = (tokens <= SHORT, matrix.columns() / BLOCK);
        let most = if short { SHORT_BLOCKS } else { row_blocks };
        let at_a_time = most.min(row_blocks);
        let lines = kernels.panel_lines(at_a_time * BLOCK);
        packed.resize(packed.len().max(lines), Line::ZERO);
        for first in (0..row_blocks).step_by(at_a_time) {
            let blocks = first..(first + at_a_time).min(row_blocks);
            let while_packing = if short { &mut prefetcher } else { &mut idle };
            matrix.pack_panel(kernels, bytes, blocks.clone(), packed, while_packing);
            stopwatch.lap(Phase::Pack);
            self.multiply_piece(kernels, packed, blocks, out, &mut prefetcher);
            stopwatch.lap(self.phase);
        }
        *requested = addresses(prefetcher.requested());
    }

    /// [`run`](Self::run) where the panel is packed already, at the start of `panel`: it is read from
    /// the mapped file into the cache, and prefetched one piece ahead, into the next panel.
    fn run_packed(&self, kernels: Kernels, panel: &[Line], out: &mut [f32]) {
        let (shape, tokens) = (self.activations.shape(), self.tokens.len());
        let (row_blocks, block_lines) = (shape.columns / BLOCK, kernels.panel_lines(BLOCK));
        let lines = row_blocks * block_lines;
        let ahead = size_of::<Line>() * block_lines * PACKED_BLOCKS;
        let after = self.next.and_then(|next| next.packed_on(kernels));
        let after = Line::bytes(after.unwrap_or_default());
        let (this, length) = (Line::bytes(panel), size_of::<Line>() * lines);
        // Nearly always the thread's next panel follows in the file: then all is one stream.
        let one_stream = addresses(&this[length..]).start == addresses(after).start;
        let end = if one_stream { length + ahead } else { length };
        let steps_a_block = tokens.div_ceil(ONE_TILE) * shape.terms;
        let lines_a_step = block_lines.div_ceil(steps_a_block.max(1));
        let to_request = this.get(ahead..end.min(this.len())).unwrap_or_default();
        let mut prefetcher = Prefetcher::new(to_request, lines_a_step);
        let at_a_time = if (ONE_TILE + 1..=PACKED_PIECES).contains(&tokens) {
            PACKED_BLOCKS
        } else if one_stream {
            row_blocks
        } else {
            row_blocks.saturating_sub(PACKED_BLOCKS).max(PACKED_BLOCKS)
        };
        for first in (0..row_blocks).step_by(at_a_time) {
            let blocks = first..(first + at_a_time).min(row_blocks);
            if blocks.end == row_blocks && !one_stream {
                prefetcher = Prefetcher::new(&after[..ahead.min(after.len())], lines_a_step);
            }
            let piece = &panel[blocks.start * block_lines..blocks.end * block_lines];
            self.multiply_piece(kernels, piece, blocks, out, &mut prefetcher);
        }
    }

    /// Multiplies some blocks of a panel by those of all tokens.
    fn multiply_piece(
        &self,
        kernels: Kernels,
        piece: &[Line],
        blocks: Range<usize>,
        mut out: &mut [f32],
        prefetcher: &mut Prefetcher<'_>,
    ) {
        for (chunk, tokens) in self.activations.chunks_with(self.tokens.clone()) {
            let (chunk_out, rest) = out.split_at_mut(tokens.len() * PANEL);
            kernels.gemm(piece, chunk, blocks.clone(), tokens, chunk_out, prefetcher);
            out = rest;
        }
    }
}

/// Reads what of a panel has not been requested in order, so that all of it is in the cache for
/// packing, which reads 32 rows side by side.
fn read_rest(panel: &[u8], requested: &Range<usize>) {
    let expected = requested.start == addresses(panel).start;
    let known = if expected { requested.len() } else { 0 };
    stream(panel.get(known..).unwrap_or_default());
}

fn addresses(bytes: &[u8]) -> Range<usize> {
    let start = bytes.as_ptr().addr();
    start..start + bytes.len()
}

/// 32 rows of a matrix.
#[derive(Clone, Copy)]
struct Panel<'a> {
    matrix: &'a Matrix,
    index: usize,
}

impl<'a> Panel<'a> {
    /// Panel `index` of the rows of all matrices, one after the other.
    fn of(matrices: &[&'a Matrix], mut index: usize) -> Option<Self> {
        for &matrix in matrices {
            let panels = matrix.rows() / PANEL;
            if index < panels {
                return Some(Panel { matrix, index });
            }
            index -= panels;
        }
        None
    }

    fn bytes(self) -> &'a [u8] {
        self.matrix.panel_bytes(self.index)
    }

    /// The panel as it is packed, and all that follows it in the file.
    fn packed_on(self, kernels: Kernels) -> Option<&'a [Line]> {
        self.matrix.packed_from(kernels, self.index)
    }
}

/// Panels of all matrices together.
fn panels(matrices: &[&Matrix]) -> usize {
    let rows: usize = matrices.iter().map(|matrix| matrix.rows()).sum();
    rows / PANEL
}

/// What a thread packs after a task.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// The panel of the task, for other tokens.
    Same,
    /// Another panel of the product.
    Panel(usize),
    /// A panel of the product that follows.
    OfNextProduct(usize),
}

/// What a thread packs after `task`: the panel of its next task, or of the first of its tasks of
/// the product that follows, cut as `next`.
fn next_panel(task: usize, split: Split, next: Split, threads: usize) -> Next {
    let thread = initial_thread(split.tasks(), threads, task);
    if task + 1 == initial_tasks(split.tasks(), threads, thread).end {
        let first = initial_tasks(next.tasks(), threads, thread).start;
        Next::OfNextProduct(next.panel(first))
    } else if split.panel(task + 1) == split.panel(task) {
        Next::Same
    } else {
        Next::Panel(split.panel(task + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_prefetches_the_panel_it_packs_next() {
        // Two threads share 5 panels as 0..3 and 3..5, and the 4 of the next product as 0..2, 2..4.
        let [split, next] = [5, 4].map(|panels| Split::new(panels, 4, 4, 2));
        assert_eq!(next_panel(0, split, next, 2), Next::Panel(1));
        assert_eq!(next_panel(2, split, next, 2), Next::OfNextProduct(0));
        assert_eq!(next_panel(3, split, next, 2), Next::Panel(4));
        assert_eq!(next_panel(4, split, next, 2), Next::OfNextProduct(2));
        // 32 threads have three parts of a panel's four each.
        let split = Split::new(24, 512, 16, 32);
        assert_eq!(next_panel(0, split, split, 32), Next::Same);
        assert_eq!(next_panel(2, split, split, 32), Next::OfNextProduct(0));
        assert_eq!(next_panel(3, split, split, 32), Next::Panel(1));
        assert_eq!(next_panel(5, split, split, 32), Next::OfNextProduct(0));
    }
}
