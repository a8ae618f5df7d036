//! Pseudo-random texts of given lengths, as token ids: the same in every program and on every
//! machine.

use crate::random::Random;

/// The lengths, in tokens, at which the whole model is measured.
pub const LENGTHS: [usize; 8] = [4, 16, 64, 128, 256, 512, 1024, 2048];

const BOS: u32 = 2;
const EOS: u32 = 1;
/// Ids below are control tokens and bytes.
const FIRST_ORDINARY: u32 = 1000;

/// A text of `tokens` ids, at least 2, `<bos>` and `<eos>` included.
pub fn text(tokens: usize, vocabulary: usize, seed: u64) -> Vec<u32> {
    assert!(tokens >= 2, "<bos> and <eos> are part of every text");
    let first = if vocabulary > 2 * FIRST_ORDINARY as usize {
        FIRST_ORDINARY
    } else {
        0
    };
    let mut random = Random(seed);
    let mut ids = vec![BOS];
    ids.extend((2..tokens).map(|_| first + random.below(vocabulary - first as usize) as u32));
    ids.push(EOS);
    ids
}

/// `count` texts of lengths drawn from `shortest..=longest`.
pub fn texts(count: usize, shortest: usize, longest: usize, vocabulary: usize) -> Vec<Vec<u32>> {
    let mut random = Random(0);
    (0..count as u64)
        .map(|seed| {
            text(
                shortest + random.below(longest - shortest + 1),
                vocabulary,
                seed,
            )
        })
        .collect()
}
