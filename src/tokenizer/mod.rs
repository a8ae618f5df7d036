//! Text to tokens and back, one directory a kind of tokenizer.

mod added;
mod bpe;
mod followers;
mod gemma4;
mod sentencepiece;
mod spelling;
mod unigram;
mod vocabulary;
mod word;
mod wordpiece;

use std::fmt;
use std::sync::Arc;

pub use bpe::{ByteBpe, Ends};
pub use gemma4::Gemma4;
pub use sentencepiece::SentencePiece;
pub use unigram::Unigram;
pub use wordpiece::WordPiece;

use crate::Result;
use crate::gguf::Gguf;

const MODEL: &str = "tokenizer.ggml.model";

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
    /// characters, and of WordPiece, whole words.
    fn bytes_of(&self, text: &str, ids: &[u32]) -> usize;

    /// The token that a model reads before each text, if there is one.
    fn bos(&self) -> Option<u32>;

    /// The token that a model reads after each text.
    fn eos(&self) -> u32;

    /// The tokens that a model reads between the two texts of a pair.
    fn between(&self) -> Vec<u32> {
        vec![self.eos()]
    }

    /// What a model reads of a text: its tokens between the special ones, at most `limit` in all, and
    /// whether these are all of the text. The special tokens have their place always.
    fn encode_between_ends(&self, text: &str, limit: usize) -> (Vec<u32>, bool) {
        let mut ids = Vec::from_iter(self.bos());
        let complete = self.encode_limited(text, limit.saturating_sub(ids.len() + 1), &mut ids);
        ids.push(self.eos());
        (ids, complete)
    }

    /// The tokens of a text without the special ones at its ends, from those with them.
    fn between_ends<'a>(&self, ids: &'a [u32]) -> &'a [u32] {
        let before = usize::from(self.bos().is_some());
        ids.get(before..ids.len().saturating_sub(1))
            .unwrap_or_default()
    }

    /// The number of tokens: ids are below it.
    fn vocabulary_len(&self) -> usize;

    /// A token as the file has it; usually UTF-8.
    fn piece(&self, id: u32) -> Option<&[u8]>;

    /// Bytes of heap that the index takes.
    fn heap_size(&self) -> usize;
}

/// The tokenizer of a model of BERT's kind: WordPiece, or the Unigram of XLM-RoBERTa.
///
/// # Errors
/// If the file names another one, or as [`WordPiece::from_gguf`] and [`Unigram::from_gguf`].
pub fn of_bert(gguf: Arc<Gguf>) -> Result<Box<dyn Tokenizer>> {
    Ok(match gguf.required_str(MODEL)?.as_ref() {
        "bert" => Box::new(WordPiece::from_gguf(gguf)?),
        "t5" => Box::new(Unigram::from_gguf(gguf)?),
        other => {
            let problem = format!(
                "is {other:?}, but of BERT only \"bert\" (WordPiece) and \"t5\" (Unigram) are supported"
            );
            let remedy = "use a model with a WordPiece or Unigram vocabulary";
            return Err(gguf.file_error(MODEL, problem, remedy));
        }
    })
}
