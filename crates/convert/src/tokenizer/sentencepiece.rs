//! `tokenizer.model` of Gemma: a SentencePiece model, which is a protobuf message.

use std::path::Path;

use super::{Kind, Token, Vocabulary};
use crate::error::{Error, FETCH_AGAIN, Result, input};
use crate::files::{self, MAX_TOKENIZER};

/// Fields of the message, and of a piece in it.
const PIECE: u64 = 1;
const PIECE_TEXT: u64 = 1;
const PIECE_SCORE: u64 = 2;
const PIECE_KIND: u64 = 3;

/// The pieces of a model, each set in the vocabulary; those beyond its end are left out.
pub fn read(path: &Path, vocabulary: &mut Vocabulary) -> Result<()> {
    let bytes = files::bytes(path, MAX_TOKENIZER)?;
    let damaged = |id: usize| input(path, format!("piece {id}"), "is damaged", FETCH_AGAIN);
    let mut places = vocabulary.tokens_mut().iter_mut();
    let mut id = 0;
    for field in Fields(&bytes) {
        let (number, value) = field.ok_or_else(|| damaged(id))?;
        if number != PIECE {
            continue;
        }
        let Some(place) = places.next() else {
            break;
        };
        let piece = match value {
            Value::Bytes(bytes) => piece(bytes),
            Value::Number(_) => None,
        };
        *place = piece.ok_or_else(|| damaged(id))?;
        id += 1;
    }
    match id {
        0 => Err(no_pieces(path)),
        _ => Ok(()),
    }
}

fn no_pieces(path: &Path) -> Error {
    input(
        path,
        "pieces",
        "is no SentencePiece model: it has none",
        FETCH_AGAIN,
    )
}

fn piece(bytes: &[u8]) -> Option<Token> {
    let mut token = Token {
        text: "".into(),
        score: 0.0,
        kind: Kind::Normal,
    };
    for field in Fields(bytes) {
        match field? {
            (PIECE_TEXT, Value::Bytes(text)) => token.text = str::from_utf8(text).ok()?.into(),
            (PIECE_SCORE, Value::Bytes(score)) => {
                token.score = f32::from_le_bytes(score.try_into().ok()?);
            }
            // SentencePiece numbers the types as GGUF does. Its user-defined pieces become so again
            // only if the tokenizer's own list says it.
            (PIECE_KIND, Value::Number(kind)) => {
                token.kind = match kind {
                    1 | 4 => Kind::Normal,
                    2 => Kind::Unknown,
                    3 => Kind::Control,
                    5 => Kind::Unused,
                    6 => Kind::Byte,
                    _ => return None,
                };
            }
            _ => {}
        }
    }
    Some(token)
}

enum Value<'a> {
    Number(u64),
    /// Also a number of fixed width, as its bytes.
    Bytes(&'a [u8]),
}

/// The fields of a protobuf message; `None` ends a damaged one.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let key = self.varint()?;
        let length = match key & 7 {
            0 => return Some((key >> 3, Value::Number(self.varint()?))),
            1 => 8,
            2 => usize::try_from(self.varint()?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some((key >> 3, Value::Bytes(bytes)))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}
