//! The pieces of a vocabulary and the index that finds them.

use std::ops::Range;
use std::sync::Arc;

use crate::gguf::{Array, Gguf};
use crate::{Error, Result};

pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";
pub(super) const SCORES: &str = "tokenizer.ggml.scores";
pub(super) const TOKEN_TYPES: &str = "tokenizer.ggml.token_type";

const CONVERT_AGAIN: &str = "convert the model again";

/// More tokens than any vocabulary has; with it an id leaves seven bits of a slot for the tag.
const MAX_TOKENS: usize = (1 << 25) - 1;
/// The longest piece accepted, in bytes: looking for a piece reads at most so far ahead, which is
/// what keeps encoding linear whatever the vocabulary. The longest of EmbeddingGemma has 48.
const MAX_PIECE: usize = 1024;
/// A free slot of the table. No entry looks like it: an entry's low bits are an id, and
/// `Vocabulary::id_bits` leaves the id of all ones free.
const FREE: u32 = u32::MAX;

/// The use of a token, from `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenType {
    /// A piece that characters merge into.
    Normal,
    /// Stands for characters outside the vocabulary, or for nothing; no text gives it.
    Unused,
    /// Control or user-defined: matched literally, before anything merges.
    Added,
    /// One byte of a character that is no piece.
    Byte,
}

impl TokenType {
    fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            1 => Self::Normal,
            2 | 5 => Self::Unused,
            3 | 4 => Self::Added,
            6 => Self::Byte,
            _ => return None,
        })
    }
}

/// The pieces, still in the map, and a hash table over the normal ones.
///
/// The table is open addressing with linear probing, at most half full. An entry is an id and, in
/// the bits above it, a tag: further bits of the piece's hash, which turn away nearly every string
/// that is no piece without a look at the map.
pub(super) struct Vocabulary {
    gguf: Arc<Gguf>,
    strings: Range<usize>,
    /// Empty if the kind of tokenizer has none.
    scores: Range<usize>,
    types: Range<usize>,
    /// Where each token's length and string begin in `strings`.
    offsets: Vec<u32>,
    slots: Vec<u32>,
    id_bits: u32,
    /// Secret, so that no file can be made whose pieces all fall into one slot.
    seed: u64,
    longest: usize,
}

impl Vocabulary {
    /// Indexes the normal pieces in one pass and shows every token to `visit`. Of equal pieces the
    /// lowest id is found.
    ///
    /// # Errors
    /// If an array is missing or of another type or length, a score is NaN, a type unknown, or a
    /// piece too long; if there is no memory for the index; and if `visit` returns one.
    pub(super) fn new(
        gguf: Arc<Gguf>,
        seed: u64,
        visit: impl FnMut(u32, TokenType, &[u8]) -> Result<()>,
    ) -> Result<Self> {
        let scores = gguf.required_array(SCORES)?.clone();
        Self::with_scores(gguf, Some(&scores), seed, visit)
    }

    /// [`new`](Self::new) for a kind of tokenizer that ranks no pieces.
    ///
    /// # Errors
    /// As [`new`](Self::new), but for scores.
    pub(super) fn without_scores(
        gguf: Arc<Gguf>,
        seed: u64,
        visit: impl FnMut(u32, TokenType, &[u8]) -> Result<()>,
    ) -> Result<Self> {
        Self::with_scores(gguf, None, seed, visit)
    }

    fn with_scores(
        gguf: Arc<Gguf>,
        scores: Option<&Array>,
        seed: u64,
        mut visit: impl FnMut(u32, TokenType, &[u8]) -> Result<()>,
    ) -> Result<Self> {
        let tokens = gguf.required_array(TOKENS)?;
        let types = gguf.required_array(TOKEN_TYPES)?;
        let strings = gguf
            .strings(tokens)
            .ok_or_else(|| wrong_type(&gguf, TOKENS, tokens, "strings"))?;
        let mut score_values = match scores {
            Some(scores) => gguf
                .f32s(scores)
                .ok_or_else(|| wrong_type(&gguf, SCORES, scores, "f32"))
                .map(Some)?,
            None => None,
        };
        let type_numbers = gguf
            .i32s(types)
            .ok_or_else(|| wrong_type(&gguf, TOKEN_TYPES, types, "i32"))?;

        let count = tokens.len();
        if count == 0 || count > MAX_TOKENS || u32::try_from(tokens.range().len()).is_err() {
            let problem = format!(
                "holds {count} tokens in {} bytes, but 1 to {MAX_TOKENS} tokens in at most 4 GiB are supported",
                tokens.range().len()
            );
            return Err(gguf.file_error(TOKENS, problem, "use another model file"));
        }
        for (key, array) in [(SCORES, scores), (TOKEN_TYPES, Some(types))] {
            if let Some(array) = array
                && array.len() != count
            {
                let problem = format!("holds {} values for {count} tokens", array.len());
                return Err(gguf.file_error(key, problem, CONVERT_AGAIN));
            }
        }

        let mut vocabulary = Self {
            strings: tokens.range(),
            scores: scores.map_or(0..0, Array::range),
            types: types.range(),
            offsets: Vec::new(),
            slots: Vec::new(),
            id_bits: usize::BITS - count.leading_zeros(),
            seed,
            longest: 0,
            gguf: Arc::clone(&gguf),
        };
        let slots = (2 * count).next_power_of_two();
        let reserved = vocabulary.offsets.try_reserve_exact(count);
        reserved
            .and_then(|()| vocabulary.slots.try_reserve_exact(slots))
            .map_err(|_| no_memory(&gguf))?;
        vocabulary.slots.resize(slots, FREE);
        let mut offset = 0;
        for (id, (piece, number)) in (0..).zip(strings.zip(type_numbers)) {
            let score = score_values.as_mut().and_then(Iterator::next);
            let token_type = TokenType::from_number(number).ok_or_else(|| {
                let problem = format!("gives token {id} the unknown type {number}");
                gguf.file_error(TOKEN_TYPES, problem, CONVERT_AGAIN)
            })?;
            if score.is_some_and(f32::is_nan) {
                let problem = format!("gives token {id} a score that is not a number");
                return Err(gguf.file_error(SCORES, problem, CONVERT_AGAIN));
            }
            if piece.len() > MAX_PIECE {
                let problem = format!(
                    "makes token {id} {} bytes long, but at most {MAX_PIECE} are supported",
                    piece.len()
                );
                return Err(gguf.file_error(TOKENS, problem, "use another model file"));
            }
            vocabulary.offsets.push(offset);
            offset += 8 + piece.len() as u32; // within the array, whose length fits
            if token_type == TokenType::Normal {
                vocabulary.insert(id, piece);
            }
            visit(id, token_type, piece)?;
        }
        if vocabulary.offsets.len() != count {
            let remedy = "do not write to a model file while it is in use";
            return Err(gguf.file_error(TOKENS, "changed while it was read", remedy));
        }
        Ok(vocabulary)
    }

    fn insert(&mut self, id: u32, piece: &[u8]) {
        if piece.is_empty() {
            return;
        }
        self.longest = self.longest.max(piece.len());
        let hash = hash(piece, self.seed);
        match self.probe(piece, hash) {
            Ok(_) => {} // the same piece under a lower id
            Err(slot) => self.slots[slot] = self.tag(hash) | id,
        }
    }

    /// The id of the normal piece that is `text`.
    #[inline]
    pub(super) fn find(&self, text: &[u8]) -> Option<u32> {
        if text.len() > self.longest {
            return None;
        }
        self.probe(text, hash(text, self.seed)).ok()
    }

    /// The id of a piece, or the free slot where it would be inserted.
    #[inline]
    fn probe(&self, text: &[u8], hash: u64) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let tag = self.tag(hash);
        let mut slot = hash as usize & mask;
        loop {
            let entry = self.slots[slot];
            if entry == FREE {
                return Err(slot);
            }
            if (entry ^ tag) >> self.id_bits == 0 {
                let id = entry ^ tag;
                if self.piece(id) == Some(text) {
                    return Ok(id);
                }
            }
            slot = (slot + 1) & mask;
        }
    }

    /// The bits of a hash that stand above the id; the slot is taken from the other end.
    fn tag(&self, hash: u64) -> u32 {
        ((hash >> 32) as u32 >> self.id_bits) << self.id_bits
    }

    /// The number of tokens.
    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// A token as the file has it.
    #[inline]
    pub(super) fn piece(&self, id: u32) -> Option<&[u8]> {
        let offset = *self.offsets.get(id as usize)? as usize;
        let bytes = self.gguf.bytes(self.strings.clone()).get(offset..)?;
        let (length, rest) = bytes.split_first_chunk()?;
        rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)
    }

    /// A token's score; high scores merge first.
    #[inline]
    pub(super) fn score(&self, id: u32) -> Option<f32> {
        let (scores, _) = self.gguf.bytes(self.scores.clone()).as_chunks();
        Some(f32::from_le_bytes(*scores.get(id as usize)?))
    }

    /// What a token is for.
    pub(super) fn token_type(&self, id: u32) -> Option<TokenType> {
        let (types, _) = self.gguf.bytes(self.types.clone()).as_chunks();
        TokenType::from_number(i32::from_le_bytes(*types.get(id as usize)?))
    }

    /// Whether an added token is a control token and no user-defined one.
    pub(super) fn is_control(&self, id: u32) -> bool {
        const CONTROL: i32 = 3;
        let (types, _) = self.gguf.bytes(self.types.clone()).as_chunks();
        let number = types.get(id as usize);
        number.is_some_and(|&number| i32::from_le_bytes(number) == CONTROL)
    }

    /// Bytes of heap that the index takes.
    pub(super) fn heap_size(&self) -> usize {
        size_of::<u32>() * (self.offsets.capacity() + self.slots.capacity())
    }
}

/// The error of a vocabulary whose index does not fit into memory.
pub(super) fn no_memory(gguf: &Gguf) -> Error {
    let problem = "there is no memory for their index";
    gguf.file_error(TOKENS, problem, "raise the limit on this process's memory")
}

fn wrong_type(gguf: &Gguf, key: &str, array: &Array, expected: &str) -> Error {
    let problem = format!("is an array of {}, not of {expected}", array.element());
    gguf.file_error(key, problem, CONVERT_AGAIN)
}

/// Hashes eight bytes at a time, each by one multiplication whose halves are folded together.
#[inline]
fn hash(bytes: &[u8], seed: u64) -> u64 {
    // Odd constants without a pattern, from the fractions of the square roots of 2 and 3.
    const STEP: u64 = 0x6a09_e667_f3bc_c909;
    const LAST: u64 = 0xbb67_ae85_84ca_a73b;
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    let mut state = seed ^ bytes.len() as u64;
    // The last eight bytes may overlap those before, which costs less than a loop over the rest.
    let last = if let Some(last) = bytes.last_chunk() {
        let (words, _) = bytes[..bytes.len() - 1].as_chunks();
        for &word in words {
            state = fold(state ^ u64::from_le_bytes(word), STEP);
        }
        u64::from_le_bytes(*last)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
    } else if let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) {
        u64::from(first) | u64::from(bytes[bytes.len() / 2]) << 8 | u64::from(last) << 16
    } else {
        0
    };
    fold(fold(state ^ last, STEP), LAST)
}
