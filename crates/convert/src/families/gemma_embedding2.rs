//! EmbeddingGemma 2, the text path: a Gemma 4 encoder with a signal of its own for each layer.

use serde_json::json;

use super::{Family, Plan, Source};
use crate::Pooling;
use crate::checkpoint::Checkpoint;
use crate::config::{ANY_SIZE, Config, LAYERS};
use crate::error::Result;
use crate::gguf::Metadata;
use crate::tokenizer::json::Kind;
use crate::tokenizer::{Specials, both_ends, bpe, id, vocabulary};
use crate::weights::Weights;

pub const FAMILY: Family = Family {
    name: "EmbeddingGemma 2, text",
    architectures: &["EmbeddingGemma2Model", "EmbeddingGemma2TextModel"],
    plan,
};

const ARCHITECTURE: &str = "gemma-embedding2";
/// The score of every token, which means nothing: pieces are merged by rank.
const SCORE: f32 = -1000.0;

/// The attention of one layer.
#[derive(Clone, Copy)]
struct Attention {
    is_full: bool,
    head: u32,
    heads_kv: u32,
}

fn plan(source: &Source, checkpoint: &mut Checkpoint) -> Result<Plan> {
    let section = source.config.section("text_config")?;
    let config = section.as_ref().unwrap_or(&source.config);
    config.expect("hidden_activation", &[json!("gelu_pytorch_tanh")])?;
    config.expect("attention_bias", &[json!(false)])?;
    config.expect("num_kv_shared_layers", &[json!(0)])?;
    config.expect_absent(&["attn_logit_softcapping", "final_logit_softcapping"])?;
    source.expect_no_dense()?;
    let pooling = source.pooling()?;
    if pooling != Pooling::Mean {
        let problem = format!("is {}, not mean", pooling.name());
        return Err(config.error(
            "pooling of the model",
            problem,
            "use a model of the usual form",
        ));
    }
    let layers = config.size("num_hidden_layers", LAYERS)?;
    let hidden = config.size("hidden_size", ANY_SIZE)?;
    let feed_forward = config.size("intermediate_size", ANY_SIZE)?;
    let heads = config.size("num_attention_heads", 1..=1024)?;
    let per_layer = config.size("hidden_size_per_layer_input", 1..=1 << 14)?;
    let width = config.size("embedding_dim", ANY_SIZE)?;
    let vocabulary = config.size("vocab_size", ANY_SIZE)?;
    let positions = config.size("max_position_embeddings", ANY_SIZE)?;
    let attention = attention(config, layers)?;

    let mut metadata = source.metadata(ARCHITECTURE);
    let own = |key: &str| format!("{ARCHITECTURE}.{key}");
    metadata.u32(&own("block_count"), layers);
    metadata.u32(&own("context_length"), positions);
    metadata.u32(&own("embedding_length"), hidden);
    metadata.u32(&own("feed_forward_length"), feed_forward);
    metadata.u32(&own("embedding_length_per_layer_input"), per_layer);
    metadata.u32(&own("embedding_length_out"), width);
    metadata.u32(&own("attention.head_count"), heads);
    let heads_kv = attention.iter().map(|layer| layer.heads_kv as i32);
    metadata.i32s(&own("attention.head_count_kv"), heads_kv);
    for (suffix, is_full) in [("", true), ("_swa", false)] {
        let mut of_kind = attention.iter().filter(|layer| layer.is_full == is_full);
        let Some(first) = of_kind.next() else {
            let problem = "has layers of one kind only";
            return Err(config.error("layer_types", problem, "use a model of the usual form"));
        };
        if of_kind.any(|layer| layer.head != first.head) {
            let problem = "gives layers of one kind heads of different sizes";
            return Err(config.error("per_layer_config", problem, "use a model of the usual form"));
        }
        for key in [
            "attention.key_length",
            "attention.value_length",
            "rope.dimension_count",
        ] {
            metadata.u32(&own(&format!("{key}{suffix}")), first.head);
        }
    }
    let epsilon = config.positive("rms_norm_eps")?;
    metadata.f32(&own("attention.layer_norm_rms_epsilon"), epsilon);
    // The file has the whole window, the configuration how far it reaches to each side.
    let radius = config.size("sliding_window", ANY_SIZE)?;
    metadata.u32(&own("attention.sliding_window"), 2 * radius);
    let is_window = attention.iter().map(|layer| !layer.is_full);
    metadata.bools(&own("attention.sliding_window_pattern"), is_window);
    metadata.bool(&own("attention.causal"), false);
    let base = config.rope_base(Some("full_attention"), "rope_theta")?;
    metadata.f32(&own("rope.freq_base"), base);
    let base = config.rope_base(Some("sliding_attention"), "rope_local_base_freq")?;
    metadata.f32(&own("rope.freq_base_swa"), base);
    metadata.u32(&own("attention.shared_kv_layers"), 0);
    metadata.u32(&own("pooling_type"), pooling.number());
    source.write_file_type(&mut metadata);
    write_tokenizer(source, vocabulary, &mut metadata)?;
    source.write_own_keys(positions, &mut metadata);

    let first = "embed_tokens.weight";
    let prefixes = ["", "language_model.", "model.language_model.", "model."];
    let mut weights = Weights::new(checkpoint, source.job.weights, first, &prefixes);
    weights.embeddings(first, "token_embd.weight", vocabulary, hidden)?;
    // Never quantized, as llama.cpp has it.
    let from = "ple.per_layer_model_projection.weight";
    weights.projection(
        from,
        "per_layer_model_proj.weight",
        layers * per_layer,
        hidden,
    )?;
    let from = "ple.per_layer_projection_norm.weight";
    weights.vector(from, "per_layer_proj_norm.weight", per_layer)?;
    weights.vector("norm.weight", "output_norm.weight", hidden)?;
    weights.matrix(
        "embedding_projection.weight",
        "output.weight",
        width,
        hidden,
    )?;
    for (layer, &Attention { head, heads_kv, .. }) in attention.iter().enumerate() {
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
            (
                "ple_block.per_layer_input_gate",
                "inp_gate",
                per_layer,
                hidden,
            ),
            ("ple_block.per_layer_projection", "proj", hidden, per_layer),
        ] {
            weights.matrix(&from(name), &to(new), rows, columns)?;
        }
        for (name, new, length) in [
            ("input_layernorm", "attn_norm", hidden),
            ("self_attn.q_norm", "attn_q_norm", head),
            ("self_attn.k_norm", "attn_k_norm", head),
            ("post_attention_layernorm", "post_attention_norm", hidden),
            ("pre_feedforward_layernorm", "ffn_norm", hidden),
            ("post_feedforward_layernorm", "post_ffw_norm", hidden),
            ("ple_block.post_per_layer_input_norm", "post_norm", hidden),
        ] {
            weights.vector(&from(name), &to(new), length)?;
        }
        let scale = format!("layers.{layer}.layer_scalar");
        weights.vector(&scale, &to("layer_output_scale"), 1)?;
    }
    // The towers for images and sounds, which text does not pass.
    let towers = [
        "vision_tower.",
        "audio_tower.",
        "embed_vision.",
        "embed_audio.",
    ];
    let tensors = weights.finish(|name| {
        let name = name.strip_prefix("model.").unwrap_or(name);
        towers.iter().any(|tower| name.starts_with(tower))
    })?;
    Ok((metadata, tensors))
}

/// The attention of each layer: `per_layer_config` has what differs, under the layer's number with
/// or without a zero before it.
fn attention(config: &Config, layers: u32) -> Result<Vec<Attention>> {
    let types = config.optional("layer_types", "a list of a name for each layer", |value| {
        let types = value.as_array()?;
        (types.len() == layers as usize).then_some(types)
    })?;
    let types = config.required("layer_types", types)?;
    let head = config.size("head_dim", 1..=1 << 14)?;
    let heads_kv = config.size("num_key_value_heads", 1..=1024)?;
    let overrides = config.section("per_layer_config")?;
    let mut attention = Vec::with_capacity(types.len());
    for (layer, kind) in types.iter().enumerate() {
        let is_full = match kind.as_str() {
            Some("full_attention") => true,
            Some("sliding_attention") => false,
            _ => {
                let problem = format!("of layer {layer} is unknown");
                return Err(config.error("layer_types", problem, "use a model of the usual form"));
            }
        };
        let mut of_layer = Attention {
            is_full,
            head,
            heads_kv,
        };
        for name in [format!("{layer:02}"), format!("{layer}")] {
            let Some(all) = &overrides else { break };
            if let Some(own) = all.section(&name)? {
                let head = own.optional_size("head_dim", 1..=1 << 14)?;
                of_layer.head = head.unwrap_or(of_layer.head);
                let heads_kv = own.optional_size("num_key_value_heads", 1..=1024)?;
                of_layer.heads_kv = heads_kv.unwrap_or(of_layer.heads_kv);
                break;
            }
        }
        attention.push(of_layer);
    }
    Ok(attention)
}

fn write_tokenizer(source: &Source, rows: u32, metadata: &mut Metadata) -> Result<()> {
    let mut tokenizer = source.tokenizer()?;
    // The vocabulary may have tokens of images, which the model has no rows for.
    tokenizer.added.retain(|added| added.id < rows.into());
    if tokenizer.kind() != Kind::Bpe || !tokenizer.model.byte_fallback {
        return Err(tokenizer.unsupported(tokenizer.kind(), "BPE with bytes as a fallback"));
    }
    let (first, last) = both_ends(&tokenizer)?;
    let specials = Specials {
        bos: Some(id(&tokenizer, rows, first)?),
        eos: Some(id(&tokenizer, rows, last)?),
        unknown: Some(id(&tokenizer, rows, "<unk>")?),
        padding: Some(id(&tokenizer, rows, "<pad>")?),
        mask: id(&tokenizer, rows, "<mask>").ok(),
        ..Specials::default()
    };
    let mut vocabulary = vocabulary(&tokenizer, rows)?;
    vocabulary.mark_bytes();
    for token in vocabulary.tokens_mut() {
        token.score = SCORE;
    }
    metadata.string("tokenizer.ggml.model", "gemma4");
    metadata.string("tokenizer.ggml.pre", "default");
    vocabulary.write_tokens(metadata);
    vocabulary.write_scores(metadata);
    vocabulary.write_types(metadata);
    bpe::write_merges(&tokenizer, metadata);
    specials.write(metadata);
    metadata.bool("tokenizer.ggml.add_bos_token", true);
    metadata.bool("tokenizer.ggml.add_eos_token", true);
    metadata.bool("tokenizer.ggml.add_space_prefix", false);
    Ok(())
}
