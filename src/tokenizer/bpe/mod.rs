//! Byte-level byte-pair encoding, as GPT-2 has it and Qwen and ModernBERT after it.
//!
//! The rules are those of the `tokenizers` library:
//!
//! 1. Control tokens, then the other added ones, are found literally and cut the text. `[MASK]` of
//!    ModernBERT takes the white space before it.
//! 2. The text between is composed (NFC, [`compose`]) and cut into words by the pattern of the model ([`split`]).
//! 3. The bytes of a word are its first symbols. Always the pair of the lowest rank merges, the leftmost of
//!    those that have it ([`Word`]); what is left are the tokens.
//!
//! Vocabularies spell bytes with printable characters ([`alphabet`]).

mod alphabet;
mod classes;
mod compose;
mod merges;
mod split;

use std::cell::RefCell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use self::classes::{Class, class};
use self::compose::{begins_anew, compose, decomposed_length};
pub(super) use self::merges::Merges;
use self::split::Split;
use super::Tokenizer;
use super::added::AddedTokens;
use super::vocabulary::{TOKENS, TokenType, Vocabulary, no_memory};
use super::word::Word;
use crate::Result;
use crate::gguf::Gguf;

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";

const CONVERT_AGAIN: &str = "convert the model again";

/// Bytes of text that are composed at a time, and more up to a place where words end whatever follows.
const BLOCK: usize = 1 << 12;

/// No token.
const NONE: u32 = u32::MAX;

thread_local! {
    /// Working space, so that encoding a text allocates nothing.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

#[derive(Default)]
struct Scratch {
    word: Word,
    /// A block of text, composed.
    composed: String,
}

/// The tokens that a model reads around each text.
#[derive(Clone, Copy, Debug)]
pub enum Ends {
    /// None before it, and after it the token spelt so; if there is none, the one that the file names.
    After(&'static str),
    /// Those that the file names as `[CLS]` or its first token, and as `[SEP]` or its last.
    Both,
}

/// A byte-level BPE tokenizer.
///
/// The vocabulary's strings and types stay in the map; beside them are the indexes of pieces and of merges,
/// and tries of the added tokens.
pub struct ByteBpe {
    vocabulary: Vocabulary,
    merges: Merges,
    split: Split,
    /// The token of each byte, [`NONE`] for some that no text has.
    byte_tokens: [u32; 256],
    control: AddedTokens,
    /// Added tokens that are no control tokens.
    others: AddedTokens,
    /// The token that takes the white space before it.
    mask: Option<u32>,
    bos: Option<u32>,
    eos: u32,
}

impl ByteBpe {
    /// Indexes the vocabulary of a model file.
    ///
    /// # Errors
    /// If a key is missing or of the wrong type; the arrays differ in length; an added token is not UTF-8; a
    /// byte has no token; a merge is not two tokens that make a third, or there twice; a special token is
    /// missing, outside the vocabulary or an ordinary piece; the file requires another kind of tokenizer or
    /// another pre-tokenizer; or there is no memory for the indexes.
    pub fn from_gguf(gguf: Arc<Gguf>, ends: Ends) -> Result<Self> {
        let split = split_of(&gguf)?;
        let seed = RandomState::new().hash_one(0);
        let vocabulary = Vocabulary::without_scores(Arc::clone(&gguf), seed, |_, _, _| Ok(()))?;
        let merges = Merges::read(&gguf, seed, |part| vocabulary.find(part))?;
        let byte_tokens: [u32; 256] = std::array::from_fn(|byte| {
            let piece = alphabet::character(byte as u8);
            let piece = piece.encode_utf8(&mut [0; 4]).as_bytes().to_vec();
            vocabulary.find(&piece).unwrap_or(NONE)
        });
        let missing = (0..=255).find(|&byte| {
            let in_text = !matches!(byte, 0xC0 | 0xC1 | 0xF5..=0xFF);
            in_text && byte_tokens[usize::from(byte)] == NONE
        });
        if let Some(byte) = missing {
            let piece = alphabet::character(byte);
            let problem = format!("has no token \"{piece}\" for the byte 0x{byte:02X}");
            let remedy = "use a model whose vocabulary covers every byte";
            return Err(gguf.file_error(TOKENS, problem, remedy));
        }
        let (mut control, mut others) = (AddedTokens::new(), AddedTokens::new());
        for id in 0..vocabulary.len() as u32 {
            if let (Some(TokenType::Added), Some(piece)) =
                (vocabulary.token_type(id), vocabulary.piece(id))
            {
                let added = match vocabulary.is_control(id) {
                    true => &mut control,
                    false => &mut others,
                };
                added.reserve(piece).map_err(|_| no_memory(&gguf))?;
                let damaged = |problem| gguf.file_error(TOKENS, problem, CONVERT_AGAIN);
                added.insert_as_it_is(piece, id).map_err(damaged)?;
            }
        }
        let special = Special {
            gguf: &gguf,
            vocabulary: &vocabulary,
        };
        let (bos, eos) = match ends {
            Ends::After(token) => {
                let whole = |added| match find(added, token) {
                    (0, end, id) if end == token.len() => id,
                    _ => None,
                };
                let after = match whole(&control).or_else(|| whole(&others)) {
                    Some(id) => id,
                    None => special.required(&["eos"])?,
                };
                (None, after)
            }
            Ends::Both => {
                let before = special.required(&["cls", "bos"])?;
                // "seperator" is how the format spells it.
                (Some(before), special.required(&["seperator", "eos"])?)
            }
        };
        let mask = match split {
            Split::ModernBert => special.optional("mask")?,
            Split::Qwen2 => None,
        };
        Ok(Self {
            merges,
            split,
            byte_tokens,
            control,
            others,
            mask,
            bos,
            eos,
            vocabulary,
        })
    }

    /// Appends tokens of `text` until it ends or `ids` is longer than `end`. Returns the bytes of the text
    /// that the first `end` tokens stand for, in whole characters.
    fn encode_until(
        &self,
        end: usize,
        text: &str,
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> usize {
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let (start, after, id) = find(&self.control, rest);
            let mut stretch = &rest[..start];
            if id.is_some() && id == self.mask {
                stretch = stretch.trim_end_matches(char::is_whitespace);
            }
            if let Some(read) = self.encode_stretch(end, stretch, scratch, ids) {
                return at + read;
            }
            ids.extend(id);
            if ids.len() > end {
                return at + stretch.len();
            }
            at += after;
        }
        text.len()
    }

    /// Does the same for text without control tokens; `None` if it ended first.
    fn encode_stretch(
        &self,
        end: usize,
        text: &str,
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Option<usize> {
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let (start, after, id) = find(&self.others, rest);
            let mut block = at..at;
            while block.end < at + start {
                let length = block_length(&text[block.end..at + start]);
                block = block.end..block.end + length;
                if let Some(read) = self.encode_block(end, &text[block.clone()], scratch, ids) {
                    return Some(block.start + read);
                }
            }
            ids.extend(id);
            if ids.len() > end {
                return Some(at + start);
            }
            at += after;
        }
        None
    }

    /// Does the same for text without added tokens that ends where a word does.
    fn encode_block(
        &self,
        end: usize,
        block: &str,
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Option<usize> {
        let Scratch { word, composed } = scratch;
        let (text, is_composed) = compose(block, composed);
        let mut at = 0;
        while at < text.len() {
            let length = self.split.first_word(&text[at..]);
            let before = ids.len();
            for &byte in &text.as_bytes()[at..at + length] {
                if word.is_full() {
                    word.settle(&self.merges, ids);
                    if ids.len() > end {
                        word.clear();
                        break;
                    }
                }
                word.push(self.byte_tokens[usize::from(byte)]);
            }
            word.finish(&self.merges, ids);
            if ids.len() > end {
                let within = ids[before..].iter().take(end.saturating_sub(before));
                let bytes: usize = within.map(|&id| self.piece_bytes(id)).sum();
                let read = text.floor_char_boundary(at + bytes);
                return Some(match is_composed {
                    true => read,
                    false => decomposed_length(block, read),
                });
            }
            at += length;
        }
        None
    }

    /// The number of bytes that a token stands for.
    fn piece_bytes(&self, id: u32) -> usize {
        let mut bytes = Vec::new();
        alphabet::extend_bytes(self.piece(id).unwrap_or_default(), &mut bytes);
        bytes.len()
    }
}

impl Tokenizer for ByteBpe {
    /// The text is merged only as far as needed: beyond that it is at most scanned for the next added token.
    fn encode_limited(&self, text: &str, limit: usize, ids: &mut Vec<u32>) -> bool {
        let end = ids.len().saturating_add(limit);
        SCRATCH.with_borrow_mut(|scratch| self.encode_until(end, text, scratch, ids));
        let complete = ids.len() <= end;
        ids.truncate(end);
        complete
    }

    /// The text again, but composed, and without white space that `[MASK]` took.
    fn decode(&self, ids: &[u32]) -> Vec<u8> {
        let mut text = Vec::with_capacity(4 * ids.len());
        for &id in ids {
            let piece = self.piece(id).unwrap_or_default();
            match self.vocabulary.token_type(id) {
                Some(TokenType::Added) => text.extend(piece),
                _ => alphabet::extend_bytes(piece, &mut text),
            }
        }
        text
    }

    fn bytes_of(&self, text: &str, ids: &[u32]) -> usize {
        let mut again = Vec::new();
        let end = ids.len();
        SCRATCH.with_borrow_mut(|scratch| self.encode_until(end, text, scratch, &mut again))
    }

    fn bos(&self) -> Option<u32> {
        self.bos
    }

    fn eos(&self) -> u32 {
        self.eos
    }

    fn vocabulary_len(&self) -> usize {
        self.vocabulary.len()
    }

    /// With a character for each byte.
    fn piece(&self, id: u32) -> Option<&[u8]> {
        self.vocabulary.piece(id)
    }

    fn heap_size(&self) -> usize {
        self.vocabulary.heap_size()
            + self.merges.heap_size()
            + self.control.heap_size()
            + self.others.heap_size()
    }
}

impl fmt::Debug for ByteBpe {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("ByteBpe")
            .field("vocabulary_len", &self.vocabulary_len())
            .field("split", &self.split)
            .field("bos", &self.bos)
            .field("eos", &self.eos)
            .finish_non_exhaustive()
    }
}

/// The pre-tokenizer of a file.
fn split_of(gguf: &Gguf) -> Result<Split> {
    let model = gguf.required_str(MODEL)?;
    if model != "gpt2" {
        let problem = format!("is {model:?}, but only \"gpt2\" (byte-level BPE) is supported here");
        let remedy = "use a model with a byte-level BPE vocabulary";
        return Err(gguf.file_error(MODEL, problem, remedy));
    }
    let pre = gguf.required_str(PRE)?;
    let found = Split::ALL.into_iter().find(|(name, _)| *name == pre);
    found.map(|(_, split)| split).ok_or_else(|| {
        let names = Split::ALL
            .map(|(name, _)| format!("{name:?}"))
            .join(" and ");
        let problem = format!("is {pre:?}, but only the pre-tokenizers {names} are supported");
        gguf.file_error(PRE, problem, "use a model that has one of them")
    })
}

/// Reads which tokens are special.
struct Special<'a> {
    gguf: &'a Gguf,
    vocabulary: &'a Vocabulary,
}

impl Special<'_> {
    /// The token that the first of these keys names that the file has.
    fn required(&self, names: &[&str]) -> Result<u32> {
        for name in names {
            if let Some(id) = self.optional(name)? {
                return Ok(id);
            }
        }
        let remedy = "convert the model again with a converter that writes this key";
        Err(self.gguf.file_error(key(names[0]), "is missing", remedy))
    }

    fn optional(&self, name: &str) -> Result<Option<u32>> {
        let Some(id) = self.gguf.optional_u32(&key(name))? else {
            return Ok(None);
        };
        let problem = match self.vocabulary.token_type(id) {
            Some(TokenType::Added) => return Ok(Some(id)),
            None => format!("is {id}, but there are {} tokens", self.vocabulary.len()),
            Some(_) => format!("is {id}, an ordinary piece of the vocabulary"),
        };
        Err(self.gguf.file_error(key(name), problem, CONVERT_AGAIN))
    }
}

fn key(name: &str) -> String {
    format!("tokenizer.ggml.{name}_token_id")
}

/// The leftmost of the tokens in a text: start, end and id; without one, the end of the text twice.
fn find(tokens: &AddedTokens, text: &str) -> (usize, usize, Option<u32>) {
    match tokens.find(text.as_bytes()) {
        // In valid UTF-8 a token that is valid UTF-8 begins and ends between characters.
        Some((start, end, id)) => (start, end, Some(id)),
        None => (text.len(), text.len(), None),
    }
}

/// How much of a text to compose and split next: all of a short one, else up to a place where a word ends
/// and nothing combines, whatever else the text has.
fn block_length(text: &str) -> usize {
    if text.len() <= BLOCK {
        return text.len();
    }
    let from = text.ceil_char_boundary(BLOCK);
    let mut last = text[..from].chars().next_back();
    let mut rest = text[from..].char_indices();
    let end = rest.find(|&(_, next)| {
        let before = last.replace(next);
        before.is_some_and(|before| is_cut(before, next))
    });
    end.map_or(text.len(), |(index, _)| from + index)
}

/// Whether a word ends between two characters in every text: before a space after another character than
/// white space; and in text without spaces, before punctuation after a letter. The letter must be composed:
/// others become a letter and a mark, which is in one word with the punctuation.
fn is_cut(before: char, next: char) -> bool {
    match class(next) {
        Class::Space => next == ' ' && class(before) != Class::Space,
        Class::Other => class(before) == Class::Letter && begins_anew(before) && begins_anew(next),
        Class::Letter | Class::Number => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_spaces_is_cut_at_punctuation() {
        let length = |unit: &str| block_length(&unit.repeat(2 * BLOCK));
        for unit in ["日本語の文。", "日本語。\n", "naïve,", "don't"] {
            assert!((BLOCK..BLOCK + 32).contains(&length(unit)), "{unit:?}");
        }
        // A letter and a mark, the mark being in one word with the punctuation; a mark; and a number.
        for unit in ["\u{958}।", "e\u{301}", "1,", "abc"] {
            assert_eq!(length(unit), unit.len() * 2 * BLOCK, "{unit:?}");
        }
    }
}
