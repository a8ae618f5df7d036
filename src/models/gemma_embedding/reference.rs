//! The forward pass in `f32`: what the INT8 path is tested against and measured by.
//!
//! Weights are dequantized, activations never quantized, and the steps are those of the
//! published model, one after the other.

use lanewise_kernels::Activation;

use super::{GemmaEmbedding, Layer, LayerKind, Version};
use crate::engine::{HeadShape, Pooling};
use crate::models::Model;
use crate::models::reference::{
    Attention, Panels, Rotations, Steps, activate, add, pool, rms_norm,
};

/// The forward pass of EmbeddingGemma with weights dequantized and activations in `f32`.
///
/// The dense heads are applied where the file has them; without them the embedding is in another space.
#[derive(Clone, Copy, Debug)]
pub(super) struct F32Reference<'a>(&'a GemmaEmbedding);

impl<'a> F32Reference<'a> {
    /// The forward pass of a model.
    pub(super) fn new(model: &'a GemmaEmbedding) -> Self {
        Self(model)
    }
}

impl Steps for F32Reference<'_> {
    fn model(&self) -> &dyn Model {
        self.0
    }

    /// The tokens' rows of the embedding table, times the square root of `hidden`.
    fn embed_tokens(&self, ids: &[u32]) -> Vec<f32> {
        let hidden = self.0.config().hidden;
        let mut x = vec![0.0; ids.len() * hidden];
        for (row, &id) in x.chunks_exact_mut(hidden).zip(ids) {
            let table = &self.0.weights().token_embd;
            table.dequantize_row(id as usize, row);
        }
        let scale = (hidden as f32).sqrt();
        x.iter_mut().for_each(|x| *x *= scale);
        x
    }

    /// Runs layer number `layer` on the residual stream of each text.
    fn run_layer(&self, layer: usize, texts: &mut [Vec<f32>]) {
        let weights = DequantizedLayer::new(&self.0.weights().layers[layer]);
        let config = self.0.config();
        let longest = texts.iter().map(Vec::len).max().unwrap_or(0) / config.hidden;
        let kind = config.kind(layer);
        let rotations = Rotations::new(longest, kind.heads.head_dim, kind.rope_base);
        for x in texts {
            self.attend(&weights, kind, &rotations, x);
            self.feed_forward(&weights, x);
        }
    }

    /// `x = (x + rms_norm(Wproj (gelu(Winp_gate x) * signal)) * post_norm) * output_scale`, with
    /// `signal = rms_norm(Wmodel_proj e / sqrt(hidden)) * signal_norm`
    fn add_signal(&self, layer: usize, embeddings: &[Vec<f32>], texts: &mut [Vec<f32>]) {
        let weights = self.0.weights();
        let Some(layer) = &weights.layers[layer].signal else {
            return;
        };
        let [model_proj, inp_gate, proj] = layer.matrices().map(Panels::new);
        let root = (self.0.config().hidden as f32).sqrt();
        for (x, e) in texts.iter_mut().zip(embeddings) {
            let mut signal = model_proj.multiply(e);
            signal.iter_mut().for_each(|value| *value /= root);
            self.norm_rows(&mut signal, &weights.signal_norm);
            let mut gated = inp_gate.multiply(x);
            for (gate, signal) in gated.iter_mut().zip(&signal) {
                *gate = activate(Activation::GeluTanh, *gate) * signal;
            }
            let mut added = proj.multiply(&gated);
            self.norm_rows(&mut added, &layer.post_norm);
            add(x, &added);
            x.iter_mut().for_each(|x| *x *= layer.output_scale);
        }
    }

    fn finish(&self, x: &mut [f32]) {
        self.norm_rows(x, &self.0.weights().output_norm);
    }

    fn pool(&self, x: &[f32]) -> Vec<f32> {
        pool(Pooling::Mean, x, self.0.config().hidden)
    }

    fn heads(&self, mut pooled: Vec<f32>) -> Vec<f32> {
        for head in self.0.weights().head.matrices() {
            pooled = Panels::new(head).multiply(&pooled);
        }
        pooled
    }
}

impl F32Reference<'_> {
    /// `x += rms_norm(Wo attention) * post_attention_norm`
    fn attend(
        &self,
        layer: &DequantizedLayer,
        kind: &LayerKind,
        rotations: &Rotations,
        x: &mut [f32],
    ) {
        let HeadShape {
            heads,
            kv_heads,
            head_dim,
        } = kind.heads;
        let mut h = x.to_vec();
        self.norm_rows(&mut h, &layer.norms.attn_norm);
        let mut q = layer.q.multiply(&h);
        let mut k = layer.k.multiply(&h);
        let mut v = layer.v.multiply(&h);
        self.norm_rows(&mut q, &layer.norms.attn_q_norm);
        self.norm_rows(&mut k, &layer.norms.attn_k_norm);
        rotations.rotate(&mut q, heads);
        rotations.rotate(&mut k, kv_heads);
        q.iter_mut().for_each(|q| *q *= kind.scale);
        if let Version::Second { .. } = self.0.config().version {
            self.norm_rows(&mut v, &vec![1.0; head_dim]);
        }

        let attention = Attention {
            queries: &q,
            keys: &k,
            values: &v,
            heads,
            kv_heads,
            head_dim,
            reach: kind.reach,
        }
        .run();
        let mut out = layer.output.multiply(&attention);
        self.norm_rows(&mut out, &layer.norms.post_attention_norm);
        add(x, &out);
    }

    /// `x += rms_norm(Wdown (gelu(Wgate h) * (Wup h))) * post_ffw_norm`
    fn feed_forward(&self, layer: &DequantizedLayer, x: &mut [f32]) {
        let mut h = x.to_vec();
        self.norm_rows(&mut h, &layer.norms.ffn_norm);
        let mut f = layer.gate.multiply(&h);
        let up = layer.up.multiply(&h);
        for (f, up) in f.iter_mut().zip(&up) {
            *f = activate(Activation::GeluTanh, *f) * up;
        }
        let mut out = layer.down.multiply(&f);
        self.norm_rows(&mut out, &layer.norms.post_ffw_norm);
        add(x, &out);
    }

    /// RMSNorm of each row of as many values as there are weights, which GGUF stores as `1 + w`.
    fn norm_rows(&self, x: &mut [f32], weights: &[f32]) {
        rms_norm(x, weights, self.0.config().rms_norm_eps);
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
        let [q, k, v, output, gate, up, down] = layer.common_matrices().map(Panels::new);
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
