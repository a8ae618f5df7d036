//! Small models of the architectures that norm before each half of a layer, Qwen3 and ModernBERT, for tests
//! that should not need a real one.
//!
//! Their weights are pseudo-random, so their vectors mean nothing; but their files have every key and tensor
//! of a real one. The same options give the same bytes on every machine.

use std::path::PathBuf;

use crate::byte_vocabulary;
use crate::gguf_writer::{Encoding, File, Value};
use crate::random::Random;

/// Which architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Qwen3: causal, with norms of heads, several heads of queries a head of keys.
    Qwen3,
    /// ModernBERT: every third layer full, the others with a window.
    ModernBert,
}

impl Architecture {
    /// `general.architecture`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qwen3 => "qwen3",
            Self::ModernBert => "modern-bert",
        }
    }
}

/// Hyperparameters of the model.
#[derive(Clone, Debug)]
pub struct Options {
    /// The architecture.
    pub architecture: Architecture,
    /// How matrices are stored; norms are always f32.
    pub encoding: Encoding,
    /// `pooling_type`: 1 for the mean, 2 for the first token, 3 for the last; `None` leaves it out.
    pub pooling: Option<u32>,
    /// The weights depend on it.
    pub seed: u64,
    /// Number of layers.
    pub layers: u32,
    /// Width of an embedding; a multiple of 32.
    pub hidden: u32,
    /// Width between the halves of a feed-forward layer; a multiple of 32.
    pub feed_forward: u32,
    /// Heads of queries; of Qwen3 an even number, of ModernBERT one that makes heads of a multiple of 32.
    pub heads: u32,
    /// Maximum number of positions.
    pub context: u32,
    /// The window of ModernBERT.
    pub window: u32,
}

/// Values of a head of Qwen3, whatever the width.
const HEAD_DIM: u32 = 32;

impl Options {
    /// A Qwen3 model.
    pub fn qwen3() -> Self {
        Self {
            architecture: Architecture::Qwen3,
            encoding: Encoding::Q8_0,
            pooling: Some(3),
            seed: 1,
            layers: 3,
            hidden: 96,
            feed_forward: 160,
            heads: 4,
            context: 256,
            window: 0,
        }
    }

    /// A ModernBERT model.
    pub fn modern_bert() -> Self {
        Self {
            architecture: Architecture::ModernBert,
            pooling: Some(1),
            layers: 4,
            heads: 3,
            window: 32,
            ..Self::qwen3()
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
    let tokens = add_metadata(&mut file, options);
    match options.architecture {
        Architecture::Qwen3 => add_qwen3(&mut file, options, tokens),
        Architecture::ModernBert => add_modern_bert(&mut file, options, tokens),
    }
    file
}

/// Adds hyperparameters and vocabulary, and returns the number of tokens.
fn add_metadata(file: &mut File, options: &Options) -> usize {
    let architecture = options.architecture.name();
    file.set("general.architecture", Value::String(architecture.into()));
    let name = Value::String("Lanewise tiny test model".into());
    file.set("general.name", name);
    let mut set = |name: &str, value| file.set(&format!("{architecture}.{name}"), value);
    set("block_count", Value::U32(options.layers));
    set("context_length", Value::U32(options.context));
    set("embedding_length", Value::U32(options.hidden));
    set("feed_forward_length", Value::U32(options.feed_forward));
    set("attention.head_count", Value::U32(options.heads));
    if let Some(pooling) = options.pooling {
        set("pooling_type", Value::U32(pooling));
    }
    match options.architecture {
        Architecture::Qwen3 => {
            set("attention.head_count_kv", Value::U32(options.heads / 2));
            set("attention.key_length", Value::U32(HEAD_DIM));
            set("attention.value_length", Value::U32(HEAD_DIM));
            set("attention.layer_norm_rms_epsilon", Value::F32(1e-6));
            set("rope.freq_base", Value::F32(1e6));
            let control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
            let count = byte_vocabulary::add(file, "qwen2", &control, &["<think>"]);
            file.set("tokenizer.ggml.eos_token_id", Value::U32(0));
            count
        }
        Architecture::ModernBert => {
            set("attention.layer_norm_epsilon", Value::F32(1e-5));
            set("attention.causal", Value::Bool(false));
            set("attention.sliding_window", Value::U32(options.window));
            set("attention.sliding_window_pattern", Value::U32(3));
            set("rope.freq_base", Value::F32(160_000.0));
            set("rope.freq_base_swa", Value::F32(10_000.0));
            set("rope.scaling.type", Value::String("none".into()));
            let control = ["[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"];
            let count = byte_vocabulary::add(file, "modern-bert", &control, &["   ", "  "]);
            for (name, id) in [("cls", 0), ("seperator", 1), ("padding", 2), ("mask", 4)] {
                let key = format!("tokenizer.ggml.{name}_token_id");
                file.set(&key, Value::U32(id));
            }
            count
        }
    }
}

/// Adds tensors of pseudo-random values.
struct Tensors<'a> {
    file: &'a mut File,
    encoding: Encoding,
    random: Random,
}

impl<'a> Tensors<'a> {
    fn new(file: &'a mut File, options: &Options) -> Self {
        Self {
            file,
            encoding: options.encoding,
            random: Random(options.seed),
        }
    }

    fn norm(&mut self, name: &str, length: u32) {
        let length = length as usize;
        let values: Vec<f32> = (0..length)
            .map(|_| 1.0 + 0.25 * self.random.symmetric())
            .collect();
        let name = format!("{name}.weight");
        self.file.push(&name, &[length], Encoding::F32, &values);
    }

    fn matrix(&mut self, name: &str, rows: u32, columns: u32) {
        let (rows, columns) = (rows as usize, columns as usize);
        // Values of variance 1 in give values of variance about 1 out.
        let scale = (3.0 / columns as f32).sqrt();
        let values: Vec<f32> = (0..rows * columns)
            .map(|_| self.random.symmetric() * scale)
            .collect();
        let name = format!("{name}.weight");
        self.file
            .push(&name, &[columns, rows], self.encoding, &values);
    }
}

fn add_qwen3(file: &mut File, options: &Options, tokens: usize) {
    let (hidden, feed_forward) = (options.hidden, options.feed_forward);
    let (queries, keys) = (options.heads * HEAD_DIM, options.heads / 2 * HEAD_DIM);
    let mut tensors = Tensors::new(file, options);
    tensors.matrix("token_embd", tokens as u32, hidden);
    tensors.norm("output_norm", hidden);
    for layer in 0..options.layers {
        let name = |part: &str| format!("blk.{layer}.{part}");
        tensors.norm(&name("attn_norm"), hidden);
        tensors.matrix(&name("attn_q"), queries, hidden);
        tensors.matrix(&name("attn_k"), keys, hidden);
        tensors.matrix(&name("attn_v"), keys, hidden);
        tensors.norm(&name("attn_q_norm"), HEAD_DIM);
        tensors.norm(&name("attn_k_norm"), HEAD_DIM);
        tensors.matrix(&name("attn_output"), hidden, queries);
        tensors.norm(&name("ffn_norm"), hidden);
        tensors.matrix(&name("ffn_gate"), feed_forward, hidden);
        tensors.matrix(&name("ffn_up"), feed_forward, hidden);
        tensors.matrix(&name("ffn_down"), hidden, feed_forward);
    }
}

fn add_modern_bert(file: &mut File, options: &Options, tokens: usize) {
    let (hidden, feed_forward) = (options.hidden, options.feed_forward);
    let mut tensors = Tensors::new(file, options);
    tensors.matrix("token_embd", tokens as u32, hidden);
    tensors.norm("token_embd_norm", hidden);
    tensors.norm("output_norm", hidden);
    for layer in 0..options.layers {
        let name = |part: &str| format!("blk.{layer}.{part}");
        if layer > 0 {
            tensors.norm(&name("attn_norm"), hidden);
        }
        tensors.matrix(&name("attn_qkv"), 3 * hidden, hidden);
        tensors.matrix(&name("attn_output"), hidden, hidden);
        tensors.norm(&name("ffn_norm"), hidden);
        tensors.matrix(&name("ffn_up"), 2 * feed_forward, hidden);
        tensors.matrix(&name("ffn_down"), hidden, feed_forward);
    }
}
