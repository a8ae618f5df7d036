//! Rotary position embedding in f32.

/// The sines and cosines of RoPE: `head_dim / 2` angles for each position, `position / base^(2i / head_dim)`.
pub(in crate::models) struct Rotations {
    sine_cosines: Vec<(f32, f32)>,
    head_dim: usize,
}

impl Rotations {
    /// Those of the positions `0..positions`.
    pub fn new(positions: usize, head_dim: usize, base: f32) -> Self {
        let frequency = |i| f64::from(base).powf(-2.0 * i as f64 / head_dim as f64);
        let frequencies: Vec<f64> = (0..head_dim / 2).map(frequency).collect();
        let angles = |position| frequencies.iter().map(move |f| position as f64 * f);
        let sine_cosines = (0..positions).flat_map(angles).map(f64::sin_cos);
        Self {
            sine_cosines: sine_cosines
                .map(|(sine, cosine)| (sine as f32, cosine as f32))
                .collect(),
            head_dim,
        }
    }

    /// Turns rows of `heads` heads, one a token, in NEOX order: value `i` of a head together with value
    /// `i + head_dim / 2`.
    pub fn rotate(&self, x: &mut [f32], heads: usize) {
        let half = self.head_dim / 2;
        let tokens = x.chunks_exact_mut(heads * self.head_dim);
        for (token, rotations) in tokens.zip(self.sine_cosines.chunks_exact(half)) {
            for head in token.chunks_exact_mut(self.head_dim) {
                let (first, second) = head.split_at_mut(half);
                for ((a, b), &(sine, cosine)) in first.iter_mut().zip(second).zip(rotations) {
                    (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
                }
            }
        }
    }
}
