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

mod segment;

use std::cell::RefCell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use segment::Segment;

use super::added::AddedTokens;
use super::vocabulary::{TOKENS, TokenType, Vocabulary, no_memory};
use super::{SPACE, SPACE_BYTES, Tokenizer};
use crate::gguf::{Gguf, Value};
use crate::{Error, Result};

const MODEL: &str = "tokenizer.ggml.model";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const EOS: &str = "tokenizer.ggml.eos_token_id";

thread_local! {
    /// Working space, so that encoding a text allocates nothing.
    static SEGMENT: RefCell<Segment> = RefCell::default();
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
    /// For each byte, whether a piece holds a U+2581 right after a character that ends in it.
    before_space: [bool; 256],
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
        check_kind(&gguf)?;
        let mut added = AddedTokens::new();
        let mut byte_tokens = [None; 256];
        let mut before_space = [false; 256];
        let damaged = |problem| gguf.file_error(TOKENS, problem, "convert the model again");
        let vocabulary = Vocabulary::new(Arc::clone(&gguf), seed, |id, token_type, piece| {
            match token_type {
                TokenType::Normal => mark_before_space(piece, &mut before_space),
                TokenType::Added => {
                    added.reserve(piece).map_err(|_| no_memory(&gguf))?;
                    added.insert(piece, id).map_err(damaged)?;
                }
                TokenType::Byte => {
                    let byte = byte_of(piece).ok_or_else(|| {
                        let shown = piece.escape_ascii();
                        damaged(format!("byte token {id} is \"{shown}\", not \"<0xNN>\""))
                    })?;
                    byte_tokens[byte as usize].get_or_insert(id);
                }
                TokenType::Unused => {}
            }
            Ok(())
        })?;
        if let Some(byte) = byte_tokens.iter().position(Option::is_none) {
            let problem = format!("has no byte token <0x{byte:02X}>");
            let remedy = "use a model whose vocabulary covers every byte";
            return Err(gguf.file_error(TOKENS, problem, remedy));
        }
        let special = |key| {
            let id = gguf.required_u32(key)?;
            if (id as usize) < vocabulary.len() {
                return Ok(id);
            }
            let problem = format!("is {id}, but there are {} tokens", vocabulary.len());
            Err(gguf.file_error(key, problem, "convert the model again"))
        };
        Ok(Self {
            byte_tokens: byte_tokens.map(Option::unwrap_or_default), // all are there
            ascii: std::array::from_fn(|byte| vocabulary.find(&[byte as u8])),
            bos: special(BOS)?,
            eos: special(EOS)?,
            vocabulary,
            added,
            before_space,
        })
    }

    /// Appends tokens of `text` until it ends or `ids` is longer than `end`.
    fn encode_until(&self, end: usize, text: &str, segment: &mut Segment, ids: &mut Vec<u32>) {
        let mut rest = text;
        while !rest.is_empty() && ids.len() <= end {
            // In valid UTF-8 a token that is valid UTF-8 begins and ends between characters.
            let (start, after, id) = match self.added.find(rest.as_bytes()) {
                Some((start, after, id)) => (start, after, Some(id)),
                None => (rest.len(), rest.len(), None),
            };
            self.encode_stretch(end, &rest[..start], segment, ids);
            ids.extend(id);
            rest = &rest[after..];
        }
    }

    /// Does the same for text without added tokens.
    fn encode_stretch(&self, end: usize, text: &str, segment: &mut Segment, ids: &mut Vec<u32>) {
        let is_space = |character: char| character == ' ' || character == SPACE;
        let mut rest = text;
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
                    .is_some_and(|byte| !self.before_space[byte as usize]);
                if apart || segment.is_full() {
                    segment.finish(&self.vocabulary, &self.byte_tokens, ids);
                    if ids.len() > end {
                        return segment.clear();
                    }
                }
                segment.push_spaces(run, id);
            }
            let length = word.find(is_space).unwrap_or(word.len());
            let (word, after) = word.split_at(length);
            for character in word.chars() {
                if segment.is_full() {
                    segment.finish(&self.vocabulary, &self.byte_tokens, ids);
                }
                self.push(character, segment);
            }
            rest = after;
        }
        segment.finish(&self.vocabulary, &self.byte_tokens, ids);
    }

    fn push(&self, character: char, segment: &mut Segment) {
        let mut buffer = [0; 4];
        let bytes = character.encode_utf8(&mut buffer).as_bytes();
        let id = match self.ascii.get(character as usize) {
            Some(&id) => id,
            None => self.vocabulary.find(bytes),
        };
        segment.push(bytes, id);
    }
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
        let mut spelt = Vec::with_capacity(4 * ids.len());
        for &id in ids {
            match self.piece(id) {
                Some(piece) if self.vocabulary.token_type(id) == Some(TokenType::Byte) => {
                    spelt.extend(byte_of(piece));
                }
                piece => spelt.extend(piece.unwrap_or_default()),
            }
        }
        // Only now, because byte tokens spell U+2581 where the vocabulary has no piece for it.
        let mut text = Vec::with_capacity(spelt.len());
        let mut rest = &spelt[..];
        while let Some((&byte, after)) = rest.split_first() {
            let space = rest.strip_prefix(&SPACE_BYTES);
            text.push(if space.is_some() { b' ' } else { byte });
            rest = space.unwrap_or(after);
        }
        text
    }

    /// Characters and not bytes of the decoded text are counted, because U+2581 is decoded as a space.
    fn bytes_of(&self, text: &str, ids: &[u32]) -> usize {
        let decoded = self.decode(ids);
        let complete = decoded.utf8_chunks().next();
        let characters = complete.map_or(0, |chunk| chunk.valid().chars().count());
        let end = text.char_indices().nth(characters);
        end.map_or(text.len(), |(position, _)| position)
    }

    fn bos(&self) -> u32 {
        self.bos
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
        self.vocabulary.heap_size() + self.added.heap_size()
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

/// Refuses a file that requires other rules than those of this module.
fn check_kind(gguf: &Gguf) -> Result<()> {
    let model = gguf.required_str(MODEL)?;
    if model != "llama" {
        let problem = format!("is {model:?}, but only \"llama\" is supported");
        return Err(gguf.file_error(MODEL, problem, "use an EmbeddingGemma model"));
    }
    // Absent, each of these is as EmbeddingGemma needs it.
    let flags = [
        ("tokenizer.ggml.add_space_prefix", false),
        ("tokenizer.ggml.remove_extra_whitespaces", false),
        ("tokenizer.ggml.add_bos_token", true),
        ("tokenizer.ggml.add_eos_token", true),
    ];
    for (key, needed) in flags {
        if gguf
            .optional_bool(key)?
            .is_some_and(|value| value != needed)
        {
            return Err(unsupported(gguf, key, &format!("is {}", !needed)));
        }
    }
    let key = "tokenizer.ggml.precompiled_charsmap";
    match gguf.value(key) {
        None => Ok(()),
        Some(Value::Array(array)) if array.is_empty() => Ok(()),
        Some(_) => Err(unsupported(gguf, key, "asks for normalized text")),
    }
}

fn unsupported(gguf: &Gguf, key: &str, problem: &str) -> Error {
    let problem = format!("{problem}, which EmbeddingGemma's tokenizer does not have");
    gguf.file_error(key, problem, "use a file converted from EmbeddingGemma")
}

/// The byte that a byte token such as `<0x0A>` stands for.
fn byte_of(piece: &[u8]) -> Option<u8> {
    let digits = piece.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    let &[high, low] = digits else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(high)? << 4 | digit(low)?) as u8)
}

/// Marks the last byte of each character that precedes a U+2581 in a piece.
fn mark_before_space(piece: &[u8], before_space: &mut [bool; 256]) {
    let [_, _, last_byte] = SPACE_BYTES;
    let Some(later) = piece.get(3..) else { return };
    if !later.contains(&last_byte) {
        return;
    }
    for window in piece.windows(4) {
        if window[1..] == SPACE_BYTES {
            before_space[window[0] as usize] = true;
        }
    }
}
