//! The families of models: how each is recognized, and what the rest of the library uses of it.
//!
//! A family is a directory beside this file with a [`Family`] that says how to recognize and open
//! its files, a [`Model`], and a [`ForwardPass`] over an [`Executor`]. To add one, write the
//! directory and list its `FAMILY` in [`FAMILIES`].

pub mod bert;
mod dims;
pub mod gemma_embedding;
pub mod gemma_embedding2;
mod keys;
pub mod modern_bert;
mod names;
pub mod nomic_bert;
mod pooling;
pub mod pre_norm;
mod prompts;
pub mod qwen3;
mod reference;
mod reranker;
mod tensors;

use std::collections::TryReserveError;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use lanewise_kernels::Kernels;

pub use self::dims::Dims;
pub use self::prompts::{PromptText, Prompts};
pub use self::reranker::ScoreFunction;
use crate::engine::{Batch, Executor, Job, Matrix, Pooling, Shape};
use crate::gguf::Gguf;
use crate::tokenizer::Tokenizer;
use crate::vectors::normalize;
use crate::{Error, Result};

/// Every family, the default one first.
pub static FAMILIES: &[&Family] = &[
    &gemma_embedding::FAMILY,
    &gemma_embedding2::FAMILY,
    &bert::FAMILY,
    &nomic_bert::FAMILY,
    &qwen3::FAMILY,
    &modern_bert::FAMILY,
];

/// Opens a file of a family.
pub type Open = fn(Arc<Gguf>, &OpenOptions) -> Result<Arc<dyn Model>>;

/// What is known of a family before a file of it is opened.
pub struct Family {
    /// The name that people know it by.
    pub name: &'static str,
    /// What `general.architecture` is in its files.
    pub architecture: &'static str,
    /// Reads and checks everything in a file but the values of its matrices.
    pub open: Open,
    /// What the model of a file reads before texts.
    pub prompts: fn(&Gguf) -> Result<Prompts>,
    /// The tokenizer of a file, which needs to have no more than a vocabulary.
    pub tokenizer: fn(Arc<Gguf>) -> Result<Box<dyn Tokenizer>>,
}

impl Family {
    /// The family of a file.
    ///
    /// # Errors
    /// If the file does not state its architecture, or one that no family has.
    pub fn of(gguf: &Gguf) -> Result<&'static Self> {
        const KEY: &str = "general.architecture";
        let architecture = gguf.required_str(KEY)?;
        let mut families = FAMILIES.iter();
        if let Some(family) = families.find(|family| family.architecture == architecture) {
            return Ok(family);
        }
        let list = |name: fn(&Family) -> String, separator: &str| {
            let names: Vec<String> = FAMILIES.iter().map(|family| name(family)).collect();
            names.join(separator)
        };
        let architectures = list(|family| format!("{:?}", family.architecture), ", ");
        let names = list(|family| family.name.to_owned(), " or ");
        Err(gguf.file_error(
            KEY,
            format!("is {architecture:?}, but only {architectures} are supported"),
            format!("give a GGUF file of {names}"),
        ))
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Family").field(&self.name).finish()
    }
}

/// What a file may leave to whoever opens it.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions {
    /// How vectors are pooled, of a file that does not say it; what a file says must be the same.
    pub pooling: Option<Pooling>,
}

/// A model file, opened and checked: everything but the values of its matrices has been read.
pub trait Model: fmt::Debug + Send + Sync {
    /// Its family.
    fn family(&self) -> &'static Family;

    /// The mapped file.
    fn gguf(&self) -> &Arc<Gguf>;

    /// The dimensions that decide how batches are laid out.
    fn shape(&self) -> Shape;

    /// The hyperparameters that a person would want to see.
    fn summary(&self) -> Summary;

    /// The lengths that vectors may be cut to.
    fn dims(&self) -> Dims;

    /// What a score passes at last, of a model that gives pairs of texts scores, and texts no vectors.
    fn score_function(&self) -> Option<ScoreFunction> {
        None
    }

    /// `out` becomes the shorter vector of its length, of unit length, from one of unit length; not finite
    /// if nothing but zeros is left.
    fn shorten(&self, vector: &[f32], out: &mut [f32]) {
        shorten(vector, out);
    }

    /// Whether the file has the dense heads after pooling, without which vectors are in another space;
    /// `None` if models of the family have none.
    fn dense_heads(&self) -> Option<bool>;

    /// Every matrix of the file.
    fn matrices(&self) -> Matrices<'_>;

    /// Multiply-adds of a forward pass over one text of `tokens` tokens, without what runs once a
    /// text.
    fn multiply_adds(&self, tokens: usize) -> u64;

    /// The jobs of layer `layer`, in order, for a batch that was set for `threads` threads.
    fn jobs_of_layer(&self, batch: &Batch, threads: usize, layer: usize) -> Vec<Job>;

    /// A forward pass, which takes memory with the first batches. `dense_heads` is whether vectors
    /// pass the dense heads, if models of the family have them.
    ///
    /// # Errors
    /// If `dense_heads` is true and the file lacks them.
    fn forward_pass(self: Arc<Self>, dense_heads: bool) -> Result<Box<dyn ForwardPass>>;

    /// The forward pass in f32 that the other one is tested against.
    fn reference(&self) -> Box<dyn Reference + '_>;
}

/// The forward pass of one model, with its scratch.
pub trait ForwardPass: Send {
    /// Makes room for a pass over a batch with these kernels, so that only this call can fail for lack of memory.
    ///
    /// # Errors
    /// If there is no memory.
    fn reserve(&mut self, kernels: Kernels, batch: &Batch) -> Result<(), TryReserveError>;

    /// The most columns that a matrix of a product has.
    fn longest_row(&self) -> usize;

    /// Runs the batch, for which there is room; row `i` of `out` becomes the vector of text `i`, of
    /// unit length, or its score before the last function.
    ///
    /// # Errors
    /// If the file cannot be read.
    fn run(&mut self, executor: &mut Executor, batch: &Batch, out: &mut [f32]) -> Result<()>;

    /// After a pass that gave values that are not finite: the first tensor or layer that does.
    fn first_not_finite(
        &mut self,
        executor: &mut Executor,
        batch: &Batch,
        out: &mut [f32],
    ) -> String;
}

/// The forward pass of a model with weights dequantized and activations in f32.
pub trait Reference: Sync {
    /// The embedding of a text: `hidden` values of unit length. `ids` are its tokens, the special
    /// ones at both ends included.
    ///
    /// # Errors
    /// If there is no token, more of them than the context holds, or one outside the vocabulary; or
    /// if the embedding is not finite, which only damaged weights cause.
    fn embed(&self, ids: &[u32]) -> Result<Vec<f32>>;

    /// The embedding of each text, as [`embed`](Self::embed) gives it, on all cores.
    ///
    /// # Errors
    /// As [`embed`](Self::embed), for the first text that fails.
    fn embed_batch(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>>;

    /// The score of a pair of texts, of a reranker, before the last function. `second_part` is the place of
    /// the first token that belongs to the second text; `None` if the model is no reranker.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    fn score(&self, ids: &[u32], second_part: usize) -> Result<Option<f32>>;

    /// The residual stream of a text after the embedding and after each layer: `layers + 1` times
    /// `tokens * hidden` values, the last after the final norm as well.
    ///
    /// # Errors
    /// As [`embed`](Self::embed), but values that are not finite are returned as they are.
    fn hidden_states(&self, ids: &[u32]) -> Result<Vec<Vec<f32>>>;
}

/// The matrices of a model, by what a pass does with them.
#[derive(Clone, Debug)]
pub struct Matrices<'a> {
    /// The tables that rows are copied from.
    pub embedding: Vec<&'a Matrix>,
    /// The matrices of each layer, in the order of the forward pass.
    pub layers: Vec<Vec<&'a Matrix>>,
    /// What runs once a text, after pooling.
    pub heads: Vec<&'a Matrix>,
    /// Those that a pass multiplies with, in its order; of those in one entry it takes a panel each
    /// in turn.
    pub streams: Vec<Vec<&'a Matrix>>,
}

impl<'a> Matrices<'a> {
    /// Those of all layers, which a pass reads once.
    pub fn of_layers(&self) -> impl Iterator<Item = &'a Matrix> {
        self.layers.iter().flatten().copied()
    }

    /// Those that a pass multiplies with.
    pub fn of_products(&self) -> impl Iterator<Item = &'a Matrix> {
        self.of_layers().chain(self.heads.iter().copied())
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &'a Matrix> {
        self.embedding.iter().copied().chain(self.of_products())
    }
}

/// The hyperparameters that a person would want to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Layers of the transformer.
    pub layers: usize,
    /// Values between the two halves of a feed-forward layer.
    pub feed_forward: usize,
    /// The window of local layers, as the file has it; `None` if every layer sees the whole text.
    pub sliding_window: Option<usize>,
    /// How the vectors of tokens become one.
    pub pooling: Pooling,
}

/// Opens a GGUF file of any family.
///
/// # Errors
/// [`Error`] naming the file and the field that is missing, damaged or not supported.
pub fn open(path: impl AsRef<Path>) -> Result<Arc<dyn Model>> {
    open_with(path, &OpenOptions::default())
}

/// [`open`] with what the file may leave open.
///
/// # Errors
/// As [`open`], or if the file says otherwise than the options.
pub fn open_with(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Arc<dyn Model>> {
    let gguf = Arc::new(Gguf::open(path)?);
    let family = Family::of(&gguf)?;
    (family.open)(gguf, options)
}

/// Checks that no matrix holds an infinite value or scale, or one that is not a number. Reads the
/// whole file.
///
/// # Errors
/// Names the first tensor and row that fail.
pub fn verify(model: &dyn Model) -> Result<()> {
    model.matrices().all().try_for_each(Matrix::verify)
}

/// The first values of a vector, of unit length.
fn shorten(vector: &[f32], out: &mut [f32]) {
    out.copy_from_slice(&vector[..out.len()]);
    normalize(out);
}

/// The error for a file without the dense heads that the vectors are to pass.
fn missing_dense_heads(gguf: &Gguf) -> Error {
    Error::MissingDenseHeads {
        path: gguf.path().to_path_buf(),
    }
}
