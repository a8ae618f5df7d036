//! Bidirectional attention: preparing queries, keys and values, then each tile of queries over the keys it sees.
//!
//! Softmax weights sum to one, so the mean of a text's values can be taken out before they are weighted and put back
//! after: even after the product with `attn_output`, once a text. What remains is small, which keeps the rounding errors
//! of one INT8 term small in both products (docs/LOG.md).

use crate::model::{Config, Layer};
use crate::runtime::batch::{Batch, MEAN_TERMS, QueryTile};
use crate::runtime::phases::Phase;
use crate::runtime::pool::Pool;
use crate::runtime::product::{Worker, panel_stride};
use crate::runtime::reserve;
use crate::runtime::rope::Rope;
use crate::runtime::split::{chunks, uneven};
use lanewise_kernels::{ActivationBlock, BLOCK, Kernels, PANEL, Pieces, pack_keys};
use std::collections::TryReserveError;

/// Queries, keys and values of one layer, quantised and packed.
#[derive(Default)]
pub(super) struct Heads {
    /// INT16, a key panel's tokens together: `[kv_head][token][query head of the group][head_dim]`.
    queries: Vec<i16>,
    /// One a query, 1/√head_dim included, in the order of `queries`.
    query_scales: Vec<f32>,
    /// A key panel's `[kv_head][head_dim / 2][32]` lanes.
    keys: Vec<i32>,
    key_scales: Vec<f32>,
    /// A text's `[kv_head * head_dim / 32][pairs of tokens][32]` lanes.
    values: Vec<i32>,
    value_scales: Vec<f32>,
}

impl Heads {
    /// Makes room for [`resize`](Self::resize).
    pub fn reserve(&mut self, batch: &Batch) -> Result<(), TryReserveError> {
        let last = |ends: &[usize]| ends.last().copied().unwrap_or(0);
        reserve(&mut self.queries, last(&batch.query_ends))?;
        reserve(&mut self.query_scales, last(&batch.query_scale_ends))?;
        reserve(&mut self.keys, last(&batch.key_ends))?;
        reserve(&mut self.key_scales, last(&batch.key_scale_ends))?;
        reserve(&mut self.values, last(&batch.value_ends))?;
        reserve(&mut self.value_scales, last(&batch.value_scale_ends))
    }

    pub fn resize(&mut self, batch: &Batch) {
        let last = |ends: &[usize]| ends.last().copied().unwrap_or(0);
        self.queries.resize(last(&batch.query_ends), 0);
        self.query_scales.resize(last(&batch.query_scale_ends), 0.0);
        self.keys.resize(last(&batch.key_ends), 0);
        self.key_scales.resize(last(&batch.key_scale_ends), 0.0);
        self.values.resize(last(&batch.value_ends), 0);
        self.value_scales.resize(last(&batch.value_scale_ends), 0.0);
    }

    /// Norm, RoPE and quantisation of `projected`, the outputs of q, k and v one panel after the other.
    #[allow(clippy::too_many_arguments)]
    pub fn prepare(
        &mut self,
        kernels: Kernels,
        pool: &mut Pool,
        workers: &mut [Worker],
        config: &Config,
        layer: &Layer,
        rope: &Rope,
        batch: &Batch,
        projected: &[f32],
    ) {
        let (dim, eps) = (config.head_dim, config.rms_norm_eps);
        let head_panels = dim / PANEL;
        let stride = panel_stride(batch.tokens());
        let group = config.heads / config.kv_heads;
        let head = |head: usize, token: usize| {
            Pieces::new(
                &projected[head * head_panels * stride + token * PANEL..],
                stride,
                head_panels,
            )
        };
        let parts = (
            uneven(&mut self.queries, &batch.query_ends),
            uneven(&mut self.query_scales, &batch.query_scale_ends),
            uneven(&mut self.keys, &batch.key_ends),
            uneven(&mut self.key_scales, &batch.key_scale_ends),
        );
        let root = 1.0 / (dim as f32).sqrt();
        pool.for_each_part(
            parts,
            workers,
            |index, (queries, query_scales, keys, key_scales), worker| {
                worker.stopwatch.lap(Phase::Wait);
                let panel = &batch.panels[index];
                let mut rows = queries.chunks_exact_mut(dim).zip(query_scales);
                worker.keys.resize(panel.tokens.len() * dim, 0);
                for kv_head in 0..config.kv_heads {
                    let key_scales = &mut key_scales[kv_head * PANEL..][..PANEL];
                    for (offset, token) in panel.tokens.clone().enumerate() {
                        let rope = rope.position(panel.position + offset);
                        for (query, (row, scale)) in rows.by_ref().take(group).enumerate() {
                            let x = head(kv_head * group + query, token);
                            *scale = kernels.head_norm_rope(x, &layer.attn_q_norm, rope, eps, row)
                                * root;
                        }
                        let row = &mut worker.keys[offset * dim..][..dim];
                        let x = head(config.heads + kv_head, token);
                        key_scales[offset] =
                            kernels.head_norm_rope(x, &layer.attn_k_norm, rope, eps, row);
                    }
                    let lanes = dim / 2 * PANEL;
                    pack_keys(&worker.keys, dim, &mut keys[kv_head * lanes..][..lanes]);
                }
                worker.stopwatch.lap(Phase::Heads);
            },
        );

        let value_panels = config.kv_heads * head_panels;
        let first_value = (config.heads + config.kv_heads) * head_panels * stride;
        let parts = (
            uneven(&mut self.values, &batch.value_ends),
            uneven(&mut self.value_scales, &batch.value_scale_ends),
        );
        pool.for_each_part(parts, workers, |index, (packed, scales), worker| {
            worker.stopwatch.lap(Phase::Wait);
            let tokens = &batch.texts[index / value_panels];
            let panel = &projected[first_value + index % value_panels * stride..][..stride];
            kernels.pack_values(
                &panel[tokens.start * PANEL..tokens.end * PANEL],
                packed,
                scales,
            );
            worker.stopwatch.lap(Phase::Values);
        });
    }

    /// `out[token][head][head_dim]`: softmax(q kᵀ) v over the keys within `reach` of each token, less the mean of v.
    #[allow(clippy::too_many_arguments)]
    pub fn attend(
        &self,
        kernels: Kernels,
        pool: &mut Pool,
        workers: &mut [Worker],
        config: &Config,
        reach: usize,
        batch: &Batch,
        out: &mut [f32],
    ) {
        let parts = uneven(out, &batch.attended_ends);
        pool.for_each_part(parts, workers, |index, out, worker| {
            worker.stopwatch.lap(Phase::Wait);
            for kv_head in 0..config.kv_heads {
                self.attend_tile(
                    kernels,
                    config,
                    reach,
                    batch,
                    &batch.tiles[index],
                    kv_head,
                    worker,
                    out,
                );
            }
        });
    }

    /// Quantises what [`attend`](Self::attend) gave, in chunks of rows: for each text the mean of its values in
    /// [`MEAN_TERMS`] rows, whose sum it is, then the tokens.
    #[allow(clippy::too_many_arguments)]
    pub fn quantise(
        &self,
        kernels: Kernels,
        pool: &mut Pool,
        workers: &mut [Worker],
        config: &Config,
        batch: &Batch,
        attended: &[f32],
        out: &mut [ActivationBlock],
    ) {
        let width = config.heads * config.head_dim;
        let (blocks, means) = (width / BLOCK, MEAN_TERMS * batch.texts.len());
        let parts = chunks(out, batch.attended_chunk * blocks);
        pool.for_each_part(parts, workers, |index, out, worker| {
            worker.stopwatch.lap(Phase::Wait);
            let (first, count) = (index * batch.attended_chunk, out.len() / blocks);
            // A chunk is a multiple of `MEAN_TERMS` rows, so none begins between those of one text.
            let mut row = 0;
            while row < count {
                match (first + row).checked_sub(means) {
                    Some(token) => {
                        let attended = &attended[token * width..][..width];
                        kernels.quantize(attended, 1, &mut out[row..], count);
                        row += 1;
                    }
                    None => {
                        let text = (first + row) / MEAN_TERMS;
                        for block in 0..blocks {
                            let mean = self.mean(config, text, block);
                            let terms = &mut out[block * count + row..][..MEAN_TERMS];
                            kernels.quantize(mean, MEAN_TERMS, terms, MEAN_TERMS);
                            // On its own the first term counts 256 units of the second.
                            terms[0].scale *= 256.0;
                        }
                        row += MEAN_TERMS;
                    }
                }
            }
            worker.stopwatch.lap(Phase::Quantise);
        });
    }

    /// Block `block` of the row that attention would give if all weights were equal: the same for all query heads of a
    /// key/value head.
    fn mean(&self, config: &Config, text: usize, block: usize) -> &[f32] {
        let head_panels = config.head_dim / PANEL;
        let kv_head = block / head_panels / (config.heads / config.kv_heads);
        let panel = (text * config.kv_heads + kv_head) * head_panels + block % head_panels;
        &self.value_scales[(2 * panel + 1) * PANEL..][..PANEL]
    }

    #[allow(clippy::too_many_arguments)]
    fn attend_tile(
        &self,
        kernels: Kernels,
        config: &Config,
        reach: usize,
        batch: &Batch,
        tile: &QueryTile,
        kv_head: usize,
        worker: &mut Worker,
        out: &mut [f32],
    ) {
        let dim = config.head_dim;
        let group = config.heads / config.kv_heads;
        let text = &batch.texts[tile.text];
        let length = text.len();
        let first_panel = batch.first_panels[tile.text];
        let (first, last) = (
            tile.tokens.start - text.start,
            tile.tokens.end - 1 - text.start,
        );
        // Whole panels of keys that any token of the tile sees; what a token does not see gets no weight below.
        let panels =
            first.saturating_sub(reach) / PANEL..(last + reach + 1).min(length).div_ceil(PANEL);
        let first_key = panels.start * PANEL;
        let padded = panels.len() * PANEL;

        let panel = &batch.panels[tile.panel];
        let row = panel.tokens.start * config.heads
            + (kv_head * panel.tokens.len() + tile.tokens.start - panel.tokens.start) * group;
        let rows = row..row + tile.tokens.len() * group;
        let queries = &self.queries[rows.start * dim..rows.end * dim];
        let query_scales = &self.query_scales[rows];
        let count = query_scales.len();
        worker.scores.resize(count * padded, 0.0);
        worker.weights.resize(count * padded, 0);
        worker.factors.resize(count, 0.0);
        worker.attended.resize(count * dim, 0.0);

        let lanes = dim / 2 * PANEL;
        for (column, panel) in panels.clone().enumerate() {
            let at = (first_panel + panel) * config.kv_heads + kv_head;
            kernels.attention_scores(
                queries,
                query_scales,
                &self.keys[at * lanes..][..lanes],
                &self.key_scales[at * PANEL..][..PANEL],
                &mut worker.scores[column * PANEL..],
                padded,
            );
        }
        worker.stopwatch.lap(Phase::Scores);
        for row in 0..count {
            let position = first + row / group;
            let seen = position.saturating_sub(reach) - first_key
                ..(position + reach + 1).min(length) - first_key;
            let scores = &mut worker.scores[row * padded..][..padded];
            let weights = &mut worker.weights[row * padded..][..padded];
            worker.factors[row] = 1.0 / kernels.softmax(scores, seen, weights) as f32;
        }
        worker.stopwatch.lap(Phase::Softmax);

        let steps = first_key / 2..(first_key + padded).min(length).div_ceil(2);
        let head_panels = dim / PANEL;
        let value_panels = config.kv_heads * head_panels;
        for panel in 0..head_panels {
            let at = tile.text * value_panels + kv_head * head_panels + panel;
            let start = at
                .checked_sub(1)
                .map_or(0, |before| batch.value_ends[before]);
            let packed = &self.values[start..batch.value_ends[at]];
            kernels.attention_weighted_sum(
                &worker.weights,
                padded,
                &worker.factors,
                &packed[steps.start * PANEL..steps.end * PANEL],
                &self.value_scales[at * 2 * PANEL..][..PANEL],
                &mut worker.attended[panel * PANEL..],
                dim,
            );
        }
        let token_heads = out.chunks_exact_mut(config.heads * dim);
        for (token, rows) in token_heads.zip(worker.attended.chunks_exact(group * dim)) {
            token[kv_head * group * dim..][..group * dim].copy_from_slice(rows);
        }
        worker.stopwatch.lap(Phase::WeightedSum);
    }
}
