//! WordPiece, as BERT has it.

use serde_json::{Value, json};

use super::json::TokenizerFile;
use super::{Kind, Specials, Token, Vocabulary};
use crate::error::Result;
use crate::gguf::Metadata;

const REMEDY: &str = "use a model with BERT's own tokenizer";

/// Writes the keys of a WordPiece tokenizer for a table of `rows` token embeddings and `types`
/// token types.
///
/// # Errors
/// If a step of the tokenizer is not BERT's.
pub fn write(file: &TokenizerFile, rows: u32, types: u32, metadata: &mut Metadata) -> Result<()> {
    expect(file, "normalizer.type", &file.normalizer["type"], "BertNormalizer".into())?;
    for field in ["clean_text", "handle_chinese_chars"] {
        let name = format!("normalizer.{field}");
        expect(file, &name, &file.normalizer[field], true.into())?;
    }
    let pre_tokenizer = &file.pre_tokenizer["type"];
    expect(file, "pre_tokenizer.type", pre_tokenizer, "BertPreTokenizer".into())?;
    let model = &file.model;
    let prefix = model.continuing_subword_prefix.as_deref();
    let prefix = json!(prefix.unwrap_or("##"));
    expect(file, "model.continuing_subword_prefix", &prefix, "##".into())?;
    let longest = json!(model.max_input_chars_per_word.unwrap_or(100));
    expect(file, "model.max_input_chars_per_word", &longest, 100.into())?;

    let (before, after) = file.ends();
    let (&[cls], &[sep]) = (before.as_slice(), after.as_slice()) else {
        let problem = format!("puts {before:?} before a text and {after:?} after it");
        return Err(file.error("post_processor", problem, REMEDY));
    };
    let unknown = model.unk_token.as_deref().unwrap_or("[UNK]");
    let id = |text: &str| {
        let problem = format!("has no token {text:.60?}");
        let id = file.id(text).filter(|id| *id < rows);
        id.ok_or_else(|| file.error("model.vocab", problem, REMEDY))
    };
    let specials = Specials {
        bos: Some(id(cls)?),
        eos: Some(id(sep)?),
        unknown: Some(id(unknown)?),
        separator: Some(id(sep)?),
        padding: id("[PAD]").ok(),
        cls: Some(id(cls)?),
        mask: id("[MASK]").ok(),
    };

    let mut vocabulary = vocabulary(file, rows)?;
    for token in vocabulary.tokens_mut() {
        // GGUF marks the pieces that begin a word, not those that continue one.
        if token.kind != Kind::Control {
            token.text = match token.text.strip_prefix("##") {
                Some(rest) => rest.into(),
                None => format!("\u{2581}{}", token.text).into(),
            };
        }
    }
    metadata.u32("tokenizer.ggml.token_type_count", types);
    metadata.string("tokenizer.ggml.model", "bert");
    metadata.string("tokenizer.ggml.pre", "default");
    vocabulary.write_tokens(metadata);
    vocabulary.write_types(metadata);
    let lowercase = file.normalizer["lowercase"].as_bool().unwrap_or(true);
    let strip_accents = file.normalizer["strip_accents"].as_bool();
    let strip_accents = strip_accents.unwrap_or(lowercase);
    metadata.bool("tokenizer.ggml.normalizer.lowercase", lowercase);
    metadata.bool("tokenizer.ggml.normalizer.strip_accents", strip_accents);
    specials.write(metadata);
    metadata.bool("tokenizer.ggml.add_bos_token", true);
    metadata.bool("tokenizer.ggml.add_eos_token", true);
    metadata.bool("tokenizer.ggml.add_sep_token", false);
    Ok(())
}

/// The tokens of a `tokenizer.json`: those that it adds are control tokens if they are special.
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
        let token = Token {
            text: added.content.clone(),
            score: 0.0,
            kind: if added.special { Kind::Control } else { Kind::UserDefined },
        };
        vocabulary.set(&file.path, added.id, token)?;
    }
    Ok(vocabulary)
}

fn expect(file: &TokenizerFile, field: &str, found: &Value, expected: Value) -> Result<()> {
    if *found == expected {
        return Ok(());
    }
    let problem = format!("is {}, not {expected}", crate::config::short(found));
    Err(file.error(field, problem, REMEDY))
}
