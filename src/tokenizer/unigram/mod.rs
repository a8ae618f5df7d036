//! Tokens by the pieces of the highest sum of scores, as XLM-RoBERTa has them.
//!
//! The rules are those of its tokenizer in the transformers library, from the GGUF vocabulary alone:
//!
//! 1. *Special* tokens (control, user-defined and unknown) are found literally, leftmost first and longest
//!    first, and split the text.
//! 2. In the stretches between them characters are replaced by a table of the file ([`charsmap`]).
//! 3. Words end at white space. Each gets U+2581 before it unless it begins with one, and ends before any
//!    other.
//! 4. A word becomes the pieces whose scores have the highest sum, an unknown character counting ten less
//!    than the lowest one; neighboring unknown characters become one token. Special tokens are pieces here
//!    as well, with the score 0: the table makes some of other characters.

mod charsmap;
mod prefixes;
mod word;

use std::cell::RefCell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use charsmap::Charsmap;
use prefixes::Prefixes;
use word::Word;

use super::added::AddedTokens;
use super::vocabulary::{TOKEN_TYPES, TOKENS, TokenType, Vocabulary, no_memory};
use super::{MODEL, SPACE, SPACE_BYTES, Tokenizer};
use crate::gguf::{Gguf, ValueType};
use crate::{Error, Result};

const CHARSMAP: &str = "tokenizer.ggml.precompiled_charsmap";
const SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";
const MASK: &[u8] = b"<mask>";
/// How much less an unknown character counts than the lowest score.
const UNKNOWN_PENALTY: f64 = 10.0;

const CONVERT_AGAIN: &str = "convert the model again";
const OTHER_TOKENIZER: &str = "use a model with the tokenizer of XLM-RoBERTa";

thread_local! {
    /// Working space, so that encoding a text allocates nothing.
    static WORD: RefCell<Word> = RefCell::default();
}

/// A Unigram tokenizer with XLM-RoBERTa's rules.
///
/// The vocabulary's strings, scores and types stay in the map; beside them are an index of offsets and a
/// hash table, a set of the beginnings of pieces, a trie of the special tokens, and the table of replacements.
pub struct Unigram {
    pieces: Pieces,
    charsmap: Charsmap,
    /// `<mask>`, which takes the white space before it with it.
    mask: Option<u32>,
    bos: u32,
    eos: u32,
}

/// What words are made of.
struct Pieces {
    vocabulary: Vocabulary,
    prefixes: Prefixes,
    specials: AddedTokens,
    unknown: u32,
    unknown_score: f64,
}

impl Unigram {
    /// Indexes the vocabulary of a model file.
    ///
    /// # Errors
    /// If a key is missing or of the wrong type; the arrays differ in length; a score is NaN; a special token
    /// is not UTF-8; there are tokens for bytes; `<s>`, `</s>` or `<unk>` is outside the vocabulary or an
    /// ordinary piece; the table of replacements is damaged; the file requires another kind of tokenizer; or
    /// there is no memory for the index.
    pub fn from_gguf(gguf: Arc<Gguf>) -> Result<Self> {
        check_kind(&gguf)?;
        let charsmap = charsmap(&gguf)?;
        let [bos, eos, unknown] = ["bos", "eos", "unknown"].map(|name| special(&gguf, name));
        let [bos, eos, unknown] = [bos?, eos?, unknown?];
        let tokens = gguf.required_array(TOKENS)?.len();
        let mut prefixes = Prefixes::for_pieces(tokens).ok_or_else(|| no_memory(&gguf))?;
        let mut specials = AddedTokens::new();
        let (mut mask, mut copy) = (None, Vec::new());
        let seed = RandomState::new().hash_one(0);
        let vocabulary = Vocabulary::new(Arc::clone(&gguf), seed, |id, kind, piece| {
            match kind {
                TokenType::Normal => {
                    // A copy, because the bytes of the map may change at any time.
                    copy.clear();
                    copy.extend(piece);
                    if let Ok(piece) = str::from_utf8(&copy) {
                        prefixes.insert(piece);
                    }
                }
                TokenType::Unused if id != unknown => {}
                TokenType::Added | TokenType::Unused => {
                    specials.reserve(piece).map_err(|_| no_memory(&gguf))?;
                    let damaged = |problem| gguf.file_error(TOKENS, problem, CONVERT_AGAIN);
                    specials.insert_as_it_is(piece, id).map_err(damaged)?;
                    if piece == MASK {
                        mask = Some(id);
                    }
                }
                TokenType::Byte => {
                    let problem = format!("makes token {id} one for a byte");
                    return Err(gguf.file_error(TOKEN_TYPES, problem, OTHER_TOKENIZER));
                }
            }
            Ok(())
        })?;
        for (name, id) in [("bos", bos), ("eos", eos), ("unknown", unknown)] {
            let problem = match vocabulary.token_type(id) {
                None => format!("is {id}, but there are {} tokens", vocabulary.len()),
                Some(TokenType::Normal | TokenType::Byte) => {
                    format!("is {id}, an ordinary piece of the vocabulary")
                }
                Some(_) => continue,
            };
            return Err(gguf.file_error(key(name), problem, OTHER_TOKENIZER));
        }
        let ids = 0..vocabulary.len() as u32;
        let normal = ids.filter(|&id| vocabulary.token_type(id) == Some(TokenType::Normal));
        let scores = normal.filter_map(|id| vocabulary.score(id)).map(f64::from);
        let Some(lowest) = scores.reduce(f64::min) else {
            let problem = "holds no ordinary piece";
            return Err(gguf.file_error(TOKENS, problem, CONVERT_AGAIN));
        };
        let pieces = Pieces {
            vocabulary,
            prefixes,
            specials,
            unknown,
            unknown_score: lowest - UNKNOWN_PENALTY,
        };
        Ok(Self {
            pieces,
            charsmap,
            mask,
            bos,
            eos,
        })
    }

    /// Appends tokens of `text` until it ends or `ids` is longer than `end`. Returns the bytes of the text
    /// that the first `end` tokens stand for.
    fn encode_until(&self, end: usize, text: &str, word: &mut Word, ids: &mut Vec<u32>) -> usize {
        let (mut at, mut read) = (0, 0);
        while at < text.len() && ids.len() <= end {
            let rest = &text[at..];
            let (start, after, id) = match self.pieces.specials.find(rest.as_bytes()) {
                Some((start, after, id)) => (start, after, Some(id)),
                None => (rest.len(), rest.len(), None),
            };
            let stretch = &rest[..start];
            let stretch = match id.is_some() && id == self.mask {
                true => stretch.trim_end(),
                false => stretch,
            };
            let words = Words {
                tokenizer: self,
                end,
                at,
                word,
                ids,
                read,
            };
            read = words.encode(stretch);
            at += after;
            if let Some(id) = id {
                ids.push(id);
                if ids.len() <= end {
                    read = at;
                }
            }
        }
        read
    }
}

/// Text without special tokens, while tokens are made of it.
struct Words<'a> {
    tokenizer: &'a Unigram,
    end: usize,
    /// Where the stretch begins in the text.
    at: usize,
    word: &'a mut Word,
    ids: &'a mut Vec<u32>,
    /// What [`Unigram::encode_until`] returns.
    read: usize,
}

impl Words<'_> {
    fn encode(mut self, text: &str) -> usize {
        let mut before = 0;
        self.tokenizer.charsmap.normalize(text, |character, read| {
            let is_white = character.is_whitespace();
            if (is_white || character == SPACE || self.word.is_full()) && !self.finish() {
                return false;
            }
            if !is_white {
                self.word.push(character, before, read);
            }
            before = read;
            true
        });
        self.finish();
        self.read
    }

    /// Ends the word, if there is one. Returns whether more are wanted.
    fn finish(&mut self) -> bool {
        if self.word.is_empty() {
            return self.ids.len() <= self.end;
        }
        let before = self.ids.len();
        self.word.encode(&self.tokenizer.pieces, self.ids);
        let is_whole = self.ids.len() <= self.end;
        if is_whole {
            self.read = self.at + self.word.read();
        } else if self.end > before {
            self.read = self.at + self.word.read_by_tokens(self.end - before);
        }
        self.word.clear();
        is_whole
    }
}

impl Tokenizer for Unigram {
    /// The text is read only as far as needed: beyond the word with the last token it is at most scanned for
    /// the next special one.
    fn encode_limited(&self, text: &str, limit: usize, ids: &mut Vec<u32>) -> bool {
        let end = ids.len().saturating_add(limit);
        WORD.with_borrow_mut(|word| self.encode_until(end, text, word, ids));
        let complete = ids.len() <= end;
        ids.truncate(end);
        complete
    }

    /// Words with a space between them. What the table replaced does not come back.
    fn decode(&self, ids: &[u32]) -> Vec<u8> {
        let mut text = Vec::with_capacity(4 * ids.len());
        for &id in ids {
            let mut rest = self.piece(id).unwrap_or_default();
            while let Some((&byte, after)) = rest.split_first() {
                let space = rest.strip_prefix(&SPACE_BYTES);
                match space {
                    Some(_) if text.is_empty() => {}
                    Some(_) => text.push(b' '),
                    None => text.push(byte),
                }
                rest = space.unwrap_or(after);
            }
        }
        text
    }

    /// Not whole words: a text without white space is one.
    fn bytes_of(&self, text: &str, ids: &[u32]) -> usize {
        let mut again = Vec::new();
        let read =
            WORD.with_borrow_mut(|word| self.encode_until(ids.len(), text, word, &mut again));
        match again.len() > ids.len() {
            true => read,
            false => text.len(),
        }
    }

    fn bos(&self) -> Option<u32> {
        Some(self.bos)
    }

    fn eos(&self) -> u32 {
        self.eos
    }

    /// `</s></s>`.
    fn between(&self) -> Vec<u32> {
        vec![self.eos(); 2]
    }

    fn vocabulary_len(&self) -> usize {
        self.pieces.vocabulary.len()
    }

    /// With U+2581 for a space.
    fn piece(&self, id: u32) -> Option<&[u8]> {
        self.pieces.vocabulary.piece(id)
    }

    fn heap_size(&self) -> usize {
        let Pieces {
            vocabulary,
            prefixes,
            specials,
            ..
        } = &self.pieces;
        let index = vocabulary.heap_size() + prefixes.heap_size() + specials.heap_size();
        index + self.charsmap.heap_size()
    }
}

impl fmt::Debug for Unigram {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Unigram")
            .field("vocabulary_len", &self.vocabulary_len())
            .field("bos", &self.bos)
            .field("eos", &self.eos)
            .finish_non_exhaustive()
    }
}

/// Refuses a file that requires other rules than those of this module. What it says of white space does
/// not count: published files differ there, and their models were made with these rules.
fn check_kind(gguf: &Gguf) -> Result<()> {
    let model = gguf.required_str(MODEL)?;
    let problem = format!("is {model:?}, not \"t5\" (Unigram)");
    if model != "t5" {
        return Err(gguf.file_error(MODEL, problem, OTHER_TOKENIZER));
    }
    if gguf.optional_bool(SPACE_PREFIX)? == Some(false) {
        let problem = "is false, but words begin with a space";
        return Err(gguf.file_error(SPACE_PREFIX, problem, OTHER_TOKENIZER));
    }
    Ok(())
}

fn charsmap(gguf: &Gguf) -> Result<Charsmap> {
    let wrong = |problem: String| gguf.file_error(CHARSMAP, problem, CONVERT_AGAIN);
    let array = gguf.required_array(CHARSMAP)?;
    if !matches!(array.element(), ValueType::U8 | ValueType::I8) {
        return Err(wrong(format!(
            "is an array of {}, not of u8",
            array.element()
        )));
    }
    Charsmap::new(gguf.bytes(array.range())).map_err(wrong)
}

fn key(name: &str) -> String {
    format!("tokenizer.ggml.{name}_token_id")
}

/// The id of a special token, which files must state.
fn special(gguf: &Gguf, name: &str) -> Result<u32> {
    let key = key(name);
    let missing = || gguf.file_error(&key, "is missing", CONVERT_AGAIN);
    gguf.optional_u32(&key)?.ok_or_else::<Error, _>(missing)
}
