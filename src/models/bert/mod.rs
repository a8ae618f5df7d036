//! BERT and its kin (MiniLM, BGE, E5, GTE, Arctic Embed, mxbai): hyperparameters, weights, prompts, and
//! the forward pass in INT8 and in f32, which other encoders share whose [`Variant`] it is.

mod classifier;
mod config;
mod forward;
mod prompts;
mod reference;
mod schedule;
mod weights;

use std::sync::Arc;

pub use classifier::Classifier;
pub use config::{Config, Variant};
pub(super) use prompts::REPRESENT;
pub use weights::{FeedForward, Layer, Linear, Norm, Weights};

use super::{
    Dims, Family, ForwardPass, Matrices, Model, Reference, ScoreFunction, Summary, shorten,
};
use crate::Result;
use crate::engine::{Batch, Job, Shape};
use crate::gguf::Gguf;
use crate::tokenizer;

/// BERT.
pub static FAMILY: Family = Family {
    name: "BERT",
    architecture: "bert",
    open: |gguf, options| {
        let config = Config::from_gguf(&gguf, options)?;
        Ok(Arc::new(Bert::from_gguf(gguf, config, &FAMILY)?))
    },
    prompts: prompts::prompts,
    tokenizer: tokenizer::of_bert,
};

/// A file of BERT, or of another encoder of its kind.
#[derive(Debug)]
pub struct Bert {
    family: &'static Family,
    gguf: Arc<Gguf>,
    config: Config,
    weights: Weights,
}

impl Bert {
    /// Reads and checks the tensors of a file with these hyperparameters, but not the values of matrices.
    ///
    /// # Errors
    /// [`crate::Error`] naming the tensor that is missing, damaged or not supported.
    pub fn from_gguf(gguf: Arc<Gguf>, config: Config, family: &'static Family) -> Result<Self> {
        let weights = Weights::from_gguf(&gguf, &config, family)?;
        Ok(Self {
            family,
            gguf,
            config,
            weights,
        })
    }

    /// The hyperparameters.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The norms and biases, and where the matrices are in the file.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }
}

impl Model for Bert {
    fn family(&self) -> &'static Family {
        self.family
    }

    fn gguf(&self) -> &Arc<Gguf> {
        &self.gguf
    }

    fn shape(&self) -> Shape {
        self.config.shape()
    }

    fn summary(&self) -> Summary {
        Summary {
            layers: self.config.layers,
            feed_forward: self.config.feed_forward,
            sliding_window: None,
            pooling: self.config.pooling,
        }
    }

    fn dims(&self) -> Dims {
        self.config.dims
    }

    fn score_function(&self) -> Option<ScoreFunction> {
        self.config.score_function
    }

    fn shorten(&self, vector: &[f32], out: &mut [f32]) {
        match self.config.variant {
            Variant::Bert => shorten(vector, out),
            // What these models were trained for is LayerNorm before the cut. Its factor, and its
            // epsilon with it, is the same for all values: unit length takes it away.
            Variant::Nomic { .. } => {
                let sum: f64 = vector.iter().map(|&value| f64::from(value)).sum();
                let mean = (sum / vector.len() as f64) as f32;
                let centered: Vec<f32> = vector.iter().map(|value| value - mean).collect();
                shorten(&centered, out);
            }
        }
    }

    fn dense_heads(&self) -> Option<bool> {
        None
    }

    fn matrices(&self) -> Matrices<'_> {
        let layers = self.weights.layers.iter();
        let head = self.weights.classifier.as_ref().map(Classifier::matrix);
        let streams = layers.clone().flat_map(Layer::streams);
        let streams = streams.chain(head.map(|matrix| vec![matrix]));
        Matrices {
            embedding: self.weights.tables().collect(),
            layers: layers.map(|layer| layer.matrices().collect()).collect(),
            heads: head.into_iter().collect(),
            streams: streams.collect(),
        }
    }

    fn multiply_adds(&self, tokens: usize) -> u64 {
        let matrices = self.weights.layers.iter().flat_map(Layer::matrices);
        let values: u64 = matrices
            .map(|matrix| matrix.rows() as u64 * matrix.columns() as u64)
            .sum();
        values * tokens as u64 + self.config.attention_multiply_adds(tokens)
    }

    fn jobs_of_layer(&self, batch: &Batch, threads: usize, layer: usize) -> Vec<Job> {
        schedule::jobs_of_layer(&self.config, batch, threads, layer)
    }

    fn forward_pass(self: Arc<Self>, _: bool) -> Result<Box<dyn ForwardPass>> {
        Ok(Box::new(forward::Forward::new(self)))
    }

    fn reference(&self) -> Box<dyn Reference + '_> {
        Box::new(reference::F32Reference::new(self))
    }
}
