//! Tokens by merging characters, as EmbeddingGemma 2 does.
//!
//! The rules are those of its `tokenizer.json`, as far as GGUF files have them:
//!
//! 1. *Added* tokens (control and user-defined) are found literally, leftmost first and longest first, and
//!    split the text. Files of llama.cpp mark only the special ones; in them runs of newlines that are tokens
//!    are taken whole, as it does.
//! 2. In the stretches between them a space is written U+2581. The text is not normalized otherwise.
//! 3. Each character is a symbol, and one that is no piece is as many as it has bytes, whose tokens are
//!    `<0xNN>`. Always the pair of the lowest rank merges, the leftmost of those that have it; what is left
//!    are the tokens.
//!
//! As in [`SentencePiece`](super::SentencePiece) the text is cut before a U+2581 that no token holds after the
//! character before it: no merge goes across such a place.

use std::cell::RefCell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::added::AddedTokens;
use super::bpe::Merges;
use super::spelling::{self, BeforeSpace, ByteTokens};
use super::vocabulary::{TOKENS, TokenType, Vocabulary, no_memory};
use super::word::Word;
use super::{SPACE, Tokenizer};
use crate::Result;
use crate::gguf::Gguf;

thread_local! {
    /// Working space, so that encoding a text allocates nothing.
    static WORD: RefCell<Word> = RefCell::default();
}

/// The tokenizer of EmbeddingGemma 2.
///
/// The vocabulary's strings and types stay in the map; beside them are the indexes of pieces and of merges, and
/// a trie of the added tokens.
pub struct Gemma4 {
    vocabulary: Vocabulary,
    merges: Merges,
    added: AddedTokens,
    byte_tokens: [u32; 256],
    before_space: BeforeSpace,
    bos: u32,
    eos: u32,
}

impl Gemma4 {
    /// Indexes the vocabulary of a model file.
    ///
    /// # Errors
    /// If a key is missing or of the wrong type; the arrays differ in length; an added token is not UTF-8; a
    /// byte has no token; a merge is not two tokens that make a third, or there twice; `<bos>` or `<eos>` is
    /// outside the vocabulary; the file requires another kind of tokenizer; or there is no memory for the
    /// indexes.
    pub fn from_gguf(gguf: Arc<Gguf>) -> Result<Self> {
        spelling::check_kind(&gguf, "gemma4", "EmbeddingGemma 2")?;
        let seed = RandomState::new().hash_one(0);
        let mut added = AddedTokens::new();
        let mut byte_tokens = ByteTokens::default();
        let mut before_space = BeforeSpace::default();
        let damaged = |problem| gguf.file_error(TOKENS, problem, "convert the model again");
        let vocabulary = Vocabulary::without_scores(Arc::clone(&gguf), seed, |id, kind, piece| {
            match kind {
                TokenType::Normal => before_space.mark(piece),
                TokenType::Added => {
                    before_space.mark(piece);
                    added.reserve(piece).map_err(|_| no_memory(&gguf))?;
                    added.insert(piece, id).map_err(damaged)?;
                }
                TokenType::Byte => byte_tokens.insert(piece, id).map_err(damaged)?,
                TokenType::Unused => {}
            }
            Ok(())
        })?;
        // Merges make added tokens as well, such as those for runs of U+2581.
        let find = |part: &[u8]| vocabulary.find(part).or_else(|| added.whole(part));
        let merges = Merges::read(&gguf, seed, find)?;
        Ok(Self {
            byte_tokens: byte_tokens.all(&gguf)?,
            bos: spelling::special(&gguf, &vocabulary, "bos")?,
            eos: spelling::special(&gguf, &vocabulary, "eos")?,
            vocabulary,
            merges,
            added,
            before_space,
        })
    }

    /// Appends tokens of text without added tokens until it ends or `ids` is longer than `end`.
    fn encode_stretch(&self, end: usize, text: &str, word: &mut Word, ids: &mut Vec<u32>) {
        let mut rest = text;
        while !rest.is_empty() && ids.len() <= end {
            let newlines = rest.starts_with('\n');
            let other = |character: char| (character == '\n') != newlines;
            let (run, after) = rest.split_at(rest.find(other).unwrap_or(rest.len()));
            match self.vocabulary.find(run.as_bytes()).filter(|_| newlines) {
                Some(id) => ids.push(id),
                None => self.encode_run(end, run, word, ids),
            }
            rest = after;
        }
    }

    /// Does the same for newlines, or for text without them.
    fn encode_run(&self, end: usize, text: &str, word: &mut Word, ids: &mut Vec<u32>) {
        let mut last_byte = None;
        for character in text.chars() {
            let character = if character == ' ' { SPACE } else { character };
            let apart = last_byte.is_some_and(|last| self.before_space.is_cut(last));
            let ends = apart && character == SPACE;
            if ends || word.is_full() {
                match ends {
                    true => word.finish(&self.merges, ids),
                    false => word.settle(&self.merges, ids),
                }
                if ids.len() > end {
                    return word.clear();
                }
            }
            let mut buffer = [0; 4];
            let bytes = character.encode_utf8(&mut buffer).as_bytes();
            match self.vocabulary.find(bytes) {
                Some(id) => word.push(id),
                None => {
                    let tokens = bytes
                        .iter()
                        .map(|&byte| self.byte_tokens[usize::from(byte)]);
                    tokens.for_each(|id| word.push(id));
                }
            }
            last_byte = bytes.last().copied();
        }
        word.finish(&self.merges, ids);
    }
}

impl Tokenizer for Gemma4 {
    /// The text is merged only as far as needed: beyond that it is at most scanned for the next added token.
    fn encode_limited(&self, text: &str, limit: usize, ids: &mut Vec<u32>) -> bool {
        let end = ids.len().saturating_add(limit);
        WORD.with_borrow_mut(|word| {
            for (stretch, added) in self.added.stretches(text) {
                self.encode_stretch(end, stretch, word, ids);
                if ids.len() > end {
                    break;
                }
                ids.extend(added);
            }
        });
        let complete = ids.len() <= end;
        ids.truncate(end);
        complete
    }

    /// The text again, but for U+2581 in it, which comes back as a space.
    fn decode(&self, ids: &[u32]) -> Vec<u8> {
        spelling::decode(&self.vocabulary, ids)
    }

    fn bytes_of(&self, text: &str, ids: &[u32]) -> usize {
        spelling::bytes_of(&self.decode(ids), text)
    }

    fn bos(&self) -> Option<u32> {
        Some(self.bos)
    }

    fn eos(&self) -> u32 {
        self.eos
    }

    fn vocabulary_len(&self) -> usize {
        self.vocabulary.len()
    }

    /// With U+2581 for a space.
    fn piece(&self, id: u32) -> Option<&[u8]> {
        self.vocabulary.piece(id)
    }

    fn heap_size(&self) -> usize {
        self.vocabulary.heap_size() + self.merges.heap_size() + self.added.heap_size()
    }
}

impl fmt::Debug for Gemma4 {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Gemma4")
            .field("vocabulary_len", &self.vocabulary_len())
            .field("bos", &self.bos)
            .field("eos", &self.eos)
            .finish_non_exhaustive()
    }
}
