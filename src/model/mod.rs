//! EmbeddingGemma: its hyperparameters, its weights as views, its forward pass.

mod config;
mod weights;

pub use config::Config;
pub use weights::{Layer, Matrix, MatrixType, Weights};
