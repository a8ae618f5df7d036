//! Queries in the precisions of the vectors.

use lanewise_vectors::Precision;

use crate::error::{Error, Result};

/// A query, stored as rows are.
#[derive(Clone, Debug, Default)]
pub struct Query {
    pub i8s: Vec<i8>,
    pub scale: f32,
    pub bits: Vec<u8>,
    pub f32s: Vec<f32>,
}

impl Query {
    /// A vector of `dims` values; messages call it number `number`.
    pub fn of(vector: &[f32], dims: usize, number: usize) -> Result<Self> {
        if vector.len() != dims {
            return Err(Error::argument(
                "query",
                format!(
                    "vector {number} has {} values, and those of the index have {dims}",
                    vector.len()
                ),
                "embed it with the model and the dimensions of the index",
            ));
        }
        if let Some(at) = vector.iter().position(|value| !value.is_finite()) {
            return Err(Error::argument(
                "query",
                format!("vector {number} has {} at {at}", vector[at]),
                "give finite values",
            ));
        }
        let mut bits = Vec::new();
        Precision::Binary.encode(vector, &mut bits);
        let mut stored = Vec::new();
        let scale = Precision::I8.encode(vector, &mut stored);
        if scale <= 0.0 {
            return Err(Error::argument(
                "query",
                format!("the values of vector {number} are too small for a scale"),
                "give a vector of unit length",
            ));
        }
        Ok(Self {
            i8s: stored.into_iter().map(u8::cast_signed).collect(),
            scale,
            bits,
            f32s: vector.to_vec(),
        })
    }
}
