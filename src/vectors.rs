//! Vectors: how they are stored and how similar they are.

pub use lanewise_vectors::{Precision, cosine};

/// Scales a vector to unit length; one of zeros becomes NaN, which no caller takes for a vector.
pub(crate) fn normalize(vector: &mut [f32]) {
    let squares: f64 = vector.iter().map(|value| f64::from(*value).powi(2)).sum();
    let norm = squares.sqrt();
    vector
        .iter_mut()
        .for_each(|value| *value = (f64::from(*value) / norm) as f32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalize_gives_unit_length_and_nan_for_zeros() {
        let mut vector = [3.0, 4.0];
        normalize(&mut vector);
        assert_eq!(vector, [0.6, 0.8]);
        let mut tiny = [f32::from_bits(1); 4];
        normalize(&mut tiny);
        assert_eq!(tiny, [0.5; 4]);
        let mut zeros = [0.0; 2];
        normalize(&mut zeros);
        assert!(zeros.iter().all(|value| value.is_nan()));
    }
}
