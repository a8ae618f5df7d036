//! Arguments that several commands share.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use lanewise::internals::gguf::Gguf;
use lanewise::internals::models::{self, Family, Model, OpenOptions, Prompts, gemma_embedding};
use lanewise::{Embedder, EmbedderBuilder, Overflow, PackedWeights, Pooling, Prompt};

use super::failure::Failure;

/// Which model file.
#[derive(Debug, Args)]
pub struct ModelOptions {
    /// GGUF file of the model, or the name of one that tools/get-model fetched, such as minilm
    /// [default: $LANEWISE_MODEL, else what tools/get-model fetched]
    #[arg(short, long, value_name = "FILE|NAME")]
    model: Option<PathBuf>,
}

impl ModelOptions {
    /// The model file's path.
    pub fn path(&self) -> Result<PathBuf, Failure> {
        // However it is put, without a model the exit code is that of a model.
        let stopped = |message| Failure::Stopped {
            code: super::failure::MODEL,
            message,
        };
        match &self.model {
            Some(model) => {
                lanewise::resolve_model(model).map_err(|error| stopped(error.to_string()))
            }
            None => {
                lanewise::find_model().map_err(|error| stopped(format!("{error}, or by -m FILE")))
            }
        }
    }
}

/// How many threads work.
#[derive(Debug, Args)]
pub struct ThreadOptions {
    /// Number of threads [default: $LANEWISE_THREADS, else what the machine has; `lanewise info`
    /// shows it]
    #[arg(short, long, value_name = "N", value_parser = parse_count, allow_hyphen_values = true)]
    threads: Option<usize>,
}

impl ThreadOptions {
    /// A builder with this number of threads.
    pub fn builder(&self) -> EmbedderBuilder {
        match self.threads {
            Some(threads) => Embedder::builder().threads(threads),
            None => Embedder::builder(),
        }
    }
}

/// How the forward pass runs.
#[derive(Debug, Args)]
pub struct RunOptions {
    #[command(flatten)]
    threads: ThreadOptions,
    /// How the vectors of tokens become one, for a file that does not say it: mean, cls or last
    #[arg(long, value_name = "NAME")]
    pooling: Option<Pooling>,
    /// Pack weights anew in each pass: neither read them packed from the cache directory, nor write
    /// them there [default: $LANEWISE_PACKED_WEIGHTS; `lanewise info` shows the file]
    #[arg(long)]
    no_packed_weights: bool,
}

impl RunOptions {
    /// A builder with these settings.
    pub fn builder(&self) -> EmbedderBuilder {
        let builder = self.threads.builder();
        let builder = match self.pooling {
            Some(pooling) => builder.pooling(pooling),
            None => builder,
        };
        match self.no_packed_weights {
            true => builder.packed_weights(PackedWeights::Off),
            false => builder,
        }
    }

    /// Opens a model file without packed weights.
    pub fn open(&self, path: &Path) -> Result<Arc<dyn Model>, Failure> {
        let options = OpenOptions {
            pooling: self.pooling,
        };
        Ok(models::open_with(path, &options)?)
    }

    /// Whether packed weights are read and written. A command that writes does so itself, when it
    /// delays nothing else.
    pub fn packed_weights(&self) -> Result<PackedWeights, Failure> {
        let set = self.builder().packed_weights_set()?;
        Ok(set.unwrap_or(PackedWeights::UseAndWrite))
    }

    /// [`builder`](Self::builder) for a command that writes packed weights itself.
    pub fn builder_that_writes_later(&self) -> Result<EmbedderBuilder, Failure> {
        let builder = self.builder();
        Ok(match self.packed_weights()? {
            PackedWeights::UseAndWrite => builder.packed_weights(PackedWeights::Use),
            other => builder.packed_weights(other),
        })
    }
}

/// A number of things. A negative one is a wrong value, and no option.
fn parse_count(text: &str) -> Result<usize, String> {
    let problem = |_| "give a whole number above 0".to_owned();
    text.parse().map_err(problem)
}

/// What vectors are like.
#[derive(Debug, Args)]
pub struct VectorOptions {
    /// Length of the vectors; of EmbeddingGemma 768, 512, 256 or 128 [default: the model's]
    #[arg(long, value_name = "N", value_parser = parse_count, allow_hyphen_values = true)]
    dims: Option<usize>,
    /// Leave the two dense heads of EmbeddingGemma out, as a file without them needs: such vectors
    /// compare with each other only
    #[arg(long)]
    no_dense_head: bool,
}

/// What to do with texts of more tokens than the model reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OverflowPolicy {
    /// Embed the beginning, and say so
    Truncate,
    /// Leave the text out, say so, and exit with 1
    Error,
    /// With --output: embed all of it in windows, and average their vectors by tokens
    #[cfg(feature = "bulk")]
    Split,
}

impl TryFrom<OverflowPolicy> for Overflow {
    type Error = Failure;

    /// What the embedder does itself.
    fn try_from(policy: OverflowPolicy) -> Result<Self, Failure> {
        match policy {
            OverflowPolicy::Truncate => Ok(Overflow::Truncate),
            OverflowPolicy::Error => Ok(Overflow::Error),
            #[cfg(feature = "bulk")]
            OverflowPolicy::Split => Err(Failure::usage(
                "--overflow split goes with --input and --output only",
            )),
        }
    }
}

#[cfg(feature = "bulk")]
impl From<OverflowPolicy> for lanewise_bulk::OverflowPolicy {
    fn from(policy: OverflowPolicy) -> Self {
        match policy {
            OverflowPolicy::Truncate => Self::Truncate,
            OverflowPolicy::Error => Self::Error,
            OverflowPolicy::Split => Self::Split,
        }
    }
}

impl VectorOptions {
    /// Whether the dense heads are applied.
    #[cfg(feature = "bulk")]
    pub fn dense_heads(&self) -> bool {
        !self.no_dense_head
    }

    /// Adds these settings to a builder.
    pub fn apply(&self, builder: EmbedderBuilder) -> EmbedderBuilder {
        let builder = builder.dense_heads(!self.no_dense_head);
        match self.dims {
            Some(dims) => builder.dims(dims),
            None => builder,
        }
    }
}

/// What is put in front of texts.
#[derive(Debug, Args)]
pub struct PromptOptions {
    /// What the texts are for; `raw` puts nothing in front of them
    #[arg(short, long, value_name = "NAME", default_value_t, long_help = prompt_help())]
    pub prompt: Prompt,
    /// Title of the document, with --prompt document
    #[arg(long)]
    title: Option<String>,
    /// What queries are for, in a sentence, with --prompt query: of Qwen3-Embedding
    #[arg(long, value_name = "TEXT")]
    instruction: Option<String>,
}

impl PromptOptions {
    /// The title, which only documents have.
    pub fn title(&self) -> Result<Option<&str>, Failure> {
        if self.title.is_some() && self.prompt != Prompt::Document {
            return Err(Failure::usage("--title goes with --prompt document only"));
        }
        Ok(self.title.as_deref())
    }

    /// The instruction, which only queries have.
    pub fn instruction(&self) -> Result<Option<&str>, Failure> {
        if self.instruction.is_some() && self.prompt != Prompt::Query {
            return Err(Failure::usage(
                "--instruction goes with --prompt query only",
            ));
        }
        Ok(self.instruction.as_deref())
    }

    /// Adds the instruction to a builder.
    pub fn apply(&self, builder: EmbedderBuilder) -> Result<EmbedderBuilder, Failure> {
        Ok(match self.instruction()? {
            Some(instruction) => builder.instruction(instruction),
            None => builder,
        })
    }
}

/// Every prompt of the model in use with its names and its text, where help is asked for; without a model
/// those of EmbeddingGemma.
fn prompt_help() -> String {
    let mut help = String::from(
        "What the texts are for: the model was trained to see a certain text in front of them.\n\
         Names are read in any case, with spaces, hyphens or underscores. ",
    );
    let arguments: Vec<OsString> = env::args_os().collect();
    let asked = ["--help", "help"];
    let model = arguments
        .iter()
        .any(|argument| asked.iter().any(|asked| argument == asked));
    let model = model.then(|| prompts_in_use(&arguments)).flatten();
    let prompts = match &model {
        Some((path, prompts)) => {
            let path = path.display();
            help += &format!("These are those of the model in use,\n{path}:\n");
            prompts
        }
        None => {
            help += "These are those of EmbeddingGemma; with\n-m FILE, this help shows those of another model.\n";
            &gemma_embedding::prompts()
        }
    };
    for prompt in prompts.known() {
        let names = [&[prompt.name()], prompt.aliases()].concat().join(", ");
        let text = prompts.text(prompt, None).unwrap_or_default();
        help += &format!("\n  {names}\n      \"{}\"", text.escape_debug());
    }
    help
}

/// The prompts of the model that the arguments name, or that is used without, and its path. `None` if there is
/// none that can be opened.
fn prompts_in_use(arguments: &[OsString]) -> Option<(PathBuf, Prompts)> {
    let apart = arguments.windows(2).find_map(|pair| {
        (pair[0] == "-m" || pair[0] == "--model").then(|| PathBuf::from(&pair[1]))
    });
    let joined = || {
        let mut texts = arguments.iter().filter_map(|argument| argument.to_str());
        texts.find_map(|text| text.strip_prefix("--model=").map(PathBuf::from))
    };
    let named = apart.or_else(joined);
    let path = match named {
        Some(model) => lanewise::resolve_model(model),
        None => lanewise::find_model(),
    };
    let path = path.ok()?;
    let gguf = Gguf::open(&path).ok()?;
    let prompts = Family::of(&gguf).ok()?.prompts;
    Some((path, prompts(&gguf).ok()?))
}
