//! A small model of EmbeddingGemma's architecture, for tests that should not need the real one.
//!
//! Its weights are pseudo-random, so its vectors mean nothing; but its file has every key and
//! tensor of the real one, and its vocabulary every kind of token. The same options give the same
//! bytes on every machine.

use std::io;
use std::path::{Path, PathBuf};

use crate::gguf_writer::{Encoding, File, Value};
use crate::random::Random;

/// Token types as GGUF numbers them.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;

/// Hyperparameters of the model, and what is left out of its file.
#[derive(Clone, Debug)]
pub struct Options {
    /// How matrices are stored; norms are always f32.
    pub encoding: Encoding,
    /// Leave the two dense heads out.
    pub no_dense: bool,
    /// Leave `rope.freq_base_swa` out.
    pub no_swa_base: bool,
    /// The weights depend on it.
    pub seed: u64,
    /// Number of layers; every sixth is global.
    pub layers: u32,
    /// Width of an embedding; a multiple of 32.
    pub hidden: u32,
    /// Width between the halves of a feed-forward layer; a multiple of 32.
    pub feed_forward: u32,
    /// Query heads.
    pub heads: u32,
    /// Key/value heads; must divide the query heads.
    pub kv_heads: u32,
    /// Width of a head; a multiple of 32.
    pub head_dim: u32,
    /// Maximum number of positions.
    pub context: u32,
    /// Window of local layers, half of it on each side.
    pub sliding_window: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            encoding: Encoding::Q8_0,
            no_dense: false,
            no_swa_base: false,
            seed: 1,
            layers: 2,
            hidden: 64,
            feed_forward: 96,
            heads: 3,
            kv_heads: 1,
            head_dim: 32,
            context: 256,
            sliding_window: 8,
        }
    }
}

/// Writes the model to `path`.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: impl AsRef<Path>, options: &Options) -> io::Result<()> {
    build(options).write(path)
}

/// Writes the model to `path` and returns the path.
///
/// # Panics
/// If the file cannot be written.
#[track_caller]
pub fn written(path: impl Into<PathBuf>, options: &Options) -> PathBuf {
    let path = path.into();
    if let Err(error) = write(&path, options) {
        panic!("{}: cannot write: {error}", path.display());
    }
    path
}

/// The model as a file not yet written, so that a test can change it first.
pub fn build(options: &Options) -> File {
    let vocabulary = vocabulary();
    let mut file = File::default();
    add_hyperparameters(&mut file, options);
    let tokens = vocabulary.len();
    add_vocabulary(&mut file, vocabulary);
    add_tensors(&mut file, options, tokens);
    file
}

fn add_hyperparameters(file: &mut File, options: &Options) {
    file.set(
        "general.architecture",
        Value::String("gemma-embedding".into()),
    );
    file.set(
        "general.name",
        Value::String("Lanewise tiny test model".into()),
    );
    let mut set = |name: &str, value| file.set(&format!("gemma-embedding.{name}"), value);
    set("block_count", Value::U32(options.layers));
    set("context_length", Value::U32(options.context));
    set("embedding_length", Value::U32(options.hidden));
    set("feed_forward_length", Value::U32(options.feed_forward));
    set("attention.head_count", Value::U32(options.heads));
    set("attention.head_count_kv", Value::U32(options.kv_heads));
    set("attention.key_length", Value::U32(options.head_dim));
    set("attention.value_length", Value::U32(options.head_dim));
    set("attention.layer_norm_rms_epsilon", Value::F32(1e-6));
    set(
        "attention.sliding_window",
        Value::U32(options.sliding_window),
    );
    set("rope.freq_base", Value::F32(1e6));
    if !options.no_swa_base {
        set("rope.freq_base_swa", Value::F32(1e4));
    }
    set("pooling_type", Value::U32(1));
    if !options.no_dense {
        set("dense_2_feat_in", Value::U32(options.hidden));
        set("dense_2_feat_out", Value::U32(4 * options.hidden));
        set("dense_3_feat_in", Value::U32(4 * options.hidden));
        set("dense_3_feat_out", Value::U32(options.hidden));
    }
}

fn add_vocabulary(file: &mut File, vocabulary: Vec<Token>) {
    let scores = vocabulary.iter().map(|token| token.score).collect();
    let types = vocabulary.iter().map(|token| token.kind).collect();
    let tokens = vocabulary.into_iter().map(|token| token.text.into_bytes());
    let mut set = |name: &str, value| file.set(&format!("tokenizer.ggml.{name}"), value);
    set("model", Value::String("llama".into()));
    set("pre", Value::String("default".into()));
    set("tokens", Value::Strings(tokens.collect()));
    set("scores", Value::F32s(scores));
    set("token_type", Value::I32s(types));
    set("bos_token_id", Value::U32(2));
    set("eos_token_id", Value::U32(1));
    set("unknown_token_id", Value::U32(3));
    set("padding_token_id", Value::U32(0));
    set("add_bos_token", Value::Bool(true));
    set("add_eos_token", Value::Bool(true));
    set("add_space_prefix", Value::Bool(false));
}

/// Adds the vocabulary as `gemma4` files have it, with merges instead of scores, and returns the number of
/// its tokens.
pub(crate) fn add_merged_vocabulary(file: &mut File) -> usize {
    let mut vocabulary = vocabulary();
    let ordinary = vocabulary.iter().filter(|token| token.kind == NORMAL);
    let texts: Vec<String> = ordinary.map(|token| token.text.clone()).collect();
    // A piece is merged from any two that are pieces.
    let halves = |text: &String| {
        let cuts = text.char_indices().skip(1).map(|(at, _)| text.split_at(at));
        let known = |half: &str| texts.iter().any(|text| text == half);
        let both = cuts.filter(|&(left, right)| known(left) && known(right));
        both.map(|(left, right)| format!("{left} {right}").into_bytes())
            .collect::<Vec<_>>()
    };
    let merges = texts.iter().flat_map(halves).collect();
    for token in &mut vocabulary {
        token.score = -1000.0;
        if token.kind == USER_DEFINED {
            token.kind = NORMAL;
        }
    }
    let count = vocabulary.len();
    add_vocabulary(file, vocabulary);
    let model = Value::String("gemma4".into());
    file.set("tokenizer.ggml.model", model);
    file.set("tokenizer.ggml.merges", Value::Strings(merges));
    count
}

struct Token {
    text: String,
    score: f32,
    kind: i32,
}

/// Tokens in the order of the real file: control, user-defined, bytes, merged pieces by falling
/// score, single characters.
fn vocabulary() -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut add = |text: String, score: f32, kind| tokens.push(Token { text, score, kind });
    for text in ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"] {
        add(text.into(), -1000.0, CONTROL);
    }
    let runs = (1..=8).map(|length| ("\n", length));
    let runs = runs.chain((2..=8).map(|length| (" ", length)));
    let runs = runs.chain((1..=4).map(|length| ("\t", length)));
    for (unit, length) in runs {
        add(unit.repeat(length), -1000.0, USER_DEFINED);
    }
    for text in ["<table>", "</table>", "<unused7>"] {
        add(text.into(), -1000.0, USER_DEFINED);
    }
    for byte in 0..=255 {
        add(format!("<0x{byte:02X}>"), 0.0, BYTE);
    }
    // Each piece is a pair of pieces that stand here or below, so that merging reaches it.
    let pieces = [
        "▁t", "in", "▁a", "er", "on", "he", "re", "en", "at", "▁s", "or", "▁the", "es", "an", "it",
        "▁w", "ar", "ing", "ll", "is", "▁o", "▁c", "ld", "▁in", "▁wor", "▁world", "el", "ell",
        "▁and", "▁of", "nd", "ello", "Hello", "hello", "qu", "st", "▁is", "co", "té", "été",
        "日本",
    ];
    let mut score = 0.0;
    let singles = ('a'..='z').chain('A'..='Z').chain('0'..='9');
    let singles = singles.chain("▁.,;:!?'\"()-_/|<>=+*&%#@éàßñ日本語のé".chars());
    let mut seen = std::collections::HashSet::new();
    for text in pieces
        .map(String::from)
        .into_iter()
        .chain(singles.map(String::from))
    {
        if seen.insert(text.clone()) {
            add(text, score, NORMAL);
            score -= 1.0;
        }
    }
    tokens
}

fn add_tensors(file: &mut File, options: &Options, vocabulary: usize) {
    let hidden = options.hidden as usize;
    let feed_forward = options.feed_forward as usize;
    let head_dim = options.head_dim as usize;
    let queries = options.heads as usize * head_dim;
    let keys = options.kv_heads as usize * head_dim;
    let mut random = Random(options.seed);
    let mut matrix = |file: &mut File, name: &str, rows: usize, columns: usize| {
        // Values of variance 1 in give values of variance about 1 out.
        let scale = (3.0 / columns as f32).sqrt();
        let values: Vec<f32> = (0..rows * columns)
            .map(|_| random.symmetric() * scale)
            .collect();
        file.push(name, &[columns, rows], options.encoding, &values);
    };
    // Norms have a generator of their own, so that each closure can hold one.
    let mut norm_random = Random(!options.seed);
    let mut norm = |file: &mut File, name: &str, length: usize| {
        let values: Vec<f32> = (0..length)
            .map(|_| 1.0 + 0.25 * norm_random.symmetric())
            .collect();
        file.push(name, &[length], Encoding::F32, &values);
    };

    matrix(file, "token_embd.weight", vocabulary, hidden);
    for layer in 0..options.layers {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        norm(file, &name("attn_norm"), hidden);
        matrix(file, &name("ffn_down"), hidden, feed_forward);
        matrix(file, &name("ffn_gate"), feed_forward, hidden);
        matrix(file, &name("ffn_up"), feed_forward, hidden);
        norm(file, &name("post_attention_norm"), hidden);
        norm(file, &name("post_ffw_norm"), hidden);
        norm(file, &name("ffn_norm"), hidden);
        norm(file, &name("attn_k_norm"), head_dim);
        matrix(file, &name("attn_k"), keys, hidden);
        matrix(file, &name("attn_output"), hidden, queries);
        norm(file, &name("attn_q_norm"), head_dim);
        matrix(file, &name("attn_q"), queries, hidden);
        matrix(file, &name("attn_v"), keys, hidden);
    }
    norm(file, "output_norm.weight", hidden);
    if !options.no_dense {
        matrix(file, "dense_2.weight", 4 * hidden, hidden);
        matrix(file, "dense_3.weight", hidden, 4 * hidden);
    }
}
