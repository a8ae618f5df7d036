//! The tokenizer against a plain slow one, on texts and vocabularies that the input makes.
//!
//! The vocabulary is the tiny model's or one over a handful of characters, where ties, overlaps and
//! pieces across cuts are common. The ids must be those of the rules of MODEL.md taken literally,
//! decode back to the text, and not depend on a limit.

use std::sync::{Arc, LazyLock};

use lanewise::internals::gguf::Gguf;
use lanewise::internals::tokenizer::{SentencePiece, Tokenizer};
use lanewise_testkit::tiny_model::{self, Options};
use libfuzzer_sys::arbitrary::Unstructured;

use crate::{byte, pick, with_file};

#[path = "../../tests/tokenizer_support/mod.rs"]
mod support;

use support::{Reference, SPACE, TinyFile, encode, tokens_of};

static TINY: LazyLock<(SentencePiece, Reference)> = LazyLock::new(|| {
    let gguf = with_file(&tiny_model::build(&Options::default()).to_bytes(), |path| {
        Gguf::open(path).expect("the tiny model opens")
    });
    let reference = Reference::new(&tokens_of(&gguf));
    let tokenizer =
        SentencePiece::from_gguf(Arc::new(gguf)).expect("the tiny model has a vocabulary");
    (tokenizer, reference)
});

/// What generated pieces and texts consist of.
const ALPHABET: [&str; 12] = [
    "a", "b", "a", "b", "é", "日", "\u{2581}", "\u{2581}", " ", "\n", "\u{0}", "😀",
];

const SCORES: [f32; 7] = [0.0, -0.0, -1.0, 1.0, 2.0, f32::INFINITY, f32::NEG_INFINITY];

/// Runs the target.
///
/// # Panics
/// If the ids are not those of the reference, or do not decode to the text.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let generated = byte(&mut input) % 4;
    if generated == 0 {
        let text = String::from_utf8_lossy(input.take_rest());
        return check(&TINY.0, &TINY.1, &text);
    }
    // The rules speak of runs of spaces as built from single ones, step by step: each vocabulary
    // has the single one, and every run up to its longest.
    let mut file = TinyFile::new(&["\u{2581}"]);
    for run in 2..2 + usize::from(byte(&mut input) % 5) {
        file = file.with(" ".repeat(run), 0.0, 4);
    }
    for _ in 0..byte(&mut input) % 32 {
        let piece = word(&mut input, 6);
        // Few different scores, so that ties are common.
        let score = pick(&mut input, &SCORES);
        let is_space = |character| character == ' ' || character == SPACE;
        let token_type = match piece.chars().all(is_space) {
            true => 1,
            false => pick(&mut input, &[1, 1, 1, 1, 3, 4, 5]),
        };
        file = file.with(piece, score, token_type);
    }
    let tokenizer = file.open().expect("any pieces make a vocabulary");
    let reference = Reference::new(&file.tokens);
    let text = match generated {
        1 => String::from_utf8_lossy(input.take_rest()).into_owned(),
        _ => word(&mut input, 255),
    };
    check(&tokenizer, &reference, &text);
}

fn word(input: &mut Unstructured, most: u8) -> String {
    let length = u16::from(byte(input)) % (u16::from(most) + 1);
    (0..length).map(|_| pick(input, &ALPHABET)).collect()
}

fn check(tokenizer: &SentencePiece, reference: &Reference, text: &str) {
    let ids = encode(tokenizer, text);
    assert_eq!(ids, reference.encode(text), "ids of {text:?}");
    let spaces = text.replace(SPACE, " ");
    let decoded = tokenizer.decode(&ids);
    assert_eq!(String::from_utf8_lossy(&decoded), spaces, "decoded {ids:?}");
    let limit = ids.len() / 2;
    let mut first = Vec::new();
    let complete = tokenizer.encode_limited(text, limit, &mut first);
    assert_eq!((&first[..], complete), (&ids[..limit], limit == ids.len()));
}
