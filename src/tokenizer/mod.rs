//! Text to tokens and back, one directory a kind of tokenizer.

mod added;
mod sentencepiece;
mod vocabulary;
mod wordpiece;

use std::fmt;

pub use sentencepiece::SentencePiece;
pub use wordpiece::WordPiece;

/// The character that pieces have in place of a space.
const SPACE: char = '\u{2581}';
const SPACE_BYTES: [u8; 3] = [0xE2, 0x96, 0x81];

/// The tokenizer of a model file. Threads can share it.
pub trait Tokenizer: fmt::Debug + Send + Sync {
    /// Appends the first `limit` tokens of a text, without the special ones at both ends, and
    /// returns whether these are all.
    ///
    /// They are the first of those that [`encode`](Self::encode) gives.
    fn encode_limited(&self, text: &str, limit: usize, ids: &mut Vec<u32>) -> bool;

    /// Appends the tokens of a text, without the special ones at both ends.
    fn encode(&self, text: &str, ids: &mut Vec<u32>) {
        self.encode_limited(text, usize::MAX, ids);
    }

    /// The text of tokens, as bytes: tokens for single bytes may spell something that is not UTF-8.
    /// Ids outside the vocabulary are left out.
    fn decode(&self, ids: &[u32]) -> Vec<u8>;

    /// The bytes of `text` that `ids`, its first tokens, stand for: where to go on after them. Whole
    /// characters, and of kinds that read words, whole words.
    fn bytes_of(&self, text: &str, ids: &[u32]) -> usize;

    /// The token that a model reads before each text.
    fn bos(&self) -> u32;

    /// The token that a model reads after each text.
    fn eos(&self) -> u32;

    /// The tokens that a model reads between the two texts of a pair.
    fn between(&self) -> Vec<u32> {
        vec![self.eos()]
    }

    /// The number of tokens: ids are below it.
    fn vocabulary_len(&self) -> usize;

    /// A token as the file has it; usually UTF-8.
    fn piece(&self, id: u32) -> Option<&[u8]>;

    /// Bytes of heap that the index takes.
    fn heap_size(&self) -> usize;
}
