//! Softmax attention in f32.

use multiversion::multiversion;

use crate::engine::Reach;

/// Softmax attention of a text: its queries, scaled already, its keys and values, and which of them tokens
/// see.
pub(in crate::models) struct Attention<'a> {
    /// `heads * head_dim` values a token.
    pub queries: &'a [f32],
    /// `kv_heads * head_dim` values a token.
    pub keys: &'a [f32],
    /// `kv_heads * head_dim` values a token.
    pub values: &'a [f32],
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    /// Which keys a token sees.
    pub reach: Reach,
}

impl Attention<'_> {
    /// The weighted values, in the shape of the queries.
    pub fn run(&self) -> Vec<f32> {
        let head_dim = self.head_dim;
        let stride = self.kv_heads * head_dim;
        let tokens = self.keys.len() / stride;
        let mut attention = vec![0.0; self.queries.len()];
        let mut scores = Vec::new();
        let rows = self.queries.chunks_exact(head_dim);
        for (row, (q, out)) in rows.zip(attention.chunks_exact_mut(head_dim)).enumerate() {
            let (position, head) = (row / self.heads, row % self.heads);
            let seen = self.reach.seen(position, tokens);
            // Neighboring heads of queries share a head of keys and values.
            let kv_head = head / (self.heads / self.kv_heads);
            let seen = seen.start * stride + kv_head * head_dim..seen.end * stride;
            let (keys, values) = (&self.keys[seen.clone()], &self.values[seen]);
            attend_row(q, keys, values, stride, &mut scores, out);
        }
        attention
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
