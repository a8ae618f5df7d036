//! A small model of BERT's architecture, or of Nomic BERT's, for tests that should not need a real one.
//!
//! Its weights are pseudo-random, so its vectors mean nothing; but its file has every key and tensor of a
//! real one, and its vocabulary every kind of token. The same options give the same bytes on every
//! machine.

use std::path::PathBuf;

use crate::gguf_writer::{Encoding, File, Value};
use crate::random::Random;
use crate::tiny_unigram;

/// Token types as GGUF numbers them.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;

/// Hyperparameters of the model, and what is left out of its file.
#[derive(Clone, Debug)]
pub struct Options {
    /// The architecture, `bert` or `nomic-bert`.
    pub architecture: &'static str,
    /// How matrices are stored; tables but the first, norms and biases are always f32.
    pub encoding: Encoding,
    /// Queries, keys and values in one matrix.
    pub fused: bool,
    /// The vocabulary of XLM-RoBERTa's kind, Unigram in place of WordPiece.
    pub unigram: bool,
    /// Leave the token types out, as in files of DistilBERT.
    pub no_token_types: bool,
    /// `pooling_type`, 1 for the mean and 2 for the first token; `None` leaves it out.
    pub pooling: Option<u32>,
    /// The weights depend on it.
    pub seed: u64,
    /// Number of layers.
    pub layers: u32,
    /// Width of an embedding; a multiple of 32 times the heads.
    pub hidden: u32,
    /// Width between the halves of a feed-forward layer; a multiple of 32.
    pub feed_forward: u32,
    /// Heads.
    pub heads: u32,
    /// Maximum number of positions.
    pub context: u32,
}

impl Options {
    /// A model of Nomic BERT.
    pub fn nomic() -> Self {
        Self {
            architecture: "nomic-bert",
            fused: true,
            ..Self::default()
        }
    }

    fn is_nomic(&self) -> bool {
        self.architecture == "nomic-bert"
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            architecture: "bert",
            encoding: Encoding::Q8_0,
            fused: false,
            unigram: false,
            no_token_types: false,
            pooling: Some(1),
            seed: 1,
            layers: 3,
            hidden: 96,
            feed_forward: 160,
            heads: 3,
            context: 256,
        }
    }
}

/// Writes the model to `path` and returns the path.
///
/// # Panics
/// If the file cannot be written.
#[track_caller]
pub fn written(path: impl Into<PathBuf>, options: &Options) -> PathBuf {
    let path = path.into();
    if let Err(error) = build(options).write(&path) {
        panic!("{}: cannot write: {error}", path.display());
    }
    path
}

/// The model as a file not yet written, so that a test can change it first.
pub fn build(options: &Options) -> File {
    let mut file = File::default();
    add_hyperparameters(&mut file, options);
    let tokens = match options.unigram {
        true => tiny_unigram::add_vocabulary(&mut file),
        false => add_vocabulary(&mut file),
    };
    file.set("tokenizer.ggml.token_type_count", Value::U32(2));
    add_tensors(&mut file, options, tokens);
    file
}

fn add_hyperparameters(file: &mut File, options: &Options) {
    file.set(
        "general.architecture",
        Value::String(options.architecture.into()),
    );
    let name = Value::String("Lanewise tiny test model".into());
    file.set("general.name", name);
    let mut set = |name: &str, value| file.set(&format!("{}.{name}", options.architecture), value);
    set("block_count", Value::U32(options.layers));
    set("context_length", Value::U32(options.context));
    set("embedding_length", Value::U32(options.hidden));
    set("feed_forward_length", Value::U32(options.feed_forward));
    set("attention.head_count", Value::U32(options.heads));
    set("attention.layer_norm_epsilon", Value::F32(1e-12));
    set("attention.causal", Value::Bool(false));
    if options.is_nomic() {
        set("rope.freq_base", Value::F32(1000.0));
    }
    if let Some(pooling) = options.pooling {
        set("pooling_type", Value::U32(pooling));
    }
}

/// Adds the vocabulary and returns the number of its tokens.
fn add_vocabulary(file: &mut File) -> usize {
    let control = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let words = [
        "the", "hello", "world", "one", "text", "a", "of", "and", "un", "日", "本",
    ];
    let parts = ["ing", "ed", "s", "aff", "able", "llo", "er", "est"];
    let letters: Vec<String> = ('a'..='z').chain('0'..='9').map(String::from).collect();
    let marks = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
        .chars()
        .map(String::from);
    let begins = words.iter().map(|&word| word.to_owned());
    let begins = begins.chain(letters.iter().cloned()).chain(marks);
    let mut tokens: Vec<String> = control.map(String::from).to_vec();
    let mut types = vec![CONTROL; control.len()];
    for token in begins.map(|text| format!("\u{2581}{text}")) {
        if !tokens.contains(&token) {
            tokens.push(token);
        }
    }
    tokens.extend(parts.map(String::from));
    tokens.extend(letters);
    // Enough that ids of random texts are ordinary.
    tokens.extend((0..2500).map(|number| format!("\u{2581}piece{number}")));
    types.resize(tokens.len(), NORMAL);
    let count = tokens.len();
    let tokens = tokens.into_iter().map(String::into_bytes).collect();
    let mut set = |name: &str, value| file.set(&format!("tokenizer.ggml.{name}"), value);
    set("model", Value::String("bert".into()));
    set("pre", Value::String("default".into()));
    set("tokens", Value::Strings(tokens));
    set("token_type", Value::I32s(types));
    set("unknown_token_id", Value::U32(1));
    set("cls_token_id", Value::U32(2));
    set("seperator_token_id", Value::U32(3));
    set("padding_token_id", Value::U32(0));
    set("mask_token_id", Value::U32(4));
    count
}

fn add_tensors(file: &mut File, options: &Options, vocabulary: usize) {
    let (hidden, feed_forward) = (options.hidden as usize, options.feed_forward as usize);
    let mut random = Random(options.seed);
    let mut table = |file: &mut File, name: &str, rows: usize, encoding| {
        let values: Vec<f32> = (0..rows * hidden).map(|_| random.symmetric()).collect();
        file.push(name, &[hidden, rows], encoding, &values);
    };
    table(file, "token_embd.weight", vocabulary, options.encoding);
    let positions = options.context as usize;
    if !options.is_nomic() {
        table(file, "position_embd.weight", positions, Encoding::F32);
    }
    if options.no_token_types {
        file.remove("tokenizer.ggml.token_type_count");
    } else {
        table(file, "token_types.weight", 2, Encoding::F32);
    }
    let mut random = Random(!options.seed);
    let mut vector = |file: &mut File, name: &str, length: usize, middle: f32| {
        let values: Vec<f32> = (0..length)
            .map(|_| middle + 0.25 * random.symmetric())
            .collect();
        file.push(name, &[length], Encoding::F32, &values);
    };
    let mut random = Random(options.seed + 1);
    let mut matrix = |file: &mut File, name: &str, rows: usize, columns: usize| {
        // Values of variance 1 in give values of variance about 1 out.
        let scale = (3.0 / columns as f32).sqrt();
        let values: Vec<f32> = (0..rows * columns)
            .map(|_| random.symmetric() * scale)
            .collect();
        file.push(name, &[columns, rows], options.encoding, &values);
    };
    vector(file, "token_embd_norm.weight", hidden, 1.0);
    vector(file, "token_embd_norm.bias", hidden, 0.0);
    for layer in 0..options.layers {
        let name = |part: &str, kind: &str| format!("blk.{layer}.{part}.{kind}");
        let qkv: &[(&str, usize)] = match options.fused {
            true => &[("attn_qkv", 3)],
            false => &[("attn_q", 1), ("attn_k", 1), ("attn_v", 1)],
        };
        let qkv = qkv
            .iter()
            .map(|&(part, times)| (part, times * hidden, hidden));
        let gate = options
            .is_nomic()
            .then_some(("ffn_gate", feed_forward, hidden));
        let others = [
            ("attn_output", hidden, hidden),
            ("ffn_up", feed_forward, hidden),
            ("ffn_down", hidden, feed_forward),
        ];
        for (part, rows, columns) in qkv.chain(others).chain(gate) {
            matrix(file, &name(part, "weight"), rows, columns);
            if !options.is_nomic() {
                vector(file, &name(part, "bias"), rows, 0.0);
            }
        }
        for part in ["attn_output_norm", "layer_output_norm"] {
            vector(file, &name(part, "weight"), hidden, 1.0);
            vector(file, &name(part, "bias"), hidden, 0.0);
        }
    }
}
