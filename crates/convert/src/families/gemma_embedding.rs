//! EmbeddingGemma, the first: a Gemma 3 encoder with two dense heads.

use std::path::Path;

use serde_json::{Value, json};

use super::{Family, Plan, Source};
use crate::Pooling;
use crate::checkpoint::Checkpoint;
use crate::config::{ANY_SIZE, Config, LAYERS};
use crate::error::{Error, Result, input};
use crate::gguf::Metadata;
use crate::tokenizer::json::TokenizerFile;
use crate::tokenizer::{Kind, Token, Vocabulary, sentencepiece};
use crate::weights::Weights;

pub const FAMILY: Family = Family {
    name: "EmbeddingGemma",
    architectures: &["Gemma3TextModel"],
    plan,
};

const ARCHITECTURE: &str = "gemma-embedding";
/// Every sixth layer sees the whole text.
const PATTERN: usize = 6;
/// `<unk>` of Gemma's vocabulary; the configuration does not name it.
const UNKNOWN_ID: u32 = 3;
/// The dense heads, by the numbers in the names of their directories.
const HEADS: [(u32, &str); 2] = [(2, "2_Dense"), (3, "3_Dense")];

fn plan(source: &Source, checkpoint: &mut Checkpoint) -> Result<Plan> {
    let config = &source.config;
    check(config)?;
    let pooling = source.pooling()?;
    if pooling != Pooling::Mean {
        let problem = format!("is {}, not mean", pooling.name());
        let remedy = "use a model of the usual form";
        return Err(config.error("pooling of the model", problem, remedy));
    }
    let layers = config.size("num_hidden_layers", LAYERS)?;
    let hidden = config.size("hidden_size", ANY_SIZE)?;
    let feed_forward = config.size("intermediate_size", ANY_SIZE)?;
    let heads = config.size("num_attention_heads", 1..=1024)?;
    let heads_kv = config.size("num_key_value_heads", 1..=1024)?;
    let head = config.size("head_dim", 1..=1 << 14)?;
    let vocabulary = config.size("vocab_size", ANY_SIZE)?;
    config.expect("query_pre_attn_scalar", &[json!(head)])?;
    let dense = dense_heads(source, checkpoint)?;

    let mut metadata = source.metadata(ARCHITECTURE);
    metadata.string("general.license", "gemma");
    let own = |key: &str| format!("{ARCHITECTURE}.{key}");
    metadata.u32(&own("block_count"), layers);
    let positions = config.size("max_position_embeddings", ANY_SIZE)?;
    metadata.u32(&own("context_length"), positions);
    metadata.u32(&own("embedding_length"), hidden);
    metadata.u32(&own("feed_forward_length"), feed_forward);
    metadata.u32(&own("attention.head_count"), heads);
    metadata.u32(&own("attention.head_count_kv"), heads_kv);
    metadata.u32(&own("attention.key_length"), head);
    metadata.u32(&own("attention.value_length"), head);
    let epsilon = config.positive("rms_norm_eps")?;
    metadata.f32(&own("attention.layer_norm_rms_epsilon"), epsilon);
    let base = config.rope_base(Some("full_attention"), "rope_theta")?;
    metadata.f32(&own("rope.freq_base"), base);
    let base = config.rope_base(Some("sliding_attention"), "rope_local_base_freq")?;
    metadata.f32(&own("rope.freq_base_swa"), base);
    let window = config.size("sliding_window", ANY_SIZE)?;
    metadata.u32(&own("attention.sliding_window"), window);
    metadata.u32(&own("pooling_type"), pooling.number());
    source.write_file_type(&mut metadata);
    for &(number, [rows, columns]) in &dense {
        metadata.u32(&own(&format!("dense_{number}_feat_in")), columns);
        metadata.u32(&own(&format!("dense_{number}_feat_out")), rows);
    }
    write_tokenizer(source, vocabulary, &mut metadata)?;

    let first = "embed_tokens.weight";
    let mut weights = Weights::new(checkpoint, source.job.weights, first, &["", "model."]);
    weights.embeddings(first, "token_embd.weight", vocabulary, hidden)?;
    weights.shifted("norm.weight", "output_norm.weight", hidden)?;
    for layer in 0..layers {
        let name = |from: &str, to: &str| {
            let from = format!("layers.{layer}.{from}.weight");
            (from, format!("blk.{layer}.{to}.weight"))
        };
        for (from, to, rows, columns) in [
            ("self_attn.q_proj", "attn_q", heads * head, hidden),
            ("self_attn.k_proj", "attn_k", heads_kv * head, hidden),
            ("self_attn.v_proj", "attn_v", heads_kv * head, hidden),
            ("self_attn.o_proj", "attn_output", hidden, heads * head),
            ("mlp.gate_proj", "ffn_gate", feed_forward, hidden),
            ("mlp.up_proj", "ffn_up", feed_forward, hidden),
            ("mlp.down_proj", "ffn_down", hidden, feed_forward),
        ] {
            let (from, to) = name(from, to);
            weights.matrix(&from, &to, rows, columns)?;
        }
        // GGUF keeps every norm's weight as 1 + w, the form an engine multiplies by.
        for (from, to, length) in [
            ("input_layernorm", "attn_norm", hidden),
            ("self_attn.q_norm", "attn_q_norm", head),
            ("self_attn.k_norm", "attn_k_norm", head),
            ("post_attention_layernorm", "post_attention_norm", hidden),
            ("pre_feedforward_layernorm", "ffn_norm", hidden),
            ("post_feedforward_layernorm", "post_ffw_norm", hidden),
        ] {
            let (from, to) = name(from, to);
            weights.shifted(&from, &to, length)?;
        }
    }
    weights.leave_transformer();
    for (number, [rows, columns]) in dense {
        let from = format!("{number}_Dense.linear.weight");
        weights.matrix(&from, &format!("dense_{number}.weight"), rows, columns)?;
    }
    let tensors = weights.finish(|_| false)?;
    Ok((metadata, tensors))
}

/// Checks that the model computes as the family does.
fn check(config: &Config) -> Result<()> {
    config.expect("hidden_activation", &[json!("gelu_pytorch_tanh")])?;
    config.expect("attention_bias", &[json!(false)])?;
    let absent = [
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "rope_scaling",
    ];
    config.expect_absent(&absent)?;
    if config.flag("use_bidirectional_attention")? != Some(true) {
        let problem = "is not true: this is a model that writes text";
        let remedy = "give EmbeddingGemma, or a model made from it";
        return Err(config.error("use_bidirectional_attention", problem, remedy));
    }
    let expected = |layer: usize| match (layer + 1).is_multiple_of(PATTERN) {
        true => "full_attention",
        false => "sliding_attention",
    };
    if let Some(Value::Array(types)) = config.get("layer_types")
        && let Some(layer) = (0..types.len()).find(|&layer| types[layer] != expected(layer))
    {
        let problem = format!("of layer {layer} is not {}", expected(layer));
        let remedy = "use a model of the usual form";
        return Err(config.error("layer_types", problem, remedy));
    }
    Ok(())
}

/// The numbers of the dense heads, with rows and columns; none if the caller wants none.
fn dense_heads(source: &Source, checkpoint: &mut Checkpoint) -> Result<Vec<(u32, [u32; 2])>> {
    let mut dense = Vec::new();
    if !source.job.dense_heads {
        return Ok(dense);
    }
    let found = &source.modules.dense;
    if found.is_empty() {
        return Err(Error::MissingDenseHeads {
            path: source.job.directory.clone(),
        });
    }
    if found.len() != HEADS.len() {
        let problem = format!("has {} Dense modules, not {}", found.len(), HEADS.len());
        let remedy = "use a model of the usual form";
        return Err(source.config.error("modules of the model", problem, remedy));
    }
    for (directory, (number, name)) in found.iter().zip(HEADS) {
        let config = Config::read(directory.join("config.json"))?;
        config.expect("bias", &[json!(false)])?;
        let identity = "torch.nn.modules.linear.Identity";
        config.expect("activation_function", &[json!(identity)])?;
        let columns = config.size("in_features", ANY_SIZE)?;
        let rows = config.size("out_features", ANY_SIZE)?;
        checkpoint.add_module(directory, &format!("{name}."))?;
        dense.push((number, [rows, columns]));
    }
    Ok(dense)
}

fn write_tokenizer(source: &Source, rows: u32, metadata: &mut Metadata) -> Result<()> {
    let directory = &source.modules.transformer;
    let vocabulary = vocabulary(directory, rows)?;
    let config = &source.config;
    metadata.string("tokenizer.ggml.model", "llama");
    metadata.string("tokenizer.ggml.pre", "default");
    vocabulary.write_tokens(metadata);
    vocabulary.write_scores(metadata);
    vocabulary.write_types(metadata);
    for (key, field) in [("bos", "bos_token_id"), ("eos", "eos_token_id")] {
        let id = config.size(field, 0..=rows - 1)?;
        metadata.u32(&format!("tokenizer.ggml.{key}_token_id"), id);
    }
    metadata.u32("tokenizer.ggml.unknown_token_id", UNKNOWN_ID);
    let padding = config.size("pad_token_id", 0..=rows - 1)?;
    metadata.u32("tokenizer.ggml.padding_token_id", padding);
    metadata.bool("tokenizer.ggml.add_bos_token", true);
    metadata.bool("tokenizer.ggml.add_eos_token", true);
    metadata.bool("tokenizer.ggml.add_space_prefix", false);
    Ok(())
}

/// The SentencePiece model, overlaid with the tokens that `tokenizer.json` adds.
fn vocabulary(directory: &Path, rows: u32) -> Result<Vocabulary> {
    let mut vocabulary = Vocabulary::unused(rows);
    let pieces = directory.join("tokenizer.model");
    if !pieces.exists() {
        let remedy = "fetch it from the model's own repository: it has the scores of the tokens";
        return Err(input(&pieces, "file", "is missing", remedy));
    }
    sentencepiece::read(&pieces, &mut vocabulary)?;
    let path = directory.join("tokenizer.json");
    for added in TokenizerFile::read_added(&path)? {
        // The vocabulary has tokens of images, which this model has no rows for.
        if added.id >= u64::from(rows) {
            continue;
        }
        let text = &*added.content;
        let is_control =
            added.special || matches!(text, "<pad>" | "<mask>") || text.starts_with("<unused");
        let token = Token {
            // Runs of spaces stand in GGUF as spaces.
            text: text.replace('\u{2581}', " ").into(),
            score: -1000.0,
            kind: if is_control {
                Kind::Control
            } else {
                Kind::UserDefined
            },
        };
        vocabulary.set(&path, added.id, token)?;
    }
    Ok(vocabulary)
}
