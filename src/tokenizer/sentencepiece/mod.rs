//! Tokens by merging pieces of the highest score, as SentencePiece's BPE model does.
//!
//! The rules are those of EmbeddingGemma's own `tokenizer.json`, from the GGUF vocabulary alone:
//!
//! 1. *Added* tokens (control and user-defined) are found literally, leftmost first and longest
//!    first, and split the text.
//! 2. In the stretches between them a space is written U+2581, and each run of U+2581 becomes the
//!    longest tokens for such runs, from the left. The file spells these tokens with spaces, but
//!    they match runs of U+2581, in step 1 as well.
//! 3. The other characters are one symbol each. Again and again the adjacent pair whose joined
//!    piece has the highest score is merged, the leftmost on a tie.
//! 4. A character that is no piece becomes the tokens of its UTF-8 bytes.
//!
//! One added token of `tokenizer.json` is missing here: `<image_soft_token>`, 262144, is beyond the
//! model's embedding table and absent from its GGUF files, so its text is treated as ordinary text.
//!
//! # What makes it fast
//! There is no word split in these rules, but a merge across some place needs a piece that holds
//! both characters beside it. So where a character is followed by U+2581, and no piece of the
//! vocabulary holds such a character before a U+2581, the text is cut, and each segment merges by
//! itself with the same result. Which characters these are is read from the vocabulary.

use std::cell::RefCell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};

use super::added::AddedTokens;
use super::followers::{Followers, Merge};
use super::spelling::{self, BeforeSpace, ByteTokens};
use super::vocabulary::{TOKENS, TokenType, Vocabulary, no_memory};
use super::word::{NO_MERGE, NONE, Pairs, SETTLED, Word};
use super::{SPACE, SPACE_BYTES, Tokenizer};
use crate::Result;
use crate::gguf::Gguf;

thread_local! {
    /// Working space, so that encoding a text allocates nothing.
    static SEGMENT: RefCell<Word> = RefCell::default();
}

/// A SentencePiece tokenizer with EmbeddingGemma's rules.
///
/// The vocabulary's strings, scores and types stay in the map; the index beside them holds offsets,
/// a hash table of ids, and a trie of the added tokens.
pub struct SentencePiece {
    vocabulary: Vocabulary,
    added: AddedTokens,
    /// The token of each byte.
    byte_tokens: [u32; 256],
    /// The pieces of one ASCII character.
    ascii: [Option<u32>; 128],
    before_space: BeforeSpace,
    /// Made with the first segment of a length that needs them.
    followers: OnceLock<Followers>,
    bos: u32,
    eos: u32,
}

impl SentencePiece {
    /// Indexes the vocabulary of a model file.
    ///
    /// # Errors
    /// If a key is missing or of the wrong type; the arrays differ in length; a score is NaN; an
    /// added token is not UTF-8; a byte has no token; `<bos>` or `<eos>` is outside the
    /// vocabulary; the file requires another kind of tokenizer; or there is no memory for the
    /// index.
    ///
    /// Empty tokens are never produced, nor are normal pieces that are not UTF-8; of equal tokens
    /// the one with the lowest id is used.
    pub fn from_gguf(gguf: Arc<Gguf>) -> Result<Self> {
        Self::with_seed(gguf, RandomState::new().hash_one(0))
    }

    /// [`from_gguf`](Self::from_gguf) with a given seed of the index's hash, so that its
    /// instructions can be counted: the same seed gives the same collisions. It must not be
    /// known to those who make files.
    #[doc(hidden)]
    pub fn with_seed(gguf: Arc<Gguf>, seed: u64) -> Result<Self> {
        spelling::check_kind(&gguf, "llama", "EmbeddingGemma")?;
        let mut added = AddedTokens::new();
        let mut byte_tokens = ByteTokens::default();
        let mut before_space = BeforeSpace::default();
        let damaged = |problem| gguf.file_error(TOKENS, problem, "convert the model again");
        let vocabulary = Vocabulary::new(Arc::clone(&gguf), seed, |id, token_type, piece| {
            match token_type {
                TokenType::Normal => before_space.mark(piece),
                TokenType::Added => {
                    added.reserve(piece).map_err(|_| no_memory(&gguf))?;
                    added.insert(piece, id).map_err(damaged)?;
                }
                TokenType::Byte => byte_tokens.insert(piece, id).map_err(damaged)?,
                TokenType::Unused => {}
            }
            Ok(())
        })?;
        Ok(Self {
            byte_tokens: byte_tokens.all(&gguf)?,
            ascii: std::array::from_fn(|byte| vocabulary.find(&[byte as u8])),
            bos: spelling::special(&gguf, &vocabulary, "bos")?,
            eos: spelling::special(&gguf, &vocabulary, "eos")?,
            vocabulary,
            added,
            before_space,
            followers: OnceLock::new(),
        })
    }

    /// Appends tokens of `text` until it ends or `ids` is longer than `end`.
    fn encode_until(&self, end: usize, text: &str, segment: &mut Word, ids: &mut Vec<u32>) {
        for (stretch, added) in self.added.stretches(text) {
            self.encode_stretch(end, stretch, segment, ids);
            ids.extend(added);
            if ids.len() > end {
                break;
            }
        }
    }

    /// Does the same for text without added tokens.
    fn encode_stretch(&self, end: usize, text: &str, segment: &mut Word, ids: &mut Vec<u32>) {
        let is_space = |character: char| character == ' ' || character == SPACE;
        let mut rest = text;
        // The segment is empty, so in a shorter text it is never full.
        let may_be_full = text.len() > SETTLED;
        while !rest.is_empty() {
            let word = rest.trim_start_matches(is_space);
            let mut spaces = rest[..rest.len() - word.len()].chars().count();
            while spaces > 0 {
                let (run, id) = match self.added.longest_space_run(spaces) {
                    Some((run, id)) => (run, Some(id)),
                    None => (1, self.vocabulary.find(&SPACE_BYTES)),
                };
                spaces -= run;
                let apart = segment
                    .last_byte()
                    .is_some_and(|byte| self.before_space.is_cut(byte));
                if apart {
                    segment.finish(self, ids);
                    if ids.len() > end {
                        return segment.clear();
                    }
                }
                if may_be_full && self.settle(end, segment, ids) {
                    return;
                }
                segment.push_text(&SPACE_BYTES, id.unwrap_or(NONE));
                (1..run).for_each(|_| segment.extend_text(&SPACE_BYTES));
            }
            let length = word.find(is_space).unwrap_or(word.len());
            let (word, after) = word.split_at(length);
            if !may_be_full {
                word.chars()
                    .for_each(|character| self.push(character, segment));
            } else if self.push_and_settle(end, word, segment, ids) {
                return;
            }
            rest = after;
        }
        segment.finish(self, ids);
    }

    /// Adds the characters of a word, and settles the segment where it is full. If `ids` is then longer than `end`,
    /// empties the segment and returns true.
    #[inline(never)]
    fn push_and_settle(
        &self,
        end: usize,
        word: &str,
        segment: &mut Word,
        ids: &mut Vec<u32>,
    ) -> bool {
        word.chars().any(|character| {
            let is_enough = self.settle(end, segment, ids);
            if !is_enough {
                self.push(character, segment);
            }
            is_enough
        })
    }

    /// Settles the segment if it is full. If `ids` is then longer than `end`, empties it and returns true.
    fn settle(&self, end: usize, segment: &mut Word, ids: &mut Vec<u32>) -> bool {
        if !segment.is_full() {
            return false;
        }
        segment.settle(self, ids);
        let is_enough = ids.len() > end;
        if is_enough {
            segment.clear();
        }
        is_enough
    }

    #[inline(always)]
    fn push(&self, character: char, segment: &mut Word) {
        let mut buffer = [0; 4];
        let bytes = character.encode_utf8(&mut buffer).as_bytes();
        let id = match self.ascii.get(character as usize) {
            Some(&id) => id,
            None => self.vocabulary.find(bytes),
        };
        segment.push_text(bytes, id.unwrap_or(NONE));
    }

    /// The token of a piece, which may be one for a run of U+2581.
    fn token(&self, piece: &[u8]) -> Option<u32> {
        let added = || self.added.whole(piece);
        self.vocabulary.find(piece).or_else(added)
    }

    /// All pairs of tokens whose texts together are a piece.
    fn merges(&self) -> Vec<Merge> {
        let mut merges = Vec::new();
        for joined in 0..self.vocabulary.len() as u32 {
            let piece = self.vocabulary.piece(joined).unwrap_or_default();
            if self.vocabulary.find(piece) != Some(joined) {
                continue;
            }
            let Some(score) = self.vocabulary.score(joined) else {
                continue;
            };
            let between = |at: &usize| piece[*at] & 0xC0 != 0x80;
            for at in (1..piece.len()).filter(between) {
                let (left, right) = piece.split_at(at);
                if let (Some(left), Some(right)) = (self.token(left), self.token(right)) {
                    merges.push(Merge {
                        left,
                        right,
                        joined,
                        key: key(score),
                    });
                }
            }
        }
        merges.sort_unstable_by_key(|merge| merge.key);
        merges
    }
}

/// The pair whose joined piece has the highest score merges first. A character that is no piece becomes the tokens of
/// its bytes.
impl Pairs for SentencePiece {
    #[inline]
    fn find<'a>(&self, left: u32, right: u32, text: impl FnOnce() -> &'a [u8]) -> (u32, u32) {
        let mut joined = None;
        if left != NONE && right != NONE {
            joined = self.vocabulary.find(text());
        }
        let score = joined.and_then(|id| self.vocabulary.score(id));
        (score.map_or(NO_MERGE, key), joined.unwrap_or(NONE))
    }

    #[inline]
    fn push_tokens<'a>(&self, id: u32, text: impl FnOnce() -> &'a [u8], ids: &mut Vec<u32>) {
        match id {
            NONE => ids.extend(text().iter().map(|&b| self.byte_tokens[usize::from(b)])),
            id => ids.push(id),
        }
    }

    fn followers(&self) -> &Followers {
        self.followers.get_or_init(|| {
            let merges = self.merges();
            Followers::new(self.vocabulary.len(), merges.iter().copied())
        })
    }
}

/// Turns a score into a number that is the smaller, the higher the score. No number gives `NO_MERGE`.
fn key(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits(); // one zero, not two
    let ascending = if bits >> 31 == 0 {
        bits | 1 << 31
    } else {
        !bits
    };
    !ascending
}

impl Tokenizer for SentencePiece {
    /// The text is merged only as far as needed: beyond that it is at most scanned for the next
    /// added token.
    fn encode_limited(&self, text: &str, limit: usize, ids: &mut Vec<u32>) -> bool {
        let end = ids.len().saturating_add(limit);
        SEGMENT.with_borrow_mut(|segment| self.encode_until(end, text, segment, ids));
        let complete = ids.len() <= end;
        ids.truncate(end);
        complete
    }

    /// For tokens that [`encode`](Tokenizer::encode) gave this is the text again, but for U+2581 in
    /// it, which comes back as a space: the tokens are the same for both.
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
        let followers = self.followers.get().map_or(0, Followers::heap_size);
        self.vocabulary.heap_size() + self.added.heap_size() + followers
    }
}

impl fmt::Debug for SentencePiece {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("SentencePiece")
            .field("vocabulary_len", &self.vocabulary_len())
            .field("bos", &self.bos)
            .field("eos", &self.eos)
            .finish_non_exhaustive()
    }
}
