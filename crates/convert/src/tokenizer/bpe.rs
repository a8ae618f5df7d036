//! BPE over bytes, as GPT-2 has it.

use serde_json::{Value, json};

use super::json::TokenizerFile;
use super::{OTHER_TOKENIZER, Specials, expect, vocabulary};
use crate::error::Result;
use crate::gguf::Metadata;

/// How a text is cut into words before merging, by its name in GGUF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// GPT-2's own expression.
    ModernBert,
    /// Qwen 2's expression.
    Qwen2,
}

const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Split {
    fn name(self) -> &'static str {
        match self {
            Self::ModernBert => "modern-bert",
            Self::Qwen2 => "qwen2",
        }
    }

    /// Checks that the file cuts so.
    fn check(self, file: &TokenizerFile) -> Result<()> {
        let (step, field) = (&file.pre_tokenizer, "pre_tokenizer");
        let is_right = match self {
            Self::ModernBert => is_byte_level(step, true),
            Self::Qwen2 => match step["pretokenizers"].as_array().map(Vec::as_slice) {
                Some([split, bytes]) => {
                    split["type"] == "Split"
                        && split["pattern"]["Regex"] == QWEN2
                        && split["behavior"] == "Isolated"
                        && split["invert"] == false
                        && is_byte_level(bytes, false)
                }
                _ => false,
            },
        };
        match is_right {
            true => Ok(()),
            false => {
                let problem = format!("is not that of {}", self.name());
                Err(file.error(field, problem, OTHER_TOKENIZER))
            }
        }
    }
}

fn is_byte_level(step: &Value, use_regex: bool) -> bool {
    step["type"] == "ByteLevel"
        && step["add_prefix_space"] == false
        // Absent in old files, where it is true.
        && step["use_regex"].as_bool().unwrap_or(true) == use_regex
}

/// Writes the keys of a BPE tokenizer for a table of `rows` token embeddings.
///
/// # Errors
/// If a step of the tokenizer is another one.
pub fn write(
    file: &TokenizerFile,
    split: Split,
    rows: u32,
    specials: &Specials,
    metadata: &mut Metadata,
) -> Result<()> {
    split.check(file)?;
    expect(
        file,
        "normalizer.type",
        &file.normalizer["type"],
        json!("NFC"),
    )?;
    expect(
        file,
        "model.byte_fallback",
        &json!(file.model.byte_fallback),
        json!(false),
    )?;
    metadata.string("tokenizer.ggml.model", "gpt2");
    metadata.string("tokenizer.ggml.pre", split.name());
    let vocabulary = vocabulary(file, rows)?;
    vocabulary.write_tokens(metadata);
    vocabulary.write_types(metadata);
    write_merges(file, metadata);
    specials.write(metadata);
    Ok(())
}

/// The merges as GGUF has them: a space inside a part is U+0120.
pub fn write_merges(file: &TokenizerFile, metadata: &mut Metadata) {
    let merges = file.model.merges.0.iter();
    let part = |part: &str| part.replace(' ', "\u{120}");
    let merges = merges.map(|(left, right)| format!("{} {}", part(left), part(right)));
    metadata.strings("tokenizer.ggml.merges", merges);
}
