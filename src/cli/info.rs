//! `lanewise info`: what the model file holds, and what would run it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use clap::Args;
use lanewise::internals::gguf::Gguf;
use lanewise::internals::models::{self, Model, ScoreFunction};
use lanewise::internals::packed::PackedState;
use lanewise::internals::{Runtime, RuntimeOptions};
use lanewise::{Isa, Prompt};
#[cfg(feature = "bulk")]
use lanewise_bulk::{OverflowPolicy, Precision, Space};
use serde::Serialize;

use super::Outcome;
#[cfg(feature = "bulk")]
use super::bulk;
use super::failure::Failure;
use super::options::{ModelOptions, RunOptions};

/// Show the model file, the instruction set and the threads
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lanewise info --json")]
pub struct Arguments {
    /// Read every weight and check that it is a finite number
    #[arg(long)]
    verify: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    run: RunOptions,
}

/// Everything shown, under the names of the JSON object.
#[derive(Serialize)]
struct Info {
    file: String,
    bytes: u64,
    gguf_version: u32,
    architecture: String,
    name: Option<String>,
    tensors: BTreeMap<String, TypeTotal>,
    /// `None` if models of the family have none.
    dense_heads: Option<bool>,
    context: usize,
    layers: usize,
    hidden: usize,
    feed_forward: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    /// Of layers that see a window, where they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    local_heads: Option<LocalHeads>,
    sliding_window: Option<usize>,
    pooling: &'static str,
    /// The function that scores pass, of a reranker.
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<&'static str>,
    /// What the model reads before a text, by the name of the prompt.
    prompts: BTreeMap<&'static str, String>,
    /// The fingerprint of the space of vectors in full length and `f32`, by the name of the prompt.
    #[cfg(feature = "bulk")]
    spaces: BTreeMap<&'static str, String>,
    vocabulary: usize,
    instruction_set: String,
    instruction_sets_supported: Vec<&'static str>,
    instruction_set_forced: bool,
    threads: String,
    packed_weights: Packed,
    verified: bool,
}

/// The heads of layers that see a window.
#[derive(Serialize)]
struct LocalHeads {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

/// The packed weights.
#[derive(Serialize)]
struct Packed {
    /// `used`, `absent`, `ignored`, `off` or `none`.
    state: &'static str,
    path: Option<String>,
    bytes: Option<usize>,
    /// Why they are ignored, or there can be none.
    reason: Option<String>,
}

impl From<&PackedState> for Packed {
    fn from(state: &PackedState) -> Self {
        let (name, path, bytes, reason) = match state {
            PackedState::Used { path, bytes } => ("used", Some(path), Some(*bytes), None),
            PackedState::Absent { path } => ("absent", Some(path), None, None),
            PackedState::Ignored { path, reason } => {
                let bytes = path.metadata().ok().map(|file| file.len() as usize);
                ("ignored", Some(path), bytes, Some(reason.clone()))
            }
            PackedState::Off => ("off", None, None, None),
            PackedState::NotWithThese(_) | PackedState::NoDirectory => {
                ("none", None, None, Some(state.to_string()))
            }
        };
        Self {
            state: name,
            path: path.map(|path| path.display().to_string()),
            bytes,
            reason,
        }
    }
}

impl fmt::Display for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(path) = &self.path else {
            return f.write_str(self.reason.as_deref().unwrap_or(self.state));
        };
        write!(f, "{}", self.state)?;
        if let Some(bytes) = self.bytes {
            write!(f, ", {:.1} MB", bytes as f64 / 1e6)?;
        }
        write!(f, ": {path}")?;
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

/// All tensors of one type.
#[derive(Serialize, Default)]
struct TypeTotal {
    count: usize,
    bytes: u64,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let options = arguments.run.builder().runtime_options()?;
    let builder = arguments.run.builder();
    let (model, packed) = builder.open_model(arguments.model.path()?, &options)?;
    if arguments.verify {
        models::verify(&*model)?;
    }
    let options = RuntimeOptions {
        // That the heads are missing is shown here, not refused.
        dense_heads: model.dense_heads() == Some(true),
        ..options
    };
    let runtime = Runtime::new(Arc::clone(&model), &options)?;
    let info = Info::new(
        &*model,
        &runtime,
        &packed,
        options.isa.is_some(),
        arguments.verify,
    )?;
    #[cfg(feature = "bulk")]
    let info = Info {
        spaces: spaces(&*model, &info.prompts)?,
        ..info
    };
    let mut out = io::stdout().lock();
    let written = if arguments.json {
        serde_json::to_writer_pretty(&mut out, &info)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        info.write(&mut out)
    };
    written
        .and_then(|()| out.flush())
        .map_err(Failure::output)?;
    Ok(Outcome::Complete)
}

impl Info {
    fn new(
        model: &dyn Model,
        runtime: &Runtime,
        packed: &PackedState,
        isa_forced: bool,
        verified: bool,
    ) -> lanewise::Result<Self> {
        let (gguf, shape, summary) = (model.gguf(), model.shape(), model.summary());
        let [heads, local] = shape.heads;
        Ok(Self {
            file: gguf.path().display().to_string(),
            bytes: gguf.file_len(),
            gguf_version: gguf.version(),
            architecture: text(gguf, "general.architecture").unwrap_or_default(),
            name: text(gguf, "general.name"),
            tensors: totals(gguf),
            dense_heads: model.dense_heads(),
            context: shape.context,
            layers: summary.layers,
            hidden: shape.hidden,
            feed_forward: summary.feed_forward,
            heads: heads.heads,
            kv_heads: heads.kv_heads,
            head_dim: heads.head_dim,
            local_heads: (local != heads).then_some(LocalHeads {
                heads: local.heads,
                kv_heads: local.kv_heads,
                head_dim: local.head_dim,
            }),
            sliding_window: summary.sliding_window,
            pooling: match model.score_function() {
                Some(_) => "rank",
                None => summary.pooling.name(),
            },
            scores: model.score_function().map(ScoreFunction::name),
            prompts: prompts(model)?,
            #[cfg(feature = "bulk")]
            spaces: BTreeMap::new(),
            vocabulary: shape.vocabulary,
            instruction_set: runtime.isa().to_string(),
            instruction_sets_supported: Isa::ALL
                .into_iter()
                .filter(|isa| isa.is_supported())
                .map(Isa::name)
                .collect(),
            instruction_set_forced: isa_forced,
            threads: runtime.threads().to_string(),
            packed_weights: packed.into(),
            verified,
        })
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut line = |name: &str, value: String| writeln!(out, "{name:<16} {value}");
        line("file", self.file.clone())?;
        let size = self.bytes as f64 / 1e6;
        line(
            "format",
            format!("GGUF v{}, {size:.1} MB", self.gguf_version),
        )?;
        let name = self.name.as_deref().unwrap_or("no name");
        line("model", format!("{} ({name})", self.architecture))?;
        line(
            "shape",
            format!(
                "{} layers, hidden {}, feed-forward {}, {} query and {} key/value heads of {}",
                self.layers,
                self.hidden,
                self.feed_forward,
                self.heads,
                self.kv_heads,
                self.head_dim
            ),
        )?;
        if let Some(local) = &self.local_heads {
            line(
                "heads in windows",
                format!(
                    "{} query and {} key/value heads of {}",
                    local.heads, local.kv_heads, local.head_dim
                ),
            )?;
        }
        let context = format!("{} tokens with the special ones at both ends", self.context);
        line(
            "context",
            match self.sliding_window {
                Some(window) => format!("{context}, sliding window {window}"),
                None => context,
            },
        )?;
        line("vocabulary", format!("{} tokens", self.vocabulary))?;
        for (kind, total) in &self.tensors {
            let size = total.bytes as f64 / 1e6;
            line("tensors", format!("{} {kind}, {size:.1} MB", total.count))?;
        }
        line("pooling", self.pooling.into())?;
        if let Some(function) = self.scores {
            line(
                "scores",
                format!("of pairs of texts (lanewise rerank): {function}"),
            )?;
        }
        for (name, text) in &self.prompts {
            line("prompt", format!("{name}: {text:?}"))?;
        }
        #[cfg(feature = "bulk")]
        for (name, fingerprint) in &self.spaces {
            line("space", format!("{name}: {fingerprint}"))?;
        }
        match self.dense_heads {
            Some(true) => line("dense heads", "present".into())?,
            Some(false) => line(
                "dense heads",
                "ABSENT: vectors of this file are in a space of their own and compare with no \
                 others; embedding needs --no-dense-head"
                    .into(),
            )?,
            None => {}
        }
        if self.verified {
            line("weights", "all finite".into())?;
        }
        let why = if self.instruction_set_forced {
            "set by LANEWISE_ISA"
        } else {
            "the fastest supported"
        };
        let supported = self.instruction_sets_supported.join(", ");
        line(
            "instruction set",
            format!("{}: {why} of {supported}", self.instruction_set),
        )?;
        line("threads", self.threads.clone())?;
        line("packed weights", self.packed_weights.to_string())
    }
}

fn text(gguf: &Gguf, key: &str) -> Option<String> {
    gguf.optional_str(key).ok().flatten()
}

/// The fingerprint of the space of each prompt.
#[cfg(feature = "bulk")]
fn spaces(
    model: &dyn Model,
    prompts: &BTreeMap<&'static str, String>,
) -> Result<BTreeMap<&'static str, String>, Failure> {
    let (name, digest) = bulk::model_identity(model.gguf())?;
    let space = |prompt: &str, text: &str| Space {
        version: env!("CARGO_PKG_VERSION").into(),
        model: name.clone(),
        model_sha256: digest.clone(),
        prompt: prompt.into(),
        prompt_text: text.into(),
        pooling: model.summary().pooling.name().into(),
        dense_heads: model.dense_heads() != Some(false),
        dims: model.dims().longest(),
        precision: Precision::F32.into(),
        overflow: OverflowPolicy::Truncate,
    };
    let prompts = prompts.iter();
    Ok(prompts
        .map(|(&name, text)| (name, space(name, text).fingerprint()))
        .collect())
}

/// What the model reads before texts, by the name of the prompt; nothing before those of pairs.
fn prompts(model: &dyn Model) -> lanewise::Result<BTreeMap<&'static str, String>> {
    if model.score_function().is_some() {
        return Ok(BTreeMap::new());
    }
    let prompts = (model.family().prompts)(model.gguf())?;
    let text = |prompt| Some(prompts.text(prompt, None).ok()?.into_owned());
    Ok(prompts
        .known()
        .filter_map(|prompt: Prompt| Some((prompt.name(), text(prompt)?)))
        .collect())
}

/// Number and size of the tensors of each type.
fn totals(gguf: &Gguf) -> BTreeMap<String, TypeTotal> {
    let mut totals = BTreeMap::<String, TypeTotal>::new();
    for tensor in gguf.tensors() {
        let total = totals.entry(tensor.kind.to_string()).or_default();
        total.count += 1;
        total.bytes += tensor.range.len() as u64;
    }
    totals
}
