//! The WordPiece tokenizer gives the ids of the `tokenizers` library.

mod golden_support;
mod tokenizer_support;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use golden_support as golden;
use lanewise::internals::gguf::Gguf;
use lanewise::internals::tokenizer::{Tokenizer, WordPiece};
use lanewise_testkit::assets::{Variant, minilm, shared};
use lanewise_testkit::gguf_writer::{File, Value};
use lanewise_testkit::random::Random;
use lanewise_testkit::scratch;
use tokenizer_support::encode;
use unicode_normalization::char::decompose_canonical;

fn minilm_tokenizer() -> Option<WordPiece> {
    let gguf = Gguf::open(minilm(Variant::Q8_0)?).expect("the real model opens");
    Some(WordPiece::from_gguf(Arc::new(gguf)).expect("the real vocabulary is sound"))
}

#[test]
fn every_golden_text_gives_the_ids_of_the_library() {
    if let Some(tokenizer) = minilm_tokenizer() {
        golden::assert_ids(&tokenizer, "golden-minilm");
        golden::assert_counts(&tokenizer, "golden-minilm");
    }
}

#[test]
fn special_tokens_and_pieces_are_those_of_the_file() {
    let Some(tokenizer) = minilm_tokenizer() else {
        return;
    };
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(101), 102));
    assert_eq!(tokenizer.vocabulary_len(), 30_522);
    assert_eq!(encode(&tokenizer, "Hello world"), [7592, 2088]);
    assert_eq!(encode(&tokenizer, "[CLS]a[SEP]"), [101, 1037, 102]);
    assert_eq!(tokenizer.piece(7592), Some("\u{2581}hello".as_bytes()));
}

#[test]
fn limited_ids_are_the_first_of_all_ids() {
    let Some(tokenizer) = minilm_tokenizer() else {
        return;
    };
    golden::assert_limits(&tokenizer, "golden-minilm", |text, ids, allowed, read| {
        // What was read gives those tokens, less those of a word that was cut.
        let of_read = encode(&tokenizer, &text[..read]);
        assert!(ids.starts_with(&of_read), "{text:?}");
        assert!(of_read.len() <= allowed.len(), "{text:?}");
    });
}

/// A small vocabulary: `[PAD] [UNK] [CLS] [SEP] [MASK]`, then pieces as WordPiece spells them.
fn file(pieces: &[&str]) -> File {
    let control = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let spelt = pieces.iter().map(|piece| match piece.strip_prefix("##") {
        Some(rest) => rest.to_owned(),
        None => format!("\u{2581}{piece}"),
    });
    let tokens = control.into_iter().map(str::to_owned).chain(spelt);
    let tokens: Vec<Vec<u8>> = tokens.map(String::into_bytes).collect();
    let types = (0..tokens.len()).map(|id| if id < control.len() { 3 } else { 1 });
    let types = types.collect();
    let mut file = File::default();
    let mut set = |name: &str, value| file.set(&format!("tokenizer.ggml.{name}"), value);
    set("model", Value::String("bert".into()));
    set("tokens", Value::Strings(tokens));
    set("token_type", Value::I32s(types));
    set("unknown_token_id", Value::U32(1));
    set("cls_token_id", Value::U32(2));
    set("seperator_token_id", Value::U32(3));
    file
}

fn path(name: &str) -> PathBuf {
    scratch!(format!("{name}.gguf"))
}

fn open(name: &str, file: &File) -> lanewise::Result<WordPiece> {
    let path = path(name);
    file.write(&path).unwrap();
    WordPiece::from_gguf(Arc::new(Gguf::open(&path)?))
}

#[test]
fn words_become_the_longest_pieces_from_the_left() {
    let pieces = ["un", "##aff", "##able", "unaff", "##a", "##b", "x", "."];
    let tokenizer = open("longest", &file(&pieces)).unwrap();
    assert_eq!(encode(&tokenizer, "unaffable"), [8, 7]);
    assert_eq!(encode(&tokenizer, "unab"), [5, 9, 10]);
    // No piece for the end: the whole word is unknown, and the words beside it are not.
    assert_eq!(encode(&tokenizer, "x unaffz x."), [11, 1, 11, 12]);
    assert_eq!(tokenizer.decode(&[11, 8, 7, 12]), b"x unaffable .");
}

#[test]
fn a_piece_that_begins_words_continues_none() {
    let tokenizer = open("beginning", &file(&["a", "the", "##the"])).unwrap();
    assert_eq!(encode(&tokenizer, "athe the"), [5, 7, 6]);
    // U+2581 is an ordinary character.
    assert_eq!(encode(&tokenizer, "a\u{2581}the \u{2581}the"), [1, 1]);
}

#[test]
fn words_of_more_than_a_hundred_characters_are_unknown() {
    let tokenizer = open("long", &file(&["é", "a", "##a", "e", "##e"])).unwrap();
    assert_eq!(encode(&tokenizer, &"a".repeat(100)).len(), 100);
    assert_eq!(encode(&tokenizer, &"a".repeat(101)), [1]);
    // Characters are counted after their accents are stripped.
    assert_eq!(encode(&tokenizer, &"e\u{301}".repeat(100)).len(), 100);
}

#[test]
fn cased_vocabularies_keep_case_and_accents() {
    let mut cased = file(&["É", "e", "E"]);
    cased.set("tokenizer.ggml.normalizer.lowercase", Value::Bool(false));
    assert_eq!(encode(&open("cased", &cased).unwrap(), "É e E"), [5, 6, 7]);
    cased.set("tokenizer.ggml.normalizer.strip_accents", Value::Bool(true));
    assert_eq!(encode(&open("stripped", &cased).unwrap(), "É e"), [7, 6]);
    let lower = open("lower", &file(&["É", "e", "E"])).unwrap();
    assert_eq!(encode(&lower, "É e E"), [6, 6, 6]);
}

#[test]
fn vocabularies_that_would_give_other_ids_are_refused() {
    let refused = |change: &dyn Fn(&mut File), expected: [&str; 2]| {
        let mut file = file(&["a"]);
        change(&mut file);
        let message = open("refused", &file).unwrap_err().to_string();
        assert!(
            expected.iter().all(|part| message.contains(part)),
            "{message}"
        );
    };
    let set = |key: &'static str, value: Value| move |file: &mut File| file.set(key, value.clone());
    refused(
        &set("tokenizer.ggml.model", Value::String("t5".into())),
        ["tokenizer.ggml.model", "\"t5\""],
    );
    refused(
        &set("tokenizer.ggml.cls_token_id", Value::U32(99)),
        ["cls_token_id", "is 99, but there are 6 tokens"],
    );
    refused(
        &set("tokenizer.ggml.seperator_token_id", Value::U32(5)),
        ["seperator_token_id", "an ordinary piece"],
    );
    refused(
        &|file| file.remove("tokenizer.ggml.unknown_token_id"),
        ["unknown_token_id", "is 100, but"],
    );
    let tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"];
    let bare = tokens.map(|token| token.as_bytes().to_vec()).to_vec();
    refused(
        &set("tokenizer.ggml.tokens", Value::Strings(bare)),
        ["tokenizer.ggml.tokens", "U+2581"],
    );
    refused(
        &|file| file.remove("tokenizer.ggml.token_type"),
        ["token_type", "missing"],
    );
}

#[test]
fn hostile_texts_take_time_in_proportion_to_their_length() {
    let Some(tokenizer) = minilm_tokenizer() else {
        return;
    };
    let mut random = Random(2);
    let noise: String = (0..1 << 18)
        .map(|_| char::from_u32(random.below(0x2_0000) as u32).unwrap_or('x'))
        .collect();
    let length = 1 << 20;
    for (name, text) in [
        ("one word", "a".repeat(length)),
        (
            "unknown words",
            format!("{}\u{10348} ", "a".repeat(99)).repeat(length / 100),
        ),
        ("marks", "\u{301}".repeat(length / 2)),
        ("marks out of order", "\u{302E}\u{1D165}".repeat(length / 4)),
        ("brackets", "[MASK".repeat(length / 5)),
        ("control tokens", "[MASK]".repeat(length / 6)),
        ("decompositions", "\u{1F82}".repeat(length / 3)),
        ("syllables", "각".repeat(length / 3)),
        ("ideographs", "\u{F900}".repeat(length / 3)),
        ("noise", noise),
    ] {
        let start = Instant::now();
        let ids = encode(&tokenizer, &text);
        let all = start.elapsed();
        assert!(all < Duration::from_secs(20), "{name}: {all:?}");
        let start = Instant::now();
        tokenizer.encode_limited(&text, 510, &mut Vec::new());
        println!(
            "{name}: {} tokens in {all:?}, 510 in {:?}",
            ids.len(),
            start.elapsed()
        );
    }
}

/// Pairs of hexadecimal code points.
type Ranges = Vec<(String, String)>;

/// Each character between two words is dropped, a space, a word, or a part of a word, as in the library.
#[test]
fn classes_of_characters_are_those_of_the_library() {
    let Some(path) = shared("golden-minilm/bert-classes.json") else {
        return;
    };
    let text = std::fs::read_to_string(path).unwrap();
    let classes: HashMap<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    let ranges = |name: &str| -> Vec<(u32, u32)> {
        let ranges: Ranges = serde_json::from_value(classes[name].clone()).unwrap();
        let number = |text: &str| u32::from_str_radix(text, 16).unwrap();
        ranges.iter().map(|(a, b)| (number(a), number(b))).collect()
    };
    let within = |ranges: &[(u32, u32)], c: char| {
        ranges.iter().any(|&(a, b)| (a..=b).contains(&u32::from(c)))
    };
    let [removed, space, cjk, marks, punctuation] = [
        "removed",
        "to_space",
        "cjk",
        "marks_stripped_after_nfd",
        "punctuation",
    ]
    .map(ranges);
    // "ab" is one word, "a" and "b" are others; whatever stands between is unknown.
    let tokenizer = open("classes", &file(&["a", "b", "ab"])).unwrap();
    for c in '\0'..=char::MAX {
        if c.is_ascii_alphanumeric() {
            continue;
        }
        let mut parts = Vec::new();
        decompose_canonical(c, |part| parts.push(part));
        parts.retain(|&part| !within(&marks, part));
        let expected: &[u32] = if within(&removed, c) {
            &[7]
        } else if within(&space, c) {
            &[5, 6]
        } else if within(&cjk, c) || parts.iter().any(|&part| within(&punctuation, part)) {
            &[5, 1, 6]
        } else if parts.is_empty() {
            &[7]
        } else {
            &[1]
        };
        assert_eq!(encode(&tokenizer, &format!("a{c}b")), expected, "{c:?}");
    }
}
