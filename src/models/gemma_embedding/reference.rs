//! The forward pass in `f32`: what the INT8 path is tested against and measured by.
//!
//! Weights are dequantized, activations never quantized, and the steps are those of the
//! published model, one after the other. It is written to be read: its speed, enough for whole
//! golden sets, comes from one register tile and from loops that the compiler vectorizes.

mod product;

use std::panic::resume_unwind;
use std::thread;

use multiversion::multiversion;

use self::product::Panels;
use super::{Config, GemmaEmbedding, Layer};
use crate::models::Reference;
use crate::{Error, Result};

/// The forward pass of EmbeddingGemma with weights dequantized and activations in `f32`.
///
/// A layer's weights are dequantized when the layer's turn comes, once for all texts of a batch,
/// so that memory holds one layer (17 MB of EmbeddingGemma-300M) and the residual stream.
/// A text's result has the same bits alone or in a batch. The dense heads are applied where the
/// file has them; without them the embedding is in another space.
#[derive(Clone, Copy, Debug)]
pub(super) struct F32Reference<'a>(&'a GemmaEmbedding);

impl Reference for F32Reference<'_> {
    fn embed(&self, ids: &[u32]) -> Result<Vec<f32>> {
        self.check(ids)?;
        self.embed_checked(&[ids]).swap_remove(0)
    }

    fn embed_batch(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        texts.iter().try_for_each(|ids| self.check(ids))?;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mut embeddings: Vec<_> = thread::scope(|scope| {
            let embed_group = |group: Vec<usize>| {
                scope.spawn(move || {
                    let ids: Vec<&[u32]> = group.iter().map(|&index| texts[index]).collect();
                    let embeddings = self.embed_checked(&ids);
                    group.into_iter().zip(embeddings).collect::<Vec<_>>()
                })
            };
            let groups = balance(texts, cores).into_iter();
            let threads: Vec<_> = groups.map(embed_group).collect();
            let finished = threads.into_iter().map(|thread| thread.join());
            finished
                .flat_map(|group| group.unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        });
        embeddings.sort_unstable_by_key(|&(index, _)| index);
        embeddings
            .into_iter()
            .map(|(_, embedding)| embedding)
            .collect()
    }

    fn hidden_states(&self, ids: &[u32]) -> Result<Vec<Vec<f32>>> {
        self.check(ids)?;
        let mut x = vec![self.embed_tokens(ids)];
        let mut states = Vec::with_capacity(self.0.config().layers + 1);
        for layer in 0..self.0.config().layers {
            states.push(x[0].clone());
            self.run_layer(layer, &mut x);
        }
        self.norm_rows(&mut x[0], &self.0.weights().output_norm);
        states.append(&mut x);
        Ok(states)
    }
}

impl<'a> F32Reference<'a> {
    /// The forward pass of a model.
    pub(super) fn new(model: &'a GemmaEmbedding) -> Self {
        Self(model)
    }

    fn check(&self, ids: &[u32]) -> Result<()> {
        let Config {
            context,
            vocabulary,
            ..
        } = *self.0.config();
        let error = |problem: String, remedy: String| Error::Argument {
            name: "ids".into(),
            problem,
            remedy,
        };
        if ids.is_empty() {
            let remedy = "give at least <bos> and <eos>, which stand for the empty text";
            return Err(error("holds no token".into(), remedy.into()));
        }
        if ids.len() > context {
            let problem = format!("holds {} tokens, but the model takes {context}", ids.len());
            let remedy = format!("keep the first {} and add <eos>", context - 1);
            return Err(error(problem, remedy));
        }
        if let Some(id) = ids.iter().find(|&&id| id as usize >= vocabulary) {
            let problem = format!("holds {id}, but the vocabulary has {vocabulary} tokens");
            return Err(error(problem, "use this model's tokenizer".into()));
        }
        Ok(())
    }

    /// Layer by layer, so that each matrix is dequantized once for all texts.
    fn embed_checked(&self, texts: &[&[u32]]) -> Vec<Result<Vec<f32>>> {
        let mut x: Vec<_> = texts.iter().map(|ids| self.embed_tokens(ids)).collect();
        for layer in 0..self.0.config().layers {
            self.run_layer(layer, &mut x);
        }
        let mut pooled = Vec::with_capacity(texts.len() * self.0.config().hidden);
        for x in &mut x {
            self.norm_rows(x, &self.0.weights().output_norm);
            pooled.extend(mean(x, self.0.config().hidden));
        }
        for head in self.0.weights().dense.iter().flatten() {
            pooled = Panels::new(head).multiply(&pooled);
        }
        let embeddings = pooled.chunks_exact(self.0.config().hidden);
        embeddings
            .map(|embedding| self.unit_vector(embedding))
            .collect()
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

        let mut attention = vec![0.0; q.len()];
        let mut scores = Vec::new();
        let (stride, tokens) = (kv_heads * head_dim, k.len() / (kv_heads * head_dim));
        let rows = q.chunks_exact(head_dim);
        for (row, (q, out)) in rows.zip(attention.chunks_exact_mut(head_dim)).enumerate() {
            let (position, head) = (row / heads, row % heads);
            let first = position.saturating_sub(reach);
            let end = (position + reach + 1).min(tokens);
            // Neighboring heads of queries share a head of keys and values.
            let kv_head = head / (heads / kv_heads);
            let seen = first * stride + kv_head * head_dim..end * stride;
            attend_row(q, &k[seen.clone()], &v[seen], stride, &mut scores, out);
        }

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

    fn unit_vector(&self, embedding: &[f32]) -> Result<Vec<f32>> {
        let squares = embedding.iter().map(|&x| f64::from(x).powi(2));
        let length = squares.sum::<f64>().sqrt();
        if length.is_finite() && length > 0.0 {
            let unit = embedding.iter().map(|&x| (f64::from(x) / length) as f32);
            return Ok(unit.collect());
        }
        Err(self.0.gguf.file_error(
            "weights",
            format!("give an embedding of length {length}"),
            "fetch the file again: its weights are damaged",
        ))
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

/// `out = softmax(q k) v` of one query. A key or value begins every `stride` values.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn attend_row(
    q: &[f32],
    keys: &[f32],
    values: &[f32],
    stride: usize,
    scores: &mut Vec<f32>,
    out: &mut [f32],
) {
    scores.clear();
    let mut highest = f32::NEG_INFINITY;
    for key in keys.chunks(stride) {
        let score = dot(q, key);
        highest = highest.max(score);
        scores.push(score);
    }
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - highest).exp();
        sum += *score;
    }
    for (index, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let mut mean = [0.0; 32];
        for (value, &weight) in values.chunks(stride).zip(scores.iter()) {
            for (mean, value) in mean.iter_mut().zip(&value[32 * index..][..32]) {
                *mean = weight.mul_add(*value, *mean);
            }
        }
        *out = mean.map(|mean| mean / sum);
    }
}

/// The product of `a` with as many values of `b`; their number is a multiple of 32.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 32];
    for (a, b) in a.as_chunks::<32>().0.iter().zip(b.as_chunks::<32>().0) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum = a.mul_add(*b, *sum);
        }
    }
    sums.iter().sum()
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

fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

/// The mean of the rows of `columns` values.
fn mean(x: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0; columns];
    for row in x.chunks_exact(columns) {
        for (sum, &x) in sums.iter_mut().zip(row) {
            *sum += f64::from(x);
        }
    }
    let rows = (x.len() / columns) as f64;
    sums.into_iter().map(|sum| (sum / rows) as f32).collect()
}

/// Shares texts, by index, among `groups` so that each has about as many tokens.
fn balance(texts: &[&[u32]], groups: usize) -> Vec<Vec<usize>> {
    let mut longest_first: Vec<usize> = (0..texts.len()).collect();
    longest_first.sort_by_key(|&index| std::cmp::Reverse(texts[index].len()));
    let mut shares = vec![(0, Vec::new()); groups.min(texts.len())];
    for index in longest_first {
        if let Some((tokens, share)) = shares.iter_mut().min_by_key(|(tokens, _)| *tokens) {
            *tokens += texts[index].len();
            share.push(index);
        }
    }
    shares.into_iter().map(|(_, share)| share).collect()
}
