//! A small vocabulary of XLM-RoBERTa's kind, and its table of replacements.

use crate::gguf_writer::{File, Value};

/// Types of tokens as GGUF numbers them.
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const UNUSED: i32 = 5;

/// The tokens before all pieces: `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3.
pub const FIRST: u32 = 4;

/// A vocabulary of these pieces with their scores, from [`FIRST`] on, then `<mask>`, then a row that is no
/// piece, `[PAD]`.
pub fn set_vocabulary(file: &mut File, pieces: &[(&str, f32)]) {
    let mut tokens: Vec<(&str, f32, i32)> = vec![
        ("<s>", 0.0, CONTROL),
        ("<pad>", 0.0, CONTROL),
        ("</s>", 0.0, CONTROL),
        ("<unk>", 0.0, UNKNOWN),
    ];
    tokens.extend(pieces.iter().map(|&(piece, score)| (piece, score, NORMAL)));
    tokens.extend([("<mask>", 0.0, CONTROL), ("[PAD]", -10_000.0, UNUSED)]);
    let mut set = |name: &str, value| file.set(&format!("tokenizer.ggml.{name}"), value);
    let strings = tokens.iter().map(|(piece, ..)| piece.as_bytes().to_vec());
    set("model", Value::String("t5".into()));
    set("pre", Value::String("default".into()));
    set("tokens", Value::Strings(strings.collect()));
    let scores = tokens.iter().map(|&(_, score, _)| score);
    set("scores", Value::F32s(scores.collect()));
    let types = tokens.iter().map(|&(.., kind)| kind);
    set("token_type", Value::I32s(types.collect()));
    set("add_space_prefix", Value::Bool(true));
    set("bos_token_id", Value::U32(0));
    set("eos_token_id", Value::U32(2));
    set("unknown_token_id", Value::U32(3));
    set("padding_token_id", Value::U32(1));
    let table = charsmap(&[
        ("\t", " "),
        ("\r", " "),
        ("\u{200B}", ""),
        ("Ａ", "A"),
        ("Ａ\u{301}", "Á"),
        ("＜", "<"),
        ("＞", ">"),
        ("½", "1/2"),
        ("\u{A8}", " \u{308}"),
    ]);
    set("precompiled_charsmap", bytes(&table));
}

/// The vocabulary of a model: pieces of some words, the letters, and enough more that ids of random texts are
/// ordinary. Returns the number of tokens.
pub fn add_vocabulary(file: &mut File) -> usize {
    let words = ["the", "hello", "world", "one", "text", "of", "and", "日本"];
    let mut pieces: Vec<(String, f32)> = vec![("\u{2581}".into(), -4.0)];
    let mut add = |piece: String, score| pieces.push((piece, score));
    for word in words {
        add(format!("\u{2581}{word}"), -6.0);
    }
    for part in ["ing", "ed", "s", "aff", "able", "llo", "er", "est", "本"] {
        add(part.into(), -7.0);
    }
    for letter in ('a'..='z').chain('A'..='Z').chain('!'..='?') {
        add(letter.into(), -10.0);
    }
    for number in 0..2500 {
        add(format!("\u{2581}piece{number}"), -12.0);
    }
    let pieces: Vec<(&str, f32)> = pieces
        .iter()
        .map(|(piece, score)| (&**piece, *score))
        .collect();
    set_vocabulary(file, &pieces);
    FIRST as usize + pieces.len() + 2
}

/// Bytes as an array of u8.
pub fn bytes(bytes: &[u8]) -> Value {
    let mut raw = 0u32.to_le_bytes().to_vec();
    raw.extend((bytes.len() as u64).to_le_bytes());
    raw.extend(bytes);
    Value::Raw(9, raw)
}

/// A table of replacements as SentencePiece stores it: a double array in which each node has a block of
/// 256 units for its children, and the texts.
pub fn charsmap(pairs: &[(&str, &str)]) -> Vec<u8> {
    const BLOCK: usize = 256;
    const LEAF: u32 = 1 << 8;
    let mut units = vec![0u32; 2 * BLOCK];
    let mut texts = Vec::new();
    // The root's children are in the second block, as its offset says.
    units[0] = (BLOCK as u32) << 10;
    for (key, text) in pairs {
        let mut block = BLOCK;
        let mut place = 0;
        for &byte in key.as_bytes() {
            place = block ^ usize::from(byte);
            let offset = (units[place] >> 10) as usize;
            block = match offset {
                0 => {
                    let new = units.len();
                    units.resize(new + BLOCK, 0);
                    units[place] |= ((place ^ new) as u32) << 10 | u32::from(byte);
                    new
                }
                _ => place ^ offset,
            };
        }
        units[place] |= LEAF;
        units[block] = texts.len() as u32 | 1 << 31;
        texts.extend(text.as_bytes());
        texts.push(0);
    }
    let mut table = (4 * units.len() as u32).to_le_bytes().to_vec();
    table.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
    table.extend(texts);
    table
}
