//! WordPiece, as BERT has it.

use serde_json::json;

use super::json::TokenizerFile;
use super::{Kind, Specials, both_ends, expect, id, vocabulary};
use crate::error::Result;
use crate::gguf::Metadata;

/// Writes the keys of a WordPiece tokenizer for a table of `rows` token embeddings and `types`
/// token types.
///
/// # Errors
/// If a step of the tokenizer is not BERT's.
pub fn write(file: &TokenizerFile, rows: u32, types: u32, metadata: &mut Metadata) -> Result<()> {
    let (normalizer, model) = (&file.normalizer, &file.model);
    let prefix = model.continuing_subword_prefix.as_deref().unwrap_or("##");
    let longest = model.max_input_chars_per_word.unwrap_or(100);
    for (field, found, expected) in [
        (
            "normalizer.type",
            &normalizer["type"],
            json!("BertNormalizer"),
        ),
        (
            "normalizer.clean_text",
            &normalizer["clean_text"],
            json!(true),
        ),
        (
            "normalizer.handle_chinese_chars",
            &normalizer["handle_chinese_chars"],
            json!(true),
        ),
        (
            "pre_tokenizer.type",
            &file.pre_tokenizer["type"],
            json!("BertPreTokenizer"),
        ),
        (
            "model.continuing_subword_prefix",
            &json!(prefix),
            json!("##"),
        ),
        (
            "model.max_input_chars_per_word",
            &json!(longest),
            json!(100),
        ),
    ] {
        expect(file, field, found, expected)?;
    }
    let (cls, sep) = both_ends(file)?;
    let unknown = model.unk_token.as_deref().unwrap_or("[UNK]");
    let specials = Specials {
        bos: Some(id(file, rows, cls)?),
        eos: Some(id(file, rows, sep)?),
        unknown: Some(id(file, rows, unknown)?),
        separator: Some(id(file, rows, sep)?),
        padding: id(file, rows, "[PAD]").ok(),
        cls: Some(id(file, rows, cls)?),
        mask: id(file, rows, "[MASK]").ok(),
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
    let lowercase = normalizer["lowercase"].as_bool().unwrap_or(true);
    let strip_accents = normalizer["strip_accents"].as_bool();
    let strip_accents = strip_accents.unwrap_or(lowercase);
    metadata.bool("tokenizer.ggml.normalizer.lowercase", lowercase);
    metadata.bool("tokenizer.ggml.normalizer.strip_accents", strip_accents);
    specials.write(metadata);
    metadata.bool("tokenizer.ggml.add_bos_token", true);
    metadata.bool("tokenizer.ggml.add_eos_token", true);
    metadata.bool("tokenizer.ggml.add_sep_token", false);
    Ok(())
}
