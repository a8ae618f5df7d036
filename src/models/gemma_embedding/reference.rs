//! The forward pass in `f32`: what the INT8 path is tested against and measured by.
//!
//! Weights are dequantized, activations never quantized, and the steps are those of the
//! published model, one after the other.

use super::{Config, GemmaEmbedding, Layer};
use crate::models::Model;
use crate::models::reference::{Attention, Panels, Steps, add, mean};

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
        let longest = texts.iter().map(Vec::len).max().unwrap_or(0) / self.0.config().hidden;
        let (reach, base) = if self.0.config().is_global(layer) {
            (longest, self.0.config().rope_base_global)
        } else {
            (
                self.0.config().sliding_window / 2,
                self.0.config().rope_base_local,
            )
        };
        let rotations = rotations(longest, self.0.config().head_dim, base);
        for x in texts {
            self.attend(&weights, reach, &rotations, x);
            self.feed_forward(&weights, x);
        }
    }

    fn finish(&self, x: &mut [f32]) {
        self.norm_rows(x, &self.0.weights().output_norm);
    }

    fn pool(&self, x: &[f32]) -> Vec<f32> {
        mean(x, self.0.config().hidden)
    }

    fn heads(&self, mut pooled: Vec<f32>) -> Vec<f32> {
        for head in self.0.weights().dense.iter().flatten() {
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
        reach: usize,
        rotations: &[Rotation],
        x: &mut [f32],
    ) {
        let Config {
            heads,
            kv_heads,
            head_dim,
            ..
        } = *self.0.config();
        let mut h = x.to_vec();
        self.norm_rows(&mut h, &layer.norms.attn_norm);
        let mut q = layer.q.multiply(&h);
        let mut k = layer.k.multiply(&h);
        let v = layer.v.multiply(&h);
        self.norm_rows(&mut q, &layer.norms.attn_q_norm);
        self.norm_rows(&mut k, &layer.norms.attn_k_norm);
        rotate(&mut q, heads, head_dim, rotations);
        rotate(&mut k, kv_heads, head_dim, rotations);
        let scale = 1.0 / (head_dim as f32).sqrt();
        q.iter_mut().for_each(|q| *q *= scale);

        let attention = Attention {
            queries: &q,
            keys: &k,
            values: &v,
            heads,
            kv_heads,
            head_dim,
            reach,
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
            *f = gelu_tanh(*f) * up;
        }
        let mut out = layer.down.multiply(&f);
        self.norm_rows(&mut out, &layer.norms.post_ffw_norm);
        add(x, &out);
    }

    /// RMSNorm of each row of as many values as there are weights.
    fn norm_rows(&self, x: &mut [f32], weights: &[f32]) {
        for row in x.chunks_exact_mut(weights.len()) {
            rms_norm(row, weights, self.0.config().rms_norm_eps);
        }
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

/// Sine and cosine of an angle of RoPE.
type Rotation = (f32, f32);

/// The angles of RoPE: `head_dim / 2` for each of `positions`, `position / base^(2i / head_dim)`.
fn rotations(positions: usize, head_dim: usize, base: f32) -> Vec<Rotation> {
    let frequency = |i| f64::from(base).powf(-2.0 * i as f64 / head_dim as f64);
    let frequencies: Vec<f64> = (0..head_dim / 2).map(frequency).collect();
    let angles = |position| frequencies.iter().map(move |f| position as f64 * f);
    (0..positions)
        .flat_map(angles)
        .map(f64::sin_cos)
        .map(|(sine, cosine)| (sine as f32, cosine as f32))
        .collect()
}

/// RoPE in NEOX order: value `i` of a head is turned together with value `i + head_dim / 2`.
fn rotate(x: &mut [f32], heads: usize, head_dim: usize, rotations: &[Rotation]) {
    let half = head_dim / 2;
    let tokens = x.chunks_exact_mut(heads * head_dim);
    for (token, rotations) in tokens.zip(rotations.chunks_exact(half)) {
        for head in token.chunks_exact_mut(head_dim) {
            let (first, second) = head.split_at_mut(half);
            for ((a, b), &(sine, cosine)) in first.iter_mut().zip(second).zip(rotations) {
                (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
            }
        }
    }
}

/// `x / sqrt(mean(x^2) + epsilon) * weights`; GGUF stores the weights as `1 + w` already.
fn rms_norm(x: &mut [f32], weights: &[f32], epsilon: f32) {
    let squares = x.iter().map(|&x| f64::from(x).powi(2));
    let mean = squares.sum::<f64>() / x.len() as f64;
    let factor = (mean + f64::from(epsilon)).sqrt().recip() as f32;
    for (x, weight) in x.iter_mut().zip(weights) {
        *x = *x * factor * weight;
    }
}

/// GELU in its approximation by tanh (Hendrycks and Gimpel, arXiv 1606.08415).
fn gelu_tanh(x: f32) -> f32 {
    let root = std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2;
    0.5 * x * (1.0 + (root * (x + 0.044_715 * x * x * x)).tanh())
}
