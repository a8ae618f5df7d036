//! The byte-level BPE tokenizer gives the ids of the `tokenizers` library. `bpe/write.py` writes the fixture.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanewise::internals::gguf::Gguf;
use lanewise::internals::tokenizer::{ByteBpe, Ends, Tokenizer};
use lanewise_testkit::assets::shared;
use lanewise_testkit::gguf_writer::{File, Value};
use lanewise_testkit::random::Random;
use lanewise_testkit::scratch;
use serde::Deserialize;
use unicode_normalization::UnicodeNormalization;

const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;

/// Texts that share a digest.
const GROUP: usize = 8;

#[derive(Deserialize)]
struct Fixture {
    texts: Vec<String>,
    kinds: BTreeMap<String, Kind>,
}

/// A vocabulary, and what the library makes of texts with it.
#[derive(Deserialize)]
struct Kind {
    special: Vec<String>,
    added: Vec<String>,
    merges: Vec<String>,
    /// For each text of the fixture, ids with spaces between.
    ids: Vec<String>,
    /// Digests of the ids of the golden texts, as they are and decomposed.
    golden: Vec<u32>,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("bpe/fixture.json")).unwrap()
}

/// The characters that bytes are spelt with, in the order of the vocabulary.
fn alphabet() -> Vec<String> {
    let itself = |byte: &u32| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let bytes = (0..256).filter(itself);
    let others = 256 - bytes.clone().count() as u32;
    let codes = bytes.chain(0x100..0x100 + others);
    codes
        .map(|code| char::from_u32(code).unwrap().to_string())
        .collect()
}

fn file(name: &str, kind: &Kind) -> File {
    let mut tokens = [&kind.special[..], &kind.added].concat();
    let mut types = vec![CONTROL; kind.special.len()];
    types.resize(tokens.len(), USER_DEFINED);
    tokens.extend(alphabet());
    tokens.extend(kind.merges.iter().map(|merge| merge.replace(' ', "")));
    types.resize(tokens.len(), NORMAL);
    let id = |token: &str| {
        let id = tokens.iter().position(|known| known == token);
        Value::U32(id.unwrap() as u32)
    };
    let mut file = File::default();
    let mut set = |key: &str, value| file.set(&format!("tokenizer.ggml.{key}"), value);
    set("model", Value::String("gpt2".into()));
    set("pre", Value::String(name.into()));
    set("merges", strings(&kind.merges));
    set("tokens", strings(&tokens));
    set("token_type", Value::I32s(types));
    if name == "qwen2" {
        set("eos_token_id", id("<|im_end|>"));
    } else {
        set("cls_token_id", id("[CLS]"));
        set("seperator_token_id", id("[SEP]"));
        set("mask_token_id", id("[MASK]"));
    }
    file
}

fn strings(strings: &[String]) -> Value {
    Value::Strings(
        strings
            .iter()
            .map(|string| string.clone().into_bytes())
            .collect(),
    )
}

const AFTER: Ends = Ends::After("<|endoftext|>");

fn ends(name: &str) -> Ends {
    match name {
        "qwen2" => AFTER,
        _ => Ends::Both,
    }
}

fn open(path: PathBuf, file: &File, ends: Ends) -> Result<ByteBpe, String> {
    file.write(&path).unwrap();
    let gguf = Arc::new(Gguf::open(&path).unwrap());
    ByteBpe::from_gguf(gguf, ends).map_err(|error| error.to_string())
}

/// The tokenizers of the fixture, by name.
fn tokenizers(fixture: &Fixture, test: &str) -> Vec<(String, ByteBpe)> {
    let kinds = fixture.kinds.iter();
    kinds
        .map(|(name, kind)| {
            let path = scratch!(format!("{test}-{name}.gguf"));
            let tokenizer = open(path, &file(name, kind), ends(name)).unwrap();
            (name.clone(), tokenizer)
        })
        .collect()
}

fn encode(tokenizer: &ByteBpe, text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    tokenizer.encode(text, &mut ids);
    ids
}

#[test]
fn texts_give_the_ids_of_the_library() {
    let fixture = fixture();
    for (name, tokenizer) in tokenizers(&fixture, "texts") {
        let kind = &fixture.kinds[&name];
        assert_eq!(fixture.texts.len(), kind.ids.len());
        let mut wrong = Vec::new();
        for (text, ids) in fixture.texts.iter().zip(&kind.ids) {
            let expected: Vec<u32> = ids
                .split_whitespace()
                .map(|id| id.parse().unwrap())
                .collect();
            let ids = encode(&tokenizer, text);
            if ids != expected {
                wrong.push((text, ids, expected));
            }
        }
        let (count, texts) = (wrong.len(), fixture.texts.len());
        let first = &wrong[..count.min(10)];
        assert!(wrong.is_empty(), "{name}: {count} of {texts}: {first:?}");
    }
}

#[derive(Deserialize)]
struct Golden {
    text: String,
}

/// The golden texts, as they are and decomposed.
fn golden_texts() -> Option<Vec<String>> {
    let mut texts = Vec::new();
    for name in ["golden-minilm/tokens.jsonl", "golden-wide/embeddings.jsonl"] {
        let lines = fs::read_to_string(shared(name)?).unwrap();
        let golden = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        texts.extend(golden.map(|golden: Golden| golden.text));
    }
    let decomposed: Vec<String> = texts.iter().map(|text| text.nfd().collect()).collect();
    Some([texts, decomposed].concat())
}

/// The upper half of FNV-1a over numbers in little-endian order.
fn digest(numbers: impl Iterator<Item = u32>) -> u32 {
    let bytes = numbers.flat_map(u32::to_le_bytes);
    let digest = bytes.fold(0xCBF2_9CE4_8422_2325_u64, |digest, byte| {
        (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    });
    (digest >> 32) as u32
}

#[test]
fn golden_texts_give_the_ids_of_the_library() {
    let (Some(texts), fixture) = (golden_texts(), fixture()) else {
        return;
    };
    assert!(texts.len() >= 4000, "{}", texts.len());
    for (name, tokenizer) in tokenizers(&fixture, "golden") {
        let digests = &fixture.kinds[&name].golden;
        assert_eq!(digests.len(), texts.len().div_ceil(GROUP));
        let wrong: Vec<&[String]> = texts
            .chunks(GROUP)
            .zip(digests)
            .filter(|(texts, expected)| {
                let numbers = texts.iter().flat_map(|text| {
                    let ids = encode(&tokenizer, text);
                    std::iter::once(ids.len() as u32).chain(ids)
                });
                digest(numbers) != **expected
            })
            .map(|(texts, _)| texts)
            .collect();
        assert!(
            wrong.is_empty(),
            "{name}: {} groups: {:?}",
            wrong.len(),
            wrong.first()
        );
    }
}

#[test]
fn a_limit_gives_the_first_tokens_and_where_they_end() {
    let fixture = fixture();
    for (name, tokenizer) in tokenizers(&fixture, "limit") {
        for text in fixture.texts.iter().step_by(3) {
            let all = encode(&tokenizer, text);
            let mut before = 0;
            for limit in 0..=all.len() + 1 {
                let mut ids = vec![7];
                let complete = tokenizer.encode_limited(text, limit, &mut ids);
                assert_eq!(ids[1..], all[..limit.min(all.len())], "{name} {text:?}");
                assert_eq!(complete, limit >= all.len(), "{name} {text:?} {limit}");
                let read = tokenizer.bytes_of(text, &ids[1..]);
                assert!(
                    text.is_char_boundary(read) && read >= before,
                    "{text:?} {limit}"
                );
                before = read;
                // Where text is composed, these are the bytes that the tokens spell.
                if text.nfc().eq(text.chars()) && !text.contains("[MASK]") {
                    let spelt = tokenizer.decode(&ids[1..]);
                    assert_eq!(read, text.floor_char_boundary(spelt.len()), "{text:?}");
                    assert!(spelt.starts_with(&text.as_bytes()[..read]));
                }
            }
            assert_eq!(before, text.len());
        }
    }
}

#[test]
fn decomposed_text_is_read_up_to_whole_characters() {
    let fixture = fixture();
    let (_, tokenizer) = tokenizers(&fixture, "decomposed").remove(1);
    let text: String = "Ärger über Öl im Café".nfd().collect();
    let all = encode(&tokenizer, &text);
    assert_eq!(tokenizer.decode(&all), "Ärger über Öl im Café".as_bytes());
    for limit in 0..all.len() {
        let read = tokenizer.bytes_of(&text, &all[..limit]);
        let spelt = tokenizer.decode(&all[..limit]);
        let composed: String = text[..read].nfc().collect();
        assert!(spelt.starts_with(composed.as_bytes()), "{limit}");
        assert!(spelt.len() < composed.len() + 2, "{limit}");
    }
}

#[test]
fn blocks_of_a_long_text_have_the_ids_of_the_whole() {
    let fixture = fixture();
    let mut random = Random(3);
    for (_, tokenizer) in tokenizers(&fixture, "blocks") {
        let (mut text, mut expected) = (String::new(), Vec::new());
        // Parts that begin with a space after a letter are words of their own wherever they are.
        while text.len() < 40_000 {
            let words = fixture.texts.iter().cycle().skip(random.below(900));
            let part: Vec<&str> = words.map(String::as_str).take(3).collect();
            let part = format!(" x{}x", part.concat());
            expected.extend(encode(&tokenizer, &part));
            text.push_str(&part);
        }
        assert!(encode(&tokenizer, &text) == expected);
    }
}

#[test]
fn a_word_of_a_megabyte_takes_no_quadratic_time() {
    let fixture = fixture();
    let mut random = Random(1);
    let letters: String = (0..1 << 20)
        .map(|_| char::from(b'a' + random.below(26) as u8))
        .collect();
    let marks = "e\u{301}\u{323}".repeat(1 << 18);
    for (name, tokenizer) in tokenizers(&fixture, "megabyte") {
        for text in [
            &letters,
            &"a".repeat(1 << 20),
            &"!".repeat(1 << 20),
            &" ".repeat(1 << 20),
            &marks,
            &"\n ".repeat(1 << 19),
        ] {
            let start = Instant::now();
            assert!(!encode(&tokenizer, text).is_empty());
            let (took, shown) = (start.elapsed(), text.chars().next());
            println!("{name}: a megabyte of {shown:?}: {took:?}");
            assert!(took < Duration::from_secs(20), "{name} {shown:?}: {took:?}");
        }
    }
}

#[test]
fn the_first_tokens_of_a_long_word_need_not_all_of_it() {
    let fixture = fixture();
    let mut random = Random(2);
    let mut letters = |count: usize, kinds: usize| -> String {
        (0..count)
            .map(|_| char::from(b'a' + random.below(kinds) as u8))
            .collect()
    };
    // Parts that repeat settle late.
    let mixed = [
        "xyz".repeat(30_000),
        letters(200_000, 5),
        "a".repeat(150_000),
    ]
    .concat();
    let texts = [letters(1 << 22, 26), mixed];
    for (name, tokenizer) in tokenizers(&fixture, "long-word") {
        for text in &texts {
            let all = encode(&tokenizer, text);
            for limit in [1, 1000, 40_000] {
                let start = Instant::now();
                let mut ids = Vec::new();
                assert!(!tokenizer.encode_limited(text, limit, &mut ids));
                println!("{name}: {limit} tokens: {:?}", start.elapsed());
                assert!(ids == all[..limit], "{name}: {limit}");
                let read = tokenizer.bytes_of(text, &ids);
                assert!(tokenizer.decode(&ids) == text.as_bytes()[..read], "{name}");
                // What follows has the tokens that it has behind them.
                let mut rest = Vec::new();
                tokenizer.encode_limited(&text[read..], 1000, &mut rest);
                assert!(rest == all[limit..limit + 1000], "{name}: {limit}");
            }
        }
    }
}

#[test]
fn special_tokens_are_put_around_a_text() {
    let fixture = fixture();
    let tokenizers: BTreeMap<_, _> = tokenizers(&fixture, "special").into_iter().collect();
    // The file says <|im_end|>, as old files of embedding models do; the models read <|endoftext|>.
    let qwen2 = &tokenizers["qwen2"];
    assert_eq!((qwen2.bos(), qwen2.eos()), (None, 0));
    let (ids, complete) = qwen2.encode_between_ends("a b c", 3);
    assert_eq!((ids.len(), ids[2], complete), (3, 0, false));
    assert_eq!(qwen2.between_ends(&ids), &ids[..2]);
    let (ids, complete) = qwen2.encode_between_ends("", 3);
    assert_eq!((&ids[..], complete), (&[0][..], true));
    let modern_bert = &tokenizers["modern-bert"];
    assert_eq!((modern_bert.bos(), modern_bert.eos()), (Some(0), 1));
    let (ids, complete) = modern_bert.encode_between_ends("a b c", 3);
    assert_eq!((ids.len(), ids[0], ids[2], complete), (3, 0, 1, false));
    assert_eq!(modern_bert.between_ends(&ids), &ids[1..2]);
}

#[test]
fn vocabularies_that_would_give_other_ids_are_refused() {
    let fixture = fixture();
    let refused = |change: &dyn Fn(&mut File), expected: [&str; 2]| {
        let mut file = file("qwen2", &fixture.kinds["qwen2"]);
        change(&mut file);
        let message = open(scratch!("refused.gguf"), &file, AFTER).unwrap_err();
        let has = expected.iter().all(|part| message.contains(part));
        assert!(has, "{message}");
    };
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let set = |name: &str, value: Value| {
        let key = key(name);
        move |file: &mut File| file.set(&key, value.clone())
    };
    let supported = "only the pre-tokenizers \"qwen2\" and \"modern-bert\"";
    let pre = |name: &str| set("pre", Value::String(name.into()));
    refused(&pre("llama-bpe"), ["\"llama-bpe\"", supported]);
    refused(&|file| file.remove(&key("pre")), [".pre", "is missing"]);
    refused(
        &set("model", Value::String("gemma4".into())),
        ["\"gemma4\"", "only \"gpt2\""],
    );
    refused(
        &|file| file.remove(&key("merges")),
        ["merges", "is missing"],
    );
    refused(&set("merges", Value::U32(1)), ["merges", "array"]);
    let merges = |merges: &[&str]| {
        let merges: Vec<String> = merges.iter().map(|&merge| merge.into()).collect();
        set("merges", strings(&merges))
    };
    refused(&merges(&["ab"]), ["merge 0, \"ab\"", "not two parts"]);
    refused(&merges(&[""]), ["merge 0, \"\"", "not two parts"]);
    refused(
        &merges(&["t h", "t 語"]),
        ["merge 1", "a part that is no token"],
    );
    refused(&merges(&["t "]), ["merge 0", "a part that is no token"]);
    refused(&merges(&["~ ~"]), ["merge 0", "makes no token"]);
    refused(
        &merges(&["t h", "t h"]),
        ["merge 1, \"t h\"", "there twice"],
    );
    let without = |token: &'static str| {
        move |file: &mut File| {
            for (name, value) in &mut file.metadata {
                if let (true, Value::Strings(tokens)) = (name.ends_with(".tokens"), value) {
                    let known = tokens.iter_mut().find(|known| **known == token.as_bytes());
                    *known.unwrap() = b"unused words".to_vec();
                }
            }
        }
    };
    refused(&without("ô"), ["no token \"ô\"", "byte 0xF4"]);
    let no_end = |id: Option<u32>| {
        move |file: &mut File| {
            without("<|endoftext|>")(file);
            match id {
                Some(id) => file.set(&key("eos_token_id"), Value::U32(id)),
                None => file.remove(&key("eos_token_id")),
            }
        }
    };
    refused(&no_end(None), ["eos_token_id", "is missing"]);
    refused(&no_end(Some(100)), ["eos_token_id", "an ordinary piece"]);
    refused(&no_end(Some(1 << 30)), ["eos_token_id", "tokens"]);
}
