//! Similarity of vectors.

/// Cosine similarity of two vectors of unit length: 1 for the same direction, -1 for the opposite
/// one. Computed in double precision.
///
/// # Panics
/// If they differ in length.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of different lengths");
    let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
    products.sum::<f64>() as f32
}
