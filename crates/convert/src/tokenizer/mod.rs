//! Vocabularies, from the files that Hugging Face's tokenizers read.

pub mod bpe;
pub mod json;
pub mod sentencepiece;
pub mod unigram;
pub mod wordpiece;

use std::path::Path;

use serde_json::Value;

use crate::config;
use crate::error::{Result, input};
use crate::gguf::Metadata;
use json::TokenizerFile;

/// What a token is, by its number in GGUF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Kind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// A token of a vocabulary.
#[derive(Clone, Debug)]
pub struct Token {
    pub text: Box<str>,
    pub score: f32,
    pub kind: Kind,
}

/// Tokens by id. Ids that the tokenizer does not use are `[PADn]`, as llama.cpp writes them.
pub struct Vocabulary(Vec<Token>);

impl Vocabulary {
    /// As many unused tokens as the embedding table has rows.
    pub fn unused(rows: u32) -> Self {
        let token = |id| Token {
            text: format!("[PAD{id}]").into(),
            score: -10_000.0,
            kind: Kind::Unused,
        };
        Self((0..rows).map(token).collect())
    }

    /// Sets a token of the tokenizer at `path`.
    ///
    /// # Errors
    /// If the table has no row for it.
    pub fn set(&mut self, path: &Path, id: u64, token: Token) -> Result<()> {
        let rows = self.0.len();
        match usize::try_from(id).ok().and_then(|id| self.0.get_mut(id)) {
            Some(place) => *place = token,
            None => {
                let problem = format!("has the id {id}, but the model has {rows} tokens");
                let field = format!("token {:.60?}", token.text);
                let remedy = "give tokenizer and weights of one model";
                return Err(input(path, field, problem, remedy));
            }
        }
        Ok(())
    }

    pub fn tokens_mut(&mut self) -> &mut [Token] {
        &mut self.0
    }

    /// Marks the tokens `<0x00>` to `<0xFF>` as those of bytes.
    pub fn mark_bytes(&mut self) {
        for token in &mut self.0 {
            let digits = token.text.strip_prefix("<0x");
            let digits = digits.and_then(|rest| rest.strip_suffix('>'));
            if digits.is_some_and(|digits| u8::from_str_radix(digits, 16).is_ok()) {
                token.kind = Kind::Byte;
            }
        }
    }

    pub fn write_tokens(&self, metadata: &mut Metadata) {
        let texts = self.0.iter().map(|token| token.text.as_bytes());
        metadata.strings("tokenizer.ggml.tokens", texts);
    }

    pub fn write_scores(&self, metadata: &mut Metadata) {
        let scores = self.0.iter().map(|token| token.score);
        metadata.f32s("tokenizer.ggml.scores", scores);
    }

    pub fn write_types(&self, metadata: &mut Metadata) {
        let types = self.0.iter().map(|token| token.kind as i32);
        metadata.i32s("tokenizer.ggml.token_type", types);
    }
}

/// The tokens of a `tokenizer.json`: those that it adds are control tokens if they are special or
/// look so.
pub fn vocabulary(file: &TokenizerFile, rows: u32) -> Result<Vocabulary> {
    let mut vocabulary = Vocabulary::unused(rows);
    for (text, id, score) in &file.model.vocab.0 {
        let token = Token {
            text: text.clone(),
            score: *score as f32,
            kind: Kind::Normal,
        };
        vocabulary.set(&file.path, *id, token)?;
    }
    for added in &file.added {
        let id = usize::try_from(added.id).ok();
        let known = id.and_then(|id| file.model.vocab.0.get(id));
        let known = known.filter(|(text, id, _)| *id == added.id && *text == added.content);
        let looks_special = added.content.starts_with("<|") && added.content.ends_with("|>");
        let token = Token {
            text: added.content.clone(),
            score: known.map_or(0.0, |(.., score)| *score as f32),
            kind: match added.special || looks_special {
                true => Kind::Control,
                false => Kind::UserDefined,
            },
        };
        vocabulary.set(&file.path, added.id, token)?;
    }
    Ok(vocabulary)
}

/// The id of a token that a tokenizer of `rows` tokens must have.
pub fn id(file: &TokenizerFile, rows: u32, text: &str) -> Result<u32> {
    let id = file.id(text).filter(|id| *id < rows);
    id.ok_or_else(|| {
        let problem = format!("has no token {text:.60?}");
        file.error("model.vocab", problem, OTHER_TOKENIZER)
    })
}

/// Checks that a step is the one that the engine has.
fn expect(file: &TokenizerFile, field: &str, found: &Value, expected: Value) -> Result<()> {
    if *found == expected {
        return Ok(());
    }
    let problem = format!("is {}, not {expected}", config::short(found));
    Err(file.error(field, problem, OTHER_TOKENIZER))
}

/// The one token before a text and the one after it.
pub fn both_ends(file: &TokenizerFile) -> Result<(&str, &str)> {
    let (before, after) = file.ends();
    match (before.as_slice(), after.as_slice()) {
        (&[first], &[last]) => Ok((first, last)),
        _ => {
            let problem = format!("puts {before:?} before a text and {after:?} after it");
            Err(file.error("post_processor", problem, OTHER_TOKENIZER))
        }
    }
}

const OTHER_TOKENIZER: &str = "use a model with the usual tokenizer of its family";

/// The ids of tokens that stand for themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Specials {
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub unknown: Option<u32>,
    pub separator: Option<u32>,
    pub padding: Option<u32>,
    pub cls: Option<u32>,
    pub mask: Option<u32>,
}

impl Specials {
    pub fn write(&self, metadata: &mut Metadata) {
        for (name, id) in [
            ("bos", self.bos),
            ("eos", self.eos),
            ("unknown", self.unknown),
            // So misspelled in the format.
            ("seperator", self.separator),
            ("padding", self.padding),
            ("cls", self.cls),
            ("mask", self.mask),
        ] {
            if let Some(id) = id {
                metadata.u32(&format!("tokenizer.ggml.{name}_token_id"), id);
            }
        }
    }
}
