//! A small byte-level BPE vocabulary, for tests that should not need a real one.

use crate::gguf_writer::{File, Value};

/// Token types as GGUF numbers them.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;

/// Merges, each of tokens before it.
const MERGES: [&str; 12] = [
    "t h", "th e", "Ġ the", "e r", "i n", "in g", "Ġ w", "h e", "l o", "he l", "hel lo", "Ġ hello",
];

/// Adds a vocabulary with these control and user-defined tokens first, in which ids of random texts are
/// ordinary, and returns the number of its tokens. `pre` is the name of the pre-tokenizer.
pub fn add(file: &mut File, pre: &str, control: &[&str], user_defined: &[&str]) -> usize {
    let mut tokens: Vec<String> = control.iter().map(|&token| token.into()).collect();
    let mut types = vec![CONTROL; tokens.len()];
    tokens.extend(user_defined.iter().map(|&token| token.to_owned()));
    types.resize(tokens.len(), USER_DEFINED);
    let itself = |byte: &u32| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let others = 0x100 + (0..256).filter(|byte| !itself(byte)).count() as u32;
    let alphabet = (0..256).filter(itself).chain(0x100..others);
    tokens.extend(alphabet.filter_map(char::from_u32).map(String::from));
    tokens.extend(MERGES.map(|merge| merge.replace(' ', "")));
    tokens.extend((0..2500).map(|number| format!("piece{number}")));
    types.resize(tokens.len(), NORMAL);
    let count = tokens.len();
    let mut set = |name: &str, value| file.set(&format!("tokenizer.ggml.{name}"), value);
    set("model", Value::String("gpt2".into()));
    set("pre", Value::String(pre.into()));
    let bytes = tokens.into_iter().map(String::into_bytes).collect();
    set("tokens", Value::Strings(bytes));
    set("token_type", Value::I32s(types));
    let merges = MERGES.map(|merge| merge.as_bytes().to_vec());
    set("merges", Value::Strings(merges.into()));
    count
}
