//! Vectors: how they are stored and how similar they are.

pub use lanewise_vectors::{Precision, cosine};
