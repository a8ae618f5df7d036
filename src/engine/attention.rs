//! Attention: preparing queries, keys and values, then each tile of queries over the
//! keys that it sees.
//!
//! Softmax weights sum to one, so the mean of a text's values can be taken out before they are
//! weighted and put back after: even after the product with the output matrix, once a text. What
//! remains is small, which keeps the rounding errors of one INT8 term small in both products
//! (docs/LOG.md).

use std::collections::TryReserveError;

use lanewise_kernels::{BLOCK, Kernels, Line, PANEL, Pieces, pack_keys};
use lanewise_pool::partition::uneven;

use super::batch::{Batch, MEAN_TERMS, QueryTile, Shape};
use super::buffers::{ActivationShape, Activations, PanelBuffer};
use super::executor::Executor;
use super::profile::Phase;
use super::reach::Reach;
use super::rope::Rope;
use super::scratch::{Worker, reserve, sized};

/// Tokens from which on the softmax weights of a text are of one INT8 term. In shorter texts, whose
/// attention takes little time, a few tokens share all the weight, and what rounding it to 8 bits
/// changes grows from layer to layer (docs/LOG.md).
const FEW_KEYS: usize = 256;

/// The parameters of the attention of one layer.
#[derive(Clone, Copy)]
pub struct Parameters<'a> {
    /// What becomes of each head of queries and keys before they are multiplied.
    pub heads: Heads<'a>,
    /// The factor of scores before softmax: 1/√head_dim in most models.
    pub scale: f32,
    /// What is added to the values of a token: `kv_heads * head_dim` values, or none.
    pub value_bias: Option<&'a [f32]>,
    /// Which keys a token sees.
    pub reach: Reach,
}

/// What becomes of each head of queries and keys.
#[derive(Clone, Copy)]
pub enum Heads<'a> {
    /// RMSNorm with `head_dim` weights, then RoPE.
    NormRope {
        /// The weights for queries.
        query_norm: &'a [f32],
        /// The weights for keys.
        key_norm: &'a [f32],
        /// What RMSNorm adds to the mean of squares.
        eps: f32,
        /// The angles of positions.
        rope: &'a Rope,
    },
    /// RoPE alone.
    Rope(&'a Rope),
    /// A bias on queries, of `heads * head_dim` values.
    ///
    /// Without RoPE there is nothing to do for one on keys: it adds the same to all scores of a query,
    /// which softmax takes away.
    QueryBias(&'a [f32]),
}

impl Heads<'_> {
    /// Head number `head` of the queries of a token at `position`, as INT16. Returns the scale.
    #[inline]
    fn query(
        self,
        kernels: Kernels,
        x: Pieces<'_>,
        head: usize,
        position: usize,
        out: &mut [i16],
    ) -> f32 {
        match self {
            Heads::NormRope {
                query_norm,
                eps,
                rope,
                ..
            } => kernels.head_norm_rope(x, query_norm, rope.position(position), eps, out),
            Heads::Rope(rope) => kernels.head_rope(x, rope.position(position), out),
            Heads::QueryBias(bias) => {
                let dim = out.len();
                kernels.head_bias(x, Some(&bias[head * dim..][..dim]), out)
            }
        }
    }

    /// A key head of a token at `position`, as INT16. Returns the scale.
    #[inline]
    fn key(self, kernels: Kernels, x: Pieces<'_>, position: usize, out: &mut [i16]) -> f32 {
        match self {
            Heads::NormRope {
                key_norm,
                eps,
                rope,
                ..
            } => kernels.head_norm_rope(x, key_norm, rope.position(position), eps, out),
            Heads::Rope(rope) => kernels.head_rope(x, rope.position(position), out),
            Heads::QueryBias(_) => kernels.head_bias(x, None, out),
        }
    }
}

/// Attention of one layer: its queries, keys and values, quantized and packed.
#[derive(Default)]
pub struct Attention {
    /// INT16, a key panel's tokens together: `[kv_head][token][query head of the
    /// group][head_dim]`.
    queries: Vec<i16>,
    /// One a query, the scale of scores included, in the order of `queries`.
    query_scales: Vec<f32>,
    /// A key panel's `[kv_head][head_dim / 2][32]` lanes.
    keys: Vec<i32>,
    key_scales: Vec<f32>,
    /// A text's `[kv_head * head_dim / 32]`, each the packed values of its tokens.
    values: Vec<Line>,
    /// Ends of the packed values of each (text, panel of 32 channels).
    value_ends: Vec<usize>,
    /// A text's `[kv_head * head_dim / 32]`, each 32 scales and 32 means.
    value_scales: Vec<f32>,
    /// Softmax(q kᵀ) times the values less their mean, `[token][heads * head_dim]`.
    attended: Vec<f32>,
}

impl Attention {
    /// Makes room for a batch.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn reserve(&mut self, kernels: Kernels, batch: &Batch) -> Result<(), TryReserveError> {
        let last = |ends: &[usize]| ends.last().copied().unwrap_or(0);
        reserve(&mut self.queries, last(&batch.query_ends))?;
        reserve(&mut self.query_scales, last(&batch.query_scale_ends))?;
        reserve(&mut self.keys, last(&batch.key_ends))?;
        reserve(&mut self.key_scales, last(&batch.key_scale_ends))?;
        reserve(&mut self.value_ends, batch.value_scale_ends.len())?;
        self.set_value_ends(kernels, batch);
        reserve(&mut self.values, last(&self.value_ends))?;
        reserve(&mut self.value_scales, last(&batch.value_scale_ends))?;
        reserve(&mut self.attended, last(&batch.attended_ends))
    }

    /// The shape of the output of [`run`](Self::run): for each text [`MEAN_TERMS`] rows whose sum
    /// is the mean of its values, then a row for each token.
    pub fn output_shape(batch: &Batch) -> ActivationShape {
        ActivationShape {
            tokens: batch.tokens() + MEAN_TERMS * batch.texts().len(),
            columns: batch.shape().query_width(),
            chunk: batch.attended_chunk,
            terms: 1,
        }
    }

    /// `out = quantize(softmax(scale q kᵀ) v)` of each head, over the keys that each
    /// token sees: [`MEAN_TERMS`] rows a text and one a token, whose sum it is, as
    /// [`output_shape`](Self::output_shape) says.
    ///
    /// `projected` holds queries, keys and values of each token, one after the other; `parameters` say
    /// what becomes of them first.
    pub fn run(
        &mut self,
        executor: &mut Executor,
        batch: &Batch,
        projected: &PanelBuffer,
        parameters: Parameters<'_>,
        out: &mut Activations,
    ) {
        self.resize(executor.kernels(), batch);
        self.prepare_queries_and_keys(executor, batch, projected, parameters);
        self.prepare_values(executor, batch, projected, parameters.value_bias);
        self.attend(executor, batch, parameters.reach);
        self.quantize(executor, batch, out);
    }

    fn resize(&mut self, kernels: Kernels, batch: &Batch) {
        let last = |ends: &[usize]| ends.last().copied().unwrap_or(0);
        self.queries.resize(last(&batch.query_ends), 0);
        self.query_scales.resize(last(&batch.query_scale_ends), 0.0);
        self.keys.resize(last(&batch.key_ends), 0);
        self.key_scales.resize(last(&batch.key_scale_ends), 0.0);
        self.set_value_ends(kernels, batch);
        self.values.resize(last(&self.value_ends), Line::ZERO);
        self.value_scales.resize(last(&batch.value_scale_ends), 0.0);
        sized(&mut self.attended, last(&batch.attended_ends));
    }

    fn set_value_ends(&mut self, kernels: Kernels, batch: &Batch) {
        let panels = batch.shape().key_width() / PANEL;
        self.value_ends.clear();
        let mut end = 0;
        for text in batch.texts() {
            for _ in 0..panels {
                end += kernels.value_lines(text.len());
                self.value_ends.push(end);
            }
        }
    }

    /// Norm and RoPE, or bias, and quantization of queries and keys, and packing of keys.
    fn prepare_queries_and_keys(
        &mut self,
        executor: &mut Executor,
        batch: &Batch,
        projected: &PanelBuffer,
        parameters: Parameters<'_>,
    ) {
        let Parameters {
            heads,
            scale: factor,
            ..
        } = parameters;
        let (kernels, shape) = (executor.kernels(), batch.shape());
        let dim = shape.head_dim;
        let head = |head: usize, token: usize| projected.columns(token, head * dim, dim);
        let parts = (
            uneven(&mut self.queries, &batch.query_ends),
            uneven(&mut self.query_scales, &batch.query_scale_ends),
            uneven(&mut self.keys, &batch.key_ends),
            uneven(&mut self.key_scales, &batch.key_scale_ends),
        );
        executor.for_each_part(
            parts,
            |index, (queries, query_scales, keys, key_scales), worker| {
                let panel = &batch.panels[index];
                let mut rows = queries.chunks_exact_mut(dim).zip(query_scales);
                worker.keys.resize(panel.tokens.len() * dim, 0);
                for kv_head in 0..shape.kv_heads {
                    let key_scales = &mut key_scales[kv_head * PANEL..][..PANEL];
                    for (offset, token) in panel.tokens.clone().enumerate() {
                        let position = panel.position + offset;
                        let group = rows.by_ref().take(shape.group());
                        for (query, (row, scale)) in group.enumerate() {
                            let index = kv_head * shape.group() + query;
                            let x = head(index, token);
                            *scale = heads.query(kernels, x, index, position, row) * factor;
                        }
                        let row = &mut worker.keys[offset * dim..][..dim];
                        let x = head(shape.heads + kv_head, token);
                        key_scales[offset] = heads.key(kernels, x, position, row);
                    }
                    let lanes = dim / 2 * PANEL;
                    pack_keys(&worker.keys, dim, &mut keys[kv_head * lanes..][..lanes]);
                }
                worker.stopwatch.lap(Phase::Heads);
            },
        );
    }

    /// Quantization and packing of values less their mean. Softmax weights sum to one, so a bias on
    /// values is one on their mean.
    fn prepare_values(
        &mut self,
        executor: &mut Executor,
        batch: &Batch,
        projected: &PanelBuffer,
        bias: Option<&[f32]>,
    ) {
        let (kernels, shape) = (executor.kernels(), batch.shape());
        let value_panels = shape.key_width() / PANEL;
        let first_panel = (shape.query_width() + shape.key_width()) / PANEL;
        let parts = (
            uneven(&mut self.values, &self.value_ends),
            uneven(&mut self.value_scales, &batch.value_scale_ends),
        );
        executor.for_each_part(parts, |index, (packed, scales), worker| {
            let tokens = &batch.texts()[index / value_panels];
            let value_panel = index % value_panels;
            let panel = projected.panel(first_panel + value_panel);
            kernels.pack_values(
                &panel[tokens.start * PANEL..tokens.end * PANEL],
                packed,
                scales,
            );
            if let Some(bias) = bias {
                let bias = &bias[value_panel * PANEL..][..PANEL];
                let means = scales[PANEL..].iter_mut();
                means.zip(bias).for_each(|(mean, bias)| *mean += bias);
            }
            worker.stopwatch.lap(Phase::Values);
        });
    }

    /// `attended[token][head][head_dim]`: softmax(q kᵀ) v over the keys that each token sees, less the
    /// mean of v.
    fn attend(&mut self, executor: &mut Executor, batch: &Batch, reach: Reach) {
        let mut attended = std::mem::take(&mut self.attended);
        let values = batch.attended_ends.last().copied().unwrap_or(0);
        let parts = uneven(&mut attended[..values], &batch.attended_ends);
        let tiles = Tiles {
            attention: self,
            kernels: executor.kernels(),
            batch,
            reach,
        };
        executor.for_each_part(parts, |index, out, worker| {
            for kv_head in 0..batch.shape().kv_heads {
                tiles.attend(&batch.tiles[index], kv_head, worker, out);
            }
        });
        self.attended = attended;
    }

    /// Quantizes what [`attend`](Self::attend) gave, in chunks of rows: for each text the mean of
    /// its values in [`MEAN_TERMS`] rows, whose sum it is, then the tokens.
    fn quantize(&self, executor: &mut Executor, batch: &Batch, out: &mut Activations) {
        let (kernels, shape) = (executor.kernels(), batch.shape());
        let width = shape.query_width();
        let (blocks, means) = (width / BLOCK, MEAN_TERMS * batch.texts().len());
        out.reshape(Self::output_shape(batch));
        executor.for_each_part(out.chunks_mut(), |index, out, worker| {
            let (first, count) = (index * batch.attended_chunk, out.len() / blocks);
            // No chunk begins between the rows of one text's mean: either all means are in the first
            // chunk, or a chunk is a multiple of `MEAN_TERMS` rows (see `Batch::set`).
            let mut row = 0;
            while row < count {
                match (first + row).checked_sub(means) {
                    Some(token) => {
                        let attended = &self.attended[token * width..][..width];
                        kernels.quantize(attended, 1, &mut out[row..], count);
                        row += 1;
                    }
                    None => {
                        let text = (first + row) / MEAN_TERMS;
                        for block in 0..blocks {
                            let mean = self.mean(shape, text, block);
                            let terms = &mut out[block * count + row..][..MEAN_TERMS];
                            kernels.quantize(mean, MEAN_TERMS, terms, MEAN_TERMS);
                            // On its own the first term counts 256 units of the second.
                            terms[0].scale = terms[0].scale.times_256();
                        }
                        row += MEAN_TERMS;
                    }
                }
            }
            worker.stopwatch.lap(Phase::Quantize);
        });
    }

    /// Block `block` of the row that attention would give if all weights were equal: the same for
    /// all query heads of a key/value head.
    fn mean(&self, shape: Shape, text: usize, block: usize) -> &[f32] {
        let head_panels = shape.head_dim / PANEL;
        let kv_head = block / head_panels / shape.group();
        let panel = (text * shape.kv_heads + kv_head) * head_panels + block % head_panels;
        &self.value_scales[(2 * panel + 1) * PANEL..][..PANEL]
    }
}

/// What the attention of one tile of queries needs.
struct Tiles<'a> {
    attention: &'a Attention,
    kernels: Kernels,
    batch: &'a Batch,
    reach: Reach,
}

impl Tiles<'_> {
    /// Writes the attention of the query heads of one key/value head into `out`, which has those of
    /// all heads for each token of the tile.
    fn attend(&self, tile: &QueryTile, kv_head: usize, worker: &mut Worker, out: &mut [f32]) {
        let (kernels, batch, reach) = (self.kernels, self.batch, self.reach);
        let (attention, shape) = (self.attention, batch.shape());
        let (dim, group) = (shape.head_dim, shape.group());
        let text = &batch.texts()[tile.text];
        let length = text.len();
        let first_panel = batch.first_panels[tile.text];
        let (first, last) = (
            tile.tokens.start - text.start,
            tile.tokens.end - 1 - text.start,
        );
        // Whole panels of keys that any token of the tile sees; what a token does not see gets no
        // weight below.
        let panels =
            reach.seen(first, length).start / PANEL..reach.seen(last, length).end.div_ceil(PANEL);
        let first_key = panels.start * PANEL;
        let padded = panels.len() * PANEL;

        let panel = &batch.panels[tile.panel];
        let row = panel.tokens.start * shape.heads
            + (kv_head * panel.tokens.len() + tile.tokens.start - panel.tokens.start) * group;
        let rows = row..row + tile.tokens.len() * group;
        let queries = &attention.queries[rows.start * dim..rows.end * dim];
        let query_scales = &attention.query_scales[rows];
        let count = query_scales.len();
        let scores = sized(&mut worker.scores, count * padded);
        let terms = if length < FEW_KEYS { 2 } else { 1 };
        let weights = sized(&mut worker.weights, count * panels.len() * terms);
        let factors = sized(&mut worker.factors, count);
        let attended = sized(&mut worker.attended, count * dim);

        let lanes = dim / 2 * PANEL;
        let scores_of_panels = scores.chunks_exact_mut(count * PANEL);
        for (panel, scores) in panels.clone().zip(scores_of_panels) {
            let at = (first_panel + panel) * shape.kv_heads + kv_head;
            kernels.attention_scores(
                queries,
                query_scales,
                &attention.keys[at * lanes..][..lanes],
                &attention.key_scales[at * PANEL..][..PANEL],
                scores,
                PANEL,
            );
        }
        worker.stopwatch.lap(Phase::Scores);
        let rows = weights.chunks_exact_mut(panels.len() * terms);
        for (row, weights) in rows.enumerate() {
            let position = first + row / group;
            let seen = reach.seen(position, length);
            let seen = seen.start - first_key..seen.end - first_key;
            let scores = &mut scores[row * PANEL..];
            factors[row] = 1.0 / kernels.softmax(scores, count * PANEL, seen, terms, weights);
        }
        worker.stopwatch.lap(Phase::Softmax);

        let head_panels = dim / PANEL;
        let value_panels = shape.kv_heads * head_panels;
        let block_lines = kernels.value_lines(BLOCK);
        let lines = panels.start * block_lines..panels.end * block_lines;
        for panel in 0..head_panels {
            let at = tile.text * value_panels + kv_head * head_panels + panel;
            let before = at.checked_sub(1);
            let start = before.map_or(0, |before| attention.value_ends[before]);
            kernels.attention_weighted_sum(
                weights,
                factors,
                &attention.values[start..attention.value_ends[at]][lines.clone()],
                &attention.value_scales[at * 2 * PANEL..][..PANEL],
                &mut attended[panel * PANEL..],
                dim,
            );
        }
        let token_heads = out.chunks_exact_mut(shape.heads * dim);
        for (token, rows) in token_heads.zip(attended.chunks_exact(group * dim)) {
            token[kv_head * group * dim..][..group * dim].copy_from_slice(rows);
        }
        worker.stopwatch.lap(Phase::WeightedSum);
    }
}
