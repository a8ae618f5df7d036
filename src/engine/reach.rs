//! Which keys a token sees.

use std::ops::Range;

/// Which keys a token sees, by how far away their positions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The farthest key before it.
    pub before: usize,
    /// The farthest key after it.
    pub after: usize,
}

impl Reach {
    /// The whole text.
    pub const ALL: Self = Self {
        before: usize::MAX,
        after: usize::MAX,
    };

    /// The token and all before it.
    pub const CAUSAL: Self = Self {
        before: usize::MAX,
        after: 0,
    };

    /// Up to `distance` positions away on both sides.
    pub fn within(distance: usize) -> Self {
        Self {
            before: distance,
            after: distance,
        }
    }

    /// The positions that the token at `position` of a text of `tokens` tokens sees.
    pub fn seen(self, position: usize, tokens: usize) -> Range<usize> {
        let end = position.saturating_add(self.after).saturating_add(1);
        position.saturating_sub(self.before)..end.min(tokens)
    }

    /// The pairs of a token and a key that it sees in a text of `tokens` tokens.
    pub fn pairs(self, tokens: usize) -> u64 {
        let seen = (0..tokens).map(|position| self.seen(position, tokens).len() as u64);
        seen.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_see_what_the_reach_says() {
        assert_eq!(Reach::ALL.seen(3, 7), 0..7);
        assert_eq!(Reach::CAUSAL.seen(3, 7), 0..4);
        assert_eq!(Reach::within(2).seen(1, 7), 0..4);
        assert_eq!(Reach::within(2).seen(6, 7), 4..7);
        assert_eq!(Reach::within(0).seen(6, 7), 6..7);
        assert_eq!([1, 2, 7].map(|tokens| Reach::ALL.pairs(tokens)), [1, 4, 49]);
        assert_eq!(Reach::CAUSAL.pairs(7), 28);
        assert_eq!(Reach::within(1).pairs(4), 10);
        assert_eq!(Reach::ALL.pairs(0), 0);
    }
}
