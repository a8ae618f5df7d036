//! The Unigram tokenizer gives the ids of XLM-RoBERTa's in the transformers library.

mod golden_support;
mod tokenizer_support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use golden_support as golden;
use lanewise::internals::gguf::Gguf;
use lanewise::internals::tokenizer::{Tokenizer, Unigram};
use lanewise_testkit::assets::e5_small;
use lanewise_testkit::gguf_writer::{File, Value};
use lanewise_testkit::random::Random;
use lanewise_testkit::scratch;
use lanewise_testkit::tiny_unigram::{FIRST, bytes, charsmap, set_vocabulary};
use tokenizer_support::{SPACE, encode};

const UNK: u32 = 3;

fn e5_tokenizer() -> Option<Unigram> {
    let gguf = Gguf::open(e5_small()?).expect("the real model opens");
    Some(Unigram::from_gguf(Arc::new(gguf)).expect("the real vocabulary is sound"))
}

#[test]
fn every_golden_text_gives_the_ids_of_the_library() {
    if let Some(tokenizer) = e5_tokenizer() {
        golden::assert_ids(&tokenizer, "golden-e5");
        golden::assert_counts(&tokenizer, "golden-e5");
    }
}

#[test]
fn special_tokens_and_pieces_are_those_of_the_file() {
    let Some(tokenizer) = e5_tokenizer() else {
        return;
    };
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(0), 2));
    assert_eq!(tokenizer.vocabulary_len(), 250_037);
    let ids = encode(&tokenizer, "query: Hello world");
    assert_eq!(ids, [41, 1294, 12, 35378, 8999]);
    assert_eq!(tokenizer.decode(&ids), b"query: Hello world");
    assert_eq!(tokenizer.piece(8999), Some("\u{2581}world".as_bytes()));
    assert_eq!(encode(&tokenizer, "[PAD250002]").len(), 5);
}

#[test]
fn limited_ids_are_the_first_of_all_ids() {
    let Some(tokenizer) = e5_tokenizer() else {
        return;
    };
    golden::assert_limits(&tokenizer, "golden-e5", |text, _, allowed, read| {
        // Of two tokens one at least is more than the U+2581 before a word.
        assert!(read > 0 || allowed.len() < 2, "{text:?}");
    });
}

/// `▁` 4, `▁a` 5, `b` 6, `ab` 7, `▁ab` 8, `A` 9, `Á` 10, `1/2` 11, `<` 12, `>` 13, `s` 14, `c` 15.
fn file() -> File {
    let mut file = File::default();
    let pieces = [
        ("\u{2581}", -2.0),
        ("\u{2581}a", -4.0),
        ("b", -3.0),
        ("ab", -5.0),
        ("\u{2581}ab", -7.5),
        ("A", -3.0),
        ("Á", -3.0),
        ("1/2", -3.0),
        ("<", -3.0),
        (">", -3.0),
        ("s", -3.0),
        ("c", -3.0),
    ];
    set_vocabulary(&mut file, &pieces);
    file
}

fn open(name: &str, file: &File) -> lanewise::Result<Unigram> {
    let path = scratch!(format!("{name}.gguf"));
    file.write(&path).unwrap();
    Unigram::from_gguf(Arc::new(Gguf::open(&path)?))
}

fn small() -> Unigram {
    open("small", &file()).unwrap()
}

#[test]
fn pieces_of_the_highest_sum_are_taken_the_first_found_on_a_tie() {
    let tokenizer = small();
    // ▁ + ab and ▁a + b have −7, ▁ab has −7.5; what begins first was found first.
    assert_eq!(encode(&tokenizer, "ab"), [4, 7]);
    assert_eq!(encode(&tokenizer, "a b"), [5, 4, 6]);
    let mut file = file();
    for (name, score) in [("above", -6.9), ("equal", -7.0)] {
        let mut scores = vec![0.0, 0.0, 0.0, 0.0, -2.0, -4.0, -3.0, -5.0, score];
        scores.resize(18, -3.0);
        file.set("tokenizer.ggml.scores", Value::F32s(scores));
        let tokenizer = open(name, &file).unwrap();
        assert_eq!(encode(&tokenizer, "ab"), [8], "{name}");
    }
}

#[test]
fn neighboring_unknown_characters_are_one_token() {
    let tokenizer = small();
    assert_eq!(encode(&tokenizer, "xyz"), [4, UNK]);
    assert_eq!(encode(&tokenizer, "xbyz x"), [4, UNK, 6, UNK, 4, UNK]);
    // A special token of the text is one of its own.
    assert_eq!(encode(&tokenizer, "x<unk><unk>"), [4, UNK, UNK, UNK]);
}

#[test]
fn special_tokens_split_the_text_and_those_unused_match_nothing() {
    let tokenizer = small();
    assert_eq!(encode(&tokenizer, "b<s>b"), [4, 6, 0, 4, 6]);
    assert_eq!(encode(&tokenizer, "b  <mask> b"), [4, 6, 16, 4, 6]);
    assert_eq!(encode(&tokenizer, "[PAD]"), [4, UNK, 9, UNK]);
    // Out of other characters special tokens are pieces.
    assert_eq!(encode(&tokenizer, "＜s＞b"), [4, 0, 6]);
    assert_eq!(encode(&tokenizer, "＜unk＞xb"), [4, UNK, 6]);
}

#[test]
fn a_cluster_becomes_what_its_shortest_key_says() {
    let tokenizer = small();
    assert_eq!(encode(&tokenizer, "Ａ"), [4, 9]);
    // "Ａ" is a key, and the rest of its cluster is lost, where that is short.
    assert_eq!(encode(&tokenizer, "Ａ\u{301}"), [4, 9]);
    assert_eq!(encode(&tokenizer, "Ａ\u{301}\u{301}"), [4, 9, UNK]);
    assert_eq!(encode(&tokenizer, "a\u{200B}b"), [4, 7]);
    assert_eq!(encode(&tokenizer, "b½"), [4, 6, 11]);
    assert_eq!(encode(&tokenizer, "b\u{A8}b"), [4, 6, 4, UNK, 6]);
    assert_eq!(encode(&tokenizer, "b\r\nb\tb\0"), [4, 6, 4, 6, 4, 6, UNK]);
}

#[test]
fn words_begin_at_white_space_and_at_every_u_2581() {
    let tokenizer = small();
    for text in ["", " ", "\u{3000}\t", "\u{200B}"] {
        assert!(encode(&tokenizer, text).is_empty(), "{text:?}");
    }
    assert_eq!(encode(&tokenizer, "\u{2581}a"), [5]);
    assert_eq!(encode(&tokenizer, "b\u{2581}\u{2581}b"), [4, 6, 4, 4, 6]);
    assert_eq!(encode(&tokenizer, "b\u{85}b\u{2028}b"), [4, 6, 4, 6, 4, 6]);
    assert_eq!(tokenizer.decode(&[5, 4, 6, 2]), b"a b</s>");
}

#[test]
fn tokens_stand_for_whole_characters_of_the_text() {
    let tokenizer = small();
    let text = "xb ½b\u{A8}b";
    let ids = encode(&tokenizer, text);
    assert_eq!(ids, [4, UNK, 6, 4, 11, 6, 4, UNK, 6]);
    let read: Vec<usize> = (0..=ids.len())
        .map(|count| tokenizer.bytes_of(text, &ids[..count]))
        .collect();
    // U+2581 stands for what is before the word.
    assert_eq!(read, [0, 0, 1, 2, 3, 5, 6, 6, 8, 9]);
    assert_eq!(text.len(), 9);
}

#[test]
fn tables_of_i8_are_those_of_u8() {
    let mut signed = file();
    let table = charsmap(&[("é", "b")]);
    let Value::Raw(kind, mut raw) = bytes(&table) else {
        unreachable!()
    };
    raw[0] = 1;
    signed.set("tokenizer.ggml.precompiled_charsmap", Value::Raw(kind, raw));
    assert_eq!(encode(&open("signed", &signed).unwrap(), "é"), [4, 6]);
}

#[test]
fn vocabularies_that_would_give_other_ids_are_refused() {
    let refused = |change: &dyn Fn(&mut File), expected: [&str; 2]| {
        let mut file = file();
        change(&mut file);
        let message = open("refused", &file).unwrap_err().to_string();
        assert!(
            expected.iter().all(|part| message.contains(part)),
            "{message}"
        );
    };
    let set = |name: &'static str, value: Value| {
        move |file: &mut File| file.set(&format!("tokenizer.ggml.{name}"), value.clone())
    };
    let without =
        |name: &'static str| move |file: &mut File| file.remove(&format!("tokenizer.ggml.{name}"));
    refused(
        &set("model", Value::String("bert".into())),
        ["model", "\"bert\""],
    );
    refused(
        &set("add_space_prefix", Value::Bool(false)),
        ["add_space_prefix", "is false"],
    );
    refused(
        &without("unknown_token_id"),
        ["unknown_token_id", "is missing"],
    );
    refused(
        &without("precompiled_charsmap"),
        ["precompiled_charsmap", "missing"],
    );
    refused(&without("scores"), ["scores", "missing"]);
    refused(
        &set("bos_token_id", Value::U32(5)),
        ["bos_token_id", "an ordinary piece"],
    );
    refused(
        &set("eos_token_id", Value::U32(99)),
        ["eos_token_id", "is 99, but there are 18"],
    );
    let types = |kind: i32| {
        Value::I32s(
            vec![3, 3, 3, 2, kind]
                .into_iter()
                .chain([kind; 13])
                .collect(),
        )
    };
    refused(
        &set("token_type", types(5)),
        ["tokens", "no ordinary piece"],
    );
    refused(
        &set("token_type", types(6)),
        ["token_type", "one for a byte"],
    );
    let table = "precompiled_charsmap";
    refused(&set(table, Value::F32s(vec![1.0])), [table, "array of f32"]);
    let good = charsmap(&[("a", "b")]);
    let cut = |end: usize| bytes(&good[..end]);
    for end in [0, 3, 4, 1000, good.len() - 1] {
        refused(&set(table, cut(end)), [table, "is damaged"]);
    }
    refused(
        &set(table, bytes(b"\x03\0\0\0abc\0")),
        [table, "is damaged"],
    );
    refused(
        &set(table, bytes(b"\x04\0\0\0abc\0\xff\0")),
        [table, "not UTF-8"],
    );
    let long = charsmap(&[("a", &"b".repeat(300))]);
    refused(&set(table, bytes(&long)), [table, "300 bytes"]);
}

#[test]
fn no_table_makes_the_tokenizer_panic_or_read_beyond_it() {
    let mut random = Random(3);
    let good = charsmap(&[("a", "b"), ("½", "1/2"), ("Ａ\u{301}", "c")]);
    for round in 0..60 {
        let mut table = good.clone();
        // In the array, but for the length before it and the text after.
        for _ in 0..1 << (round % 10) {
            let at = 4 + random.below(good.len() - 12);
            table[at] = random.bits() as u8;
        }
        let mut file = file();
        file.set("tokenizer.ggml.precompiled_charsmap", bytes(&table));
        let tokenizer = open("damaged", &file).unwrap();
        for text in ["a½Ａ\u{301}b", "\u{10FFFF}\0\u{301}", "aaaa <mask> bb"] {
            let ids = encode(&tokenizer, text);
            assert!(ids.iter().all(|&id| id < FIRST + 14), "{text:?}");
        }
    }
}

#[test]
fn hostile_texts_take_time_in_proportion_to_their_length() {
    let Some(tokenizer) = e5_tokenizer() else {
        return;
    };
    let mut random = Random(2);
    let noise: String = (0..1 << 18)
        .map(|_| char::from_u32(random.below(0x2_0000) as u32).unwrap_or('x'))
        .collect();
    let length = 1 << 20;
    for (name, text) in [
        ("one word", "a".repeat(length)),
        ("one word of U+2581", SPACE.to_string().repeat(length / 3)),
        ("unknown words", "\u{10348}\u{10349} ".repeat(length / 9)),
        ("marks", "\u{301}".repeat(length / 2)),
        ("flags", "\u{1F1E6}".repeat(length / 4)),
        ("joined emoji", "\u{1F468}\u{200D}".repeat(length / 7)),
        ("conjuncts", "\u{915}\u{94D}".repeat(length / 6)),
        ("long replacements", "\u{FDFA}".repeat(length / 3)),
        ("brackets", "<mask".repeat(length / 5)),
        ("special tokens", "<mask>".repeat(length / 6)),
        ("ideographs", "日本語".repeat(length / 9)),
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
