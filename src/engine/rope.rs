//! Rotary position embedding: the angles of each position, as cosines and sines.

use std::collections::TryReserveError;

/// For each position the cosines of `head_dim / 2` angles, then the sines.
///
/// Angle `i` of position `p` is `p * base^(-2 i / head_dim)` (Su et al., RoFormer, 2021), computed
/// in f64.
#[derive(Default)]
pub struct Rope {
    values: Vec<f32>,
    head_dim: usize,
}

impl Rope {
    /// Makes room for [`extend`](Self::extend).
    ///
    /// # Errors
    /// If there is no memory.
    pub fn reserve(&mut self, head_dim: usize, positions: usize) -> Result<(), TryReserveError> {
        let missing = (positions * head_dim).saturating_sub(self.values.len());
        self.values.try_reserve_exact(missing)
    }

    /// Makes sure that positions `0..positions` are there.
    pub fn extend(&mut self, base: f32, head_dim: usize, positions: usize) {
        self.head_dim = head_dim;
        let known = self.values.len() / head_dim;
        if known >= positions {
            return;
        }
        let half = head_dim / 2;
        for position in known..positions {
            let angle = |i: usize| {
                let exponent = -2.0 * i as f64 / head_dim as f64;
                position as f64 * f64::from(base).powf(exponent)
            };
            self.values.extend((0..half).map(|i| angle(i).cos() as f32));
            self.values.extend((0..half).map(|i| angle(i).sin() as f32));
        }
    }

    /// Cosines and sines of one position.
    pub fn position(&self, position: usize) -> &[f32] {
        &self.values[position * self.head_dim..][..self.head_dim]
    }
}
