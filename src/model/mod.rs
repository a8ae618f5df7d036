//! EmbeddingGemma: its hyperparameters, its weights as views, its forward pass.

mod config;
mod dequantise;
mod reference;
mod weights;

pub use config::Config;
pub use reference::Reference;
pub use weights::{Layer, Matrix, MatrixType, Weights};
