//! EmbeddingGemma: hyperparameters, weights, prompts, and its forward pass in INT8 and in f32.

mod config;
mod forward;
mod prompts;
mod reference;
mod schedule;
mod weights;

use std::sync::Arc;

pub use config::Config;
pub use prompts::prompts;
pub use weights::{Layer, Weights};

use super::{Dims, Family, ForwardPass, Matrices, Model, Reference, Summary, pooling};
use crate::Result;
use crate::engine::{Batch, Job, Pooling, Shape};
use crate::gguf::Gguf;
use crate::tokenizer::SentencePiece;

/// EmbeddingGemma.
pub static FAMILY: Family = Family {
    name: "EmbeddingGemma",
    architecture: "gemma-embedding",
    open: |gguf, options| {
        pooling::check_asked(&gguf, FAMILY.architecture, Pooling::Mean, options)?;
        Ok(Arc::new(GemmaEmbedding::from_gguf(gguf)?))
    },
    prompts: |_| Ok(prompts()),
    tokenizer: |gguf| Ok(Box::new(SentencePiece::from_gguf(gguf)?)),
};

/// The width of EmbeddingGemma-300M, and the shorter lengths that it was trained to be cut to.
const TRAINED_DIMS: [usize; 4] = [768, 512, 256, 128];

/// A file of EmbeddingGemma.
#[derive(Debug)]
pub struct GemmaEmbedding {
    gguf: Arc<Gguf>,
    config: Config,
    weights: Weights,
}

impl GemmaEmbedding {
    /// Reads and checks hyperparameters and tensors, but not the values of matrices.
    ///
    /// # Errors
    /// [`crate::Error`] naming the field that is missing, damaged or not supported.
    pub fn from_gguf(gguf: Arc<Gguf>) -> Result<Self> {
        let config = Config::from_gguf(&gguf)?;
        let weights = Weights::from_gguf(&gguf, &config)?;
        config.check_limits(&gguf)?;
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

    /// The norms, and where the matrices are in the file.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }
}

impl Model for GemmaEmbedding {
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
            sliding_window: Some(self.config.sliding_window),
            pooling: Pooling::Mean,
        }
    }

    fn dims(&self) -> Dims {
        match self.config.hidden {
            width if width == TRAINED_DIMS[0] => Dims::Trained(&TRAINED_DIMS),
            width => Dims::UpTo(width),
        }
    }

    fn dense_heads(&self) -> Option<bool> {
        Some(self.weights.dense.is_some())
    }

    fn matrices(&self) -> Matrices<'_> {
        let layers = self.weights.layers.iter();
        let heads = || self.weights.dense.iter().flatten();
        let streams = layers.clone().flat_map(Layer::streams);
        Matrices {
            embedding: vec![&self.weights.token_embd],
            layers: layers.map(|layer| layer.matrices().into()).collect(),
            heads: heads().collect(),
            streams: streams.chain(heads().map(|head| vec![head])).collect(),
        }
    }

    fn multiply_adds(&self, tokens: usize) -> u64 {
        let layers = self.weights.layers.iter().flat_map(Layer::matrices);
        let values: u64 = layers
            .map(|matrix| matrix.rows() as u64 * matrix.columns() as u64)
            .sum();
        values * tokens as u64 + self.config.attention_multiply_adds(tokens)
    }

    fn jobs_of_layer(&self, batch: &Batch, threads: usize, layer: usize) -> Vec<Job> {
        schedule::jobs_of_layer(&self.config, batch, threads, layer)
    }

    fn forward_pass(self: Arc<Self>, dense_heads: bool) -> Result<Box<dyn ForwardPass>> {
        if dense_heads && self.weights.dense.is_none() {
            return Err(super::missing_dense_heads(&self.gguf));
        }
        Ok(Box::new(forward::Forward::new(self, dense_heads)))
    }

    fn reference(&self) -> Box<dyn Reference + '_> {
        Box::new(reference::F32Reference::new(self))
    }
}
