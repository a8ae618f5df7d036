//! The forward pass in `f32`: what the INT8 path is tested against and measured by.
//!
//! Weights are dequantized, activations never quantized, and the steps are those of the
//! published model, one after the other.

use lanewise_kernels::Activation;

use super::{Bert, FeedForward, Layer, Linear, Norm, Variant};
use crate::engine::Reach;
use crate::models::Model;
use crate::models::reference::{
    Attention, Panels, Rotations, Steps, activate, add, layer_norm, pool,
};

/// The forward pass of BERT, or of another variant of it, with weights dequantized and activations in `f32`.
#[derive(Clone, Copy, Debug)]
pub(super) struct F32Reference<'a>(&'a Bert);

impl<'a> F32Reference<'a> {
    /// The forward pass of a model.
    pub(super) fn new(model: &'a Bert) -> Self {
        Self(model)
    }
}

impl Steps for F32Reference<'_> {
    fn model(&self) -> &dyn Model {
        self.0
    }

    /// `layer_norm(E[id] + T[0] + P[position])`, without `P` where there is RoPE.
    fn embed_tokens(&self, ids: &[u32]) -> Vec<f32> {
        self.embed_pair(ids, ids.len())
    }

    fn embed_pair(&self, ids: &[u32], second_part: usize) -> Vec<f32> {
        let (weights, hidden) = (self.0.weights(), self.0.config().hidden);
        let mut x = vec![0.0; ids.len() * hidden];
        let (mut position_row, mut type_row) = (vec![0.0; hidden], vec![0.0; hidden]);
        for (position, (row, &id)) in x.chunks_exact_mut(hidden).zip(ids).enumerate() {
            weights.token_embd.dequantize_row(id as usize, row);
            if let Some(types) = &weights.token_types {
                let second = usize::from(position >= second_part).min(types.rows() - 1);
                types.dequantize_row(second, &mut type_row);
                add(row, &type_row);
            }
            if let Some(positions) = &weights.position_embd {
                positions.dequantize_row(position, &mut position_row);
                add(row, &position_row);
            }
        }
        self.norm_rows(&mut x, &weights.token_embd_norm);
        x
    }

    fn run_layer(&self, layer: usize, texts: &mut [Vec<f32>]) {
        let config = self.0.config();
        let longest = texts.iter().map(Vec::len).max().unwrap_or(0) / config.hidden;
        let layer = DequantizedLayer::new(&self.0.weights().layers[layer]);
        let rotations = match config.variant {
            Variant::Bert => None,
            Variant::Nomic { rope_base } => {
                Some(Rotations::new(longest, config.head_dim(), rope_base))
            }
        };
        for x in texts {
            self.attend(&layer, rotations.as_ref(), x);
            self.feed_forward(&layer, x);
        }
    }

    fn finish(&self, _: &mut [f32]) {}

    fn pool(&self, x: &[f32]) -> Vec<f32> {
        let config = self.0.config();
        pool(config.pooling, x, config.hidden)
    }

    fn score(&self, x: &[f32]) -> Option<f32> {
        let classifier = self.0.weights().classifier.as_ref()?;
        let product = Panels::new(classifier.matrix()).multiply(&self.pool(x));
        Some(classifier.score(&product))
    }
}

impl F32Reference<'_> {
    /// `x = layer_norm(x + Wo attention + bo)`
    fn attend(&self, layer: &DequantizedLayer, rotations: Option<&Rotations>, x: &mut [f32]) {
        let config = self.0.config();
        let (hidden, heads, head_dim) = (config.hidden, config.heads, config.head_dim());
        let mut queries_keys_values = Vec::new();
        let mut first = 0;
        for (panels, matrix) in layer.qkv.iter().zip(&layer.weights.attn_qkv) {
            let bias = layer
                .weights
                .attn_qkv_bias
                .get(first..first + matrix.rows());
            let product = biased(panels.multiply(x), bias);
            // A fused matrix gives the three side by side.
            for part in 0..matrix.rows() / hidden {
                let rows = product.chunks_exact(matrix.rows());
                let rows = rows.flat_map(|row| &row[part * hidden..(part + 1) * hidden]);
                queries_keys_values.push(rows.copied().collect::<Vec<f32>>());
            }
            first += matrix.rows();
        }
        let [queries, keys, values] = &mut queries_keys_values[..] else {
            unreachable!("the shapes of the matrices are checked");
        };
        if let Some(rotations) = rotations {
            rotations.rotate(queries, heads);
            rotations.rotate(keys, heads);
        }
        let scale = 1.0 / (head_dim as f32).sqrt();
        queries.iter_mut().for_each(|query| *query *= scale);
        let attention = Attention {
            queries,
            keys,
            values,
            heads,
            kv_heads: heads,
            head_dim,
            reach: Reach::ALL,
        }
        .run();
        add(x, &layer.output.multiply(&attention));
        self.norm_rows(x, &layer.weights.attn_output_norm);
    }

    /// `x = layer_norm(x + Wdown inner(x) + bdown)`, where `inner(x)` is `gelu(Wup x + bup)` or
    /// `silu(Wgate x) * (Wup x)`.
    fn feed_forward(&self, layer: &DequantizedLayer, x: &mut [f32]) {
        let inner = match &layer.weights.feed_forward {
            FeedForward::Gelu { bias, .. } => {
                let mut inner = biased(layer.feed_forward[0].multiply(x), Some(bias));
                let values = inner.iter_mut();
                values.for_each(|value| *value = activate(Activation::Gelu, *value));
                inner
            }
            FeedForward::GatedSilu { .. } => {
                let [mut inner, up] = [0, 1].map(|half| layer.feed_forward[half].multiply(x));
                for (gate, up) in inner.iter_mut().zip(&up) {
                    *gate = activate(Activation::Silu, *gate) * up;
                }
                inner
            }
        };
        add(x, &layer.down.multiply(&inner));
        self.norm_rows(x, &layer.weights.layer_output_norm);
    }

    /// LayerNorm of each row.
    fn norm_rows(&self, x: &mut [f32], norm: &Norm) {
        let eps = self.0.config().layer_norm_eps;
        layer_norm(x, &norm.weight, Some(&norm.bias), eps);
    }
}

/// Rows with a bias added to each, if there is one.
fn biased(mut rows: Vec<f32>, bias: Option<&[f32]>) -> Vec<f32> {
    if let Some(bias) = bias {
        for row in rows.chunks_exact_mut(bias.len()) {
            add(row, bias);
        }
    }
    rows
}

/// A layer with its matrices in `f32`.
struct DequantizedLayer<'a> {
    /// The layer in the file, for its norms and biases.
    weights: &'a Layer,
    qkv: Vec<Panels>,
    output: DequantizedLinear<'a>,
    /// The matrix before `ffn_down`, or the gate and what it gates.
    feed_forward: Vec<Panels>,
    down: DequantizedLinear<'a>,
}

impl<'a> DequantizedLayer<'a> {
    fn new(weights: &'a Layer) -> Self {
        Self {
            weights,
            qkv: weights.attn_qkv.iter().map(Panels::new).collect(),
            output: DequantizedLinear::new(&weights.attn_output),
            feed_forward: weights.feed_forward.matrices().map(Panels::new).collect(),
            down: DequantizedLinear::new(&weights.ffn_down),
        }
    }
}

/// A matrix in `f32`, and the bias that it may have.
struct DequantizedLinear<'a> {
    weight: Panels,
    bias: Option<&'a [f32]>,
}

impl<'a> DequantizedLinear<'a> {
    fn new(linear: &'a Linear) -> Self {
        Self {
            weight: Panels::new(&linear.weight),
            bias: linear.bias.as_deref(),
        }
    }

    fn multiply(&self, x: &[f32]) -> Vec<f32> {
        biased(self.weight.multiply(x), self.bias)
    }
}
