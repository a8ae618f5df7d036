//! An embedder as the server uses it.

use std::borrow::Cow;
use std::path::Path;

use lanewise::internals::models::Dims;
use lanewise::internals::short_name;
use lanewise::{Embedder, EmbedderBuilder, Error, Input, Overflow, Precision};
use lanewise_bulk::{OverflowPolicy, Space};
use lanewise_serve::{Model, ModelInfo, PromptInfo, Refusal, Result, Tokens};

use super::failure::Failure;
use super::{bulk, packed};

/// A model that is served.
pub struct ServedModel {
    embedder: Embedder,
    info: ModelInfo,
    dense_heads: bool,
}

impl ServedModel {
    /// Opens a model file, which is served under `name` if there is one.
    pub fn open(
        builder: EmbedderBuilder,
        path: &Path,
        name: Option<&str>,
        dense_heads: bool,
    ) -> Result<Self, Failure> {
        let builder = builder.dense_heads(dense_heads);
        let embedder = builder.overflow(Overflow::Truncate).open(path)?;
        packed::report_ignored(embedder.packed_state());
        let model = embedder.model();
        let (title, sha256) = bulk::model_identity(model.gguf())?;
        let prompts = embedder.prompts().map(|prompt| PromptInfo {
            name: prompt.name().into(),
            aliases: prompt.aliases().iter().map(|&alias| alias.into()).collect(),
            text: embedder
                .prompt_text(prompt, None)
                .map(Cow::into_owned)
                .unwrap_or_default(),
        });
        let info = ModelInfo {
            name: name.map_or_else(|| short_name(path), str::to_owned),
            title,
            sha256,
            architecture: model.family().architecture.into(),
            pooling: model.summary().pooling.name().into(),
            dims: embedder.dims(),
            lengths: match model.dims() {
                Dims::Trained(lengths) => lengths.to_vec(),
                Dims::UpTo(width) | Dims::Between(_, width) => vec![width],
            },
            shortest: match model.dims() {
                Dims::Trained(_) => None,
                Dims::UpTo(_) => Some(1),
                Dims::Between(shortest, _) => Some(shortest),
            },
            context: embedder.context(),
            vocabulary: embedder.tokenizer().vocabulary_len(),
            prompts: prompts.collect(),
        };
        Ok(Self {
            embedder,
            info,
            dense_heads,
        })
    }

    /// The embedder.
    pub fn embedder(&self) -> &Embedder {
        &self.embedder
    }
}

impl Model for ServedModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn encode(&self, prompt: &str, text: &str) -> Result<Tokens> {
        let number = self.info.prompt_number(prompt);
        let prompt = number.and_then(|number| self.embedder.prompts().nth(number));
        let prompt = prompt.ok_or_else(|| {
            let problem = format!("the model has no prompt {prompt:?}");
            Refusal::field("prompt_name", problem, "give one that /info shows")
        })?;
        let encoded = self.embedder.encode(Input::new(prompt, text));
        let encoded = encoded.map_err(|error| refusal(error, "prompt_name"))?;
        Ok(Tokens {
            ids: encoded.ids().into(),
            truncated: encoded.usage().truncated,
        })
    }

    fn tokens(&self, ids: Vec<u32>) -> Result<Tokens> {
        let encoded = self.embedder.encode_ids(ids);
        let encoded = encoded.map_err(|error| refusal(error, "input"))?;
        Ok(Tokens {
            ids: encoded.ids().into(),
            truncated: false,
        })
    }

    fn decode(&self, ids: &[u32]) -> String {
        let bytes = self.embedder.tokenizer().decode(ids);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn piece(&self, id: u32) -> String {
        let piece = self.embedder.tokenizer().piece(id).unwrap_or_default();
        String::from_utf8_lossy(piece).into_owned()
    }

    fn embed(&self, texts: &[&[u32]], out: &mut [f32]) -> Result<()> {
        let encoded = texts
            .iter()
            .map(|ids| self.embedder.encode_ids(ids.to_vec()));
        let encoded = encoded.collect::<lanewise::Result<Vec<_>>>();
        encoded
            .and_then(|encoded| self.embedder.embed_encoded(&encoded, out))
            .map_err(|error| Refusal::Model(error.to_string()))
    }

    fn check_dims(&self, dims: usize) -> Result<()> {
        let checked = self.embedder.model().dims().checked(Some(dims));
        checked
            .map(drop)
            .map_err(|error| refusal(error, "dimensions"))
    }

    fn shorten(&self, vector: &[f32], dims: usize) -> Result<Vec<f32>> {
        let short = self.embedder.shorten(vector, dims);
        short.map_err(|error| refusal(error, "dimensions"))
    }

    fn space(&self, prompt: &str, dims: usize) -> String {
        let prompt_text = self.info.prompt(prompt).map(|prompt| prompt.text.clone());
        let space = Space {
            version: env!("CARGO_PKG_VERSION").into(),
            model: self.info.title.clone(),
            model_sha256: self.info.sha256.clone(),
            prompt: prompt.into(),
            prompt_text: prompt_text.unwrap_or_default(),
            pooling: self.info.pooling.clone(),
            dense_heads: self.dense_heads,
            dims,
            precision: Precision::F32.into(),
            overflow: OverflowPolicy::Truncate,
        };
        space.fingerprint()
    }
}

/// An error as one of the field of a request that caused it.
fn refusal(error: Error, field: &str) -> Refusal {
    match error {
        Error::Argument {
            problem, remedy, ..
        } => Refusal::field(field, problem, remedy),
        other => Refusal::Model(other.to_string()),
    }
}
