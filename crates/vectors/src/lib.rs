//! Embedding vectors: the number formats that they are stored in, and their similarity.

mod precision;
mod precisions;
mod similarity;

pub use precision::{Number, Precision};
pub use precisions::{ParsePrecisionsError, Precisions};
pub use similarity::cosine;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
