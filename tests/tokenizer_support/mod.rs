//! Helpers of the tokenizer tests: a slow reference tokenizer, and files with small vocabularies.
#![allow(dead_code, reason = "each test program compiles this and uses a part")]

use std::collections::HashMap;
use std::env;
use std::sync::Arc;

use lanewise::internals::gguf::Gguf;
use lanewise::internals::tokenizer::{SentencePiece, Tokenizer};
use lanewise_testkit::gguf_writer::{File, Value};

pub const SPACE: char = '\u{2581}';

pub fn encode(tokenizer: &dyn Tokenizer, text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    tokenizer.encode(text, &mut ids);
    ids
}

/// A token of a vocabulary: text, score and type.
pub type Token = (Vec<u8>, f32, i32);

/// The tokens of a file, read without the tokenizer.
pub fn tokens_of(gguf: &Gguf) -> Vec<Token> {
    let array = |key| gguf.required_array(key).unwrap();
    let strings = gguf.strings(array("tokenizer.ggml.tokens")).unwrap();
    let scores = gguf.f32s(array("tokenizer.ggml.scores")).unwrap();
    let types = gguf.i32s(array("tokenizer.ggml.token_type")).unwrap();
    strings
        .zip(scores.zip(types))
        .map(|(string, (score, token_type))| (string.to_vec(), score, token_type))
        .collect()
}

/// The rules of MODEL.md word for word: slow, without cuts, index or heap.
pub struct Reference {
    normal: HashMap<String, (u32, f32)>,
    added: Vec<(String, u32)>,
    runs: HashMap<usize, u32>,
    bytes: HashMap<u8, u32>,
}

impl Reference {
    pub fn new(tokens: &[Token]) -> Self {
        let mut reference = Self {
            normal: HashMap::new(),
            added: Vec::new(),
            runs: HashMap::new(),
            bytes: HashMap::new(),
        };
        for (id, (piece, score, token_type)) in (0..).zip(tokens) {
            let Ok(piece) = String::from_utf8(piece.clone()) else {
                continue;
            };
            match token_type {
                1 => drop(reference.normal.entry(piece).or_insert((id, *score))),
                3 | 4 if piece.len() > 1 && piece.bytes().all(|byte| byte == b' ') => {
                    reference.runs.insert(piece.len(), id);
                    let run = SPACE.to_string().repeat(piece.len());
                    reference.added.push((run, id));
                }
                3 | 4 => reference.added.push((piece, id)),
                6 => drop(
                    reference
                        .bytes
                        .insert(u8::from_str_radix(&piece[3..5], 16).unwrap(), id),
                ),
                _ => {}
            }
        }
        reference
            .added
            .sort_by_key(|(token, _)| std::cmp::Reverse(token.len()));
        reference
    }

    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut stretch = String::new();
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            let added = self
                .added
                .iter()
                .find(|(token, _)| !token.is_empty() && rest.starts_with(token.as_str()));
            match added {
                Some((token, id)) => {
                    self.merge(&std::mem::take(&mut stretch), &mut ids);
                    ids.push(*id);
                    rest = &rest[token.len()..];
                }
                None => {
                    stretch.push(if character == ' ' { SPACE } else { character });
                    rest = &rest[character.len_utf8()..];
                }
            }
        }
        self.merge(&stretch, &mut ids);
        ids
    }

    fn merge(&self, stretch: &str, ids: &mut Vec<u32>) {
        let mut symbols: Vec<String> = stretch.chars().map(String::from).collect();
        // Runs of U+2581, the longest first: as in the checkpoint's list, these merges come first.
        let is_run = |symbol: &str| symbol.chars().all(|character| character == SPACE);
        self.merge_pairs(&mut symbols, |joined| {
            let length = joined.chars().count();
            (is_run(joined) && self.runs.contains_key(&length)).then_some(length as f32)
        });
        self.merge_pairs(&mut symbols, |joined| {
            self.normal.get(joined).map(|&(_, score)| score)
        });
        for symbol in symbols {
            match self.id(&symbol) {
                Some(id) => ids.push(id),
                None => ids.extend(symbol.bytes().map(|byte| self.bytes[&byte])),
            }
        }
    }

    /// A symbol is a single character, or something that merged and so is a piece.
    fn id(&self, symbol: &str) -> Option<u32> {
        let length = symbol.chars().count();
        let run = symbol.chars().all(|character| character == SPACE);
        let run = self.runs.get(&length).copied().filter(|_| run);
        run.or_else(|| self.normal.get(symbol).map(|&(id, _)| id))
    }

    fn merge_pairs(&self, symbols: &mut Vec<String>, score: impl Fn(&str) -> Option<f32>) {
        loop {
            let mut best: Option<(f32, usize)> = None;
            for (position, pair) in symbols.windows(2).enumerate() {
                if pair.iter().any(|symbol| self.id(symbol).is_none()) {
                    continue;
                }
                if let Some(score) = score(&pair.concat())
                    && best.is_none_or(|(highest, _)| score > highest)
                {
                    best = Some((score, position));
                }
            }
            let Some((_, position)) = best else { return };
            let right = symbols.remove(position + 1);
            symbols[position].push_str(&right);
        }
    }
}

/// A GGUF file with nothing in it but a tokenizer.
#[derive(Clone)]
pub struct TinyFile {
    pub tokens: Vec<Token>,
    /// Instead of the scores and types of `tokens`.
    pub scores: Option<Vec<f32>>,
    pub types: Option<Vec<i32>>,
    pub keys: Vec<(&'static str, Value)>,
}

impl TinyFile {
    /// `<pad>`, `<eos>`, `<bos>`, the 256 byte tokens, and then normal pieces, the best first.
    pub fn new(pieces: &[&str]) -> Self {
        let mut tokens: Vec<Token> = ["<pad>", "<eos>", "<bos>"]
            .map(|token| (token.into(), -1000.0, 3))
            .into();
        tokens.extend((0..256).map(|byte| (format!("<0x{byte:02X}>").into_bytes(), 0.0, 6)));
        let scored = pieces.iter().zip(0..);
        tokens.extend(scored.map(|(piece, rank)| (piece.as_bytes().to_vec(), -(rank as f32), 1)));
        Self {
            tokens,
            scores: None,
            types: None,
            keys: vec![
                ("tokenizer.ggml.model", Value::String("llama".into())),
                ("tokenizer.ggml.bos_token_id", Value::U32(2)),
                ("tokenizer.ggml.eos_token_id", Value::U32(1)),
            ],
        }
    }

    /// The id of the first of the pieces given to `new`.
    pub const FIRST: u32 = 259;

    pub fn with(mut self, piece: impl Into<Vec<u8>>, score: f32, token_type: i32) -> Self {
        self.tokens.push((piece.into(), score, token_type));
        self
    }

    pub fn set(mut self, key: &'static str, value: Value) -> Self {
        self.keys.retain(|&(other, _)| other != key);
        self.keys.push((key, value));
        self
    }

    pub fn without(mut self, key: &str) -> Self {
        self.keys.retain(|&(other, _)| other != key);
        self
    }

    /// Writes the file and opens the tokenizer in it.
    pub fn open(&self) -> lanewise::Result<SentencePiece> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static FILES: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "lanewise-tokenizer-{}-{}.gguf",
            std::process::id(),
            FILES.fetch_add(1, Ordering::Relaxed)
        );
        let path = env::temp_dir().join(name);
        std::fs::write(&path, self.bytes()).unwrap();
        let result = Gguf::open(&path).and_then(|gguf| SentencePiece::from_gguf(Arc::new(gguf)));
        std::fs::remove_file(&path).unwrap();
        result
    }

    fn bytes(&self) -> Vec<u8> {
        let mut file = File::default();
        for (key, value) in &self.keys {
            file.set(key, value.clone());
        }
        let tokens = self.tokens.iter();
        let pieces = tokens.clone().map(|(piece, _, _)| piece.clone()).collect();
        let own_scores = || tokens.clone().map(|&(_, score, _)| score).collect();
        let own_types = || tokens.clone().map(|&(_, _, kind)| kind).collect();
        let scores = self.scores.clone().unwrap_or_else(own_scores);
        let types = self.types.clone().unwrap_or_else(own_types);
        file.set("tokenizer.ggml.tokens", Value::Strings(pieces));
        file.set("tokenizer.ggml.scores", Value::F32s(scores));
        file.set("tokenizer.ggml.token_type", Value::I32s(types));
        file.to_bytes()
    }
}
