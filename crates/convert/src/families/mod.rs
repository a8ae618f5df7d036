//! The families of models: how each is recognized, and what of its checkpoint becomes what.

mod bert;
mod classifier;
mod gemma_embedding;
mod gemma_embedding2;
mod modern_bert;
mod nomic_bert;
mod qwen3;

use crate::checkpoint::Checkpoint;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::gguf::Metadata;
use crate::sentence_transformers::Modules;
use crate::tokenizer::json::TokenizerFile;
use crate::weights::Tensor;
use crate::{ConvertJob, Pooling, WeightType};

/// What is converted.
pub struct Source<'a> {
    pub job: &'a ConvertJob,
    /// The model's name in the file.
    pub name: String,
    pub config: Config,
    pub modules: Modules,
}

/// The metadata and tensors of a file.
pub type Plan = (Metadata, Vec<Tensor>);

/// A family of models.
pub struct Family {
    /// The names that people know it by.
    pub name: &'static str,
    /// What `architectures` is in its `config.json`.
    pub architectures: &'static [&'static str],
    plan: fn(&Source, &mut Checkpoint) -> Result<Plan>,
}

/// Every family.
pub const FAMILIES: &[&Family] = &[
    &gemma_embedding::FAMILY,
    &gemma_embedding2::FAMILY,
    &bert::FAMILY,
    &nomic_bert::FAMILY,
    &qwen3::FAMILY,
    &modern_bert::FAMILY,
];

impl Source<'_> {
    /// What becomes which in the file.
    ///
    /// # Errors
    /// If config, tokenizer and weights are not those of a
    /// model of its family.
    pub fn plan(&self, checkpoint: &mut Checkpoint) -> Result<Plan> {
        (self.family()?.plan)(self, checkpoint)
    }

    /// The family of the directory.
    ///
    /// # Errors
    /// If its architecture is not supported.
    pub fn family(&self) -> Result<&'static Family> {
        let architecture = self.architecture()?;
        let mut families = FAMILIES.iter().copied();
        let family = families.find(|family| family.architectures.contains(&architecture));
        family.ok_or_else(|| self.unsupported(architecture))
    }

    pub fn architecture(&self) -> Result<&str> {
        let architecture = self
            .config
            .optional("architectures", "a list of a name", |value| {
                match value.as_array()?.as_slice() {
                    [name] => name.as_str(),
                    _ => None,
                }
            })?;
        self.config.required("architectures", architecture)
    }

    fn unsupported(&self, architecture: &str) -> Error {
        let families = FAMILIES.iter();
        let supported: Vec<String> = families
            .map(|family| format!("{} ({})", family.architectures.join(", "), family.name))
            .collect();
        let kind = match architecture {
            name if name.ends_with("ForSequenceClassification") => ", a classifier or reranker",
            name if name.ends_with("ForCausalLM") => ", a model that writes text",
            _ => "",
        };
        let problem = format!("is {architecture:.60?}{kind}, which is not converted");
        let remedy = format!("give a model of one of these: {}", supported.join("; "));
        self.config.error("architectures", problem, &remedy)
    }

    /// How the vectors of tokens become one: what the directory says, else what the caller says.
    pub fn pooling(&self) -> Result<Pooling> {
        match (self.modules.pooling, self.job.pooling) {
            (Some(module), Some(asked)) if module != asked => {
                let (module, asked) = (module.name(), asked.name());
                let problem = format!("is {module}, and you ask for {asked}");
                Err(self
                    .config
                    .error("pooling of the model", problem, "leave the choice to it"))
            }
            (Some(pooling), _) | (None, Some(pooling)) => Ok(pooling),
            (None, None) => Err(Error::UnknownPooling {
                path: self.job.directory.clone(),
            }),
        }
    }

    pub fn tokenizer(&self) -> Result<TokenizerFile> {
        TokenizerFile::read(self.modules.transformer.join("tokenizer.json"))
    }

    /// The first keys of every file.
    pub fn metadata(&self, architecture: &str) -> Metadata {
        let mut metadata = Metadata::default();
        metadata.string("general.architecture", architecture);
        metadata.string("general.type", "model");
        metadata.string("general.name", &self.name);
        metadata
    }

    /// The keys on how the file was written.
    pub fn write_file_type(&self, metadata: &mut Metadata) {
        let number = match self.job.weights {
            WeightType::F32 => 0,
            WeightType::F16 => 1,
            WeightType::Q4_0 => 2,
            WeightType::Q8_0 => 7,
        };
        metadata.u32("general.file_type", number);
        metadata.u32("general.quantization_version", 2);
    }

    /// Keys of Lanewise's own: prompts by name, and the most tokens of a text where the
    /// transformer would take more.
    pub fn write_own_keys(&self, context: u32, metadata: &mut Metadata) {
        let prompts = &self.modules.prompts;
        if !prompts.is_empty() {
            metadata.strings("lanewise.prompt.names", prompts.keys());
            metadata.strings("lanewise.prompt.texts", prompts.values());
        }
        if let Some(limit) = self.modules.max_tokens.filter(|limit| *limit < context) {
            metadata.u32("lanewise.max_tokens", limit);
        }
    }

    /// Checks that there are no dense layers after pooling, which the family's files cannot hold.
    pub fn expect_no_dense(&self) -> Result<()> {
        match self.modules.dense.first() {
            Some(directory) => {
                let problem = format!("has the Dense module {}", directory.display());
                let remedy = "use a model without layers after pooling";
                Err(self.config.error("modules of the model", problem, remedy))
            }
            None => Ok(()),
        }
    }
}
