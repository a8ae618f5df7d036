//! Tokens by the longest piece of a word, as BERT's WordPiece model does.
//!
//! The rules are those of the `tokenizers` library's `BertNormalizer`, `BertPreTokenizer` and `WordPiece`:
//!
//! 1. Control tokens, such as `[MASK]`, are found literally and cut the text.
//! 2. Controls and formats are dropped, and every kind of space becomes one. Ideographs are words of
//!    their own.
//! 3. Accents are stripped: the canonical decomposition (NFD), without its nonspacing marks. Then each
//!    character by itself becomes lowercase. A file may switch off either.
//! 4. Words end at white space, and each punctuation character is a word of its own.
//! 5. A word becomes the longest piece that it begins with, then the longest one of the rest, and so on.
//!    If there is none at some place, or the word has more than 100 characters, it is `[UNK]`.
//!
//! GGUF files have U+2581 before pieces that begin a word and nothing before those that continue one
//! (`ing` for `##ing`).

mod classes;

use std::cell::RefCell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use unicode_normalization::char::{canonical_combining_class, decompose_canonical};

use super::added::AddedTokens;
use super::vocabulary::{TOKENS, TokenType, Vocabulary, no_memory};
use super::{MODEL, SPACE, SPACE_BYTES, Tokenizer};
use crate::gguf::Gguf;
use crate::{Error, Result};

/// Characters that a word may have.
const LONGEST_WORD: usize = 100;

const LOWERCASE: &str = "tokenizer.ggml.normalizer.lowercase";
const STRIP_ACCENTS: &str = "tokenizer.ggml.normalizer.strip_accents";

const CONVERT_AGAIN: &str = "convert the model again";

thread_local! {
    /// Working space, so that encoding a text allocates nothing.
    static WORD: RefCell<Word> = RefCell::default();
}

/// A WordPiece tokenizer with BERT's rules.
///
/// The vocabulary's strings and types stay in the map; the index beside them holds offsets, a hash table
/// of ids, and a trie of the control tokens.
pub struct WordPiece {
    vocabulary: Vocabulary,
    added: AddedTokens,
    lowercase: bool,
    strip_accents: bool,
    unknown: u32,
    cls: u32,
    sep: u32,
}

impl WordPiece {
    /// Indexes the vocabulary of a model file.
    ///
    /// # Errors
    /// If a key is missing or of the wrong type; the arrays differ in length; a control token is not
    /// UTF-8; `[CLS]`, `[SEP]` or `[UNK]` is outside the vocabulary or an ordinary piece; no piece begins
    /// a word; the file requires another kind of tokenizer; or there is no memory for the index.
    pub fn from_gguf(gguf: Arc<Gguf>) -> Result<Self> {
        let model = gguf.required_str(MODEL)?;
        if model != "bert" {
            let problem = format!("is {model:?}, not \"bert\" (WordPiece)");
            let remedy = "use a model with a WordPiece vocabulary";
            return Err(gguf.file_error(MODEL, problem, remedy));
        }
        let lowercase = gguf.optional_bool(LOWERCASE)?.unwrap_or(true);
        let strip_accents = gguf.optional_bool(STRIP_ACCENTS)?.unwrap_or(lowercase);
        let special = |keys: &[&str], default: u32| {
            let mut ids = keys.iter().map(|key| gguf.optional_u32(key));
            let id = ids.find_map(Result::transpose).transpose()?;
            Ok::<u32, Error>(id.unwrap_or(default))
        };
        let key = |name: &str| format!("tokenizer.ggml.{name}_token_id");
        // "seperator" is how the format spells it.
        let [cls_keys, sep_keys] =
            [["cls", "bos"], ["seperator", "eos"]].map(|names| names.map(key));
        let unknown_key = key("unknown");
        let cls = special(&cls_keys.each_ref().map(String::as_str), 101)?;
        let sep = special(&sep_keys.each_ref().map(String::as_str), 102)?;
        let unknown = special(&[&unknown_key], 100)?;

        let mut added = AddedTokens::new();
        let mut begins_words = false;
        let seed = RandomState::new().hash_one(0);
        let vocabulary = Vocabulary::without_scores(Arc::clone(&gguf), seed, |id, kind, piece| {
            // `[UNK]` may be of the type of its own.
            if kind == TokenType::Added || kind == TokenType::Unused && id == unknown {
                added.reserve(piece).map_err(|_| no_memory(&gguf))?;
                let damaged = |problem| gguf.file_error(TOKENS, problem, CONVERT_AGAIN);
                added.insert_as_it_is(piece, id).map_err(damaged)?;
            }
            begins_words |= kind == TokenType::Normal && piece.starts_with(&SPACE_BYTES);
            Ok(())
        })?;
        if !begins_words {
            let problem = "has no piece that begins a word: none starts with U+2581";
            return Err(gguf.file_error(TOKENS, problem, CONVERT_AGAIN));
        }
        for (name, key, id) in [
            ("[CLS]", &cls_keys[0], cls),
            ("[SEP]", &sep_keys[0], sep),
            ("[UNK]", &unknown_key, unknown),
        ] {
            let problem = match vocabulary.token_type(id) {
                None => format!("is {id}, but there are {} tokens", vocabulary.len()),
                Some(TokenType::Normal | TokenType::Byte) => {
                    format!("is {id}, an ordinary piece of the vocabulary and not {name}")
                }
                Some(_) => continue,
            };
            let remedy = "use a vocabulary with the special tokens of BERT";
            return Err(gguf.file_error(key, problem, remedy));
        }
        Ok(Self {
            vocabulary,
            added,
            lowercase,
            strip_accents,
            unknown,
            cls,
            sep,
        })
    }

    /// Appends tokens of `text` until it ends or `ids` is longer than `end`. Returns the bytes of the text
    /// up to the end of the last word whose tokens are all among the first `end`.
    fn encode_until(&self, end: usize, text: &str, word: &mut Word, ids: &mut Vec<u32>) -> usize {
        let (mut at, mut read) = (0, 0);
        while at < text.len() && ids.len() <= end {
            let rest = &text[at..];
            let (start, after, id) = match self.added.find(rest.as_bytes()) {
                Some((start, after, id)) => (start, after, Some(id)),
                None => (rest.len(), rest.len(), None),
            };
            let stretch = Stretch {
                tokenizer: self,
                end,
                word: &mut *word,
                ids: &mut *ids,
                read: 0,
            };
            read = read.max(at + stretch.encode(&rest[..start]));
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

    /// Appends the pieces of a word, or the unknown token.
    fn push_word(&self, word: &Word, ids: &mut Vec<u32>) {
        if word.length > LONGEST_WORD {
            return ids.push(self.unknown);
        }
        let before = ids.len();
        let mut first = 0;
        while first < word.length {
            // A piece that continues a word never begins with U+2581: what does in the file begins one.
            let start = if first == 0 { 0 } else { word.ends[first - 1] };
            let continues = first > 0 && word.text[start..].starts_with(&SPACE_BYTES);
            let mut lengths = (first..word.length).rev();
            let found = lengths.find_map(|last| {
                let piece = &word.text[start..word.ends[last]];
                Some((last + 1, self.vocabulary.find(piece)?))
            });
            let Some((next, id)) = found.filter(|_| !continues) else {
                ids.truncate(before);
                return ids.push(self.unknown);
            };
            ids.push(id);
            first = next;
        }
    }
}

/// A word as it is being read.
#[derive(Default)]
struct Word {
    /// U+2581 and the characters, of which no more than [`LONGEST_WORD`] are kept.
    text: Vec<u8>,
    /// Where each character ends in `text`.
    ends: Vec<usize>,
    /// The number of its characters.
    length: usize,
    /// Where it ends in the stretch.
    end: usize,
    /// Combining characters that canonical ordering may move, with their classes.
    combining: Vec<(u8, char)>,
}

/// Text without control tokens, while tokens are made of it.
struct Stretch<'a> {
    tokenizer: &'a WordPiece,
    end: usize,
    word: &'a mut Word,
    ids: &'a mut Vec<u32>,
    /// Bytes up to the end of the last word that is among the first `end` tokens.
    read: usize,
}

impl Stretch<'_> {
    fn encode(mut self, text: &str) -> usize {
        for (start, character) in text.char_indices() {
            let after = start + character.len_utf8();
            if character.is_ascii_alphanumeric() {
                self.order();
                self.push(character, after);
            } else if classes::is_space(character) {
                self.finish();
            } else if classes::is_removed(character) {
                continue;
            } else if classes::is_ideograph(character) {
                self.finish();
                self.normalize(character, after);
                self.finish();
            } else {
                self.normalize(character, after);
            }
            if self.ids.len() > self.end {
                self.word.clear();
                return self.read;
            }
        }
        self.finish();
        self.read
    }

    /// A character with its accents stripped, if they are to be.
    fn normalize(&mut self, character: char, after: usize) {
        if !self.tokenizer.strip_accents {
            return self.push(character, after);
        }
        decompose_canonical(character, |part| {
            if classes::is_mark(part) {
                return;
            }
            match canonical_combining_class(part) {
                0 => {
                    self.order();
                    self.push(part, after);
                }
                // More of them than a word may have make it unknown in any order.
                class if self.word.combining.len() <= LONGEST_WORD => {
                    self.word.combining.push((class, part));
                    self.word.end = after;
                }
                _ => self.word.end = after,
            }
        });
    }

    /// Puts combining characters into canonical order before whatever follows them.
    fn order(&mut self) {
        if self.word.combining.is_empty() {
            return;
        }
        let mut combining = std::mem::take(&mut self.word.combining);
        let after = self.word.end;
        combining.sort_by_key(|&(class, _)| class);
        for (_, character) in combining.drain(..) {
            self.push(character, after);
        }
        self.word.combining = combining;
    }

    /// A character of the decomposition, in its order.
    fn push(&mut self, character: char, after: usize) {
        if character.is_ascii() || !self.tokenizer.lowercase {
            let lower = match self.tokenizer.lowercase {
                true => character.to_ascii_lowercase(),
                false => character,
            };
            return self.push_lowercase(lower, after);
        }
        // By itself: a final sigma stays a sigma.
        for character in character.to_lowercase() {
            self.push_lowercase(character, after);
        }
    }

    fn push_lowercase(&mut self, character: char, after: usize) {
        if character.is_whitespace() {
            self.finish_word();
        } else if classes::is_punctuation(character) {
            self.finish_word();
            self.word.push(character, after);
            self.finish_word();
        } else {
            self.word.push(character, after);
        }
    }

    /// Ends the word, if there is one, and what combines with it.
    fn finish(&mut self) {
        self.order();
        self.finish_word();
    }

    fn finish_word(&mut self) {
        if self.word.length == 0 {
            return;
        }
        self.tokenizer.push_word(self.word, self.ids);
        if self.ids.len() <= self.end {
            self.read = self.word.end;
        }
        self.word.clear();
    }
}

impl Word {
    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.length = 0;
        self.combining.clear();
    }

    fn push(&mut self, character: char, after: usize) {
        if self.text.is_empty() {
            self.text.extend(SPACE_BYTES);
        }
        self.length += 1;
        self.end = after;
        if self.length <= LONGEST_WORD {
            let mut buffer = [0; 4];
            self.text
                .extend(character.encode_utf8(&mut buffer).as_bytes());
            self.ends.push(self.text.len());
        }
    }
}

impl Tokenizer for WordPiece {
    /// The text is read only as far as needed: beyond that it is at most scanned for the next control
    /// token.
    fn encode_limited(&self, text: &str, limit: usize, ids: &mut Vec<u32>) -> bool {
        let end = ids.len().saturating_add(limit);
        WORD.with_borrow_mut(|word| self.encode_until(end, text, word, ids));
        let complete = ids.len() <= end;
        ids.truncate(end);
        complete
    }

    /// Words with a space between them. What the tokenizer dropped or changed does not come back.
    fn decode(&self, ids: &[u32]) -> Vec<u8> {
        let mut text = Vec::with_capacity(8 * ids.len());
        for &id in ids {
            let piece = self.piece(id).unwrap_or_default();
            let begins_word = piece.strip_prefix(&SPACE_BYTES);
            let control = self.vocabulary.token_type(id) != Some(TokenType::Normal);
            if (begins_word.is_some() || control) && !text.is_empty() {
                text.push(b' ');
            }
            text.extend(begins_word.unwrap_or(piece));
        }
        text
    }

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
        Some(self.cls)
    }

    fn eos(&self) -> u32 {
        self.sep
    }

    fn vocabulary_len(&self) -> usize {
        self.vocabulary.len()
    }

    /// With U+2581 before a piece that begins a word.
    fn piece(&self, id: u32) -> Option<&[u8]> {
        self.vocabulary.piece(id)
    }

    fn heap_size(&self) -> usize {
        self.vocabulary.heap_size() + self.added.heap_size()
    }
}

impl fmt::Debug for WordPiece {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("WordPiece")
            .field("vocabulary_len", &self.vocabulary_len())
            .field("lowercase", &self.lowercase)
            .field("strip_accents", &self.strip_accents)
            .finish_non_exhaustive()
    }
}

/// A word is kept with a space before it.
const _: () = assert!(SPACE.len_utf8() == SPACE_BYTES.len());
