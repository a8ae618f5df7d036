//! What a text became, in 16 bytes: rows of one space that have the same digest have the same
//! vector.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// The first 16 bytes of the SHA-256 of a text's tokens, as the model reads them.
///
/// For each window of the text, that is its number of tokens (`u64`) and the ids of the tokens
/// (`u32`), little-endian. The prompt's tokens and the special ones are among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TextDigest(pub [u8; 16]);

/// In hexadecimal digits.
impl fmt::Display for TextDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl FromStr for TextDigest {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(|number| Self(number.to_be_bytes()))
    }
}

/// The digest of a text whose windows are still to come.
#[derive(Default)]
pub struct DigestBuilder(Sha256);

impl DigestBuilder {
    /// Adds the tokens of the next window.
    pub fn add(&mut self, ids: &[u32]) {
        self.0.update((ids.len() as u64).to_le_bytes());
        ids.iter().for_each(|id| self.0.update(id.to_le_bytes()));
    }

    /// The digest of all of them.
    pub fn finish(self) -> TextDigest {
        let mut digest = TextDigest::default();
        digest.0.copy_from_slice(&self.0.finalize()[..16]);
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(windows: &[&[u32]]) -> TextDigest {
        let mut builder = DigestBuilder::default();
        windows.iter().for_each(|ids| builder.add(ids));
        builder.finish()
    }

    #[test]
    fn it_tells_tokens_and_windows_apart_and_reads_back() {
        let texts: [&[&[u32]]; 5] = [&[], &[&[]], &[&[1, 2]], &[&[1], &[2]], &[&[2, 1]]];
        let digests = texts.map(digest);
        for (position, one) in digests.iter().enumerate() {
            assert!(!digests[..position].contains(one), "{position}");
            assert_eq!(one.to_string().parse(), Ok(*one));
        }
        assert_eq!(TextDigest([0; 16]).to_string(), "0".repeat(32));
    }
}
