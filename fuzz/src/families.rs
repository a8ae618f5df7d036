//! The tokenizers of all families but EmbeddingGemma's, which has the target `tokenizer`: WordPiece,
//! Unigram, byte-level BPE with both of its pre-tokenizers, and Gemma 4's.
//!
//! The input is a tokenizer and a text; of Unigram also a vocabulary. Ids must be of the vocabulary and
//! not depend on a limit, and what they stand for must be part of the text.

use std::sync::{Arc, LazyLock};

use lanewise::internals::gguf::Gguf;
use lanewise::internals::models::Family;
use lanewise::internals::tokenizer::Tokenizer;
use lanewise_testkit::gguf_writer::File;
use lanewise_testkit::{tiny_bert, tiny_gemma2, tiny_pre_norm, tiny_unigram};
use libfuzzer_sys::arbitrary::Unstructured;

use crate::{byte, pick, with_file};

static TOKENIZERS: LazyLock<Vec<Box<dyn Tokenizer>>> = LazyLock::new(|| {
    let unigram = tiny_bert::Options {
        unigram: true,
        ..Default::default()
    };
    let files = [
        tiny_bert::build(&tiny_bert::Options::default()),
        tiny_bert::build(&unigram),
        tiny_pre_norm::build(&tiny_pre_norm::Options::qwen3()),
        tiny_pre_norm::build(&tiny_pre_norm::Options::modern_bert()),
        tiny_gemma2::build(&tiny_gemma2::Options::default()),
    ];
    files.iter().map(open).collect()
});

/// What generated pieces and texts consist of.
const ALPHABET: [&str; 18] = [
    "a",
    "b",
    "A",
    "é",
    "e\u{301}",
    "ﬁ",
    "日",
    "한",
    "\u{1100}\u{1161}",
    "\u{2581}",
    " ",
    "\n",
    "\t",
    "\u{200B}",
    "\u{0}",
    "😀",
    "1",
    "'s",
];

/// Runs the target.
///
/// # Panics
/// If ids are not of the vocabulary, or not the same with a limit, or stand for more than the text.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let kind = usize::from(byte(&mut input)) % (TOKENIZERS.len() + 1);
    let of_alphabet = byte(&mut input) % 2 == 0;
    let generated = (kind == TOKENIZERS.len()).then(|| unigram(&mut input));
    let tokenizer = generated.as_deref().unwrap_or_else(|| &*TOKENIZERS[kind]);
    let limit = usize::from(byte(&mut input));
    let text = match of_alphabet {
        true => word(&mut input, 255),
        false => String::from_utf8_lossy(input.take_rest()).into_owned(),
    };
    check(tokenizer, &text, limit);
}

/// A tokenizer over a few pieces of few scores, so that ties and overlaps are common.
fn unigram(input: &mut Unstructured) -> Box<dyn Tokenizer> {
    let mut pieces = vec![("\u{2581}".to_owned(), -3.0)];
    for _ in 0..byte(input) % 24 {
        let piece = word(input, 5);
        if !piece.is_empty() && pieces.iter().all(|(known, _)| *known != piece) {
            pieces.push((piece, pick(input, &[-1.0, -2.0, -2.5, -4.0])));
        }
    }
    let pieces: Vec<(&str, f32)> = pieces
        .iter()
        .map(|(piece, score)| (&**piece, *score))
        .collect();
    let mut file = tiny_bert::build(&tiny_bert::Options {
        unigram: true,
        ..Default::default()
    });
    tiny_unigram::set_vocabulary(&mut file, &pieces);
    open(&file)
}

fn open(file: &File) -> Box<dyn Tokenizer> {
    let gguf = with_file(&file.to_bytes(), |path| Gguf::open(path)).expect("the file opens");
    let family = Family::of(&gguf).expect("the family is known");
    (family.tokenizer)(Arc::new(gguf)).expect("the vocabulary is whole")
}

fn word(input: &mut Unstructured, most: u8) -> String {
    let length = u16::from(byte(input)) % (u16::from(most) + 1);
    (0..length).map(|_| pick(input, &ALPHABET)).collect()
}

fn check(tokenizer: &dyn Tokenizer, text: &str, limit: usize) {
    let mut ids = Vec::new();
    tokenizer.encode(text, &mut ids);
    let known = tokenizer.vocabulary_len();
    assert!(ids.iter().all(|&id| (id as usize) < known), "ids {ids:?}");
    let limit = limit.min(ids.len());
    let mut first = Vec::new();
    let complete = tokenizer.encode_limited(text, limit, &mut first);
    assert_eq!(
        (&first[..], complete),
        (&ids[..limit], limit == ids.len()),
        "the first {limit} ids of {text:?}"
    );
    let bytes = tokenizer.bytes_of(text, &first);
    assert!(text.is_char_boundary(bytes), "{bytes} bytes of {text:?}");
    tokenizer.decode(&ids);
}
