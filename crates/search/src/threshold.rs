//! Which scores are worth a look.

/// The score of binary codes that differ in a number of `bits` bits.
pub fn binary_score(distance: u32, bits: usize) -> f32 {
    1.0 - 2.0 * distance as f32 / bits as f32
}

/// For each score that a row has, the least that is worth a look.
pub struct Thresholds {
    scores: Vec<f32>,
    /// Of binary codes: the most bits that differ at that score, or −1 where none does. In f32, as kernels
    /// compare them.
    limits: Vec<f32>,
    /// The largest distance of binary codes, 0 in other precisions.
    bits: usize,
}

impl Thresholds {
    /// The same for `count` queries; of the scores beyond them, up to `stride`, none is worth a look. `bits` is the
    /// largest distance of binary codes, and 0 in other precisions.
    pub fn new(bits: usize, count: usize, stride: usize, score: f32) -> Self {
        let mut own = Self {
            scores: vec![f32::INFINITY; stride],
            limits: vec![-1.0; stride],
            bits,
        };
        (0..count).for_each(|query| own.set(query, score));
        own
    }

    /// Those of all queries.
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// The most bits that differ.
    pub fn limits(&self) -> &[f32] {
        &self.limits
    }

    /// Sets that of a query.
    pub fn set(&mut self, query: usize, score: f32) {
        self.scores[query] = score;
        if self.bits > 0 {
            self.limits[query] = limit(score, self.bits);
        }
    }
}

/// The largest distance with at least this score; −1 if there is none.
fn limit(score: f32, bits: usize) -> f32 {
    let reaches = |distance: u32| binary_score(distance, bits) >= score;
    // Scores do not rise with distances.
    let (mut least, mut end) = (0, bits as u32 + 1);
    while least < end {
        let middle = least + (end - least) / 2;
        match reaches(middle) {
            true => least = middle + 1,
            false => end = middle,
        }
    }
    least as f32 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_the_largest_distance_with_the_score() {
        for bits in [8, 48, 768, 7 * 768, 1 << 16] {
            for distance in (0..=bits as u32).step_by(7) {
                let score = binary_score(distance, bits);
                assert_eq!(limit(score, bits), distance as f32);
                assert_eq!(limit(score.next_up(), bits), distance as f32 - 1.0);
            }
            assert_eq!(limit(f32::NEG_INFINITY, bits), bits as f32);
            assert_eq!(limit(f32::INFINITY, bits), -1.0);
        }
    }
}
