//! BERT and XLM-RoBERTa: MiniLM, BGE, E5, GTE, Arctic, mxbai.

use serde_json::json;

use super::{Family, Plan, Source, classifier};
use crate::checkpoint::Checkpoint;
use crate::config::{ANY_SIZE, LAYERS};
use crate::error::{FETCH_AGAIN, Result};
use crate::tokenizer::json::Kind;
use crate::tokenizer::{unigram, wordpiece};
use crate::weights::Weights;

pub const FAMILY: Family = Family {
    name: "MiniLM, BGE, E5, GTE, Arctic Embed, mxbai, and their rerankers",
    architectures: &[
        "BertModel",
        "BertForMaskedLM",
        "XLMRobertaModel",
        "XLMRobertaForMaskedLM",
        "BertForSequenceClassification",
        "XLMRobertaForSequenceClassification",
    ],
    plan,
};

const ARCHITECTURE: &str = "bert";

fn plan(source: &Source, checkpoint: &mut Checkpoint) -> Result<Plan> {
    let config = &source.config;
    config.expect("hidden_act", &[json!("gelu")])?;
    config.expect("position_embedding_type", &[json!("absolute")])?;
    config.expect("is_decoder", &[json!(false)])?;
    config.expect("add_cross_attention", &[json!(false)])?;
    source.expect_no_dense()?;
    let layers = config.size("num_hidden_layers", LAYERS)?;
    let hidden = config.size("hidden_size", ANY_SIZE)?;
    let feed_forward = config.size("intermediate_size", ANY_SIZE)?;
    let heads = config.size("num_attention_heads", ANY_SIZE)?;
    if !hidden.is_multiple_of(heads) {
        let problem = format!("is {heads}, which does not divide hidden_size {hidden}");
        return Err(config.error("num_attention_heads", problem, "fetch the file again"));
    }
    let (positions, skipped) = positions(source)?;
    let vocabulary = config.size("vocab_size", ANY_SIZE)?;
    let types = config
        .optional_size("type_vocab_size", ANY_SIZE)?
        .unwrap_or(2);

    let mut metadata = source.metadata(ARCHITECTURE);
    let own = |key: &str| format!("{ARCHITECTURE}.{key}");
    metadata.u32(&own("block_count"), layers);
    metadata.u32(&own("context_length"), positions);
    metadata.u32(&own("embedding_length"), hidden);
    metadata.u32(&own("feed_forward_length"), feed_forward);
    metadata.u32(&own("attention.head_count"), heads);
    let epsilon = config.optional_positive("layer_norm_eps")?.unwrap_or(1e-12);
    metadata.f32(&own("attention.layer_norm_epsilon"), epsilon);
    metadata.bool(&own("attention.causal"), false);
    match source
        .architecture()?
        .ends_with("ForSequenceClassification")
    {
        true => classifier::write_keys(source, ARCHITECTURE, &mut metadata)?,
        false => metadata.u32(&own("pooling_type"), source.pooling()?.number()),
    }
    source.write_file_type(&mut metadata);
    let tokenizer = source.tokenizer()?;
    match tokenizer.kind() {
        Kind::WordPiece => wordpiece::write(&tokenizer, vocabulary, types, &mut metadata)?,
        Kind::Unigram => unigram::write(&tokenizer, vocabulary, types, &mut metadata)?,
        kind => return Err(tokenizer.unsupported(kind, "WordPiece or Unigram")),
    }
    source.write_own_keys(positions, &mut metadata);

    let prefixes = ["", "bert.", "roberta.", "model."];
    let first = "embeddings.word_embeddings.weight";
    let mut weights = Weights::new(checkpoint, source.job.weights, first, &prefixes);
    weights.embeddings(first, "token_embd.weight", vocabulary, hidden)?;
    let from = "embeddings.position_embeddings.weight";
    weights.table(from, "position_embd.weight", positions, hidden, skipped)?;
    let from = "embeddings.token_type_embeddings.weight";
    weights.table(from, "token_types.weight", types, hidden, 0)?;
    norm(
        &mut weights,
        "embeddings.LayerNorm",
        "token_embd_norm",
        hidden,
    )?;
    for layer in 0..layers {
        for (from, to, rows, columns) in [
            ("attention.self.query", "attn_q", hidden, hidden),
            ("attention.self.key", "attn_k", hidden, hidden),
            ("attention.self.value", "attn_v", hidden, hidden),
            ("attention.output.dense", "attn_output", hidden, hidden),
            ("intermediate.dense", "ffn_up", feed_forward, hidden),
            ("output.dense", "ffn_down", hidden, feed_forward),
        ] {
            let from = format!("encoder.layer.{layer}.{from}");
            let to = format!("blk.{layer}.{to}");
            weights.matrix(
                &format!("{from}.weight"),
                &format!("{to}.weight"),
                rows,
                columns,
            )?;
            weights.vector(&format!("{from}.bias"), &format!("{to}.bias"), rows)?;
        }
        for (from, to) in [
            ("attention.output.LayerNorm", "attn_output_norm"),
            ("output.LayerNorm", "layer_output_norm"),
        ] {
            let from = format!("encoder.layer.{layer}.{from}");
            norm(&mut weights, &from, &format!("blk.{layer}.{to}"), hidden)?;
        }
    }
    classifier::add(source, hidden, &mut weights)?;
    let tensors = weights.finish(|name| {
        let parts = ["embeddings.position_ids", "pooler.", "cls.", "lm_head."];
        parts.iter().any(|part| name.starts_with(part))
    })?;
    Ok((metadata, tensors))
}

/// The positions that a text can have, and the rows of the table before the first: RoBERTa counts
/// positions from the id of the padding token on.
fn positions(source: &Source) -> Result<(u32, u32)> {
    let config = &source.config;
    let rows = config.size("max_position_embeddings", ANY_SIZE)?;
    if !source.architecture()?.starts_with("XLMRoberta") {
        return Ok((rows, 0));
    }
    let padding = config.size("pad_token_id", 0..=1 << 16)?;
    match rows
        .checked_sub(padding + 1)
        .filter(|positions| *positions > 0)
    {
        Some(positions) => Ok((positions, padding + 1)),
        None => {
            let problem = format!("is {rows}, which leaves none after pad_token_id {padding}");
            Err(config.error("max_position_embeddings", problem, FETCH_AGAIN))
        }
    }
}

/// A LayerNorm, whose weight and bias old checkpoints call gamma and beta.
fn norm(weights: &mut Weights, from: &str, to: &str, hidden: u32) -> Result<()> {
    let is_old = weights.contains(&format!("{from}.gamma"));
    let names = if is_old {
        ["gamma", "beta"]
    } else {
        ["weight", "bias"]
    };
    weights.vector(
        &format!("{from}.{}", names[0]),
        &format!("{to}.weight"),
        hidden,
    )?;
    weights.vector(
        &format!("{from}.{}", names[1]),
        &format!("{to}.bias"),
        hidden,
    )
}
