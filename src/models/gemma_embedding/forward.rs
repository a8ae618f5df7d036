//! The forward pass of EmbeddingGemma, of both versions, on INT8 products, from ids to vectors.
//!
//! ```text
//! x = E[ids] √hidden
//! for each layer:
//!     x += rms_norm(Wo attention(rms_norm(x)))
//!     x += rms_norm(Wdown (gelu(Wgate h) * (Wup h))), h = rms_norm(x)
//! vector = unit(D3 D2 mean over the tokens of rms_norm(x))
//! ```
//!
//! EmbeddingGemma 2 has another step in each layer, `x = (x + rms_norm(Wproj (gelu(Winp_gate x) * signal)))
//! * scale` (see [`signal`](super::signal)), and one matrix instead of `D3 D2`.
//!
//! Every `rms_norm` has its own weights, and every input of a product is quantized.

use std::collections::TryReserveError;
use std::sync::Arc;

use lanewise_kernels::{Activation, Kernels};

use super::inputs::{attn_terms, signal_input};
use super::signal::Signal;
use super::weights::{Head, Layer};
use super::{Config, GemmaEmbedding, Version};
use crate::Result;
use crate::engine::attention::{Attention, Heads, Parameters};
use crate::engine::{
    ActivationShape, Activations, Addend, Batch, Executor, MEAN_TERMS, Matrix, PanelBuffer, Phase,
    Pooling, Product, Rope, dense_input, reserve, sized,
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
    /// Empty in the first version.
    signal: Signal,
    /// What `dense_2` gives `dense_3`, or pooling `output`: a row a text.
    inner: Vec<f32>,
}

/// What is done with a row of the residual stream once a layer's output has been added to it.
#[derive(Clone, Copy)]
enum Then<'a> {
    /// `input = quantize(rms_norm(x) * norm)` in a number of terms.
    NormAndQuantize { norm: &'a [f32], terms: usize },
    /// `input = quantize(x)` in [`SIGNAL_TERMS`].
    Quantize,
    /// `x = rms_norm(x) * weights`.
    NormInPlace(&'a [f32]),
    /// Nothing.
    Keep,
}

impl<'a> Then<'a> {
    /// What makes the input of attention.
    fn attn_input(config: &Config, norm: &'a [f32]) -> Self {
        let terms = attn_terms(config);
        Self::NormAndQuantize { norm, terms }
    }
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
        let inner = match &weights.head {
            Head::Dense(None) => 0,
            Head::Dense(Some([dense_2, _])) => dense_2.rows(),
            Head::Output(output) => output.columns(),
        };
        let kinds = [&config.global, &config.local].map(|kind| kind.heads);
        let [global, local] = kinds.map(|heads| Attention::output_shape(batch, heads));
        let projected = kinds.map(|heads| heads.projected_width());
        let inputs = [
            ActivationShape::of_stream(batch, attn_terms(config)).blocks(),
            global.blocks().max(local.blocks()),
            dense_input(texts, shape.hidden).blocks(),
            dense_input(texts, inner).blocks(),
        ];
        let outputs = [
            PanelBuffer::values(projected[0].max(projected[1]), tokens),
            PanelBuffer::values(shape.hidden, global.tokens),
            PanelBuffer::values(inner.max(shape.width), texts),
        ];
        let largest = |sizes: &[usize]| sizes.iter().copied().max().unwrap_or(0);
        reserve(&mut self.x, tokens * shape.hidden)?;
        reserve(&mut self.embedding, weights.token_embd.row_bytes())?;
        reserve(&mut self.inner, texts * inner)?;
        self.input.reserve(largest(&inputs))?;
        self.gated
            .reserve(ActivationShape::of_feed_forward(batch, config.feed_forward).blocks())?;
        self.output.reserve(largest(&outputs))?;
        self.attention.reserve(kernels, batch)?;
        for (rope, kind) in [
            (&mut self.global_rope, &config.global),
            (&mut self.local_rope, &config.local),
        ] {
            rope.reserve(kind.heads.head_dim, batch.longest())?;
        }
        if let Version::Second { signal, .. } = config.version {
            self.input.reserve(signal_input(batch).blocks())?;
            self.signal.reserve(batch, signal)?;
        }
        Ok(())
    }

    fn longest_row(&self) -> usize {
        let columns = self.model.weights().product_matrices().map(Matrix::columns);
        columns.max().unwrap_or(0)
    }

    fn run(&mut self, executor: &mut Executor, batch: &Batch, out: &mut [f32]) -> Result<()> {
        let model = Arc::clone(&self.model);
        let weights = model.weights();
        self.embed(executor, batch)?;
        let config = model.config();
        if let Some(first) = weights.layers.first() {
            self.add_output(
                executor,
                batch,
                None,
                Then::attn_input(config, &first.attn_norm),
            );
        }
        for (index, layer) in weights.layers.iter().enumerate() {
            let next = weights.layers.get(index + 1);
            let then = match next {
                Some(next) => Then::attn_input(config, &next.attn_norm),
                None => Then::NormInPlace(&weights.output_norm),
            };
            self.layer(executor, batch, index, layer, next, then);
        }
        self.pool(executor, batch, out);
        out.chunks_exact_mut(batch.shape().width)
            .for_each(normalize);
        executor.lap(Phase::Dense);
        Ok(())
    }

    fn first_not_finite(
        &mut self,
        executor: &mut Executor,
        batch: &Batch,
        _: &mut [f32],
    ) -> String {
        let model = Arc::clone(&self.model);
        let weights = model.weights();
        let finite = |x: &[f32]| x.iter().all(|value| value.is_finite());
        let values = batch.tokens() * batch.shape().hidden;
        if self.embed(executor, batch).is_err() || !finite(&self.x[..values]) {
            return "token_embd.weight".into();
        }
        for (index, layer) in weights.layers.iter().enumerate() {
            let input = Then::attn_input(model.config(), &layer.attn_norm);
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
        let hidden = batch.shape().hidden;
        let mut pooled = vec![0.0; batch.texts().len() * hidden];
        executor.pool(batch, Pooling::Mean, &self.x, &mut pooled);
        let points_somewhere = |x: &[f32]| finite(x) && x.iter().any(|value| *value != 0.0);
        if pooled.chunks_exact(hidden).all(points_somewhere) {
            let heads: Vec<&str> = weights.head.matrices().iter().map(Matrix::name).collect();
            heads.join(" or ")
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
            signal: Signal::default(),
            inner: Vec::new(),
        }
    }

    /// `x = embedding[id] * sqrt(hidden)`.
    fn embed(&mut self, executor: &mut Executor, batch: &Batch) -> Result<()> {
        let (config, shape) = (self.model.config(), batch.shape());
        let table = &self.model.weights().token_embd;
        let factor = (shape.hidden as f32).sqrt();
        for (rope, kind) in [
            (&mut self.global_rope, &config.global),
            (&mut self.local_rope, &config.local),
        ] {
            rope.extend(kind.rope_base, kind.heads.head_dim, batch.longest());
        }
        let x = sized(&mut self.x, batch.tokens() * shape.hidden);
        for (id, x) in batch.ids().iter().zip(x.chunks_exact_mut(shape.hidden)) {
            let (row, kernels) = (*id as usize, executor.kernels());
            table.copy_row_scaled(kernels, row, factor, &mut self.embedding, x)?;
        }
        executor.lap(Phase::Embed);
        if let Version::Second { .. } = config.version {
            self.signal.set_embeddings(executor, batch, &self.x);
        }
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
            scale: None,
        };
        let input = Then::NormAndQuantize {
            norm: &layer.ffn_norm,
            terms: 1,
        };
        self.add_output(executor, batch, Some(attended), input);

        self.feed_forward(executor, batch, layer, next);
        let fed_forward = Output {
            norm: &layer.post_ffw_norm,
            shared: 0,
            scale: None,
        };
        let Some(signal) = &layer.signal else {
            self.add_output(executor, batch, Some(fed_forward), then);
            return;
        };
        self.add_output(executor, batch, Some(fed_forward), Then::Quantize);

        let model = Arc::clone(&self.model);
        let next = next.map(Layer::attn_qkv);
        let next: &[&Matrix] = next.as_ref().map_or(&[], |next| next);
        let weights = (signal, &*model.weights().signal_norm);
        let (input, output) = (&self.input, &mut self.output);
        self.signal.run(
            executor,
            batch,
            model.config(),
            weights,
            (input, output),
            next,
        );
        let added = Output {
            norm: &signal.post_norm,
            shared: 0,
            scale: Some(signal.output_scale),
        };
        self.add_output(executor, batch, Some(added), then);
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
        let kind = config.kind(index);
        let rope = match config.global_layers[index] {
            true => &self.global_rope,
            false => &self.local_rope,
        };
        let parameters = Parameters {
            shape: kind.heads,
            heads: Heads::NormRope {
                query_norm: &layer.attn_q_norm,
                key_norm: &layer.attn_k_norm,
                eps: config.rms_norm_eps,
                rope,
            },
            scale: kind.scale,
            value_bias: None,
            value_norm: config.value_norm(),
            reach: kind.reach,
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
        let feed_forward = self.model.config().feed_forward;
        self.gated
            .reshape(ActivationShape::of_feed_forward(batch, feed_forward));
        let gate_and_up = [&layer.ffn_gate, &layer.ffn_up];
        executor.multiply_gated(
            Activation::GeluTanh,
            gate_and_up,
            &[&layer.ffn_down],
            &self.input,
            &mut self.gated,
        );
        let next = next.map(Layer::attn_qkv);
        let signal = layer.signal.as_ref().map(|signal| &signal.model_proj);
        let down = Product {
            phase: Phase::FfnOutput,
            matrices: &[&layer.ffn_down],
            next: match (&signal, &next) {
                (Some(signal), _) => std::slice::from_ref(signal),
                (None, Some(next)) => next,
                (None, None) => &[],
            },
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
        let eps = self.model.config().rms_norm_eps;
        let input = match then {
            Then::Quantize => signal_input(batch),
            Then::NormAndQuantize { terms, .. } => ActivationShape::of_stream(batch, terms),
            Then::NormInPlace(_) | Then::Keep => ActivationShape::of_stream(batch, 1),
        };
        let terms = input.terms;
        self.input.reshape(input);
        let addend = output.map(|output| Addend {
            values: &self.output,
            shared: output.shared,
        });
        executor.for_each_row(
            batch,
            &mut self.x,
            addend,
            &mut self.input,
            |kernels, row| {
                if let Some(output) = output
                    && let Some((y, base)) = row.addend
                {
                    kernels.add_rms_norm(row.x, y, base, output.norm, eps);
                    if let Some(scale) = output.scale {
                        row.x.iter_mut().for_each(|value| *value *= scale);
                    }
                }
                match then {
                    Then::NormAndQuantize { norm, terms: 1 } => {
                        kernels.rms_norm_quantize(row.x, norm, eps, row.input, row.stride);
                    }
                    Then::NormAndQuantize { norm, terms } => {
                        let normed = row.scratch;
                        normed.copy_from_slice(row.x);
                        kernels.rms_norm(normed, norm, eps);
                        kernels.quantize(normed, terms, row.input, row.stride);
                    }
                    Then::Quantize => kernels.quantize(row.x, terms, row.input, row.stride),
                    Then::NormInPlace(norm) => kernels.rms_norm(row.x, norm, eps),
                    Then::Keep => {}
                }
            },
        );
    }

    /// The mean over the tokens of each text, and what it passes then.
    fn pool(&mut self, executor: &mut Executor, batch: &Batch, out: &mut [f32]) {
        let (model, texts) = (Arc::clone(&self.model), batch.texts().len());
        let mut inner = std::mem::take(&mut self.inner);
        match &model.weights().head {
            Head::Dense(Some([dense_2, dense_3])) if self.dense_heads => {
                executor.pool(batch, Pooling::Mean, &self.x, out);
                let rows = sized(&mut inner, texts * dense_2.rows());
                let scratch = (&mut self.input, &mut self.output);
                executor.multiply_rows(dense_2, &[dense_3], out, scratch, rows);
                let scratch = (&mut self.input, &mut self.output);
                executor.multiply_rows(dense_3, &[], rows, scratch, out);
            }
            Head::Dense(_) => executor.pool(batch, Pooling::Mean, &self.x, out),
            Head::Output(output) => {
                let rows = sized(&mut inner, texts * output.columns());
                executor.pool(batch, Pooling::Mean, &self.x, rows);
                let scratch = (&mut self.input, &mut self.output);
                executor.multiply_rows(output, &[], rows, scratch, out);
            }
        }
        self.inner = inner;
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
    /// What the residual stream is multiplied by once the output has been added.
    scale: Option<f32>,
}
