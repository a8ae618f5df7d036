//! The forward pass of BERT on INT8 products, from ids to vectors, and that of its variants.
//!
//! ```text
//! x = layer_norm(E[ids] + T[0] + P[positions])
//! for each layer:
//!     x = layer_norm(x + Wo attention(Wq x + bq, Wk x + bk, Wv x + bv) + bo)
//!     x = layer_norm(x + Wdown gelu(Wup x + bup) + bdown)
//! vector = unit(mean over the tokens of x, or x of the first)
//! ```
//!
//! Nomic BERT has RoPE in `attention` instead of `P`, `silu(Wgate x) * (Wup x)` instead of
//! `gelu(Wup x + bup)`, and no other bias than those of its norms.
//!
//! Every `layer_norm` has its own weights and biases, and every input of a product is quantized.

use std::collections::TryReserveError;
use std::sync::Arc;

use lanewise_kernels::{Activation, BLOCK, Kernels, Pieces};
use lanewise_pool::partition::chunks;

use super::weights::{FeedForward, Layer, Norm};
use super::{Bert, Classifier, Config, Variant};
use crate::Result;
use crate::engine::attention::{Attention, Heads, Parameters};
use crate::engine::{
    ActivationShape, Activations, Batch, Executor, MEAN_TERMS, Matrix, PanelBuffer, Phase, Pooling,
    Product, Reach, Rope, dense_input, reserve, sized,
};
use crate::models::ForwardPass;
use crate::vectors::normalize;

/// INT8 terms of the input of `attn_q`, `attn_k` and `attn_v`, in the first and in the second half of the
/// layers. Of all inputs it is the one whose rounding costs most, since attention multiplies the errors of
/// queries and keys, and it costs more the nearer a layer is to the vector (docs/LOG.md).
const ATTN_INPUT_TERMS: [usize; 2] = [1, 2];

/// INT8 terms of the input of `ffn_up`, and of `ffn_gate`.
const FFN_INPUT_TERMS: usize = 1;

/// A forward pass and all that it writes between ids and vectors; memory grows as needed and is kept.
pub(super) struct Forward {
    model: Arc<Bert>,
    /// A row of a table, as the file has it.
    row: Vec<u8>,
    /// For each type of token in use, a row for each position up to the longest text so far, the row of the
    /// type added: `[position][hidden]`. Where there is RoPE, one for all positions.
    positions: [Vec<f32>; 2],
    /// The row of a type of token.
    type_row: Vec<f32>,
    /// The residual stream, `[token][hidden]`, always f32.
    x: Vec<f32>,
    /// The quantized input of the next product.
    input: Activations,
    /// The quantized input of `ffn_down`.
    activated: Activations,
    /// The output of the last product.
    output: PanelBuffer,
    attention: Attention,
    /// Empty where there are positions in the embedding.
    rope: Rope,
    /// The values of first tokens, of a reranker, and what its head makes of them: `[text][hidden]` each.
    pooled: [Vec<f32>; 2],
}

/// What is added to the residual stream before it is normalized.
#[derive(Clone, Copy)]
enum Added<'a> {
    /// The row of each token's position.
    Positions,
    /// The output of the last product, with its bias if it has one.
    Output {
        bias: Option<&'a [f32]>,
        /// Rows of each text, before those of the tokens, that are added to the rows of all its tokens.
        shared: usize,
    },
}

impl ForwardPass for Forward {
    fn reserve(&mut self, kernels: Kernels, batch: &Batch) -> Result<(), TryReserveError> {
        let model = Arc::clone(&self.model);
        let (config, weights) = (model.config(), model.weights());
        weights
            .product_matrices()
            .try_for_each(|matrix| matrix.prepare(kernels))?;
        let (tokens, hidden) = (batch.tokens(), config.hidden);
        let attended = Attention::output_shape(batch, config.head_shape());
        let input = attn_input(config, batch, config.layers);
        let mut input = input.blocks().max(attended.blocks());
        let outputs = [(3 * hidden, tokens), (hidden, attended.tokens)];
        let values = outputs.map(|(width, tokens)| PanelBuffer::values(width, tokens));
        if weights.classifier.is_some() {
            let texts = batch.texts().len();
            input = input.max(dense_input(texts, hidden).blocks());
            for rows in &mut self.pooled {
                reserve(rows, texts * hidden)?;
            }
        }
        reserve(&mut self.x, tokens * hidden)?;
        for positions in &mut self.positions[..weights.types_in_use()] {
            reserve(positions, position_rows(config, batch) * hidden)?;
        }
        reserve(&mut self.type_row, hidden)?;
        let row_bytes = weights.tables().map(Matrix::row_bytes);
        reserve(&mut self.row, row_bytes.max().unwrap_or(0))?;
        self.input.reserve(input)?;
        self.activated
            .reserve(ffn_down_input(config, tokens).blocks())?;
        self.output.reserve(values[0].max(values[1]))?;
        if let Variant::Nomic { .. } = config.variant {
            self.rope.reserve(config.head_dim(), batch.longest())?;
        }
        self.attention.reserve(kernels, batch)
    }

    fn longest_row(&self) -> usize {
        let columns = self.model.weights().product_matrices().map(Matrix::columns);
        columns.max().unwrap_or(0)
    }

    fn run(&mut self, executor: &mut Executor, batch: &Batch, out: &mut [f32]) -> Result<()> {
        let model = Arc::clone(&self.model);
        self.embed(executor, batch)?;
        let layers = &model.weights().layers;
        for (index, layer) in layers.iter().enumerate() {
            self.layer(executor, batch, (index, layer), layers.get(index + 1));
        }
        if let Some(classifier) = &model.weights().classifier {
            self.score(executor, batch, classifier, out);
            return Ok(());
        }
        executor.pool(batch, model.config().pooling, &self.x, out);
        out.chunks_exact_mut(batch.shape().hidden)
            .for_each(normalize);
        executor.lap(Phase::Pool);
        Ok(())
    }

    fn first_not_finite(
        &mut self,
        executor: &mut Executor,
        batch: &Batch,
        _: &mut [f32],
    ) -> String {
        let model = Arc::clone(&self.model);
        let values = batch.tokens() * batch.shape().hidden;
        let finite = |x: &[f32]| x[..values].iter().all(|value| value.is_finite());
        if self.embed(executor, batch).is_err() || !finite(&self.x) {
            let tables: Vec<&str> = model.weights().tables().map(Matrix::name).collect();
            return tables.join(" or ");
        }
        for (index, layer) in model.weights().layers.iter().enumerate() {
            self.layer(executor, batch, (index, layer), None);
            if !finite(&self.x) {
                return format!("blk.{index}");
            }
        }
        // Only zeros are left: a norm with weights and biases of 0.
        match model.weights().layers.len().checked_sub(1) {
            Some(last) => format!("blk.{last}.layer_output_norm"),
            None => "token_embd_norm".into(),
        }
    }
}

impl Forward {
    /// A forward pass that has not taken any memory yet.
    pub fn new(model: Arc<Bert>) -> Self {
        Self {
            model,
            row: Vec::new(),
            positions: Default::default(),
            type_row: Vec::new(),
            x: Vec::new(),
            input: Activations::default(),
            activated: Activations::default(),
            output: PanelBuffer::default(),
            attention: Attention::default(),
            rope: Rope::default(),
            pooled: Default::default(),
        }
    }

    /// `out[text] = classifier(x of the first token)`
    fn score(
        &mut self,
        executor: &mut Executor,
        batch: &Batch,
        classifier: &Classifier,
        out: &mut [f32],
    ) {
        let hidden = batch.shape().hidden;
        let values = batch.texts().len() * hidden;
        let [pooled, product] = &mut self.pooled;
        let (pooled, product) = (sized(pooled, values), sized(product, values));
        executor.pool(batch, Pooling::Cls, &self.x, pooled);
        let scratch = (&mut self.input, &mut self.output);
        executor.multiply_rows(classifier.matrix(), &[], pooled, scratch, product);
        for (score, product) in out.iter_mut().zip(product.chunks_exact(hidden)) {
            *score = classifier.score(product);
        }
        executor.lap(Phase::Dense);
    }

    /// `x = layer_norm(embedding[id] + token_types[0] + position_embd[position])`, and `input` from it; the
    /// angles of positions instead of `position_embd` where there is RoPE.
    fn embed(&mut self, executor: &mut Executor, batch: &Batch) -> Result<()> {
        let (model, kernels) = (Arc::clone(&self.model), executor.kernels());
        let (weights, hidden) = (model.weights(), batch.shape().hidden);
        self.extend_positions(kernels, position_rows(model.config(), batch))?;
        if let Variant::Nomic { rope_base } = model.config().variant {
            let head_dim = model.config().head_dim();
            self.rope.extend(rope_base, head_dim, batch.longest());
        }
        let x = sized(&mut self.x, batch.tokens() * hidden);
        for (id, x) in batch.ids().iter().zip(x.chunks_exact_mut(hidden)) {
            let table = &weights.token_embd;
            table.copy_row_scaled(kernels, *id as usize, 1.0, &mut self.row, x)?;
        }
        executor.lap(Phase::Embed);
        let norm = &weights.token_embd_norm;
        let input = attn_input(model.config(), batch, 0);
        self.add_and_normalize(executor, batch, Added::Positions, norm, input);
        Ok(())
    }

    /// Makes sure that the rows of positions `0..count` are there.
    fn extend_positions(&mut self, kernels: Kernels, count: usize) -> Result<()> {
        let model = Arc::clone(&self.model);
        let (weights, hidden) = (model.weights(), model.config().hidden);
        let types = self.positions[..weights.types_in_use()].iter_mut();
        for (token_type, positions) in types.enumerate() {
            let known = positions.len() / hidden;
            if known >= count {
                continue;
            }
            let type_row = sized(&mut self.type_row, hidden);
            match &weights.token_types {
                Some(table) => {
                    table.copy_row_scaled(kernels, token_type, 1.0, &mut self.row, type_row)?;
                }
                None => type_row.fill(0.0),
            }
            for position in known..count {
                let start = position * hidden;
                positions.resize(start + hidden, 0.0);
                let row = &mut positions[start..];
                if let Some(table) = &weights.position_embd
                    && let Err(error) =
                        table.copy_row_scaled(kernels, position, 1.0, &mut self.row, row)
                {
                    positions.truncate(start);
                    return Err(error);
                }
                kernels.accumulate(row, type_row);
            }
        }
        Ok(())
    }

    /// One layer, from `x` and `input`, which is quantized from it, to both.
    fn layer(
        &mut self,
        executor: &mut Executor,
        batch: &Batch,
        (index, layer): (usize, &Layer),
        next: Option<&Layer>,
    ) {
        self.attention(executor, batch, layer);
        let attended = Added::Output {
            bias: layer.attn_output.bias.as_deref(),
            shared: MEAN_TERMS,
        };
        let norm = &layer.attn_output_norm;
        self.add_and_normalize(executor, batch, attended, norm, ffn_input(batch));

        self.feed_forward(executor, batch, layer, next);
        let fed_forward = Added::Output {
            bias: layer.ffn_down.bias.as_deref(),
            shared: 0,
        };
        let norm = &layer.layer_output_norm;
        let input = attn_input(self.model.config(), batch, index + 1);
        self.add_and_normalize(executor, batch, fed_forward, norm, input);
    }

    /// `output = Wo attention(input)`, in [`MEAN_TERMS`] rows a text for the mean of its values and
    /// one a token for the rest.
    fn attention(&mut self, executor: &mut Executor, batch: &Batch, layer: &Layer) {
        let hidden = batch.shape().hidden;
        let (matrices, count) = layer.attn_qkv();
        let queries_keys_values = Product {
            phase: Phase::AttnInput,
            matrices: &matrices[..count],
            next: &[&layer.attn_output.weight],
        };
        executor.multiply(queries_keys_values, &self.input, &mut self.output);
        let config = self.model.config();
        let heads = match config.variant {
            Variant::Bert => Heads::QueryBias(&layer.attn_qkv_bias[..hidden]),
            Variant::Nomic { .. } => Heads::Rope(&self.rope),
        };
        let parameters = Parameters {
            shape: config.head_shape(),
            heads,
            value_bias: layer.attn_qkv_bias.get(2 * hidden..),
            value_norm: None,
            scale: 1.0 / (config.head_dim() as f32).sqrt(),
            reach: Reach::ALL,
        };
        self.attention
            .run(executor, batch, &self.output, parameters, &mut self.input);
        let output = Product {
            phase: Phase::AttnOutput,
            matrices: &[&layer.attn_output.weight],
            next: &[layer.feed_forward.first()],
        };
        executor.multiply(output, &self.input, &mut self.output);
    }

    /// `output = Wdown gelu(Wup input + bias)` or `Wdown (silu(Wgate input) * (Wup input))`.
    fn feed_forward(
        &mut self,
        executor: &mut Executor,
        batch: &Batch,
        layer: &Layer,
        next: Option<&Layer>,
    ) {
        self.activated
            .reshape(ffn_down_input(self.model.config(), batch.tokens()));
        let (input, activated) = (&self.input, &mut self.activated);
        let down = &[&layer.ffn_down.weight];
        match &layer.feed_forward {
            FeedForward::Gelu { up, bias } => {
                executor.multiply_gelu(up, bias, down, input, activated);
            }
            FeedForward::GatedSilu { gate, up } => {
                let silu = Activation::Silu;
                executor.multiply_gated(silu, [gate, up], down, input, activated);
            }
        }
        let next = next.map(Layer::attn_qkv);
        let down = Product {
            phase: Phase::FfnOutput,
            matrices: down,
            next: next.as_ref().map_or(&[], |(next, count)| &next[..*count]),
        };
        executor.multiply(down, &self.activated, &mut self.output);
    }

    /// `x = layer_norm(x + added)` and `input = quantize(x)` in the given shape: one pass over each token's row while it is
    /// in the cache.
    fn add_and_normalize(
        &mut self,
        executor: &mut Executor,
        batch: &Batch,
        added: Added<'_>,
        norm: &Norm,
        input: ActivationShape,
    ) {
        let (kernels, eps) = (executor.kernels(), self.model.config().layer_norm_eps);
        let hidden = batch.shape().hidden;
        let (output, positions) = (&self.output, &self.positions);
        let types = self.model.weights().types_in_use();
        let has_rope = matches!(self.model.config().variant, Variant::Nomic { .. });
        let terms = input.terms;
        self.input.reshape(input);
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
                let (base, first) = match added {
                    Added::Positions => (None, 0),
                    Added::Output { bias, shared } => {
                        let base = &mut worker.row;
                        base.clear();
                        base.extend_from_slice(bias.unwrap_or_default());
                        base.resize(hidden, 0.0);
                        for row in text * shared..(text + 1) * shared {
                            output.row(row).add_to(base);
                        }
                        let base = (bias.is_some() || shared > 0).then_some(&**base);
                        (base, shared * batch.texts().len())
                    }
                };
                for (index, (x, token)) in rows.by_ref().take(tokens.len()) {
                    let y = match added {
                        Added::Positions => {
                            let position = match has_rope {
                                true => 0,
                                false => token - batch.texts()[text].start,
                            };
                            let second = types > 1 && batch.is_in_second_part(text, token);
                            let positions = &positions[usize::from(second)];
                            let row = &positions[position * hidden..][..hidden];
                            Pieces::new(row, BLOCK, hidden / BLOCK)
                        }
                        Added::Output { .. } => output.row(first + token),
                    };
                    kernels.add_layer_norm(x, y, base, norm.both(), eps);
                    kernels.quantize(x, terms, &mut input[index * terms..], count * terms);
                }
            }
            worker.stopwatch.lap(Phase::Norm);
        });
    }
}

/// The shape of `x` as the input of the queries, keys and values of a layer.
pub(super) fn attn_input(config: &Config, batch: &Batch, layer: usize) -> ActivationShape {
    let half = usize::from(layer >= config.layers / 2);
    input(batch, ATTN_INPUT_TERMS[half])
}

/// The shape of `x` as the input of `ffn_up`.
pub(super) fn ffn_input(batch: &Batch) -> ActivationShape {
    input(batch, FFN_INPUT_TERMS)
}

fn input(batch: &Batch, terms: usize) -> ActivationShape {
    ActivationShape {
        tokens: batch.tokens(),
        columns: batch.shape().hidden,
        chunk: batch.chunk(),
        terms,
    }
}

/// Rows of what is added to the embeddings of a batch.
fn position_rows(config: &Config, batch: &Batch) -> usize {
    match config.variant {
        Variant::Bert => batch.longest(),
        Variant::Nomic { .. } => 1,
    }
}

/// The shape of the input of `ffn_down`: one chunk, since each panel of the product before it is one
/// block of all tokens.
pub(super) fn ffn_down_input(config: &Config, tokens: usize) -> ActivationShape {
    ActivationShape {
        tokens,
        columns: config.feed_forward,
        chunk: tokens,
        terms: 1,
    }
}
