//! Norms in f32, their sums in f64.

/// RMSNorm of each row of as many values as there are weights: `x / sqrt(mean(x²) + eps) * weight`.
pub(in crate::models) fn rms_norm(x: &mut [f32], weight: &[f32], eps: f32) {
    for row in x.chunks_exact_mut(weight.len()) {
        let squares = row.iter().map(|&x| f64::from(x).powi(2));
        let mean = squares.sum::<f64>() / row.len() as f64;
        let factor = (mean + f64::from(eps)).sqrt().recip() as f32;
        for (x, weight) in row.iter_mut().zip(weight) {
            *x = *x * factor * weight;
        }
    }
}

/// LayerNorm of each row of as many values as there are weights:
/// `(x - mean) / sqrt(variance + eps) * weight + bias`, with the biased variance.
pub(in crate::models) fn layer_norm(x: &mut [f32], weight: &[f32], bias: Option<&[f32]>, eps: f32) {
    for row in x.chunks_exact_mut(weight.len()) {
        let count = row.len() as f64;
        let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
        let squares = row.iter().map(|&x| (f64::from(x) - mean).powi(2));
        let variance = squares.sum::<f64>() / count;
        let factor = (variance + f64::from(eps)).sqrt().recip();
        for (index, (x, weight)) in row.iter_mut().zip(weight).enumerate() {
            let bias = bias.map_or(0.0, |bias| bias[index]);
            *x = ((f64::from(*x) - mean) * factor) as f32 * weight + bias;
        }
    }
}
