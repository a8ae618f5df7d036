//! nomic-embed-text v1 and v1.5: BERT with RoPE and a gated feed-forward.

use serde_json::json;

use super::{Family, Plan, Source};
use crate::checkpoint::Checkpoint;
use crate::config::{ANY_SIZE, LAYERS};
use crate::error::Result;
use crate::tokenizer::json::Kind;
use crate::tokenizer::wordpiece;
use crate::weights::Weights;

pub const FAMILY: Family = Family {
    name: "nomic-embed-text v1, v1.5",
    architectures: &["NomicBertModel"],
    plan,
};

const ARCHITECTURE: &str = "nomic-bert";
/// What the models are trained for. Their configuration has 8192, which needs a scaling of RoPE
/// that is not in the file.
const TRAINED_POSITIONS: u32 = 2048;

fn plan(source: &Source, checkpoint: &mut Checkpoint) -> Result<Plan> {
    let config = &source.config;
    let experts = ["moe_every_n_layers", "num_experts"];
    for field in experts {
        config.expect(field, &[json!(0)])?;
    }
    config.expect("activation_function", &[json!("swiglu")])?;
    for (field, expected) in [
        ("causal", json!(false)),
        ("prenorm", json!(false)),
        ("parallel_block", json!(false)),
        ("qkv_proj_bias", json!(false)),
        ("mlp_fc1_bias", json!(false)),
        ("mlp_fc2_bias", json!(false)),
        ("rotary_emb_fraction", json!(1.0)),
        ("rotary_emb_interleaved", json!(false)),
        ("use_rms_norm", json!(false)),
    ] {
        config.expect(field, &[expected])?;
    }
    config.expect_absent(&["rotary_emb_scale_base"])?;
    source.expect_no_dense()?;
    let layers = config.size("n_layer", LAYERS)?;
    let hidden = config.size("n_embd", ANY_SIZE)?;
    let feed_forward = config.size("n_inner", ANY_SIZE)?;
    let heads = config.size("n_head", ANY_SIZE)?;
    let positions = config.size("n_positions", ANY_SIZE)?.min(TRAINED_POSITIONS);
    let vocabulary = config.size("vocab_size", ANY_SIZE)?;
    let types = config.size("type_vocab_size", ANY_SIZE)?;

    let mut metadata = source.metadata(ARCHITECTURE);
    let own = |key: &str| format!("{ARCHITECTURE}.{key}");
    metadata.u32(&own("block_count"), layers);
    metadata.u32(&own("context_length"), positions);
    metadata.u32(&own("embedding_length"), hidden);
    metadata.u32(&own("feed_forward_length"), feed_forward);
    metadata.u32(&own("attention.head_count"), heads);
    let base = config.positive("rotary_emb_base")?;
    metadata.f32(&own("rope.freq_base"), base);
    let epsilon = config.positive("layer_norm_epsilon")?;
    metadata.f32(&own("attention.layer_norm_epsilon"), epsilon);
    metadata.bool(&own("attention.causal"), false);
    metadata.u32(&own("pooling_type"), source.pooling()?.number());
    source.write_file_type(&mut metadata);
    let tokenizer = source.tokenizer()?;
    match tokenizer.kind() {
        Kind::WordPiece => wordpiece::write(&tokenizer, vocabulary, types, &mut metadata)?,
        kind => return Err(tokenizer.unsupported(kind, "WordPiece")),
    }
    source.write_own_keys(positions, &mut metadata);

    let first = "embeddings.word_embeddings.weight";
    let mut weights = Weights::new(checkpoint, source.job.weights, first, &["", "bert."]);
    weights.embeddings(first, "token_embd.weight", vocabulary, hidden)?;
    let from = "embeddings.token_type_embeddings.weight";
    weights.table(from, "token_types.weight", types, hidden, 0)?;
    norm(&mut weights, "emb_ln", "token_embd_norm", hidden)?;
    for layer in 0..layers {
        let from = |name: &str| format!("encoder.layers.{layer}.{name}");
        let to = |name: &str| format!("blk.{layer}.{name}");
        for (name, new, rows, columns) in [
            ("attn.Wqkv", "attn_qkv", 3 * hidden, hidden),
            ("attn.out_proj", "attn_output", hidden, hidden),
            ("mlp.fc11", "ffn_up", feed_forward, hidden),
            ("mlp.fc12", "ffn_gate", feed_forward, hidden),
            ("mlp.fc2", "ffn_down", hidden, feed_forward),
        ] {
            let (name, new) = (
                format!("{}.weight", from(name)),
                format!("{}.weight", to(new)),
            );
            weights.matrix(&name, &new, rows, columns)?;
        }
        norm(
            &mut weights,
            &from("norm1"),
            &to("attn_output_norm"),
            hidden,
        )?;
        norm(
            &mut weights,
            &from("norm2"),
            &to("layer_output_norm"),
            hidden,
        )?;
    }
    let tensors = weights.finish(|name| name.starts_with("pooler.") || name.starts_with("cls."))?;
    Ok((metadata, tensors))
}

fn norm(weights: &mut Weights, from: &str, to: &str, hidden: u32) -> Result<()> {
    weights.vector(&format!("{from}.weight"), &format!("{to}.weight"), hidden)?;
    weights.vector(&format!("{from}.bias"), &format!("{to}.bias"), hidden)
}
