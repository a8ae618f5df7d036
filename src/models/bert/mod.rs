//! BERT and its kin (MiniLM, BGE, E5, GTE, Arctic Embed, mxbai): hyperparameters, weights, prompts, and
//! the forward pass in INT8 and in f32.

mod config;
mod forward;
mod prompts;
mod reference;
mod schedule;
mod weights;

use std::sync::Arc;

pub use config::Config;
pub use weights::{Layer, Linear, Norm, Weights};

use super::{Dims, Family, ForwardPass, Matrices, Model, OpenOptions, Reference, Summary};
use crate::Result;
use crate::engine::{Batch, Job, Shape};
use crate::gguf::Gguf;
use crate::tokenizer::WordPiece;

/// BERT.
pub static FAMILY: Family = Family {
    name: "BERT",
    architecture: "bert",
    open: |gguf, options| Ok(Arc::new(Bert::from_gguf(gguf, options)?)),
    prompts: prompts::prompts,
    tokenizer: |gguf| Ok(Box::new(WordPiece::from_gguf(gguf)?)),
};

/// A file of BERT.
#[derive(Debug)]
pub struct Bert {
    gguf: Arc<Gguf>,
    config: Config,
    weights: Weights,
}

impl Bert {
    /// Reads and checks hyperparameters and tensors, but not the values of matrices.
    ///
    /// # Errors
    /// [`crate::Error`] naming the field that is missing, damaged or not supported.
    pub fn from_gguf(gguf: Arc<Gguf>, options: &OpenOptions) -> Result<Self> {
        let config = Config::from_gguf(&gguf, options)?;
        let weights = Weights::from_gguf(&gguf, &config)?;
        Ok(Self {
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
        &FAMILY
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
        Dims::UpTo(self.config.hidden)
    }

    fn dense_heads(&self) -> Option<bool> {
        None
    }

    fn matrices(&self) -> Matrices<'_> {
        let layers = self.weights.layers.iter();
        let streams = layers.clone().flat_map(Layer::matrices);
        Matrices {
            embedding: self.weights.tables().collect(),
            layers: layers.map(|layer| layer.matrices().collect()).collect(),
            heads: Vec::new(),
            streams: streams.map(|matrix| vec![matrix]).collect(),
        }
    }

    fn multiply_adds(&self, tokens: usize) -> u64 {
        let matrices = self.weights.layers.iter().flat_map(Layer::matrices);
        let values: u64 = matrices
            .map(|matrix| matrix.rows() as u64 * matrix.columns() as u64)
            .sum();
        values * tokens as u64 + self.config.attention_multiply_adds(tokens)
    }

    fn jobs_of_layer(&self, batch: &Batch, threads: usize, _: usize) -> Vec<Job> {
        schedule::jobs_of_layer(&self.config, batch, threads)
    }

    fn forward_pass(self: Arc<Self>, _: bool) -> Result<Box<dyn ForwardPass>> {
        Ok(Box::new(forward::Forward::new(self)))
    }

    fn reference(&self) -> Box<dyn Reference + '_> {
        Box::new(reference::F32Reference::new(self))
    }
}
