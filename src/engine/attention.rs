//! Attention: preparing queries, keys and values, then each tile of queries over the
//! keys that it sees.
//!
//! Softmax weights sum to one, so the mean of a text's values can be taken out before they are
//! weighted and put back after: even after the product with the output matrix, once a text. What
//! remains is small, which keeps the rounding errors of one INT8 term small in both products
//! (docs/LOG.md).

use std::collections::TryReserveError;

use lanewise_kernels::{BLOCK, Kernels, Line, PANEL, pack_keys};
use lanewise_pool::partition::{chunks, uneven, uneven_rows};

use super::batch::{Batch, MEAN_TERMS, QueryTile};
use super::buffers::{ActivationShape, Activations, PanelBuffer};
use super::executor::Executor;
pub use super::heads::Heads;
use super::one_head::{OneHead, OneThread, Projected, RunParts};
use super::profile::Phase;
use super::reach::Reach;
use super::scratch::{Worker, reserve, sized};
use super::shape::HeadShape;

/// Tokens from which on the softmax weights of a text are of one INT8 term. In shorter texts, whose
/// attention takes little time, a few tokens share all the weight, and what rounding it to 8 bits
/// changes grows from layer to layer (docs/LOG.md).
const FEW_KEYS: usize = 256;

/// The parameters of the attention of one layer.
#[derive(Clone, Copy)]
pub struct Parameters<'a> {
    /// The heads: one of those in the shape of the batch's model.
    pub shape: HeadShape,
    /// What becomes of each head of queries and keys before they are multiplied.
    pub heads: Heads<'a>,
    /// The factor of scores before softmax: 1/√head_dim in most models.
    pub scale: f32,
    /// What is added to the values of a token: `kv_heads * head_dim` values, or none.
    pub value_bias: Option<&'a [f32]>,
    /// What RMSNorm without weights adds to the mean of squares of a value head, where they pass one.
    pub value_norm: Option<f32>,
    /// Which keys a token sees.
    pub reach: Reach,
}

/// Attention of one layer: its queries, keys and values, quantized and packed.
///
/// Layers of other heads use the same buffers: what they hold beyond those of the layer means nothing.
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
    /// What values are multiplied by, where they are normalized, in the order of `key_scales`.
    value_factors: Vec<f32>,
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
        let mut shapes = batch.shape().heads.into_iter();
        shapes.try_for_each(|shape| self.reserve_shape(kernels, batch, shape))
    }

    /// Makes room for a batch with heads of one shape.
    pub(super) fn reserve_shape(
        &mut self,
        kernels: Kernels,
        batch: &Batch,
        shape: HeadShape,
    ) -> Result<(), TryReserveError> {
        let (tokens, panels) = (batch.tokens(), batch.panels.len());
        let value_panels = batch.texts().len() * shape.key_width() / PANEL;
        reserve(&mut self.queries, tokens * shape.query_width())?;
        reserve(&mut self.query_scales, tokens * shape.heads)?;
        reserve(&mut self.keys, panels * key_lanes(shape))?;
        reserve(&mut self.key_scales, panels * shape.kv_heads * PANEL)?;
        reserve(&mut self.value_factors, panels * shape.kv_heads * PANEL)?;
        reserve(&mut self.value_ends, value_panels)?;
        let lines = self.set_value_ends(kernels, batch, shape);
        reserve(&mut self.values, lines)?;
        reserve(&mut self.value_scales, value_panels * 2 * PANEL)?;
        reserve(&mut self.attended, tokens * shape.query_width())?;
        Ok(())
    }

    /// The shape of the output of [`run`](Self::run) with heads of this shape: for each text
    /// [`MEAN_TERMS`] rows whose sum is the mean of its values, then a row for each token.
    pub fn output_shape(batch: &Batch, shape: HeadShape) -> ActivationShape {
        ActivationShape {
            tokens: batch.tokens() + MEAN_TERMS * batch.texts().len(),
            columns: shape.query_width(),
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
        let (shape, projected) = (
            parameters.shape,
            Projected::new(projected, parameters.shape),
        );
        if !batch.heads_are_tasks() {
            self.run_steps(executor, batch, projected, parameters, out);
            return;
        }
        let kernels = executor.kernels();
        out.reshape(Self::output_shape(batch, shape));
        let blocks = out.shape().blocks() / shape.kv_heads;
        let parts = chunks(out.blocks_mut(), blocks);
        executor.for_each_part(parts, |kv_head, out, worker| {
            let mut head = std::mem::take(&mut worker.head);
            let OneHead { attention, output } = &mut head;
            let projected = projected.of_head(kv_head, shape.group());
            let thread = &mut OneThread { kernels, worker };
            attention.run_steps(
                thread,
                batch,
                projected,
                parameters.of_head(kv_head),
                output,
            );
            out.copy_from_slice(output.blocks_mut());
            worker.head = head;
        });
    }

    /// The steps of [`run`](Self::run), a job each.
    fn run_steps(
        &mut self,
        executor: &mut impl RunParts,
        batch: &Batch,
        projected: Projected<'_>,
        parameters: Parameters<'_>,
        out: &mut Activations,
    ) {
        self.prepare_queries_and_keys(executor, batch, projected, parameters);
        self.prepare_values(executor, batch, projected, parameters);
        self.attend(executor, batch, parameters);
        self.quantize(executor, batch, parameters.shape, out);
    }

    /// Sets the ends of the packed values, and returns the last one.
    fn set_value_ends(&mut self, kernels: Kernels, batch: &Batch, shape: HeadShape) -> usize {
        let panels = shape.key_width() / PANEL;
        self.value_ends.clear();
        let mut end = 0;
        for text in batch.texts() {
            for _ in 0..panels {
                end += kernels.value_lines(text.len());
                self.value_ends.push(end);
            }
        }
        end
    }

    /// Norm and RoPE, or bias, and quantization of queries and keys, and packing of keys; and what the
    /// norm of values multiplies them by.
    fn prepare_queries_and_keys(
        &mut self,
        executor: &mut impl RunParts,
        batch: &Batch,
        projected: Projected<'_>,
        parameters: Parameters<'_>,
    ) {
        let Parameters {
            heads,
            shape,
            scale: factor,
            value_norm,
            ..
        } = parameters;
        let kernels = executor.kernels();
        let (dim, tokens) = (shape.head_dim, batch.tokens());
        let (panels, of_panel) = (batch.panels.len(), shape.kv_heads * PANEL);
        let value_panels = |kv_head: usize| kv_head * dim / PANEL..(kv_head + 1) * dim / PANEL;
        let queries = sized(&mut self.queries, tokens * shape.query_width());
        let query_scales = sized(&mut self.query_scales, tokens * shape.heads);
        let keys = sized(&mut self.keys, panels * key_lanes(shape));
        let key_scales = sized(&mut self.key_scales, panels * of_panel);
        let value_factors = sized(&mut self.value_factors, panels * of_panel);
        let parts = (
            uneven_rows(queries, shape.query_width(), &batch.panel_ends),
            uneven_rows(query_scales, shape.heads, &batch.panel_ends),
            chunks(keys, key_lanes(shape)),
            chunks(key_scales, of_panel),
            chunks(value_factors, of_panel),
        );
        executor.for_each_part(
            parts,
            |index, (queries, query_scales, keys, key_scales, value_factors), worker| {
                let panel = &batch.panels[index];
                let mut rows = queries.chunks_exact_mut(dim).zip(query_scales);
                worker.keys.resize(panel.tokens.len() * dim, 0);
                for kv_head in 0..shape.kv_heads {
                    let key_scales = &mut key_scales[kv_head * PANEL..][..PANEL];
                    let value_factors = &mut value_factors[kv_head * PANEL..][..PANEL];
                    for (offset, token) in panel.tokens.clone().enumerate() {
                        let position = panel.position + offset;
                        let group = rows.by_ref().take(shape.group());
                        for (query, (row, scale)) in group.enumerate() {
                            let index = kv_head * shape.group() + query;
                            let x = projected.query(index, token);
                            *scale = heads.query(kernels, x, index, position, row) * factor;
                        }
                        let row = &mut worker.keys[offset * dim..][..dim];
                        let x = projected.key(kv_head, token);
                        key_scales[offset] = heads.key(kernels, x, position, row);
                        if let Some(eps) = value_norm {
                            let x = value_panels(kv_head);
                            let x = x.map(|panel| &projected.values(panel)[token * PANEL..]);
                            value_factors[offset] = inverse_rms(x, eps);
                        }
                    }
                    let lanes = dim / 2 * PANEL;
                    pack_keys(&worker.keys, dim, &mut keys[kv_head * lanes..][..lanes]);
                }
                worker.stopwatch.lap(Phase::Heads);
            },
        );
    }

    /// Norm, quantization and packing of values less their mean. Softmax weights sum to one, so a bias on
    /// values is one on their mean.
    fn prepare_values(
        &mut self,
        executor: &mut impl RunParts,
        batch: &Batch,
        projected: Projected<'_>,
        parameters: Parameters<'_>,
    ) {
        let (kernels, shape) = (executor.kernels(), parameters.shape);
        let value_panels = shape.key_width() / PANEL;
        let lines = self.set_value_ends(kernels, batch, shape);
        if self.values.len() < lines {
            self.values.resize(lines, Line::ZERO);
        }
        let scales = batch.texts().len() * value_panels * 2 * PANEL;
        let parts = (
            uneven(&mut self.values[..lines], &self.value_ends),
            chunks(sized(&mut self.value_scales, scales), 2 * PANEL),
        );
        let factors = &self.value_factors;
        executor.for_each_part(parts, |index, (packed, scales), worker| {
            let (text, value_panel) = (index / value_panels, index % value_panels);
            let tokens = &batch.texts()[text];
            let panel = projected.values(value_panel);
            let mut values = &panel[tokens.start * PANEL..tokens.end * PANEL];
            if parameters.value_norm.is_some() {
                let normed = sized(&mut worker.up, values.len());
                let kv_head = value_panel * PANEL / shape.head_dim;
                let of_token = |token: usize| {
                    let panel = batch.first_panels[text] + token / PANEL;
                    factors[(panel * shape.kv_heads + kv_head) * PANEL + token % PANEL]
                };
                let rows = normed
                    .chunks_exact_mut(PANEL)
                    .zip(values.chunks_exact(PANEL));
                for (token, (out, row)) in rows.enumerate() {
                    let factor = of_token(token);
                    let products = row.iter().map(|value| value * factor);
                    out.iter_mut()
                        .zip(products)
                        .for_each(|(out, value)| *out = value);
                }
                values = normed;
            }
            kernels.pack_values(values, packed, scales);
            if let Some(bias) = parameters.value_bias {
                let bias = &bias[value_panel * PANEL..][..PANEL];
                let means = scales[PANEL..].iter_mut();
                means.zip(bias).for_each(|(mean, bias)| *mean += bias);
            }
            worker.stopwatch.lap(Phase::Values);
        });
    }

    /// `attended[token][head][head_dim]`: softmax(q kᵀ) v over the keys that each token sees, less the
    /// mean of v.
    fn attend(&mut self, executor: &mut impl RunParts, batch: &Batch, parameters: Parameters<'_>) {
        let Parameters { shape, reach, .. } = parameters;
        let mut attended = std::mem::take(&mut self.attended);
        let values = sized(&mut attended, batch.tokens() * shape.query_width());
        let parts = uneven_rows(values, shape.query_width(), &batch.tile_ends);
        let tiles = Tiles {
            attention: self,
            kernels: executor.kernels(),
            batch,
            shape,
            reach,
        };
        executor.for_each_part(parts, |index, out, worker| {
            for kv_head in 0..shape.kv_heads {
                tiles.attend(&batch.tiles[index], kv_head, worker, out);
            }
        });
        self.attended = attended;
    }

    /// Quantizes what [`attend`](Self::attend) gave, in chunks of rows: for each text the mean of
    /// its values in [`MEAN_TERMS`] rows, whose sum it is, then the tokens.
    fn quantize(
        &self,
        executor: &mut impl RunParts,
        batch: &Batch,
        shape: HeadShape,
        out: &mut Activations,
    ) {
        let kernels = executor.kernels();
        let width = shape.query_width();
        let (blocks, means) = (width / BLOCK, MEAN_TERMS * batch.texts().len());
        out.reshape(Self::output_shape(batch, shape));
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
    fn mean(&self, shape: HeadShape, text: usize, block: usize) -> &[f32] {
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
    shape: HeadShape,
    reach: Reach,
}

/// Lanes of the keys of a panel.
fn key_lanes(shape: HeadShape) -> usize {
    shape.key_width() / 2 * PANEL
}

/// `1 / sqrt(mean(x²) + eps)` of a row, from the first 32 values of each of its pieces. The order of the sums
/// is always the same.
fn inverse_rms<'a>(pieces: impl ExactSizeIterator<Item = &'a [f32]>, eps: f32) -> f32 {
    let values = pieces.len() * PANEL;
    let mut sums = [0.0; PANEL];
    for piece in pieces {
        for (sum, value) in sums.iter_mut().zip(piece) {
            *sum += value * value;
        }
    }
    let mean = sums.iter().sum::<f32>() / values as f32;
    1.0 / (mean + eps).sqrt()
}

impl Tiles<'_> {
    /// Writes the attention of the query heads of one key/value head into `out`, which has those of
    /// all heads for each token of the tile.
    fn attend(&self, tile: &QueryTile, kv_head: usize, worker: &mut Worker, out: &mut [f32]) {
        let (kernels, batch, reach) = (self.kernels, self.batch, self.reach);
        let (attention, shape) = (self.attention, self.shape);
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
