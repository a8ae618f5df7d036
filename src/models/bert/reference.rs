//! The forward pass in `f32`: what the INT8 path is tested against and measured by.
//!
//! Weights are dequantized, activations never quantized, and the steps are those of the
//! published model, one after the other.

use lanewise_kernels::Activation;

use super::{Bert, Layer, Norm};
use crate::engine::Reach;
use crate::models::Model;
use crate::models::reference::{Attention, Panels, Steps, activate, add, layer_norm, pool};

/// The forward pass of BERT with weights dequantized and activations in `f32`.
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

    /// `layer_norm(E[id] + T[0] + P[position])`
    fn embed_tokens(&self, ids: &[u32]) -> Vec<f32> {
        let (weights, hidden) = (self.0.weights(), self.0.config().hidden);
        let mut x = vec![0.0; ids.len() * hidden];
        let (mut position_row, mut type_row) = (vec![0.0; hidden], vec![0.0; hidden]);
        if let Some(types) = &weights.token_types {
            types.dequantize_row(0, &mut type_row);
        }
        for (position, (row, &id)) in x.chunks_exact_mut(hidden).zip(ids).enumerate() {
            weights.token_embd.dequantize_row(id as usize, row);
            add(row, &type_row);
            weights
                .position_embd
                .dequantize_row(position, &mut position_row);
            add(row, &position_row);
        }
        self.norm_rows(&mut x, &weights.token_embd_norm);
        x
    }

    fn run_layer(&self, layer: usize, texts: &mut [Vec<f32>]) {
        let layer = DequantizedLayer::new(&self.0.weights().layers[layer]);
        for x in texts {
            self.attend(&layer, x);
            self.feed_forward(&layer, x);
        }
    }

    fn finish(&self, _: &mut [f32]) {}

    fn pool(&self, x: &[f32]) -> Vec<f32> {
        let config = self.0.config();
        pool(config.pooling, x, config.hidden)
    }
}

impl F32Reference<'_> {
    /// `x = layer_norm(x + Wo attention + bo)`
    fn attend(&self, layer: &DequantizedLayer, x: &mut [f32]) {
        let config = self.0.config();
        let (hidden, heads, head_dim) = (config.hidden, config.heads, config.head_dim());
        let mut queries_keys_values = Vec::new();
        let mut first = 0;
        for (panels, matrix) in layer.qkv.iter().zip(&layer.weights.attn_qkv) {
            let bias = &layer.weights.attn_qkv_bias[first..first + matrix.rows()];
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
        let output = biased(
            layer.output.multiply(&attention),
            &layer.weights.attn_output.bias,
        );
        add(x, &output);
        self.norm_rows(x, &layer.weights.attn_output_norm);
    }

    /// `x = layer_norm(x + Wdown gelu(Wup x + bup) + bdown)`
    fn feed_forward(&self, layer: &DequantizedLayer, x: &mut [f32]) {
        let mut up = biased(layer.up.multiply(x), &layer.weights.ffn_up.bias);
        up.iter_mut()
            .for_each(|value| *value = activate(Activation::Gelu, *value));
        let down = biased(layer.down.multiply(&up), &layer.weights.ffn_down.bias);
        add(x, &down);
        self.norm_rows(x, &layer.weights.layer_output_norm);
    }

    /// LayerNorm of each row.
    fn norm_rows(&self, x: &mut [f32], norm: &Norm) {
        let eps = self.0.config().layer_norm_eps;
        layer_norm(x, &norm.weight, Some(&norm.bias), eps);
    }
}

/// Rows with a bias added to each.
fn biased(mut rows: Vec<f32>, bias: &[f32]) -> Vec<f32> {
    for row in rows.chunks_exact_mut(bias.len()) {
        add(row, bias);
    }
    rows
}

/// A layer with its matrices in `f32`.
struct DequantizedLayer<'a> {
    /// The layer in the file, for its norms and biases.
    weights: &'a Layer,
    qkv: Vec<Panels>,
    output: Panels,
    up: Panels,
    down: Panels,
}

impl<'a> DequantizedLayer<'a> {
    fn new(weights: &'a Layer) -> Self {
        Self {
            weights,
            qkv: weights.attn_qkv.iter().map(Panels::new).collect(),
            output: Panels::new(&weights.attn_output.weight),
            up: Panels::new(&weights.ffn_up.weight),
            down: Panels::new(&weights.ffn_down.weight),
        }
    }
}
