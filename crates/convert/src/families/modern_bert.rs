//! ModernBERT: modernbert-embed, gte-modernbert, granite-embedding r2.

use serde_json::{Value, json};

use super::{Family, Plan, Source};
use crate::checkpoint::Checkpoint;
use crate::config::{ANY_SIZE, LAYERS};
use crate::error::Result;
use crate::tokenizer::bpe::{self, Split};
use crate::tokenizer::json::Kind;
use crate::tokenizer::{Specials, both_ends, id};
use crate::weights::Weights;

pub const FAMILY: Family = Family {
    name: "modernbert-embed, gte-modernbert, granite-embedding r2",
    architectures: &["ModernBertModel", "ModernBertForMaskedLM"],
    plan,
};

const ARCHITECTURE: &str = "modern-bert";

fn plan(source: &Source, checkpoint: &mut Checkpoint) -> Result<Plan> {
    let config = &source.config;
    for field in ["norm_bias", "attention_bias", "mlp_bias"] {
        config.expect(field, &[json!(false)])?;
    }
    config.expect("hidden_activation", &[json!("gelu"), json!("silu")])?;
    source.expect_no_dense()?;
    let layers = config.size("num_hidden_layers", LAYERS)?;
    let hidden = config.size("hidden_size", ANY_SIZE)?;
    let feed_forward = config.size("intermediate_size", ANY_SIZE)?;
    let heads = config.size("num_attention_heads", ANY_SIZE)?;
    let positions = config.size("max_position_embeddings", ANY_SIZE)?;
    let vocabulary = config.size("vocab_size", ANY_SIZE)?;
    let pattern = pattern(source)?;

    let mut metadata = source.metadata(ARCHITECTURE);
    let own = |key: &str| format!("{ARCHITECTURE}.{key}");
    metadata.u32(&own("block_count"), layers);
    metadata.u32(&own("context_length"), positions);
    metadata.u32(&own("embedding_length"), hidden);
    metadata.u32(&own("feed_forward_length"), feed_forward);
    metadata.u32(&own("attention.head_count"), heads);
    let base = config.rope_base(Some("full_attention"), "global_rope_theta")?;
    metadata.f32(&own("rope.freq_base"), base);
    let base = config.rope_base(Some("sliding_attention"), "local_rope_theta")?;
    metadata.f32(&own("rope.freq_base_swa"), base);
    let epsilon = config.positive("norm_eps")?;
    metadata.f32(&own("attention.layer_norm_epsilon"), epsilon);
    metadata.bool(&own("attention.causal"), false);
    metadata.u32(&own("pooling_type"), source.pooling()?.number());
    let window = config.size("local_attention", ANY_SIZE)?;
    metadata.u32(&own("attention.sliding_window"), window);
    metadata.u32(&own("attention.sliding_window_pattern"), pattern);
    metadata.string(&own("rope.scaling.type"), "none");
    metadata.u32(&own("vocab_size"), vocabulary);
    if let Some(activation) = config.text("hidden_activation")? {
        metadata.string(&own("hidden_activation"), activation);
    }
    source.write_file_type(&mut metadata);
    let tokenizer = source.tokenizer()?;
    if tokenizer.kind() != Kind::Bpe {
        return Err(tokenizer.unsupported(tokenizer.kind(), "BPE"));
    }
    let (first, last) = both_ends(&tokenizer)?;
    let required = |text: &str| id(&tokenizer, vocabulary, text);
    let specials = Specials {
        bos: Some(required(first)?),
        eos: Some(required(last)?),
        unknown: required("[UNK]").ok(),
        separator: Some(required(last)?),
        padding: Some(required("[PAD]")?),
        cls: Some(required(first)?),
        mask: required("[MASK]").ok(),
    };
    bpe::write(
        &tokenizer,
        Split::ModernBert,
        vocabulary,
        &specials,
        &mut metadata,
    )?;
    for end in ["bos", "eos", "sep"] {
        metadata.bool(&format!("tokenizer.ggml.add_{end}_token"), true);
    }
    source.write_own_keys(positions, &mut metadata);

    let first = "embeddings.tok_embeddings.weight";
    let mut weights = Weights::new(checkpoint, source.job.weights, first, &["", "model."]);
    weights.embeddings(first, "token_embd.weight", vocabulary, hidden)?;
    weights.vector("embeddings.norm.weight", "token_embd_norm.weight", hidden)?;
    weights.vector("final_norm.weight", "output_norm.weight", hidden)?;
    for layer in 0..layers {
        let from = |name: &str| format!("layers.{layer}.{name}.weight");
        let to = |name: &str| format!("blk.{layer}.{name}.weight");
        // The norm after the embeddings is that of the first layer.
        if layer > 0 {
            weights.vector(&from("attn_norm"), &to("attn_norm"), hidden)?;
        }
        weights.vector(&from("mlp_norm"), &to("ffn_norm"), hidden)?;
        for (name, new, rows, columns) in [
            ("attn.Wqkv", "attn_qkv", 3 * hidden, hidden),
            ("attn.Wo", "attn_output", hidden, hidden),
            ("mlp.Wi", "ffn_up", 2 * feed_forward, hidden),
            ("mlp.Wo", "ffn_down", hidden, feed_forward),
        ] {
            weights.matrix(&from(name), &to(new), rows, columns)?;
        }
    }
    let tensors =
        weights.finish(|name| name.starts_with("head.") || name.starts_with("decoder."))?;
    Ok((metadata, tensors))
}

/// Every how many layers one sees the whole text, the first included.
fn pattern(source: &Source) -> Result<u32> {
    let config = &source.config;
    let field = "global_attn_every_n_layers";
    let pattern = config.optional_size(field, LAYERS)?;
    let Some(Value::Array(types)) = config.get("layer_types") else {
        return config.required(field, pattern);
    };
    let is_full = |layer: &usize| types[*layer] == "full_attention";
    let second = (1..types.len()).find(is_full).unwrap_or(types.len());
    let pattern = pattern.unwrap_or(second.max(1) as u32);
    let expected = |layer: usize| layer.is_multiple_of(pattern as usize);
    if (0..types.len()).any(|layer| is_full(&layer) != expected(layer)) {
        let problem = format!("is not full_attention in every layer of {pattern}");
        return Err(config.error("layer_types", problem, "use a model of the usual form"));
    }
    Ok(pattern)
}
