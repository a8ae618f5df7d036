//! The tokenizer on small vocabularies made here: odd ones follow the rules, broken ones are
//! refused.

mod tokenizer_support;

use lanewise::internals::tokenizer::Tokenizer;
use lanewise_testkit::gguf_writer::Value;
use lanewise_testkit::random::Random;
use tokenizer_support::{Reference, SPACE, TinyFile, encode};

const FIRST: u32 = TinyFile::FIRST;

/// What a user is told about a file, without the path.
fn refusal(file: TinyFile) -> String {
    let message = file.open().expect_err("the file is refused").to_string();
    let (_, message) = message.split_once(".gguf: ").expect("the file is named");
    message.to_owned()
}

#[test]
fn the_best_pair_merges_first_and_the_leftmost_on_a_tie() {
    let tokenizer = TinyFile::new(&["a", "b", "c"])
        .with("bc", -3.0, 1)
        .with("ab", -4.0, 1)
        .with("aa", -4.0, 1)
        .open()
        .unwrap();
    assert_eq!(encode(&tokenizer, "abc"), [FIRST, FIRST + 3]);
    assert_eq!(encode(&tokenizer, "aab"), [FIRST + 5, FIRST + 1]);
    assert_eq!(encode(&tokenizer, "aba"), [FIRST + 4, FIRST]);
}

#[test]
fn characters_outside_the_vocabulary_become_their_bytes() {
    let tokenizer = TinyFile::new(&["a", "aé"]).open().unwrap();
    assert_eq!(encode(&tokenizer, "aé"), [FIRST, 3 + 0xC3, 3 + 0xA9]);
    assert_eq!(encode(&tokenizer, " "), [3 + 0xE2, 3 + 0x96, 3 + 0x81]);
    assert_eq!(
        tokenizer.decode(&[FIRST, 3 + 0xC3, 3 + 0xA9]),
        "aé".as_bytes()
    );
}

#[test]
fn a_space_without_a_piece_decodes_to_a_space() {
    let tokenizer = TinyFile::new(&["a"]).open().unwrap();
    for text in ["a a", " ", "a\u{2581}"] {
        let decoded = tokenizer.decode(&encode(&tokenizer, text));
        assert_eq!(decoded, text.replace(SPACE, " ").as_bytes(), "{text:?}");
    }
}

#[test]
fn added_tokens_match_literally_and_longest_first() {
    let tokenizer = TinyFile::new(&["<", "b", ">", "x", "\u{2581}"])
        .with("<b>", 0.0, 4)
        .with("<b>>", 0.0, 3)
        .with("é", 0.0, 4)
        .with("  ", 0.0, 4)
        .open()
        .unwrap();
    let added = FIRST + 5;
    assert_eq!(
        encode(&tokenizer, "<b>x<b>>>"),
        [added, FIRST + 3, added + 1, FIRST + 2]
    );
    assert_eq!(encode(&tokenizer, "<<b"), [FIRST, FIRST, FIRST + 1]);
    assert_eq!(encode(&tokenizer, "é<bos>"), [added + 2, 2]);
    // A run of spaces joins a single U+2581 beside it, but two of them are a token already.
    assert_eq!(encode(&tokenizer, " \u{2581}"), [added + 3]);
    assert_eq!(
        encode(&tokenizer, " \u{2581}\u{2581}"),
        [FIRST + 4, added + 3]
    );
}

#[test]
fn random_vocabularies_match_the_reference_tokenizer() {
    let mut random = Random(5);
    for _ in 0..300 {
        let mut file = TinyFile::new(&["a", ">", "\u{2581}"]);
        for length in 2..2 + random.below(4) {
            file = file.with(" ".repeat(length), -1000.0, 4);
        }
        let alphabet = ['a', 'b', '>', SPACE];
        for _ in 0..random.below(30) {
            let piece: String = (0..1 + random.below(5))
                .map(|_| random.pick(&alphabet))
                .collect();
            if piece.chars().all(|character| character == SPACE) {
                continue; // two tokens for one run: which is meant, no rule says
            }
            let token_type = if random.below(12) == 0 { 4 } else { 1 };
            file = file.with(piece, random.below(6) as f32 - 3.0, token_type);
        }
        let tokenizer = file.open().unwrap();
        let reference = Reference::new(&file.tokens);
        for _ in 0..30 {
            let alphabet = ['a', 'a', 'b', '>', SPACE, ' ', ' ', 'é'];
            let text: String = (0..random.below(70))
                .map(|_| random.pick(&alphabet))
                .collect();
            assert_eq!(
                encode(&tokenizer, &text),
                reference.encode(&text),
                "{text:?} with {:?}",
                file.tokens[FIRST as usize..]
                    .iter()
                    .map(|(piece, score, kind)| (String::from_utf8_lossy(piece), score, kind))
                    .collect::<Vec<_>>()
            );
        }
    }
}

#[test]
fn runs_of_u2581_among_normal_pieces_merge_by_their_scores() {
    let file = TinyFile::new(&[
        "\u{2581}",
        "a",
        "\u{2581}\u{2581}",
        "\u{2581}a",
        "a\u{2581}",
    ]);
    let tokenizer = file.open().unwrap();
    let reference = Reference::new(&file.tokens);
    let mut random = Random(6);
    for _ in 0..500 {
        let text: String = (0..random.below(80))
            .map(|_| random.pick(&[' ', ' ', 'a']))
            .collect();
        assert_eq!(
            encode(&tokenizer, &text),
            reference.encode(&text),
            "{text:?}"
        );
    }
}

#[test]
fn scores_of_any_sign_and_size_are_put_in_order() {
    let scores = [
        f32::INFINITY,
        1e30,
        1.0,
        1e-40,
        0.0,
        -1e-40,
        -1.0,
        -1e30,
        f32::NEG_INFINITY,
    ];
    for (high, low) in scores.iter().zip(&scores[1..]) {
        let file = TinyFile::new(&["a", "b", "c"])
            .with("ab", *low, 1)
            .with("bc", *high, 1);
        let ids = encode(&file.open().unwrap(), "abc");
        assert_eq!(ids, [FIRST, FIRST + 4], "{high} before {low}");
    }
    let zeros = TinyFile::new(&["a", "b", "c"])
        .with("ab", -0.0, 1)
        .with("bc", 0.0, 1);
    assert_eq!(
        encode(&zeros.open().unwrap(), "abc"),
        [FIRST + 3, FIRST + 2]
    );
}

#[test]
fn equal_empty_unused_and_undecodable_pieces_are_accepted() {
    let tokenizer = TinyFile::new(&["a", "a", "", "b"])
        .with("ab", 0.0, 5)
        .with("b", 0.0, 2)
        .with("", 0.0, 4)
        .with("<bos>", 0.0, 3)
        .with([0xA9], 9.0, 1)
        .with([0xC3, 0xA9, 0xC3], 9.0, 1)
        .open()
        .unwrap();
    assert_eq!(encode(&tokenizer, "aab<bos>"), [FIRST, FIRST, FIRST + 3, 2]);
    assert_eq!(
        encode(&tokenizer, "éé"),
        [0xC3, 0xA9, 0xC3, 0xA9].map(|byte| 3 + byte)
    );
    assert_eq!(tokenizer.decode(&[FIRST + 2, FIRST + 8]), [0xA9]);
}

#[test]
fn arrays_must_belong_together() {
    let mut file = TinyFile::new(&["a"]);
    file.scores = Some(vec![0.0; 5]);
    assert_eq!(
        refusal(file),
        "tokenizer.ggml.scores: holds 5 values for 260 tokens; convert the model again"
    );
    let mut file = TinyFile::new(&["a"]);
    file.types = Some(vec![]);
    assert!(refusal(file).starts_with("tokenizer.ggml.token_type: holds 0 values for 260"));
    let mut file = TinyFile::new(&[]);
    file.tokens.clear();
    assert!(refusal(file).starts_with("tokenizer.ggml.tokens: holds 0 tokens"));
}

#[test]
fn tokens_without_meaning_are_named() {
    let file = TinyFile::new(&[]);
    assert!(
        refusal(file.clone().with("a", f32::NAN, 1))
            .starts_with("tokenizer.ggml.scores: gives token 259 a score that is not a number")
    );
    assert!(refusal(file.clone().with("a", 0.0, 7)).contains("token 259 the unknown type 7"));
    assert!(refusal(file.clone().with("a", 0.0, -1)).contains("the unknown type -1"));
    assert!(
        refusal(file.clone().with([b'<', 0xFF], 0.0, 4))
            .contains("added token 259, \"<\\xff\", is not UTF-8")
    );
    for piece in ["<0xG0>", "<0x+1>", "<0x123>", "0x12", ""] {
        let message = refusal(file.clone().with(piece, 0.0, 6));
        assert!(message.contains("byte token 259 is"), "{message}");
    }
    assert!(refusal(file.clone().with("a".repeat(5000), 0.0, 1)).contains("5000 bytes long"));
    let mut lacking = file;
    lacking.tokens[3 + 0x0A].2 = 1;
    assert!(refusal(lacking).starts_with("tokenizer.ggml.tokens: has no byte token <0x0A>"));
}

#[test]
fn added_tokens_of_too_many_bytes_are_refused() {
    let mut file = TinyFile::new(&[]);
    for number in 0..5000 {
        file = file.with(format!("{number:01000}"), 0.0, 4);
    }
    assert!(refusal(file).contains("bytes of added tokens"));
}

/// An array of bytes as GGUF lays it out after the type of the value.
fn byte_array(bytes: &[u8]) -> Vec<u8> {
    const U8: u32 = 0;
    let length = bytes.len() as u64;
    [&U8.to_le_bytes()[..], &length.to_le_bytes(), bytes].concat()
}

#[test]
fn keys_that_ask_for_another_tokenizer_are_refused() {
    let file = TinyFile::new(&["a"]);
    let message = refusal(
        file.clone()
            .set("tokenizer.ggml.model", Value::String("gpt2".into())),
    );
    assert!(message.starts_with("tokenizer.ggml.model: is \"gpt2\", but only \"llama\""));
    for (key, value) in [
        ("tokenizer.ggml.add_space_prefix", true),
        ("tokenizer.ggml.remove_extra_whitespaces", true),
        ("tokenizer.ggml.add_bos_token", false),
        ("tokenizer.ggml.add_eos_token", false),
    ] {
        assert!(file.clone().set(key, Value::Bool(!value)).open().is_ok());
        let message = refusal(file.clone().set(key, Value::Bool(value)));
        assert!(
            message.starts_with(&format!("{key}: is {value}, which")),
            "{message}"
        );
        assert!(refusal(file.clone().set(key, Value::U32(1))).starts_with(key));
    }
    let map = "tokenizer.ggml.precompiled_charsmap";
    assert!(
        file.clone()
            .set(map, Value::Raw(9, byte_array(&[])))
            .open()
            .is_ok()
    );
    assert!(refusal(file.set(map, Value::Raw(9, byte_array(&[1])))).starts_with(map));
}

#[test]
fn missing_and_wrong_keys_are_named() {
    let file = TinyFile::new(&["a"]);
    for key in [
        "tokenizer.ggml.model",
        "tokenizer.ggml.bos_token_id",
        "tokenizer.ggml.eos_token_id",
    ] {
        let message = refusal(file.clone().without(key));
        assert!(
            message.starts_with(&format!("{key}: is missing")),
            "{message}"
        );
    }
    for key in ["tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"] {
        assert!(file.clone().set(key, Value::U32(259)).open().is_ok());
        let message = refusal(file.clone().set(key, Value::U32(260)));
        assert!(message.starts_with(&format!("{key}: is 260, but there are 260 tokens")));
        assert!(refusal(file.clone().set(key, Value::String("a".into()))).starts_with(key));
    }
    assert!(
        refusal(file.set("tokenizer.ggml.model", Value::U32(1)))
            .starts_with("tokenizer.ggml.model")
    );
}
