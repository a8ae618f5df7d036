//! Tokens of EmbeddingGemma 2: those of the tokenizers library, and of a slow program that is obviously right.

use std::collections::HashMap;
use std::sync::Arc;

use lanewise::internals::gguf::Gguf;
use lanewise::internals::tokenizer::{Gemma4, Tokenizer};
use lanewise_testkit::gguf_writer::{File, Value};
use lanewise_testkit::random::Random;
use lanewise_testkit::{scratch, tiny_gemma2};
use serde::Deserialize;

const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;

/// A vocabulary, and texts with their tokens.
#[derive(Deserialize)]
struct Expected {
    tokens: Vec<String>,
    types: Vec<i32>,
    merges: Vec<String>,
    cases: Vec<(String, Vec<u32>)>,
}

fn file(tokens: &[String], types: &[i32], merges: &[String]) -> File {
    let mut file = File::default();
    let strings = |texts: &[String]| {
        Value::Strings(texts.iter().map(|text| text.as_bytes().to_vec()).collect())
    };
    let mut set = |name: &str, value| file.set(&format!("tokenizer.ggml.{name}"), value);
    set("model", Value::String("gemma4".into()));
    set("tokens", strings(tokens));
    set("token_type", Value::I32s(types.to_vec()));
    set("merges", strings(merges));
    set("bos_token_id", Value::U32(2));
    set("eos_token_id", Value::U32(1));
    set("add_bos_token", Value::Bool(true));
    file
}

fn open(name: &str, file: &File) -> lanewise::Result<Gemma4> {
    let path = scratch!(format!("{name}.gguf"));
    file.write(&path).unwrap();
    Gemma4::from_gguf(Arc::new(Gguf::open(&path)?))
}

fn encode(tokenizer: &Gemma4, text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    tokenizer.encode(text, &mut ids);
    ids
}

#[test]
fn tokens_are_those_of_the_library() {
    let expected = include_str!("tokenizer_gemma4/expected.json");
    let expected: Expected = serde_json::from_str(expected).unwrap();
    let file = file(&expected.tokens, &expected.types, &expected.merges);
    let tokenizer = open("expected", &file).unwrap();
    assert!(expected.cases.len() > 300);
    for (text, ids) in &expected.cases {
        assert_eq!(encode(&tokenizer, text), *ids, "{text:?}");
    }
}

/// The rules word for word: without cuts, index or heap.
struct Slow<'a> {
    tokens: HashMap<&'a str, u32>,
    types: &'a [i32],
    added: Vec<(&'a str, u32)>,
    merges: HashMap<(u32, u32), (usize, u32)>,
}

impl<'a> Slow<'a> {
    fn new(tokens: &'a [String], types: &'a [i32], merges: &[String]) -> Self {
        let mut ids = HashMap::new();
        let mut added = Vec::new();
        for (id, (token, kind)) in (0..).zip(tokens.iter().zip(types)) {
            ids.insert(token.as_str(), id);
            if [CONTROL, USER_DEFINED].contains(kind) {
                added.push((token.as_str(), id));
            }
        }
        added.sort_by_key(|(token, _)| std::cmp::Reverse(token.len()));
        let pairs = merges.iter().enumerate().map(|(rank, merge)| {
            let (left, right) = merge.split_once(' ').unwrap();
            let joined = ids[&*format!("{left}{right}")];
            ((ids[left], ids[right]), (rank, joined))
        });
        let merges = pairs.collect();
        Self {
            merges,
            tokens: ids,
            types,
            added,
        }
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        let (mut ids, mut stretch, mut rest) = (Vec::new(), String::new(), text);
        while let Some(character) = rest.chars().next() {
            let found = self.added.iter().find(|(token, _)| rest.starts_with(token));
            if let Some((token, id)) = found {
                self.stretch(&std::mem::take(&mut stretch), &mut ids);
                ids.push(*id);
                rest = &rest[token.len()..];
            } else {
                stretch.push(character);
                rest = &rest[character.len_utf8()..];
            }
        }
        self.stretch(&stretch, &mut ids);
        ids
    }

    /// Runs of newlines, and what is between them.
    fn stretch(&self, text: &str, ids: &mut Vec<u32>) {
        let characters: Vec<char> = text.chars().collect();
        for run in characters.chunk_by(|a, b| (*a == '\n') == (*b == '\n')) {
            let text: String = run.iter().collect();
            match self.tokens.get(&*text) {
                Some(&id) if run[0] == '\n' && self.types[id as usize] == NORMAL => ids.push(id),
                _ => ids.extend(self.merged(run)),
            }
        }
    }

    fn merged(&self, run: &[char]) -> Vec<u32> {
        let mut symbols = Vec::new();
        for &character in run {
            let text = if character == ' ' {
                '\u{2581}'
            } else {
                character
            }
            .to_string();
            match self.tokens.get(&*text) {
                Some(&id) => symbols.push(id),
                None => symbols.extend(text.bytes().map(|b| self.tokens[&*format!("<0x{b:02X}>")])),
            }
        }
        loop {
            let pairs = symbols.windows(2).enumerate();
            let merges = pairs.filter_map(|(at, pair)| {
                let &(rank, joined) = self.merges.get(&(pair[0], pair[1]))?;
                Some((rank, at, joined))
            });
            let Some((_, at, joined)) = merges.min() else {
                return symbols;
            };
            symbols.splice(at..at + 2, [joined]);
        }
    }
}

/// A vocabulary of letters, U+2581, newlines and what random merges make of them.
fn random_vocabulary(random: &mut Random) -> (Vec<String>, Vec<i32>, Vec<String>) {
    let specials = ["<pad>", "<eos>", "<bos>"];
    let mut tokens: Vec<String> = specials.map(String::from).to_vec();
    tokens.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
    let mut types = vec![CONTROL; 3];
    types.resize(tokens.len(), BYTE);
    let first = tokens.len();
    tokens.extend(["a", "b", "é", "\u{2581}", "\n"].map(String::from));
    let mut merges = Vec::new();
    for _ in 0..random.below(40) {
        let mut any = || tokens[first + random.below(tokens.len() - first)].clone();
        let (left, right) = (any(), any());
        let (joined, merge) = (format!("{left}{right}"), format!("{left} {right}"));
        if joined.len() < 20 && !merges.contains(&merge) {
            merges.push(merge);
            if !tokens.contains(&joined) {
                tokens.push(joined);
            }
        }
    }
    // Merges come in another order than the tokens that they make.
    for at in (1..merges.len()).rev() {
        merges.swap(at, random.below(at + 1));
    }
    while types.len() < tokens.len() {
        // A single character is never added, or no text would have it.
        let added = types.len() >= first + 5 && random.below(8) == 0;
        types.push(if added { USER_DEFINED } else { NORMAL });
    }
    (tokens, types, merges)
}

fn random_text(random: &mut Random) -> String {
    let parts = [
        "a", "b", "é", " ", "\u{2581}", "\n", "ü", "<eos>", "😀", "ab", "  ", "\n\n",
    ];
    let count = random.below(60);
    (0..count)
        .map(|_| parts[random.below(parts.len())])
        .collect()
}

#[test]
fn tokens_are_those_of_a_slow_program() {
    let mut random = Random(4);
    for number in 0..200 {
        let (tokens, types, merges) = random_vocabulary(&mut random);
        let slow = Slow::new(&tokens, &types, &merges);
        let tokenizer = open("random", &file(&tokens, &types, &merges)).unwrap();
        for _ in 0..40 {
            let text = random_text(&mut random);
            let (ids, expected) = (encode(&tokenizer, &text), slow.encode(&text));
            assert_eq!(ids, expected, "vocabulary {number}, {text:?}, {merges:?}");
            let decoded = String::from_utf8(tokenizer.decode(&ids)).unwrap();
            assert_eq!(decoded, text.replace('\u{2581}', " "));
            let limit = random.below(ids.len() + 2);
            let mut first = vec![7];
            let complete = tokenizer.encode_limited(&text, limit, &mut first);
            assert_eq!(complete, limit >= ids.len(), "{text:?}");
            assert_eq!(first[1..], ids[..limit.min(ids.len())], "{text:?}");
            assert_eq!(tokenizer.bytes_of(&text, &ids), text.len());
        }
    }
}

/// Far more characters than are looked at one by one.
#[test]
fn long_words_merge_as_short_ones_do() {
    let mut random = Random(5);
    let (tokens, types, merges) = random_vocabulary(&mut random);
    let slow = Slow::new(&tokens, &types, &merges);
    let tokenizer = open("long", &file(&tokens, &types, &merges)).unwrap();
    let letters = ["a", "b", "é"];
    let text: String = (0..2000).map(|_| letters[random.below(3)]).collect();
    assert_eq!(encode(&tokenizer, &text), slow.encode(&text));
}

#[test]
fn files_with_another_tokenizer_are_refused() {
    let refused = |change: &dyn Fn(&mut File), expected: [&str; 2]| {
        let mut file = tiny_gemma2::build(&tiny_gemma2::Options::default());
        change(&mut file);
        let message = open("refused", &file).unwrap_err().to_string();
        assert!(
            expected.iter().all(|part| message.contains(part)),
            "{message}"
        );
    };
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let set = |name: &str, value: Value| {
        let key = key(name);
        move |file: &mut File| file.set(&key, value.clone())
    };
    let merges = |merge: &str| Value::Strings(vec![merge.as_bytes().to_vec()]);
    refused(
        &set("model", Value::String("llama".into())),
        ["tokenizer.ggml.model", "only \"gemma4\""],
    );
    for (name, needed) in [
        ("add_bos_token", true),
        ("add_eos_token", true),
        ("add_space_prefix", false),
    ] {
        refused(
            &set(name, Value::Bool(!needed)),
            [name, "EmbeddingGemma 2's"],
        );
    }
    let name = "tokenizer.ggml.merges";
    refused(&|file| file.remove(name), [name, "missing"]);
    refused(&set("merges", Value::F32s(vec![0.0])), [name, "strings"]);
    refused(&set("merges", merges("ab")), [name, "ab"]);
    refused(&set("merges", merges("a \u{7FF}")), [name, "no token"]);
    refused(
        &set("bos_token_id", Value::U32(9999)),
        ["bos_token_id", "9999"],
    );
}
