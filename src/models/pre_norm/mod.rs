//! What models have in common that norm the input of each half of a layer, have RoPE and a gated
//! feed-forward layer, and no biases: Qwen3 and ModernBERT. A family reads its hyperparameters and
//! tensors into the types here; the forward passes in INT8 and in f32 follow from them.

mod config;
mod forward;
mod reference;
mod schedule;
mod weights;

use std::sync::Arc;

pub use config::{Config, Norm, Sight, Sizes, Windows};
pub use weights::{HeadNorms, Layer, Weights};

use super::{Dims, Family, ForwardPass, Matrices, Model, Reference, Summary};
use crate::Result;
use crate::engine::{Batch, Job, Shape};
use crate::gguf::Gguf;

/// A file of one of the families.
#[derive(Debug)]
pub struct PreNorm {
    family: &'static Family,
    gguf: Arc<Gguf>,
    config: Config,
    weights: Weights,
    dims: Dims,
}

impl PreNorm {
    /// The model of a file that was read and checked.
    pub(super) fn new(
        family: &'static Family,
        gguf: Arc<Gguf>,
        config: Config,
        weights: Weights,
        dims: Dims,
    ) -> Self {
        Self {
            family,
            gguf,
            config,
            weights,
            dims,
        }
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

impl Model for PreNorm {
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
        let windows = self.config.windows.as_ref();
        Summary {
            layers: self.config.sizes.layers,
            feed_forward: self.config.sizes.feed_forward,
            sliding_window: windows.map(|windows| windows.size),
            pooling: self.config.pooling,
        }
    }

    fn dims(&self) -> Dims {
        self.dims
    }

    fn dense_heads(&self) -> Option<bool> {
        None
    }

    fn matrices(&self) -> Matrices<'_> {
        let layers = self.weights.layers.iter();
        Matrices {
            embedding: vec![&self.weights.token_embd],
            layers: layers
                .clone()
                .map(|layer| layer.matrices().into())
                .collect(),
            heads: Vec::new(),
            streams: layers.flat_map(Layer::streams).collect(),
        }
    }

    fn multiply_adds(&self, tokens: usize) -> u64 {
        let matrices = self.weights.product_matrices();
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
