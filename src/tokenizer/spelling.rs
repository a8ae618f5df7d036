//! What vocabularies have in common that spell a space U+2581, and the bytes of characters that are no piece
//! `<0xNN>`.

use super::SPACE_BYTES;
use super::vocabulary::{TOKENS, TokenType, Vocabulary};
use crate::gguf::{Gguf, Value};
use crate::{Error, Result};

const MODEL: &str = "tokenizer.ggml.model";

/// Refuses a file whose tokenizer is not of kind `model`, or requires other rules than those of models of
/// `family`.
pub(super) fn check_kind(gguf: &Gguf, model: &str, family: &str) -> Result<()> {
    let found = gguf.required_str(MODEL)?;
    if found != model {
        let problem = format!("is {found:?}, but only {model:?} is supported");
        return Err(gguf.file_error(MODEL, problem, format!("use an {family} model")));
    }
    // Absent, each of these is as the models need it.
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
            return Err(unsupported(gguf, family, key, &format!("is {}", !needed)));
        }
    }
    let key = "tokenizer.ggml.precompiled_charsmap";
    match gguf.value(key) {
        None => Ok(()),
        Some(Value::Array(array)) if array.is_empty() => Ok(()),
        Some(_) => Err(unsupported(gguf, family, key, "asks for normalized text")),
    }
}

fn unsupported(gguf: &Gguf, family: &str, key: &str, problem: &str) -> Error {
    let problem = format!("{problem}, which {family}'s tokenizer does not have");
    gguf.file_error(key, problem, format!("use a file converted from {family}"))
}

/// The token that a file names as `name`, such as `bos`.
pub(super) fn special(gguf: &Gguf, vocabulary: &Vocabulary, name: &str) -> Result<u32> {
    let key = format!("tokenizer.ggml.{name}_token_id");
    let id = gguf.required_u32(&key)?;
    if (id as usize) < vocabulary.len() {
        return Ok(id);
    }
    let problem = format!("is {id}, but there are {} tokens", vocabulary.len());
    Err(gguf.file_error(key, problem, "convert the model again"))
}

/// The tokens of bytes, as far as a vocabulary has been read.
pub(super) struct ByteTokens([Option<u32>; 256]);

impl Default for ByteTokens {
    fn default() -> Self {
        Self([None; 256])
    }
}

impl ByteTokens {
    /// Takes the token of a byte. Of several for the same the first stays.
    ///
    /// # Errors
    /// What is wrong, if the token is not spelt as one of a byte.
    pub fn insert(&mut self, piece: &[u8], id: u32) -> Result<(), String> {
        let byte = byte_of(piece).ok_or_else(|| {
            let shown = piece.escape_ascii();
            format!("byte token {id} is \"{shown}\", not \"<0xNN>\"")
        })?;
        self.0[usize::from(byte)].get_or_insert(id);
        Ok(())
    }

    /// The token of each byte.
    ///
    /// # Errors
    /// If a byte has none.
    pub fn all(self, gguf: &Gguf) -> Result<[u32; 256]> {
        match self.0.iter().position(Option::is_none) {
            None => Ok(self.0.map(Option::unwrap_or_default)), // all are there
            Some(byte) => {
                let problem = format!("has no byte token <0x{byte:02X}>");
                let remedy = "use a model whose vocabulary covers every byte";
                Err(gguf.file_error(TOKENS, problem, remedy))
            }
        }
    }
}

/// After which characters a piece holds a U+2581, by the last byte of them.
pub(super) struct BeforeSpace([bool; 256]);

impl Default for BeforeSpace {
    fn default() -> Self {
        Self([false; 256])
    }
}

impl BeforeSpace {
    /// Takes a piece into account.
    pub fn mark(&mut self, piece: &[u8]) {
        let [_, _, last_byte] = SPACE_BYTES;
        // A run of spaces stands for one of U+2581.
        if piece.len() > 1 && piece.iter().all(|&byte| byte == b' ') {
            self.0[usize::from(last_byte)] = true;
        }
        let Some(later) = piece.get(3..) else { return };
        if !later.contains(&last_byte) {
            return;
        }
        for window in piece.windows(4) {
            if window[1..] == SPACE_BYTES {
                self.0[usize::from(window[0])] = true;
            }
        }
    }

    /// Whether no piece holds a U+2581 after a character that ends in `byte`, so that no merge goes across the
    /// place between the two.
    #[inline]
    pub fn is_cut(&self, byte: u8) -> bool {
        !self.0[usize::from(byte)]
    }
}

/// The text of tokens. U+2581 comes back as a space.
pub(super) fn decode(vocabulary: &Vocabulary, ids: &[u32]) -> Vec<u8> {
    let mut spelt = Vec::with_capacity(4 * ids.len());
    for &id in ids {
        match vocabulary.piece(id) {
            Some(piece) if vocabulary.token_type(id) == Some(TokenType::Byte) => {
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

/// The bytes of `text` that its first tokens stand for, which decode to `decoded`. Characters and not bytes are
/// counted, because U+2581 is decoded as a space.
pub(super) fn bytes_of(decoded: &[u8], text: &str) -> usize {
    let complete = decoded.utf8_chunks().next();
    let characters = complete.map_or(0, |chunk| chunk.valid().chars().count());
    let end = text.char_indices().nth(characters);
    end.map_or(text.len(), |(position, _)| position)
}

/// The byte that a byte token such as `<0x0A>` stands for.
fn byte_of(piece: &[u8]) -> Option<u8> {
    let digits = piece.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    let &[high, low] = digits else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(high)? << 4 | digit(low)?) as u8)
}
