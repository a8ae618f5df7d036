//! The forward pass in `f32`: what the INT8 path is tested against and measured by.

use super::config::Sight;
use super::{Layer, PreNorm};
use crate::models::Model;
use crate::models::reference::{
    Attention, Panels, Rotations, Steps, activate, add, pool, rms_norm,
};

/// The forward pass of a model with weights dequantized and activations in `f32`.
#[derive(Clone, Copy, Debug)]
pub(super) struct F32Reference<'a>(&'a PreNorm);

impl<'a> F32Reference<'a> {
    /// The forward pass of a model.
    pub(super) fn new(model: &'a PreNorm) -> Self {
        Self(model)
    }
}

impl Steps for F32Reference<'_> {
    fn model(&self) -> &dyn Model {
        self.0
    }

    /// The tokens' rows of the embedding table, normed where the model has a norm for them.
    fn embed_tokens(&self, ids: &[u32]) -> Vec<f32> {
        let (weights, hidden) = (self.0.weights(), self.0.config().sizes.hidden);
        let mut x = vec![0.0; ids.len() * hidden];
        for (row, &id) in x.chunks_exact_mut(hidden).zip(ids) {
            weights.token_embd.dequantize_row(id as usize, row);
        }
        if let Some(weight) = &weights.token_embd_norm {
            self.0.config().norm.apply_f32(&mut x, weight);
        }
        x
    }

    fn run_layer(&self, layer: usize, texts: &mut [Vec<f32>]) {
        let config = self.0.config();
        let sight = config.sight(layer);
        let layer = DequantizedLayer::new(&self.0.weights().layers[layer]);
        let longest = texts.iter().map(Vec::len).max().unwrap_or(0) / config.sizes.hidden;
        let rotations = Rotations::new(longest, config.head_dim, sight.rope_base);
        for x in texts {
            self.attend(&layer, sight, &rotations, x);
            self.feed_forward(&layer, x);
        }
    }

    fn finish(&self, x: &mut [f32]) {
        let norm = self.0.config().norm;
        norm.apply_f32(x, &self.0.weights().output_norm);
    }

    fn pool(&self, x: &[f32]) -> Vec<f32> {
        let config = self.0.config();
        pool(config.pooling, x, config.sizes.hidden)
    }
}

impl F32Reference<'_> {
    /// `x += Wo attention(norm(x))`
    fn attend(&self, layer: &DequantizedLayer, sight: Sight, rotations: &Rotations, x: &mut [f32]) {
        let config = self.0.config();
        let (heads, kv_heads, head_dim) = (config.sizes.heads, config.kv_heads, config.head_dim);
        let mut h = x.to_vec();
        if let Some(weight) = &layer.norms.attn_norm {
            config.norm.apply_f32(&mut h, weight);
        }
        let mut q = layer.q.multiply(&h);
        let mut k = layer.k.multiply(&h);
        let v = layer.v.multiply(&h);
        if let Some(norms) = &layer.norms.head_norms {
            rms_norm(&mut q, &norms.query, config.norm.eps());
            rms_norm(&mut k, &norms.key, config.norm.eps());
        }
        rotations.rotate(&mut q, heads);
        rotations.rotate(&mut k, kv_heads);
        let scale = 1.0 / (head_dim as f32).sqrt();
        q.iter_mut().for_each(|q| *q *= scale);
        let attention = Attention {
            queries: &q,
            keys: &k,
            values: &v,
            heads,
            kv_heads,
            head_dim,
            reach: sight.reach,
        }
        .run();
        add(x, &layer.output.multiply(&attention));
    }

    /// `x += Wdown (activation(Wgate h) * (Wup h))`, `h = norm(x)`
    fn feed_forward(&self, layer: &DequantizedLayer, x: &mut [f32]) {
        let config = self.0.config();
        let mut h = x.to_vec();
        config.norm.apply_f32(&mut h, &layer.norms.ffn_norm);
        let mut gated = layer.gate.multiply(&h);
        let up = layer.up.multiply(&h);
        for (gate, up) in gated.iter_mut().zip(&up) {
            *gate = activate(config.activation, *gate) * up;
        }
        add(x, &layer.down.multiply(&gated));
    }
}

/// A layer with its matrices in `f32`.
struct DequantizedLayer<'a> {
    /// The layer in the file, for its norms.
    norms: &'a Layer,
    q: Panels,
    k: Panels,
    v: Panels,
    output: Panels,
    gate: Panels,
    up: Panels,
    down: Panels,
}

impl<'a> DequantizedLayer<'a> {
    fn new(layer: &'a Layer) -> Self {
        let [q, k, v, output, gate, up, down] = layer.matrices().map(Panels::new);
        Self {
            norms: layer,
            q,
            k,
            v,
            output,
            gate,
            up,
            down,
        }
    }
}
