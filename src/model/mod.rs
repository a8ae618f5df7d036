//! EmbeddingGemma: its hyperparameters, its weights as views, its forward pass.

mod config;
mod dequantise;
mod reference;
mod weights;

use crate::Result;
use crate::gguf::Gguf;
use std::path::Path;
use std::sync::Arc;

pub use config::Config;
pub use reference::Reference;
pub use weights::{Layer, Matrix, MatrixType, Weights};

/// A model file, opened and checked: everything but the values of its matrices has been read.
#[derive(Debug)]
pub struct Model {
    gguf: Arc<Gguf>,
    config: Config,
    weights: Weights,
}

impl Model {
    /// Opens a GGUF file of EmbeddingGemma.
    ///
    /// # Errors
    ///
    /// [`crate::Error`] naming the file and the field that is missing, damaged or not supported.
    pub fn open(path: impl AsRef<Path>) -> Result<Model> {
        let gguf = Arc::new(Gguf::open(path)?);
        let config = Config::from_gguf(&gguf)?;
        let weights = Weights::from_gguf(&gguf, &config)?;
        Ok(Model {
            gguf,
            config,
            weights,
        })
    }

    /// The mapped file.
    pub fn gguf(&self) -> &Arc<Gguf> {
        &self.gguf
    }

    /// The hyperparameters.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where the weights lie in the file.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Has the system map the pages that every forward pass reads: all matrices but the embedding table.
    pub fn prefault(&self) {
        let layers = self.weights.layers.iter().flat_map(Layer::matrices);
        for matrix in layers.chain(self.weights.dense.iter().flatten()) {
            self.gguf.prefault(matrix.range.clone());
        }
    }

    /// Whether the file has the two dense heads, without which vectors lie in another space.
    pub fn has_dense_heads(&self) -> bool {
        self.weights.dense.is_some()
    }
}
