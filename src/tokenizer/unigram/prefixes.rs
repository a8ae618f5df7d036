//! Which strings begin a piece: nearly always the truth, and never wrong where it says no.

/// Bits for each piece. XLM-RoBERTa's pieces have 4 beginnings each, so that one bit in eight is set.
const BITS_A_PIECE: usize = 32;

/// A set of the beginnings of pieces, by their hashes alone.
///
/// A piece is looked for at each place of a text, character by character; without this set it would be
/// as far as the longest piece reaches.
pub(super) struct Prefixes {
    bits: Vec<u64>,
}

/// The beginning of a piece: its hash, made character by character.
#[derive(Clone, Copy, Default)]
pub(super) struct Prefix(u64);

impl Prefix {
    /// The prefix that is one character longer.
    #[inline]
    pub(super) fn followed_by(self, character: char) -> Self {
        // The fraction of the golden ratio: an odd number without a pattern.
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mixed = (self.0 ^ u64::from(u32::from(character))).wrapping_mul(STEP);
        Self(mixed ^ mixed >> 32)
    }
}

impl Prefixes {
    /// None yet, and room for a number of pieces; `None` if there is no memory.
    pub(super) fn for_pieces(count: usize) -> Option<Self> {
        let words = (BITS_A_PIECE * count).div_ceil(64).next_power_of_two();
        let mut bits = Vec::new();
        bits.try_reserve_exact(words).ok()?;
        bits.resize(words, 0);
        Some(Self { bits })
    }

    /// Adds what a piece begins with, but for all of it.
    pub(super) fn insert(&mut self, piece: &str) {
        let mut prefix = Prefix::default();
        let mut characters = piece.chars();
        characters.next_back();
        for character in characters {
            prefix = prefix.followed_by(character);
            let (word, bit) = self.place(prefix);
            self.bits[word] |= bit;
        }
    }

    /// Whether a piece may be longer than this and begin so.
    #[inline]
    pub(super) fn contains(&self, prefix: Prefix) -> bool {
        let (word, bit) = self.place(prefix);
        self.bits[word] & bit != 0
    }

    #[inline]
    fn place(&self, Prefix(hash): Prefix) -> (usize, u64) {
        let word = (hash >> 6) as usize & (self.bits.len() - 1);
        (word, 1 << (hash & 63))
    }

    /// Bytes of heap that it takes.
    pub(super) fn heap_size(&self) -> usize {
        size_of::<u64>() * self.bits.capacity()
    }
}
