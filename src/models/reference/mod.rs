//! What the f32 forward passes of all families share: batches, checks, products, attention, the unit
//! vector.
//!
//! A family writes the [`Steps`] of its forward pass, one after the other, to be read; that they are
//! fast enough for whole golden sets comes from [`Panels`] and [`Attention`].

mod activation;
mod attention;
mod norm;
mod product;
mod rope;

use std::panic::resume_unwind;
use std::thread;

pub(super) use self::activation::activate;
pub(super) use self::attention::Attention;
pub(super) use self::norm::{layer_norm, rms_norm};
pub(super) use self::product::Panels;
pub(super) use self::rope::Rotations;
use super::{Model, Reference};
use crate::engine::Pooling;
use crate::{Error, Result};

/// The steps of a family's forward pass in f32.
///
/// A layer's weights are dequantized when the layer's turn comes, once for all texts of a batch,
/// so that memory holds one layer (17 MB of EmbeddingGemma-300M) and the residual stream. A text's
/// result has the same bits alone or in a batch.
pub(super) trait Steps: Sync {
    /// The model whose steps these are.
    fn model(&self) -> &dyn Model;

    /// The residual stream of a text before the first layer: `ids.len() * hidden` values.
    fn embed_tokens(&self, ids: &[u32]) -> Vec<f32>;

    /// [`embed_tokens`](Self::embed_tokens) of a pair of texts, the second from token `second_part` on.
    fn embed_pair(&self, ids: &[u32], second_part: usize) -> Vec<f32> {
        let _ = second_part;
        self.embed_tokens(ids)
    }

    /// Runs layer number `layer` on the residual stream of each text.
    fn run_layer(&self, layer: usize, texts: &mut [Vec<f32>]);

    /// What else layer number `layer` adds to the residual stream of each text, made of its embeddings,
    /// which are as [`embed_tokens`](Self::embed_tokens) gave them.
    fn add_signal(&self, layer: usize, embeddings: &[Vec<f32>], texts: &mut [Vec<f32>]) {
        let _ = (layer, embeddings, texts);
    }

    /// What follows the last layer for each token.
    fn finish(&self, x: &mut [f32]);

    /// The vector of a text, from its tokens.
    fn pool(&self, x: &[f32]) -> Vec<f32>;

    /// The score of a pair of texts from its tokens, of a reranker.
    fn score(&self, x: &[f32]) -> Option<f32> {
        let _ = x;
        None
    }

    /// What the vectors of all texts, one after the other, pass after pooling.
    fn heads(&self, pooled: Vec<f32>) -> Vec<f32> {
        pooled
    }
}

impl<S: Steps> Reference for S {
    fn embed(&self, ids: &[u32]) -> Result<Vec<f32>> {
        check(self.model(), ids)?;
        embed_checked(self, &[ids]).swap_remove(0)
    }

    fn embed_batch(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        texts.iter().try_for_each(|ids| check(self.model(), ids))?;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mut embeddings: Vec<_> = thread::scope(|scope| {
            let embed_group = |group: Vec<usize>| {
                scope.spawn(move || {
                    let ids: Vec<&[u32]> = group.iter().map(|&index| texts[index]).collect();
                    let embeddings = embed_checked(self, &ids);
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

    fn score(&self, ids: &[u32], second_part: usize) -> Result<Option<f32>> {
        check(self.model(), ids)?;
        let mut x = [self.embed_pair(ids, second_part)];
        for layer in 0..self.model().summary().layers {
            self.run_layer(layer, &mut x);
        }
        self.finish(&mut x[0]);
        Ok(Steps::score(self, &x[0]))
    }

    fn hidden_states(&self, ids: &[u32]) -> Result<Vec<Vec<f32>>> {
        check(self.model(), ids)?;
        let layers = self.model().summary().layers;
        let mut x = vec![self.embed_tokens(ids)];
        let embeddings = x.clone();
        let mut states = Vec::with_capacity(layers + 1);
        for layer in 0..layers {
            states.push(x[0].clone());
            self.run_layer(layer, &mut x);
            self.add_signal(layer, &embeddings, &mut x);
        }
        self.finish(&mut x[0]);
        states.append(&mut x);
        Ok(states)
    }
}

fn check(model: &dyn Model, ids: &[u32]) -> Result<()> {
    let shape = model.shape();
    let (context, vocabulary) = (shape.context, shape.vocabulary);
    let error = |problem: String, remedy: String| Error::Argument {
        name: "ids".into(),
        problem,
        remedy,
    };
    if ids.is_empty() {
        let remedy = "give at least the special tokens, which stand for the empty text";
        return Err(error("holds no token".into(), remedy.into()));
    }
    if ids.len() > context {
        let problem = format!("holds {} tokens, but the model takes {context}", ids.len());
        let remedy = format!(
            "keep the first {} and add the last special token",
            context - 1
        );
        return Err(error(problem, remedy));
    }
    if let Some(id) = ids.iter().find(|&&id| id as usize >= vocabulary) {
        let problem = format!("holds {id}, but the vocabulary has {vocabulary} tokens");
        return Err(error(problem, "use this model's tokenizer".into()));
    }
    Ok(())
}

/// Layer by layer, so that each matrix is dequantized once for all texts.
fn embed_checked(steps: &impl Steps, texts: &[&[u32]]) -> Vec<Result<Vec<f32>>> {
    let model = steps.model();
    let mut x: Vec<_> = texts.iter().map(|ids| steps.embed_tokens(ids)).collect();
    let embeddings = x.clone();
    for layer in 0..model.summary().layers {
        steps.run_layer(layer, &mut x);
        steps.add_signal(layer, &embeddings, &mut x);
    }
    let mut pooled = Vec::new();
    for x in &mut x {
        steps.finish(x);
        pooled.extend(steps.pool(x));
    }
    let embeddings = steps.heads(pooled);
    embeddings
        .chunks_exact(model.shape().width)
        .map(|embedding| unit_vector(model, embedding))
        .collect()
}

fn unit_vector(model: &dyn Model, embedding: &[f32]) -> Result<Vec<f32>> {
    let squares = embedding.iter().map(|&x| f64::from(x).powi(2));
    let length = squares.sum::<f64>().sqrt();
    if length.is_finite() && length > 0.0 {
        let unit = embedding.iter().map(|&x| (f64::from(x) / length) as f32);
        return Ok(unit.collect());
    }
    Err(model.gguf().file_error(
        "weights",
        format!("give an embedding of length {length}"),
        "fetch the file again: its weights are damaged",
    ))
}

/// `x += y`
pub(super) fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

/// The vector of a text, from those of its tokens, `columns` values each.
pub(super) fn pool(pooling: Pooling, x: &[f32], columns: usize) -> Vec<f32> {
    match pooling {
        Pooling::Mean => mean(x, columns),
        Pooling::Cls => x[..columns].to_vec(),
        Pooling::Last => x[x.len() - columns..].to_vec(),
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
