//! A small model of EmbeddingGemma 2's architecture, for tests that should not need a real one.
//!
//! Its weights are pseudo-random, so its vectors mean nothing; but its file has every key and tensor of a
//! real one. The same options give the same bytes on every machine.

use std::path::PathBuf;

use crate::gguf_writer::{Encoding, File, Value};
use crate::random::Random;
use crate::tiny_model;

/// Hyperparameters of the model.
#[derive(Clone, Debug)]
pub struct Options {
    /// How matrices are stored; norms are always f32. Real files have `per_layer_model_proj` in floats.
    pub encoding: Encoding,
    /// The weights depend on it.
    pub seed: u64,
    /// Whether each layer sees a window.
    pub windows: Vec<bool>,
    /// Width of the residual stream; a multiple of 32.
    pub hidden: u32,
    /// Width between the halves of a feed-forward layer; a multiple of 32.
    pub feed_forward: u32,
    /// Width of the signal of a layer; a multiple of 32.
    pub signal: u32,
    /// Width of a vector; a multiple of 32.
    pub width: u32,
    /// Query heads.
    pub heads: u32,
    /// Key/value heads of layers that see the whole text, and a window.
    pub kv_heads: [u32; 2],
    /// Width of a head of these layers; multiples of 32.
    pub head_dims: [u32; 2],
    /// Maximum number of positions.
    pub context: u32,
    /// The whole window, half of which tokens see on either side.
    pub window: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            encoding: Encoding::Q8_0,
            seed: 1,
            windows: vec![true, true, false],
            hidden: 64,
            feed_forward: 96,
            signal: 32,
            width: 96,
            heads: 4,
            kv_heads: [1, 2],
            head_dims: [64, 32],
            context: 256,
            window: 32,
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
    let tokens = tiny_model::add_merged_vocabulary(&mut file);
    add_tensors(&mut file, options, tokens);
    file
}

fn add_hyperparameters(file: &mut File, options: &Options) {
    let architecture = Value::String("gemma-embedding2".into());
    file.set("general.architecture", architecture);
    let name = Value::String("Lanewise tiny test model".into());
    file.set("general.name", name);
    let mut set = |name: &str, value| file.set(&format!("gemma-embedding2.{name}"), value);
    let layers = options.windows.len() as u32;
    let kv_heads = |&window: &bool| options.kv_heads[usize::from(window)] as i32;
    let kv_heads = options.windows.iter().map(kv_heads).collect();
    set("block_count", Value::U32(layers));
    set("context_length", Value::U32(options.context));
    set("embedding_length", Value::U32(options.hidden));
    set("feed_forward_length", Value::U32(options.feed_forward));
    set(
        "embedding_length_per_layer_input",
        Value::U32(options.signal),
    );
    set("embedding_length_out", Value::U32(options.width));
    set("attention.head_count", Value::U32(options.heads));
    set("attention.head_count_kv", Value::I32s(kv_heads));
    for (suffix, head_dim) in ["", "_swa"].into_iter().zip(options.head_dims) {
        for key in [
            "attention.key_length",
            "attention.value_length",
            "rope.dimension_count",
        ] {
            set(&format!("{key}{suffix}"), Value::U32(head_dim));
        }
    }
    set("attention.layer_norm_rms_epsilon", Value::F32(1e-6));
    set("attention.sliding_window", Value::U32(options.window));
    let windows = Value::Bools(options.windows.clone());
    set("attention.sliding_window_pattern", windows);
    set("attention.causal", Value::Bool(false));
    set("rope.freq_base", Value::F32(1e6));
    set("rope.freq_base_swa", Value::F32(1e4));
    set("attention.shared_kv_layers", Value::U32(0));
    set("pooling_type", Value::U32(1));
}

fn add_tensors(file: &mut File, options: &Options, vocabulary: usize) {
    let [hidden, feed_forward, signal, width, heads] = [
        options.hidden,
        options.feed_forward,
        options.signal,
        options.width,
        options.heads,
    ]
    .map(|size| size as usize);
    let mut random = Random(options.seed);
    let mut matrix = |file: &mut File, name: &str, rows: usize, columns: usize, encoding| {
        // Values of variance 1 in give values of variance about 1 out.
        let scale = (3.0 / columns as f32).sqrt();
        let values: Vec<f32> = (0..rows * columns)
            .map(|_| random.symmetric() * scale)
            .collect();
        file.push(name, &[columns, rows], encoding, &values);
    };
    let mut norm_random = Random(!options.seed);
    let mut norm = |file: &mut File, name: &str, length: usize, middle: f32| {
        let values: Vec<f32> = (0..length)
            .map(|_| middle * (1.0 + 0.25 * norm_random.symmetric()))
            .collect();
        file.push(name, &[length], Encoding::F32, &values);
    };

    let (encoding, layers) = (options.encoding, options.windows.len());
    matrix(file, "token_embd.weight", vocabulary, hidden, encoding);
    let model_proj = "per_layer_model_proj.weight";
    matrix(file, model_proj, layers * signal, hidden, encoding);
    norm(file, "per_layer_proj_norm.weight", signal, 1.0);
    norm(file, "output_norm.weight", hidden, 1.0);
    matrix(file, "output.weight", width, hidden, encoding);
    for (layer, &window) in options.windows.iter().enumerate() {
        let kind = usize::from(window);
        let head_dim = options.head_dims[kind] as usize;
        let (queries, keys) = (heads * head_dim, options.kv_heads[kind] as usize * head_dim);
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        for (part, rows, columns) in [
            ("attn_q", queries, hidden),
            ("attn_k", keys, hidden),
            ("attn_v", keys, hidden),
            ("attn_output", hidden, queries),
            ("ffn_gate", feed_forward, hidden),
            ("ffn_up", feed_forward, hidden),
            ("ffn_down", hidden, feed_forward),
            ("inp_gate", signal, hidden),
            ("proj", hidden, signal),
        ] {
            matrix(file, &name(part), rows, columns, encoding);
        }
        for (part, length) in [
            ("attn_norm", hidden),
            ("attn_k_norm", head_dim),
            ("post_attention_norm", hidden),
            ("ffn_norm", hidden),
            ("post_ffw_norm", hidden),
            ("post_norm", hidden),
            ("layer_output_scale", 1),
        ] {
            norm(file, &name(part), length, 1.0);
        }
        // Scores are not scaled otherwise.
        let root = 1.0 / (head_dim as f32).sqrt();
        norm(file, &name("attn_q_norm"), head_dim, root);
    }
}
