//! Qwen3-Embedding: a decoder whose last token's vector stands for the text.

use serde_json::json;

use super::{Family, Plan, Source};
use crate::checkpoint::Checkpoint;
use crate::config::{ANY_SIZE, LAYERS};
use crate::error::Result;
use crate::tokenizer::bpe::{self, Split};
use crate::tokenizer::json::Kind;
use crate::tokenizer::{Specials, id};
use crate::weights::Weights;

pub const FAMILY: Family = Family {
    name: "Qwen3-Embedding",
    architectures: &["Qwen3ForCausalLM", "Qwen3Model"],
    plan,
};

const ARCHITECTURE: &str = "qwen3";
/// What is put after each text, and pooled.
const END: &str = "<|endoftext|>";

fn plan(source: &Source, checkpoint: &mut Checkpoint) -> Result<Plan> {
    let config = &source.config;
    config.expect("hidden_act", &[json!("silu")])?;
    config.expect("attention_bias", &[json!(false)])?;
    config.expect("use_sliding_window", &[json!(false)])?;
    config.expect_absent(&["rope_scaling"])?;
    source.expect_no_dense()?;
    let pooling = source.pooling()?;
    let layers = config.size("num_hidden_layers", LAYERS)?;
    let hidden = config.size("hidden_size", ANY_SIZE)?;
    let feed_forward = config.size("intermediate_size", ANY_SIZE)?;
    let heads = config.size("num_attention_heads", 1..=1024)?;
    let heads_kv = config.size("num_key_value_heads", 1..=1024)?;
    let head = config.size("head_dim", 1..=1 << 14)?;
    let positions = config.size("max_position_embeddings", ANY_SIZE)?;
    let vocabulary = config.size("vocab_size", ANY_SIZE)?;

    let mut metadata = source.metadata(ARCHITECTURE);
    let own = |key: &str| format!("{ARCHITECTURE}.{key}");
    metadata.u32(&own("block_count"), layers);
    metadata.u32(&own("context_length"), positions);
    metadata.u32(&own("embedding_length"), hidden);
    metadata.u32(&own("feed_forward_length"), feed_forward);
    metadata.u32(&own("attention.head_count"), heads);
    metadata.u32(&own("attention.head_count_kv"), heads_kv);
    metadata.f32(
        &own("rope.freq_base"),
        config.rope_base(None, "rope_theta")?,
    );
    let epsilon = config.positive("rms_norm_eps")?;
    metadata.f32(&own("attention.layer_norm_rms_epsilon"), epsilon);
    metadata.u32(&own("attention.key_length"), head);
    metadata.u32(&own("attention.value_length"), head);
    metadata.u32(&own("pooling_type"), pooling.number());
    source.write_file_type(&mut metadata);
    let tokenizer = source.tokenizer()?;
    if tokenizer.kind() != Kind::Bpe {
        return Err(tokenizer.unsupported(tokenizer.kind(), "BPE"));
    }
    let end = Some(id(&tokenizer, vocabulary, END)?);
    let specials = Specials {
        bos: end,
        eos: end,
        padding: end,
        ..Specials::default()
    };
    bpe::write(
        &tokenizer,
        Split::Qwen2,
        vocabulary,
        &specials,
        &mut metadata,
    )?;
    metadata.bool("tokenizer.ggml.add_bos_token", false);
    // Whatever the tokenizer says: its first version lacks the template, and the model needs it.
    metadata.bool("tokenizer.ggml.add_eos_token", true);
    source.write_own_keys(positions, &mut metadata);

    let first = "embed_tokens.weight";
    let mut weights = Weights::new(checkpoint, source.job.weights, first, &["", "model."]);
    weights.embeddings(first, "token_embd.weight", vocabulary, hidden)?;
    weights.vector("norm.weight", "output_norm.weight", hidden)?;
    for layer in 0..layers {
        let from = |name: &str| format!("layers.{layer}.{name}.weight");
        let to = |name: &str| format!("blk.{layer}.{name}.weight");
        for (name, new, rows, columns) in [
            ("self_attn.q_proj", "attn_q", heads * head, hidden),
            ("self_attn.k_proj", "attn_k", heads_kv * head, hidden),
            ("self_attn.v_proj", "attn_v", heads_kv * head, hidden),
            ("self_attn.o_proj", "attn_output", hidden, heads * head),
            ("mlp.gate_proj", "ffn_gate", feed_forward, hidden),
            ("mlp.up_proj", "ffn_up", feed_forward, hidden),
            ("mlp.down_proj", "ffn_down", hidden, feed_forward),
        ] {
            weights.matrix(&from(name), &to(new), rows, columns)?;
        }
        for (name, new, length) in [
            ("input_layernorm", "attn_norm", hidden),
            ("self_attn.q_norm", "attn_q_norm", head),
            ("self_attn.k_norm", "attn_k_norm", head),
            ("post_attention_layernorm", "ffn_norm", hidden),
        ] {
            weights.vector(&from(name), &to(new), length)?;
        }
    }
    // The output head: a text's vector is pooled before it.
    let tensors = weights.finish(|name| name == "lm_head.weight")?;
    Ok((metadata, tensors))
}
