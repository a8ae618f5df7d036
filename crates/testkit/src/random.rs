//! Pseudo-random numbers: the same in every program and on every machine.

/// SplitMix64 (Steele, Lea and Flood, 2014), started from a seed.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.bits() % limit as u64) as usize
    }

    /// One of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Uniform in 0..1.
    pub fn fraction(&mut self) -> f64 {
        self.below(1 << 53) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in −1..1.
    pub fn symmetric(&mut self) -> f32 {
        // The upper 24 bits fit an f32 exactly.
        (self.bits() >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    /// Uniform in −`bound`..`bound`.
    pub fn float(&mut self, bound: f32) -> f32 {
        self.symmetric() * bound
    }

    /// `count` numbers, uniform in −`bound`..`bound`.
    pub fn floats(&mut self, count: usize, bound: f32) -> Vec<f32> {
        (0..count).map(|_| self.float(bound)).collect()
    }

    /// `count` integers from −`most` to `most`.
    pub fn integers(&mut self, count: usize, most: i16) -> Vec<i16> {
        let number = |below: usize| below as i16 - most;
        (0..count)
            .map(|_| number(self.below(2 * most as usize + 1)))
            .collect()
    }

    /// `rows` rows of `columns` weights in Q8_0, about as large as a model's.
    pub fn q8_0(&mut self, rows: usize, columns: usize) -> Vec<u8> {
        const BLOCK: usize = 32;
        let mut bytes = Vec::with_capacity(rows * columns / BLOCK * (2 + BLOCK));
        for _ in 0..rows * columns / BLOCK {
            let scale = half::f16::from_f32((1 + self.below(1000)) as f32 * 1e-5);
            bytes.extend(scale.to_le_bytes());
            bytes.extend((0..BLOCK).map(|_| (self.below(255) as i16 - 127) as u8));
        }
        bytes
    }
}
