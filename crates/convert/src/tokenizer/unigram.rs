//! Unigram, as XLM-RoBERTa has it.

use serde_json::{Value, json};

use super::json::TokenizerFile;
use super::{Kind, OTHER_TOKENIZER, Specials, both_ends, expect, id, vocabulary};
use crate::error::{FETCH_AGAIN, Result};
use crate::gguf::Metadata;

/// Writes the keys of a Unigram tokenizer for a table of `rows` token embeddings and `types` token
/// types.
///
/// # Errors
/// If a step of the tokenizer is not XLM-RoBERTa's.
pub fn write(file: &TokenizerFile, rows: u32, types: u32, metadata: &mut Metadata) -> Result<()> {
    expect(
        file,
        "model.byte_fallback",
        &json!(file.model.byte_fallback),
        json!(false),
    )?;
    let charsmap = charsmap(file)?;
    check_pre_tokenizer(file)?;
    let (first, last) = both_ends(file)?;
    let Some(unknown) = file.model.unk_id.and_then(|id| u32::try_from(id).ok()) else {
        return Err(file.error("model.unk_id", "is missing", FETCH_AGAIN));
    };
    let specials = Specials {
        bos: Some(id(file, rows, first)?),
        eos: Some(id(file, rows, last)?),
        unknown: Some(unknown),
        separator: Some(id(file, rows, last)?),
        padding: Some(id(file, rows, "<pad>")?),
        cls: Some(id(file, rows, first)?),
        mask: id(file, rows, "<mask>").ok(),
    };
    let mut vocabulary = vocabulary(file, rows)?;
    match vocabulary.tokens_mut().get_mut(unknown as usize) {
        Some(token) => token.kind = Kind::Unknown,
        None => return Err(file.error("model.unk_id", "is no token's", FETCH_AGAIN)),
    }
    metadata.string("tokenizer.ggml.model", "t5");
    metadata.string("tokenizer.ggml.pre", "default");
    vocabulary.write_tokens(metadata);
    vocabulary.write_scores(metadata);
    vocabulary.write_types(metadata);
    metadata.bool("tokenizer.ggml.add_space_prefix", true);
    metadata.u32("tokenizer.ggml.token_type_count", types);
    metadata.bool("tokenizer.ggml.remove_extra_whitespaces", true);
    metadata.u8s("tokenizer.ggml.precompiled_charsmap", &charsmap);
    specials.write(metadata);
    metadata.bool("tokenizer.ggml.add_bos_token", true);
    metadata.bool("tokenizer.ggml.add_eos_token", true);
    metadata.bool("tokenizer.ggml.add_sep_token", true);
    Ok(())
}

/// The steps of a `Sequence`, or a step alone.
fn steps<'a>(step: &'a Value, list: &str) -> Vec<&'a Value> {
    match step["type"].as_str() {
        Some("Sequence") => step[list].as_array().into_iter().flatten().collect(),
        _ => vec![step],
    }
}

/// The table by which characters are replaced. Files that also join spaces say the same as those
/// that split at white space afterwards.
fn charsmap(file: &TokenizerFile) -> Result<Vec<u8>> {
    let mut charsmap = None;
    for step in steps(&file.normalizer, "normalizers") {
        match step["type"].as_str() {
            Some("Precompiled") => charsmap = step["precompiled_charsmap"].as_str(),
            Some("Replace" | "Strip") => {}
            _ => {
                let problem = format!("has the step {}", crate::config::short(&step["type"]));
                return Err(file.error("normalizer", problem, OTHER_TOKENIZER));
            }
        }
    }
    let field = "normalizer.precompiled_charsmap";
    let text = charsmap.ok_or_else(|| file.error(field, "is missing", OTHER_TOKENIZER))?;
    let bytes = base64(text.as_bytes());
    let bytes = bytes.ok_or_else(|| file.error(field, "is not base64", FETCH_AGAIN))?;
    match is_charsmap(&bytes) {
        true => Ok(bytes),
        false => Err(file.error(field, "is damaged", FETCH_AGAIN)),
    }
}

/// Whether a table has the parts that it says: the length of a trie in bytes, its units of four, and
/// texts that end with NUL.
fn is_charsmap(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return false;
    };
    let length = u32::from_le_bytes(*length) as usize;
    let texts = rest.split_at_checked(length).map(|(_, texts)| texts);
    length.is_multiple_of(4) && texts.is_some_and(|texts| texts.last() == Some(&0))
}

fn check_pre_tokenizer(file: &TokenizerFile) -> Result<()> {
    let steps = steps(&file.pre_tokenizer, "pretokenizers");
    let kinds: Vec<_> = steps.iter().map(|step| step["type"].as_str()).collect();
    match kinds.as_slice() {
        [Some("Metaspace")] | [Some("WhitespaceSplit"), Some("Metaspace")] => Ok(()),
        _ => {
            let kinds: Vec<_> = kinds.into_iter().flatten().collect();
            let problem = format!("has the steps {kinds:.60?}, not WhitespaceSplit and Metaspace");
            Err(file.error("pre_tokenizer", problem, OTHER_TOKENIZER))
        }
    }
}

/// The bytes that base64 stands for, `None` if it is damaged.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text
        .strip_suffix(b"==")
        .or(text.strip_suffix(b"="))
        .unwrap_or(text);
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0u32;
        for &c in group {
            let value = match c {
                b'A'..=b'Z' => c - b'A',
                b'a'..=b'z' => c - b'a' + 26,
                b'0'..=b'9' => c - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        let length = match group.len() {
            4 => 3,
            3 => 2,
            2 => 1,
            _ => return None,
        };
        bits <<= 6 * (4 - group.len());
        bytes.extend(&bits.to_be_bytes()[1..1 + length]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{base64, is_charsmap};

    #[test]
    fn a_table_is_checked_for_its_parts() {
        assert!(is_charsmap(b"\x04\0\0\0abcd\0"));
        for damaged in [
            &b""[..],
            b"\x04\0\0\0abcd",
            b"\x04\0\0\0abcdx",
            b"\x03\0\0\0abc\0",
            b"\xff\xff\xff\xffabcd\0",
        ] {
            assert!(!is_charsmap(damaged), "{damaged:?}");
        }
    }

    #[test]
    fn base64_of_every_length_is_decoded() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9vYg==", b"foob"),
            ("//79", b"\xff\xfe\xfd"),
        ] {
            assert_eq!(base64(text.as_bytes()).unwrap(), bytes, "{text}");
        }
        for text in ["Z", "Zm9vY", "Zm 9", "Zg=a"] {
            assert_eq!(base64(text.as_bytes()), None, "{text}");
        }
    }
}
