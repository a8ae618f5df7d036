//! The tokenizer on the real vocabulary: the same ids as the checkpoint's own, fast on any text.

mod support;
mod tokenizer_support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use lanewise::internals::gguf::Gguf;
use lanewise::internals::tokenizer::{SentencePiece, Tokenizer};
use lanewise_testkit::assets::{self, Variant};
use lanewise_testkit::random::Random;
use serde::Deserialize;
use tokenizer_support::{Reference, SPACE, encode, tokens_of};

/// Kinds of text that the random tests mix.
const ALPHABETS: [&str; 16] = [
    "ab",
    "a",
    "ha ",
    "etaoin shrdlu",
    "The cat sat on the mat. ",
    "0123456789.,",
    "<>/b u0x41",
    "\n\t \r",
    " \u{2581}x",
    ">\u{2581}</ ",
    "{}()[];:=+-*&|\"'\\",
    "日本語のテキスト",
    "Привет мир",
    "😀👍🏽\u{200d}é\u{301}",
    "مرحبا \u{200f}",
    "\0\u{1}\u{7f}\u{ffff}\u{10ffff}\u{e000}",
];

/// Words of the vocabulary's added tokens, whole and in parts.
const FRAGMENTS: [&str; 14] = [
    "<bos>",
    "<eos>",
    "<unused7>",
    "<unused",
    "<table>",
    "</b>",
    "[multimodal]",
    "<0x41>",
    "  ",
    "\u{2581}\u{2581}",
    "\n\n\n",
    "\t\t",
    " the",
    ">\u{2581}</",
];

/// A text and its ids without `<bos>` and `<eos>`.
#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
}

fn golden_cases() -> Option<Vec<Case>> {
    support::golden_lines("tokens.jsonl")
}

fn real_model() -> Option<Arc<Gguf>> {
    let path = assets::real_model(Variant::Q8_0)?;
    Some(Arc::new(Gguf::open(path).expect("the real model opens")))
}

fn tokenizer() -> Option<SentencePiece> {
    Some(SentencePiece::from_gguf(real_model()?).expect("the real vocabulary is sound"))
}

fn random_text(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..1 + random.below(4) {
        if random.below(4) == 0 {
            text.push_str(random.pick(&FRAGMENTS));
            continue;
        }
        let alphabet: Vec<char> = random.pick(&ALPHABETS).chars().collect();
        for _ in 0..random.below(40) {
            let character = random.pick(&alphabet);
            let count = if random.below(8) == 0 {
                random.below(40)
            } else {
                1
            };
            text.extend(std::iter::repeat_n(character, count));
        }
    }
    text
}

#[test]
fn every_golden_text_gives_the_ids_of_the_checkpoint() {
    let (Some(tokenizer), Some(golden)) = (tokenizer(), golden_cases()) else {
        return;
    };
    for Case { text, ids } in &golden {
        assert_eq!(encode(&tokenizer, text), *ids, "{text:?}");
    }
    assert_eq!(golden.len(), 4572);
}

#[test]
fn bos_eos_and_pieces_are_those_of_the_file() {
    let Some(tokenizer) = tokenizer() else { return };
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(2), 1));
    assert_eq!(tokenizer.vocabulary_len(), 262_144);
    assert_eq!(tokenizer.piece(9259), Some("Hello".as_bytes()));
    assert_eq!(tokenizer.piece(1902), Some("\u{2581}world".as_bytes()));
    assert_eq!(tokenizer.piece(262_144), None);
    assert_eq!(
        encode(&tokenizer, "<bos>Hello world<eos>"),
        [2, 9259, 1902, 1]
    );
}

#[test]
fn random_texts_match_the_reference_tokenizer() {
    let Some(gguf) = real_model() else { return };
    let reference = Reference::new(&tokens_of(&gguf));
    let tokenizer = SentencePiece::from_gguf(gguf).unwrap();
    let mut random = Random(1);
    for _ in 0..6000 {
        let text = random_text(&mut random);
        assert_eq!(
            encode(&tokenizer, &text),
            reference.encode(&text),
            "{text:?}"
        );
    }
}

#[test]
fn decoding_gives_the_text_again() {
    let Some(tokenizer) = tokenizer() else { return };
    let mut random = Random(2);
    for _ in 0..5000 {
        let text = random_text(&mut random).replace(SPACE, " ");
        let ids = encode(&tokenizer, &text);
        assert_eq!(tokenizer.decode(&ids), text.as_bytes(), "{text:?}");
    }
    assert_eq!(tokenizer.decode(&encode(&tokenizer, "a\u{2581}b")), b"a b");
    assert_eq!(tokenizer.decode(&[u32::MAX, 262_144, 9259]), b"Hello");
}

#[test]
fn a_limit_gives_the_first_ids_and_says_whether_there_are_more() {
    let Some(tokenizer) = tokenizer() else { return };
    let mut random = Random(3);
    for _ in 0..1000 {
        let text = random_text(&mut random);
        let all = encode(&tokenizer, &text);
        for limit in [0, 1, random.below(all.len() + 3), all.len(), all.len() + 1] {
            let mut ids = vec![7];
            let complete = tokenizer.encode_limited(&text, limit, &mut ids);
            assert_eq!(complete, all.len() <= limit, "{limit} {text:?}");
            assert_eq!(ids[0], 7);
            assert_eq!(ids[1..], all[..limit.min(all.len())], "{limit} {text:?}");
        }
    }
}

#[test]
fn threads_share_a_tokenizer() {
    let Some(tokenizer) = tokenizer() else { return };
    let expected = encode(&tokenizer, "The kettle on the stove began to sing.");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let text = "The kettle on the stove began to sing.";
                assert_eq!(encode(&tokenizer, text), expected);
            });
        }
    });
}

/// The bound is generous, for slow and busy machines; anything quadratic takes minutes.
#[test]
fn a_megabyte_of_anything_takes_linear_time() {
    let Some(tokenizer) = tokenizer() else { return };
    let mut random = Random(4);
    let noise: Vec<u8> = (0..1 << 20).map(|_| random.below(256) as u8).collect();
    let mut texts = vec![String::from_utf8_lossy(&noise).into_owned()];
    let units = [
        "a",
        " ",
        "\u{2581}",
        " \u{2581}",
        "\n",
        "\n ",
        "\t",
        "<",
        "<u",
        "<unused",
        "<b>",
        "😀",
        "ab",
        "the",
        "-",
        "=",
        "0",
        "日",
        ">\u{2581}</",
        "\0",
        "x ",
        "\u{10ffff}",
        "e\u{301}",
    ];
    texts.extend(units.iter().map(|unit| unit.repeat((1 << 20) / unit.len())));
    for text in texts {
        let start = Instant::now();
        let ids = encode(&tokenizer, &text);
        let time = start.elapsed();
        let begin: String = text.chars().take(12).collect();
        println!("{time:>10.1?} {:>8} tokens: {begin:?}", ids.len());
        assert!(time < Duration::from_secs(10), "{begin:?} took {time:?}");
        let decoded = text.replace(SPACE, " ");
        assert!(tokenizer.decode(&ids) == decoded.as_bytes(), "{begin:?}");
    }
}

/// Prints figures; run it with
/// `cargo test --release --test tokenizer_real_model -- --ignored --nocapture speed`.
#[test]
#[ignore = "measures, checks nothing"]
fn speed() {
    let (Some(gguf), Some(golden)) = (real_model(), golden_cases()) else {
        return;
    };
    let best = |repeat: usize, work: &mut dyn FnMut()| {
        let times = (0..repeat).map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        });
        times.min().unwrap_or_default()
    };
    // The first time counts: it is what every start of the program pays.
    let mut index = || {
        std::hint::black_box(SentencePiece::from_gguf(Arc::clone(&gguf)).unwrap());
    };
    let (first, later) = (best(1, &mut index), best(10, &mut index));
    println!("index: {first:.1?} the first time, {later:.1?} later");
    let tokenizer = SentencePiece::from_gguf(gguf).unwrap();
    println!("index: {} bytes of heap", tokenizer.heap_size());

    let mut ids = Vec::new();
    let mixed: String = golden.into_iter().map(|case| case.text).collect();
    let english = "The kettle on the stove began to sing just as the first snow fell, and \
                   nobody in the old house hurried to the window to watch it. "
        .repeat(7000);
    for (name, text) in [("mixed", &mixed), ("English", &english)] {
        let time = best(10, &mut || {
            ids.clear();
            tokenizer.encode(text, &mut ids);
        });
        let rate = text.len() as f64 / 1e6 / time.as_secs_f64();
        println!(
            "{name}: {} bytes, {} tokens: {time:.1?}, {rate:.1} MB/s",
            text.len(),
            ids.len()
        );
    }
    for text in [
        "Hello world",
        "task: search result | query: why does a kettle sing before it boils?",
    ] {
        let time = best(10, &mut || {
            for _ in 0..10_000 {
                ids.clear();
                tokenizer.encode(std::hint::black_box(text), &mut ids);
            }
        });
        println!(
            "{text:?}: {} tokens, {:.0} ns",
            ids.len(),
            time.as_nanos() as f64 / 1e4
        );
    }
}
