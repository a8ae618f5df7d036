//! The forward pass on INT8 products, from ids to vectors.
//!
//! ```text
//! x = E[ids], or norm(E[ids])
//! for each layer:
//!     x += Wo attention(norm(x))
//!     x += Wdown (activation(Wgate h) * (Wup h)), h = norm(x)
//! vector = unit(pool(norm(x)))
//! ```
//!
//! Every `norm` has its own weights, and every input of a product is quantized.

use std::collections::TryReserveError;
use std::sync::Arc;

use lanewise_kernels::Kernels;

use super::PreNorm;
use super::weights::Layer;
use crate::Result;
use crate::engine::attention::{Attention, Heads, Parameters};
use crate::engine::{
    ActivationShape, Activations, Addend, Batch, Executor, MEAN_TERMS, Matrix, PanelBuffer, Phase,
    Product, Rope, reserve, sized,
};
use crate::models::ForwardPass;
use crate::vectors::normalize;

/// A forward pass and all that it writes between ids and vectors; memory grows as needed and is kept.
pub(super) struct Forward {
    model: Arc<PreNorm>,
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
    full_rope: Rope,
    window_rope: Rope,
}

/// What is done with a row of the residual stream once the output of a product has been added to it.
#[derive(Clone, Copy)]
enum Then<'a> {
    /// `input = quantize(norm(x) * weights)`, or of `x` as it is, for queries, keys and values.
    AttnInput(Option<&'a [f32]>),
    /// `input = quantize(norm(x) * weights)`, for the feed-forward layer.
    FfnInput(&'a [f32]),
    /// `x = norm(x) * weights`.
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
        let (shape, tokens) = (batch.shape(), batch.tokens());
        let heads = config.head_shape();
        let attended = Attention::output_shape(batch, heads);
        let outputs = [
            PanelBuffer::values(heads.projected_width(), tokens),
            PanelBuffer::values(shape.hidden, attended.tokens),
        ];
        reserve(&mut self.x, tokens * shape.hidden)?;
        reserve(&mut self.embedding, weights.token_embd.row_bytes())?;
        let input = ActivationShape::of_stream(batch, config.attn_input_terms());
        let input = input.blocks().max(attended.blocks());
        self.input.reserve(input)?;
        self.gated
            .reserve(ActivationShape::of_feed_forward(batch, config.sizes.feed_forward).blocks())?;
        self.output.reserve(outputs[0].max(outputs[1]))?;
        self.attention.reserve(kernels, batch)?;
        self.full_rope.reserve(heads.head_dim, batch.longest())?;
        self.window_rope.reserve(heads.head_dim, batch.longest())
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
            let input = Then::AttnInput(first.attn_norm.as_deref());
            self.add_output(executor, batch, None, input);
        }
        for (index, layer) in weights.layers.iter().enumerate() {
            let next = weights.layers.get(index + 1);
            let then = match next {
                Some(next) => Then::AttnInput(next.attn_norm.as_deref()),
                None => Then::NormInPlace(&weights.output_norm),
            };
            self.layer(executor, batch, index, layer, next, then);
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
        let weights = model.weights();
        let values = batch.tokens() * batch.shape().hidden;
        let finite = |x: &[f32]| x[..values].iter().all(|value| value.is_finite());
        if self.embed(executor, batch).is_err() || !finite(&self.x) {
            return "token_embd.weight".into();
        }
        for (index, layer) in weights.layers.iter().enumerate() {
            let input = Then::AttnInput(layer.attn_norm.as_deref());
            self.add_output(executor, batch, None, input);
            let next = weights.layers.get(index + 1);
            self.layer(executor, batch, index, layer, next, Then::Keep);
            if !finite(&self.x) {
                return format!("blk.{index}");
            }
        }
        // Or only zeros are left: a norm with weights of 0.
        "output_norm.weight".into()
    }
}

impl Forward {
    /// A forward pass that has not taken any memory yet.
    pub fn new(model: Arc<PreNorm>) -> Self {
        Self {
            model,
            embedding: Vec::new(),
            x: Vec::new(),
            input: Activations::default(),
            gated: Activations::default(),
            output: PanelBuffer::default(),
            attention: Attention::default(),
            full_rope: Rope::default(),
            window_rope: Rope::default(),
        }
    }

    /// `x = embedding[id]`, normed where the model has a norm for it.
    fn embed(&mut self, executor: &mut Executor, batch: &Batch) -> Result<()> {
        let model = Arc::clone(&self.model);
        let (config, weights, shape) = (model.config(), model.weights(), batch.shape());
        let (head_dim, positions) = (config.head_dim, batch.longest());
        self.full_rope
            .extend(config.full.rope_base, head_dim, positions);
        if let Some(windows) = &config.windows {
            let base = windows.sight.rope_base;
            self.window_rope.extend(base, head_dim, positions);
        }
        let x = sized(&mut self.x, batch.tokens() * shape.hidden);
        for (id, x) in batch.ids().iter().zip(x.chunks_exact_mut(shape.hidden)) {
            let (table, kernels) = (&weights.token_embd, executor.kernels());
            table.copy_row_scaled(kernels, *id as usize, 1.0, &mut self.embedding, x)?;
        }
        executor.lap(Phase::Embed);
        if let Some(norm) = &weights.token_embd_norm {
            self.add_output(executor, batch, None, Then::NormInPlace(norm));
        }
        Ok(())
    }

    /// One layer, from `input`, which is quantized from `x`, to `x` and what is `then` done with it.
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
        let input = Then::FfnInput(&layer.ffn_norm);
        self.add_output(executor, batch, Some(MEAN_TERMS), input);

        self.feed_forward(executor, batch, layer, next);
        self.add_output(executor, batch, Some(0), then);
    }

    /// `output = Wo attention(input)`, in [`MEAN_TERMS`] rows a text for the mean of its values and
    /// one a token for the rest.
    fn attention(&mut self, executor: &mut Executor, batch: &Batch, index: usize, layer: &Layer) {
        let config = self.model.config();
        let queries_keys_values = Product {
            phase: Phase::AttnInput,
            matrices: &layer.attn_qkv(),
            next: &[&layer.attn_output],
        };
        executor.multiply(queries_keys_values, &self.input, &mut self.output);
        let rope = match config.is_windowed(index) {
            true => &self.window_rope,
            false => &self.full_rope,
        };
        let heads = match &layer.head_norms {
            Some(norms) => Heads::NormRope {
                query_norm: &norms.query,
                key_norm: &norms.key,
                eps: config.norm.eps(),
                rope,
            },
            None => Heads::Rope(rope),
        };
        let parameters = Parameters {
            shape: config.head_shape(),
            heads,
            scale: 1.0 / (config.head_dim as f32).sqrt(),
            value_bias: None,
            value_norm: None,
            reach: config.sight(index).reach,
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

    /// `output = Wdown (activation(Wgate input) * (Wup input))`.
    fn feed_forward(
        &mut self,
        executor: &mut Executor,
        batch: &Batch,
        layer: &Layer,
        next: Option<&Layer>,
    ) {
        let config = self.model.config();
        self.gated.reshape(ActivationShape::of_feed_forward(
            batch,
            config.sizes.feed_forward,
        ));
        executor.multiply_gated(
            config.activation,
            [&layer.ffn_gate, &layer.ffn_up],
            &[&layer.ffn_down],
            &self.input,
            &mut self.gated,
        );
        let next = next.map(Layer::attn_qkv);
        let down = Product {
            phase: Phase::FfnOutput,
            matrices: &[&layer.ffn_down],
            next: next.as_ref().map_or(&[], |matrices| matrices),
        };
        executor.multiply(down, &self.gated, &mut self.output);
    }

    /// `x += output`, whose first rows are the `shared` ones of each text, if there is an output, and
    /// what is `then` done with `x`.
    fn add_output(
        &mut self,
        executor: &mut Executor,
        batch: &Batch,
        shared: Option<usize>,
        then: Then<'_>,
    ) {
        let norm = self.model.config().norm;
        let terms = match then {
            Then::AttnInput(_) => self.model.config().attn_input_terms(),
            _ => 1,
        };
        let addend = shared.map(|shared| Addend {
            values: &self.output,
            shared,
        });
        self.input.reshape(ActivationShape::of_stream(batch, terms));
        executor.for_each_row(
            batch,
            &mut self.x,
            addend,
            &mut self.input,
            |kernels, row| {
                if let Some((y, base)) = row.addend {
                    kernels.add(row.x, y, base);
                }
                match then {
                    Then::AttnInput(Some(weight)) if terms > 1 => {
                        row.scratch.copy_from_slice(row.x);
                        norm.apply(kernels, row.scratch, weight);
                        kernels.quantize(row.scratch, terms, row.input, row.stride);
                    }
                    Then::AttnInput(Some(weight)) | Then::FfnInput(weight) => {
                        norm.quantize(kernels, row.x, weight, row.input, row.stride);
                    }
                    Then::AttnInput(None) => kernels.quantize(row.x, terms, row.input, row.stride),
                    Then::NormInPlace(weight) => norm.apply(kernels, row.x, weight),
                    Then::Keep => {}
                }
            },
        );
    }
}
