//! EmbeddingGemma: hyperparameters, weights, prompts, and its forward pass in INT8 and in f32, which
//! EmbeddingGemma 2 shares.

mod config;
mod forward;
mod inputs;
mod prompts;
mod reference;
mod schedule;
mod signal;
mod weights;

use std::sync::Arc;

pub use config::{Config, LayerKind, Version};
pub(super) use config::{
    MAX_CONTEXT_2, OTHER_MODEL, check_bidirectional, check_divides, every_nth,
};
pub use prompts::prompts;
pub use weights::{Head, Layer, SignalLayer, Weights};

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
        let config = Config::from_gguf(&gguf)?;
        Ok(Arc::new(GemmaEmbedding::from_gguf(gguf, config, &FAMILY)?))
    },
    prompts: |_| Ok(prompts()),
    tokenizer: |gguf| Ok(Box::new(SentencePiece::from_gguf(gguf)?)),
};

/// The width of the published models, and the shorter lengths that they were trained to be cut to.
const TRAINED_DIMS: [usize; 4] = [768, 512, 256, 128];

/// A file of EmbeddingGemma, of either version.
#[derive(Debug)]
pub struct GemmaEmbedding {
    family: &'static Family,
    gguf: Arc<Gguf>,
    config: Config,
    weights: Weights,
}

impl GemmaEmbedding {
    /// Reads and checks the tensors of a file with these hyperparameters, but not the values of matrices.
    ///
    /// # Errors
    /// [`crate::Error`] naming the field that is missing, damaged or not supported.
    pub fn from_gguf(gguf: Arc<Gguf>, config: Config, family: &'static Family) -> Result<Self> {
        let weights = Weights::from_gguf(&gguf, &config, family)?;
        config.check_limits(&gguf)?;
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

    /// The norms, and where the matrices are in the file.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }
}

impl Model for GemmaEmbedding {
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
            layers: self.config.layers(),
            feed_forward: self.config.feed_forward,
            sliding_window: Some(self.config.sliding_window),
            pooling: Pooling::Mean,
        }
    }

    fn dims(&self) -> Dims {
        match self.config.width() {
            width if width == TRAINED_DIMS[0] => Dims::Trained(&TRAINED_DIMS),
            width => Dims::UpTo(width),
        }
    }

    fn dense_heads(&self) -> Option<bool> {
        match &self.weights.head {
            Head::Dense(heads) => Some(heads.is_some()),
            Head::Output(_) => None,
        }
    }

    fn matrices(&self) -> Matrices<'_> {
        let layers = self.weights.layers.iter();
        let heads = || self.weights.head.matrices().iter();
        let streams = layers.clone().flat_map(Layer::streams);
        Matrices {
            embedding: vec![&self.weights.token_embd],
            layers: layers.map(|layer| layer.matrices().collect()).collect(),
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
        if dense_heads && matches!(self.weights.head, Head::Dense(None)) {
            return Err(super::missing_dense_heads(&self.gguf));
        }
        Ok(Box::new(forward::Forward::new(self, dense_heads)))
    }

    fn reference(&self) -> Box<dyn Reference + '_> {
        Box::new(reference::F32Reference::new(self))
    }
}
