//! The forward pass of EmbeddingGemma on INT8 products, from ids to vectors.

use crate::Result;
use crate::model::{Matrix, MatrixType, Model};
use crate::runtime::attention::Heads;
use crate::runtime::batch::{Batch, MEAN_TERMS};
use crate::runtime::phases::Phase;
use crate::runtime::product::{Chunked, Source, Stage, panel_stride};
use crate::runtime::rope::Rope;
use crate::runtime::split::chunks;
use crate::runtime::{Runtime, normalize, reserve};
use half::{bf16, f16};
use lanewise_kernels::{ActivationBlock, BLOCK, PANEL, Pieces};
use std::collections::TryReserveError;

/// INT8 terms of the input of the two dense heads, whose error goes into the vector as it is (docs/LOG.md).
const FINE: usize = 2;

/// Everything a pass writes between ids and vectors; grown as needed, never shrunk.
#[derive(Default)]
pub(super) struct State {
    /// A row of the embedding table, as the file has it.
    embedding: Vec<u8>,
    /// The residual stream, `[token][hidden]`, always f32.
    x: Vec<f32>,
    /// The quantised input of a product, in chunks of tokens.
    input: Vec<ActivationBlock>,
    /// The quantised input of `ffn_down`, `[feed_forward / 32][token]`.
    gated: Vec<ActivationBlock>,
    /// The output of a product, `[rows / 32][token][32]`, panels [`panel_stride`] apart.
    output: Vec<f32>,
    /// The output of attention without the mean of the values, `[token][heads * head_dim]`.
    attended: Vec<f32>,
    heads: Heads,
    global_rope: Rope,
    local_rope: Rope,
    /// What `dense_2` gives `dense_3`, one row a text.
    row: Vec<f32>,
}

impl State {
    /// Makes room for the pass over a batch.
    pub fn reserve(&mut self, model: &Model, batch: &Batch) -> Result<(), TryReserveError> {
        let (config, tokens, texts) = (model.config(), batch.tokens(), batch.texts.len());
        let (hidden, width) = (config.hidden, config.heads * config.head_dim);
        let projected = width + 2 * config.kv_heads * config.head_dim;
        let inner = match &model.weights().dense {
            Some([dense_2, _]) => texts * dense_2.rows,
            None => 0,
        };
        let rows = tokens + MEAN_TERMS * texts;
        let quantised = [
            tokens * hidden,
            rows * width,
            FINE * texts * hidden,
            FINE * inner,
        ];
        let inner_rows = inner / texts.max(1);
        let products = [
            projected / PANEL * panel_stride(tokens),
            hidden / PANEL * panel_stride(rows),
            inner_rows / PANEL * panel_stride(texts),
        ];
        let largest = |lengths: &[usize]| lengths.iter().copied().max().unwrap_or(0);
        reserve(&mut self.x, tokens * hidden)?;
        reserve(&mut self.embedding, model.weights().token_embd.row_bytes())?;
        reserve(&mut self.input, largest(&quantised) / BLOCK)?;
        reserve(&mut self.gated, tokens * config.feed_forward / BLOCK)?;
        reserve(&mut self.output, largest(&products))?;
        reserve(&mut self.attended, tokens * width)?;
        reserve(&mut self.row, inner)?;
        self.heads.reserve(batch)?;
        self.global_rope.reserve(config.head_dim, batch.longest)?;
        self.local_rope.reserve(config.head_dim, batch.longest)
    }
}

impl Runtime {
    /// Runs the batch; row `i` of `out` becomes the vector of text `i`.
    pub(super) fn forward(&mut self, out: &mut [f32]) -> Result<()> {
        self.embed_ids()?;
        for layer in 0..self.model.config().layers {
            self.attention(layer);
            self.feed_forward(layer);
        }
        self.pool_tokens(out);
        self.workers[0].stopwatch.lap(Phase::Wait);
        if self.dense_heads {
            self.apply_dense_heads(out);
        }
        for vector in out.chunks_exact_mut(self.model.config().hidden) {
            normalize(vector);
        }
        self.workers[0].stopwatch.lap(Phase::Dense);
        Ok(())
    }

    /// After a pass that gave values not finite: the first place that does.
    pub(super) fn first_layer_not_finite(&mut self, out: &mut [f32]) -> String {
        let finite = |x: &[f32]| x.iter().all(|value| value.is_finite());
        // What other products left between rows is no output of these.
        self.state.output.clear();
        if self.embed_ids().is_err() || !finite(&self.state.x) {
            return "token_embd.weight".into();
        }
        for layer in 0..self.model.config().layers {
            self.attention(layer);
            self.feed_forward(layer);
            if !finite(&self.state.x) || !finite(&self.state.output) {
                return format!("blk.{layer}");
            }
        }
        self.pool_tokens(out);
        let points_somewhere = |x: &[f32]| finite(x) && x.iter().any(|value| *value != 0.0);
        if out
            .chunks_exact(self.model.config().hidden)
            .all(points_somewhere)
        {
            "dense_2.weight or dense_3.weight"
        } else {
            "output_norm.weight"
        }
        .into()
    }

    /// `x = embedding[id] * sqrt(hidden)`.
    fn embed_ids(&mut self) -> Result<()> {
        let (batch, state, kernels) = (&self.batch, &mut self.state, self.kernels);
        let config = self.model.config();
        let hidden = config.hidden;
        state.x.resize(batch.tokens() * hidden, 0.0);
        state.heads.resize(batch);
        state
            .global_rope
            .extend(config.rope_base_global, config.head_dim, batch.longest);
        state
            .local_rope
            .extend(config.rope_base_local, config.head_dim, batch.longest);
        let matrix = &self.model.weights().token_embd;
        let row = &mut state.embedding;
        row.resize(matrix.row_bytes(), 0);
        let factor = (hidden as f32).sqrt();
        for (id, x) in batch.ids.iter().zip(state.x.chunks_exact_mut(hidden)) {
            let start = matrix.range.start + *id as usize * row.len();
            self.model.gguf().copy(start, row)?;
            match matrix.kind {
                MatrixType::Q8_0 => kernels.dequantize_q8_0(row, factor, x),
                MatrixType::F32 => widen(row, x, factor, |&b: &[u8; 4]| f32::from_le_bytes(b)),
                MatrixType::F16 => widen(row, x, factor, |&b: &[u8; 2]| {
                    f16::from_le_bytes(b).to_f32()
                }),
                MatrixType::Bf16 => widen(row, x, factor, |&b: &[u8; 2]| {
                    bf16::from_le_bytes(b).to_f32()
                }),
            }
        }
        self.workers[0].stopwatch.lap(Phase::Embed);
        Ok(())
    }

    /// `output = Wo attention(rms_norm(x))`, in [`MEAN_TERMS`] rows a text for the mean of its values and one a token for the
    /// rest, after the layer before has been added to `x`.
    fn attention(&mut self, index: usize) {
        let model = self.model.clone();
        let (config, layer) = (model.config(), &model.weights().layers[index]);
        let before = index
            .checked_sub(1)
            .map(|before| &model.weights().layers[before]);
        self.add_and_norm(
            before.map(|layer| &layer.post_ffw_norm[..]),
            0,
            &layer.attn_norm,
        );
        let (rope, reach) = if config.is_global(index) {
            (&self.state.global_rope, self.batch.longest)
        } else {
            (&self.state.local_rope, config.sliding_window / 2)
        };
        let source = Source {
            kernels: self.kernels,
            gguf: model.gguf(),
        };
        let (pool, workers, batch) = (&mut self.pool, &mut self.workers[..], &self.batch);
        let kernels = self.kernels;
        let tokens = batch.tokens();

        let input = &self.state.input[..tokens * config.hidden / BLOCK];
        let input = Chunked {
            blocks: input,
            tokens,
            chunk: batch.chunk,
            terms: 1,
        };
        let rows = layer.attn_q.rows + layer.attn_k.rows + layer.attn_v.rows;
        let projected = sized(&mut self.state.output, rows / PANEL * panel_stride(tokens));
        source.product(
            pool,
            workers,
            Stage {
                phase: Phase::AttnInput,
                matrices: &[&layer.attn_q, &layer.attn_k, &layer.attn_v],
                following: &[&layer.attn_output],
            },
            input,
            projected,
        );

        let heads = &mut self.state.heads;
        heads.prepare(
            kernels, pool, workers, config, layer, rope, batch, projected,
        );
        let width = config.heads * config.head_dim;
        let attended = sized(&mut self.state.attended, tokens * width);
        heads.attend(kernels, pool, workers, config, reach, batch, attended);

        let rows = tokens + MEAN_TERMS * batch.texts.len();
        let input = sized(&mut self.state.input, rows * width / BLOCK);
        heads.quantise(kernels, pool, workers, config, batch, attended, input);
        let input = Chunked {
            blocks: input,
            tokens: rows,
            chunk: batch.attended_chunk,
            terms: 1,
        };
        let length = config.hidden / PANEL * panel_stride(rows);
        let output = sized(&mut self.state.output, length);
        source.product(
            pool,
            workers,
            Stage {
                phase: Phase::AttnOutput,
                matrices: &[&layer.attn_output],
                following: &[&layer.ffn_gate],
            },
            input,
            output,
        );
    }

    /// `output = Wdown (gelu(Wgate h) * (Wup h))`, `h = rms_norm(x)`, after attention has been added to `x`.
    fn feed_forward(&mut self, index: usize) {
        let model = self.model.clone();
        let (config, layer) = (model.config(), &model.weights().layers[index]);
        self.add_and_norm(
            Some(&layer.post_attention_norm),
            MEAN_TERMS,
            &layer.ffn_norm,
        );
        let source = Source {
            kernels: self.kernels,
            gguf: model.gguf(),
        };
        let (pool, workers, batch) = (&mut self.pool, &mut self.workers[..], &self.batch);
        let tokens = batch.tokens();

        let input = &self.state.input[..tokens * config.hidden / BLOCK];
        let input = Chunked {
            blocks: input,
            tokens,
            chunk: batch.chunk,
            terms: 1,
        };
        let gated = sized(&mut self.state.gated, tokens * config.feed_forward / BLOCK);
        source.gated_product(
            pool,
            workers,
            [&layer.ffn_gate, &layer.ffn_up],
            &[&layer.ffn_down],
            input,
            gated,
        );
        let gated = Chunked {
            blocks: gated,
            tokens,
            chunk: tokens,
            terms: 1,
        };
        let length = config.hidden / PANEL * panel_stride(tokens);
        let output = sized(&mut self.state.output, length);
        let after = model.weights().layers.get(index + 1);
        let after = after.map(|layer| [&layer.attn_q, &layer.attn_k, &layer.attn_v]);
        let stage = Stage {
            phase: Phase::FfnOutput,
            matrices: &[&layer.ffn_down],
            following: after.as_ref().map_or(&[], |matrices| matrices),
        };
        source.product(pool, workers, stage, gated, output);
    }

    /// `x += rms_norm(output) * post_norm`, where there is an output yet, then `input = quantise(rms_norm(x) * norm)`: one
    /// pass over each token's row while it is in the cache.
    ///
    /// The first `shared` rows a text of the output are added to the rows of all its tokens.
    fn add_and_norm(&mut self, post_norm: Option<&[f32]>, shared: usize, norm: &[f32]) {
        let (config, batch, kernels) = (self.model.config(), &self.batch, self.kernels);
        let (hidden, eps, tokens) = (config.hidden, config.rms_norm_eps, batch.tokens());
        let blocks = hidden / BLOCK;
        let first = shared * batch.texts.len();
        let output = &self.state.output;
        let output_row = |row: usize| token_row(output, row, first + tokens, hidden);
        let parts = (
            chunks(
                sized(&mut self.state.input, tokens * blocks),
                batch.chunk * blocks,
            ),
            chunks(&mut self.state.x, batch.chunk * hidden),
        );
        self.pool
            .for_each_part(parts, &mut self.workers, |chunk, (input, x), worker| {
                worker.stopwatch.lap(Phase::Wait);
                let count = x.len() / hidden;
                let tokens = chunk * batch.chunk..chunk * batch.chunk + count;
                let mut rows = x.chunks_exact_mut(hidden).zip(tokens.clone()).enumerate();
                for (text, tokens) in batch.texts_within(tokens) {
                    worker.base.clear();
                    worker.base.resize(hidden, 0.0);
                    for row in text * shared..(text + 1) * shared {
                        output_row(row).add_to(&mut worker.base);
                    }
                    let base = (shared > 0).then_some(&worker.base[..]);
                    for (index, (x, token)) in rows.by_ref().take(tokens.len()) {
                        if let Some(weight) = post_norm {
                            kernels.add_rms_norm(x, output_row(first + token), base, weight, eps);
                        }
                        kernels.rms_norm_quantize(x, norm, eps, &mut input[index..], count);
                    }
                }
                worker.stopwatch.lap(Phase::Norm);
            });
    }

    /// `out = mean over the tokens of rms_norm(x) * output_norm`, after the last layer has been added to `x`.
    fn pool_tokens(&mut self, out: &mut [f32]) {
        let (config, batch, kernels) = (self.model.config(), &self.batch, self.kernels);
        let (hidden, eps, tokens) = (config.hidden, config.rms_norm_eps, batch.tokens());
        let weights = self.model.weights();
        let post_norm = weights.layers.last().map(|layer| &layer.post_ffw_norm);
        let output = &self.state.output;
        let parts = chunks(&mut self.state.x, batch.chunk * hidden);
        self.pool
            .for_each_part(parts, &mut self.workers, |chunk, x, worker| {
                worker.stopwatch.lap(Phase::Wait);
                for (token, x) in x.chunks_exact_mut(hidden).enumerate() {
                    if let Some(weight) = post_norm {
                        let y = token_row(output, chunk * batch.chunk + token, tokens, hidden);
                        kernels.add_rms_norm(x, y, None, weight, eps);
                    }
                    kernels.rms_norm(x, &weights.output_norm, eps);
                }
                worker.stopwatch.lap(Phase::Pool);
            });
        let x = &self.state.x;
        self.pool.for_each_part(
            chunks(out, hidden),
            &mut self.workers,
            |text, mean, worker| {
                worker.stopwatch.lap(Phase::Wait);
                let tokens = &batch.texts[text];
                mean.fill(0.0);
                for x in x[tokens.start * hidden..tokens.end * hidden].chunks_exact(hidden) {
                    kernels.accumulate(mean, x);
                }
                let count = tokens.len() as f32;
                mean.iter_mut().for_each(|value| *value /= count);
                worker.stopwatch.lap(Phase::Pool);
            },
        );
    }

    /// `out = dense_3 (dense_2 out)`, no activation between or after.
    fn apply_dense_heads(&mut self, out: &mut [f32]) {
        let model = self.model.clone();
        let Some([dense_2, dense_3]) = &model.weights().dense else {
            return;
        };
        let texts = self.batch.texts.len();
        let mut row = std::mem::take(&mut self.state.row);
        sized(&mut row, texts * dense_2.rows);
        self.dense(dense_2, out, &mut row[..texts * dense_2.rows]);
        self.dense(dense_3, &row[..texts * dense_2.rows], out);
        self.state.row = row;
    }

    /// `out = matrix x` for one row a text, the input in two terms.
    fn dense(&mut self, matrix: &Matrix, x: &[f32], out: &mut [f32]) {
        let kernels = self.kernels;
        let texts = self.batch.texts.len();
        let input = sized(&mut self.state.input, texts * matrix.columns / BLOCK * FINE);
        for (text, x) in x.chunks_exact(matrix.columns).enumerate() {
            kernels.quantize(x, FINE, &mut input[text * FINE..], texts * FINE);
        }
        self.workers[0].stopwatch.lap(Phase::Dense);
        let input = Chunked {
            blocks: input,
            tokens: texts,
            chunk: texts,
            terms: FINE,
        };
        let length = matrix.rows / PANEL * panel_stride(texts);
        let output = sized(&mut self.state.output, length);
        let source = Source {
            kernels,
            gguf: self.model.gguf(),
        };
        let stage = Stage {
            phase: Phase::Dense,
            matrices: &[matrix],
            following: &[],
        };
        let (pool, workers) = (&mut self.pool, &mut self.workers[..]);
        source.product(pool, workers, stage, input, output);
        for (text, row) in out.chunks_exact_mut(matrix.rows).enumerate() {
            for (panel, piece) in row.chunks_exact_mut(PANEL).enumerate() {
                piece.copy_from_slice(
                    &output[panel * panel_stride(texts) + text * PANEL..][..PANEL],
                );
            }
        }
    }
}

/// The row of one token in the output of a product of `width` rows.
fn token_row(output: &[f32], token: usize, tokens: usize, width: usize) -> Pieces<'_> {
    let (stride, panels) = (panel_stride(tokens), width / PANEL);
    Pieces::new(&output[token * PANEL..panels * stride], stride, panels)
}

/// The first `length` elements of a buffer, which grows if it must.
fn sized<T: Copy + Default>(buffer: &mut Vec<T>, length: usize) -> &mut [T] {
    if buffer.len() < length {
        buffer.resize(length, T::default());
    }
    &mut buffer[..length]
}

/// A row of floats times `factor`.
fn widen<const SIZE: usize>(
    row: &[u8],
    x: &mut [f32],
    factor: f32,
    value: impl Fn(&[u8; SIZE]) -> f32,
) {
    let (values, _) = row.as_chunks::<SIZE>();
    for (x, bytes) in x.iter_mut().zip(values) {
        *x = value(bytes) * factor;
    }
}
