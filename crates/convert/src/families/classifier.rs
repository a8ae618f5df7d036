//! The heads of rerankers: BERT's pooler, or XLM-RoBERTa's dense layer, and the scores after it.

use serde_json::Value;

use super::Source;
use crate::config::Config;
use crate::error::{FETCH_AGAIN, Result};
use crate::gguf::Metadata;
use crate::weights::Weights;

/// The number of "rank" as a way of pooling.
const RANK: u32 = 4;

/// Writes what a file says of its scores: their labels, and the function that they pass.
pub fn write_keys(source: &Source, architecture: &str, metadata: &mut Metadata) -> Result<()> {
    let config = &source.config;
    if source.job.pooling.is_some() {
        let problem = "is that of a reranker, whose head takes the first token";
        return Err(config.error("pooling of the model", problem, "leave the choice to it"));
    }
    metadata.u32(&format!("{architecture}.pooling_type"), RANK);
    let labels = labels(config)?;
    let activation = activation(config, labels.len())?;
    metadata.strings(
        &format!("{architecture}.classifier.output_labels"),
        labels.iter(),
    );
    metadata.string("lanewise.classifier.score", activation);
    Ok(())
}

/// Adds the tensors of the head, of a classifier.
pub fn add(source: &Source, hidden: u32, weights: &mut Weights) -> Result<()> {
    let (dense, scores) = match source.architecture()? {
        // llama.cpp's converter drops this pooler, without which the scores are others.
        "BertForSequenceClassification" => ("pooler.dense", "classifier"),
        "XLMRobertaForSequenceClassification" => ("classifier.dense", "classifier.out_proj"),
        _ => return Ok(()),
    };
    let labels = labels(&source.config)?.len() as u32; // at most a file of 8 MB has
    if dense.starts_with("classifier") {
        weights.leave_transformer();
    }
    weights.matrix(&format!("{dense}.weight"), "cls.weight", hidden, hidden)?;
    weights.vector(&format!("{dense}.bias"), "cls.bias", hidden)?;
    weights.leave_transformer();
    let (from, to) = (format!("{scores}.weight"), "cls.output.weight");
    weights.table(&from, to, labels, hidden, 0)?;
    weights.vector(&format!("{scores}.bias"), "cls.output.bias", labels)
}

/// The names of the scores, by their numbers; transformers names two if there are none.
fn labels(config: &Config) -> Result<Vec<String>> {
    let labels = config.optional("id2label", "names by number", |value| {
        let labels = value.as_object()?;
        let named = |id: usize| Some(labels.get(&id.to_string())?.as_str()?.to_owned());
        (0..labels.len()).map(named).collect::<Option<Vec<_>>>()
    })?;
    match labels {
        Some(labels) if labels.is_empty() => {
            Err(config.error("id2label", "has no names", FETCH_AGAIN))
        }
        Some(labels) => Ok(labels),
        None => Ok(vec!["LABEL_0".into(), "LABEL_1".into()]),
    }
}

/// The function that a score passes, as Sentence Transformers has it: a single one the logistic
/// function unless the configuration has another.
fn activation(config: &Config, labels: usize) -> Result<&'static str> {
    let section = config.section("sentence_transformers")?;
    let named = match &section {
        Some(section) => section.text("activation_fn")?,
        None => config.text("sbert_ce_default_activation_function")?,
    };
    match named.map(|name| name.rsplit('.').next().unwrap_or_default()) {
        Some("Identity") => Ok("identity"),
        Some("Sigmoid") => Ok("sigmoid"),
        None if labels == 1 => Ok("sigmoid"),
        None => Ok("identity"),
        Some(other) => {
            let problem = format!(
                "has scores pass {}",
                crate::config::short(&Value::from(other))
            );
            let remedy = "use a model whose scores pass Identity or Sigmoid";
            Err(config.error("sentence_transformers.activation_fn", problem, remedy))
        }
    }
}
