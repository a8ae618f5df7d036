//! The forward pass of EmbeddingGemma on INT8 products, from ids to vectors.
//!
//! ```text
//! x = E[ids] √hidden
//! for each layer:
//!     x += rms_norm(Wo attention(rms_norm(x)))
//!     x += rms_norm(Wdown (gelu(Wgate h) * (Wup h))), h = rms_norm(x)
//! vector = unit(D3 D2 mean over the tokens of rms_norm(x))
//! ```
//!
//! Every `rms_norm` has its own weights, and every input of a product is quantized.

use std::collections::TryReserveError;
use std::sync::Arc;

use lanewise_kernels::{Activation, Kernels, Pieces};
use lanewise_pool::partition::chunks;

use super::weights::Layer;
use super::{Config, GemmaEmbedding};
use crate::Result;
use crate::engine::attention::{Attention, Heads, Parameters};
use crate::engine::{
    ActivationShape, Activations, Batch, Executor, MEAN_TERMS, Matrix, PanelBuffer, Phase, Pooling,
    Product, Rope, dense_input, reserve, sized,
};
use crate::models::ForwardPass;
use crate::vectors::normalize;

/// A forward pass and all that it writes between ids and vectors; memory grows as needed and is
/// kept.
pub(super) struct Forward {
    model: Arc<GemmaEmbedding>,
    dense_heads: bool,
    /// A row of the embedding table, as the file has it.
    embedding: Vec<u8>,
    /// The residual stream, `[token][hidden]`, always f32.
    x: Vec<f32>,
    /// The quantized input of the next product.
    input: Activations,
    /// The quantized input of `ffn_down`.
    gated: Activations,
    /// The output of the last product.
    output: PanelBuffer,
    attention: Attention,
    global_rope: Rope,
    local_rope: Rope,
    /// What `dense_2` gives `dense_3`, a row a text.
    inner: Vec<f32>,
}

/// What is done with a row of the residual stream once a layer's output has been added to it.
#[derive(Clone, Copy)]
enum Then<'a> {
    /// `input = quantize(rms_norm(x) * weights)`.
    NormAndQuantize(&'a [f32]),
    /// `x = rms_norm(x) * weights`.
    NormInPlace(&'a [f32]),
    /// Nothing.
    Keep,
}

impl ForwardPass for Forward {
    fn reserve(&mut self, kernels: Kernels, batch: &Batch) -> Result<(), TryReserveError> {
        let model = Arc::clone(&self.model);
        let (config, weights) = (model.config(), model.weights());
        weights
            .product_matrices()
            .try_for_each(|matrix| matrix.prepare(kernels))?;
        let shape = batch.shape();
        let (tokens, texts) = (batch.tokens(), batch.texts().len());
        let inner = weights
            .dense
            .as_ref()
            .map_or(0, |[dense_2, _]| dense_2.rows());
        let attended = Attention::output_shape(batch);
        let inputs = [
            layer_input(batch).blocks(),
            attended.blocks(),
            dense_input(texts, shape.hidden).blocks(),
            dense_input(texts, inner).blocks(),
        ];
        let outputs = [
            PanelBuffer::values(shape.query_width() + 2 * shape.key_width(), tokens),
            PanelBuffer::values(shape.hidden, attended.tokens),
            PanelBuffer::values(inner, texts),
        ];
        let largest = |sizes: &[usize]| sizes.iter().copied().max().unwrap_or(0);
        reserve(&mut self.x, tokens * shape.hidden)?;
        reserve(&mut self.embedding, weights.token_embd.row_bytes())?;
        reserve(&mut self.inner, texts * inner)?;
        self.input.reserve(largest(&inputs))?;
        self.gated.reserve(gated_input(config, tokens).blocks())?;
        self.output.reserve(largest(&outputs))?;
        self.attention.reserve(kernels, batch)?;
        self.global_rope.reserve(shape.head_dim, batch.longest())?;
        self.local_rope.reserve(shape.head_dim, batch.longest())
    }

    fn longest_row(&self) -> usize {
        let columns = self.model.weights().product_matrices().map(Matrix::columns);
        columns.max().unwrap_or(0)
    }

    fn run(&mut self, executor: &mut Executor, batch: &Batch, out: &mut [f32]) -> Result<()> {
        let model = Arc::clone(&self.model);
        let weights = model.weights();
        self.embed(executor, batch)?;
        if let Some(first) = weights.layers.first() {
            self.add_output(
                executor,
                batch,
                None,
                Then::NormAndQuantize(&first.attn_norm),
            );
        }
        for (index, layer) in weights.layers.iter().enumerate() {
            let next = weights.layers.get(index + 1);
            let then = match next {
                Some(next) => Then::NormAndQuantize(&next.attn_norm),
                None => Then::NormInPlace(&weights.output_norm),
            };
            self.layer(executor, batch, index, layer, next, then);
        }
        executor.pool(batch, Pooling::Mean, &self.x, out);
        if self.dense_heads
            && let Some([dense_2, dense_3]) = &weights.dense
        {
            let mut inner = std::mem::take(&mut self.inner);
            let rows = sized(&mut inner, batch.texts().len() * dense_2.rows());
            let scratch = (&mut self.input, &mut self.output);
            executor.multiply_rows(dense_2, &[dense_3], out, scratch, rows);
            let scratch = (&mut self.input, &mut self.output);
            executor.multiply_rows(dense_3, &[], rows, scratch, out);
            self.inner = inner;
        }
        out.chunks_exact_mut(batch.shape().hidden)
            .for_each(normalize);
        executor.lap(Phase::Dense);
        Ok(())
    }

    fn first_not_finite(
        &mut self,
        executor: &mut Executor,
        batch: &Batch,
        out: &mut [f32],
    ) -> String {
        let model = Arc::clone(&self.model);
        let weights = model.weights();
        let finite = |x: &[f32]| x.iter().all(|value| value.is_finite());
        let values = batch.tokens() * batch.shape().hidden;
        if self.embed(executor, batch).is_err() || !finite(&self.x[..values]) {
            return "token_embd.weight".into();
        }
        for (index, layer) in weights.layers.iter().enumerate() {
            let input = Then::NormAndQuantize(&layer.attn_norm);
            self.add_output(executor, batch, None, input);
            let next = weights.layers.get(index + 1);
            self.layer(executor, batch, index, layer, next, Then::Keep);
            if !finite(&self.x[..values]) {
                return format!("blk.{index}");
            }
        }
        self.add_output(
            executor,
            batch,
            None,
            Then::NormInPlace(&weights.output_norm),
        );
        executor.pool(batch, Pooling::Mean, &self.x, out);
        let points_somewhere = |x: &[f32]| finite(x) && x.iter().any(|value| *value != 0.0);
        if out.chunks_exact(batch.shape().hidden).all(points_somewhere) {
            "dense_2.weight or dense_3.weight".into()
        } else {
            "output_norm.weight".into()
        }
    }
}

impl Forward {
    /// A forward pass that has not taken any memory yet; `dense_heads` is whether vectors pass the
    /// two heads.
    pub fn new(model: Arc<GemmaEmbedding>, dense_heads: bool) -> Self {
        Self {
            model,
            dense_heads,
            embedding: Vec::new(),
            x: Vec::new(),
            input: Activations::default(),
            gated: Activations::default(),
            output: PanelBuffer::default(),
            attention: Attention::default(),
            global_rope: Rope::default(),
            local_rope: Rope::default(),
            inner: Vec::new(),
        }
    }

    /// `x = embedding[id] * sqrt(hidden)`.
    fn embed(&mut self, executor: &mut Executor, batch: &Batch) -> Result<()> {
        let (config, shape) = (self.model.config(), batch.shape());
        let table = &self.model.weights().token_embd;
        let factor = (shape.hidden as f32).sqrt();
        for (rope, base) in [
            (&mut self.global_rope, config.rope_base_global),
            (&mut self.local_rope, config.rope_base_local),
        ] {
            rope.extend(base, shape.head_dim, batch.longest());
        }
        let x = sized(&mut self.x, batch.tokens() * shape.hidden);
        for (id, x) in batch.ids().iter().zip(x.chunks_exact_mut(shape.hidden)) {
            let (row, kernels) = (*id as usize, executor.kernels());
            table.copy_row_scaled(kernels, row, factor, &mut self.embedding, x)?;
        }
        executor.lap(Phase::Embed);
        Ok(())
    }

    /// One layer, from `input`, which holds `rms_norm(x)`, to `x` and what is `then` done with it.
    fn layer(
        &mut self,
        executor: &mut Executor,
        batch: &Batch,
        index: usize,
        layer: &Layer,
        next: Option<&Layer>,
        then: Then<'_>,
    ) {
        self.attention(executor, batch, index, layer);
        let attended = Output {
            norm: &layer.post_attention_norm,
            shared: MEAN_TERMS,
        };
        let input = Then::NormAndQuantize(&layer.ffn_norm);
        self.add_output(executor, batch, Some(attended), input);

        self.feed_forward(executor, batch, layer, next);
        let fed_forward = Output {
            norm: &layer.post_ffw_norm,
            shared: 0,
        };
        self.add_output(executor, batch, Some(fed_forward), then);
    }

    /// `output = Wo attention(input)`, in [`MEAN_TERMS`] rows a text for the mean of its values and
    /// one a token for the rest.
    fn attention(&mut self, executor: &mut Executor, batch: &Batch, index: usize, layer: &Layer) {
        let config = self.model.config();
        let queries_keys_values = Product {
            phase: Phase::AttnInput,
            matrices: &[&layer.attn_q, &layer.attn_k, &layer.attn_v],
            next: &[&layer.attn_output],
        };
        executor.multiply(queries_keys_values, &self.input, &mut self.output);
        let rope = match config.is_global(index) {
            true => &self.global_rope,
            false => &self.local_rope,
        };
        let parameters = Parameters {
            heads: Heads::NormRope {
                query_norm: &layer.attn_q_norm,
                key_norm: &layer.attn_k_norm,
                eps: config.rms_norm_eps,
                rope,
            },
            scale: 1.0 / (batch.shape().head_dim as f32).sqrt(),
            value_bias: None,
            reach: config.reach(index),
        };
        self.attention
            .run(executor, batch, &self.output, parameters, &mut self.input);
        let output = Product {
            phase: Phase::AttnOutput,
            matrices: &[&layer.attn_output],
            next: &[&layer.ffn_gate],
        };
        executor.multiply(output, &self.input, &mut self.output);
    }

    /// `output = Wdown (gelu(Wgate input) * (Wup input))`.
    fn feed_forward(
        &mut self,
        executor: &mut Executor,
        batch: &Batch,
        layer: &Layer,
        next: Option<&Layer>,
    ) {
        self.gated
            .reshape(gated_input(self.model.config(), batch.tokens()));
        let gate_and_up = [&layer.ffn_gate, &layer.ffn_up];
        executor.multiply_gated(
            Activation::GeluTanh,
            gate_and_up,
            &[&layer.ffn_down],
            &self.input,
            &mut self.gated,
        );
        let next = next.map(|layer| [&layer.attn_q, &layer.attn_k, &layer.attn_v]);
        let down = Product {
            phase: Phase::FfnOutput,
            matrices: &[&layer.ffn_down],
            next: next.as_ref().map_or(&[], |matrices| matrices),
        };
        executor.multiply(down, &self.gated, &mut self.output);
    }

    /// `x += rms_norm(output) * norm`, if there is an output, and what is `then` done with `x`: one
    /// pass over each token's row while it is in the cache.
    fn add_output(
        &mut self,
        executor: &mut Executor,
        batch: &Batch,
        output: Option<Output<'_>>,
        then: Then<'_>,
    ) {
        let (kernels, eps) = (executor.kernels(), self.model.config().rms_norm_eps);
        let hidden = batch.shape().hidden;
        let values = &self.output;
        let shared = output.map_or(0, |output| output.shared);
        let first = shared * batch.texts().len();
        self.input.reshape(layer_input(batch));
        let parts = (
            self.input.chunks_mut(),
            chunks(
                &mut self.x[..batch.tokens() * hidden],
                batch.chunk() * hidden,
            ),
        );
        executor.for_each_part(parts, |chunk, (input, x), worker| {
            let count = x.len() / hidden;
            let tokens = chunk * batch.chunk()..chunk * batch.chunk() + count;
            let mut rows = x.chunks_exact_mut(hidden).zip(tokens.clone()).enumerate();
            for (text, tokens) in batch.texts_within(tokens) {
                let shared_rows = text * shared..(text + 1) * shared;
                let base = sum_rows(
                    shared_rows.map(|row| values.row(row)),
                    hidden,
                    &mut worker.row,
                );
                for (index, (x, token)) in rows.by_ref().take(tokens.len()) {
                    if let Some(output) = output {
                        let y = values.row(first + token);
                        kernels.add_rms_norm(x, y, base, output.norm, eps);
                    }
                    match then {
                        Then::NormAndQuantize(norm) => {
                            kernels.rms_norm_quantize(x, norm, eps, &mut input[index..], count);
                        }
                        Then::NormInPlace(norm) => kernels.rms_norm(x, norm, eps),
                        Then::Keep => {}
                    }
                }
            }
            worker.stopwatch.lap(Phase::Norm);
        });
    }
}

/// The shape of `rms_norm(x)` as the input of a layer's products.
pub(super) fn layer_input(batch: &Batch) -> ActivationShape {
    ActivationShape {
        tokens: batch.tokens(),
        columns: batch.shape().hidden,
        chunk: batch.chunk(),
        terms: 1,
    }
}

/// The output of a product, to be added to the residual stream.
#[derive(Clone, Copy)]
struct Output<'a> {
    /// The weights of the norm that it passes.
    norm: &'a [f32],
    /// Rows of each text, before those of the tokens, that are added to the rows of all its
    /// tokens.
    shared: usize,
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

/// The shape of the input of `ffn_down`: one chunk, since each panel of the gated product is one
/// block of all tokens.
pub(super) fn gated_input(config: &Config, tokens: usize) -> ActivationShape {
    ActivationShape {
        tokens,
        columns: config.feed_forward,
        chunk: tokens,
        terms: 1,
    }
}
