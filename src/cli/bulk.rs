//! What connects `lanewise-bulk` with the command line: the model, names of settings, exit codes.

use std::{io, panic};

use lanewise::internals::gguf::Gguf;
use lanewise::internals::{SCRATCH_BYTES_PER_TOKEN, TOKENS_PER_CALL, TOKENS_PER_PASS};
use lanewise::{Embedder, Encoded, Input, Prompt};
use lanewise_bulk::{Embed, Error, ModelMemory, Setting, Usage};

use super::digest;
use super::failure::{self, Failure};
use super::interrupt;

/// An open model with what stands in front of every text.
pub struct Model {
    /// The model.
    pub embedder: Embedder,
    /// The prompt, with the title if there is one.
    pub prefix: String,
}

impl Embed for Model {
    type Encoded = Encoded;
    type Error = lanewise::Error;

    fn dims(&self) -> usize {
        self.embedder.dims()
    }

    fn context(&self) -> usize {
        self.embedder.context()
    }

    fn overflow_problem(&self) -> String {
        self.embedder.overflow_problem()
    }

    fn memory(&self) -> ModelMemory {
        ModelMemory {
            model_bytes: self.embedder.mapped_bytes(),
            bytes_per_token: SCRATCH_BYTES_PER_TOKEN as u64,
            tokens_per_pass: TOKENS_PER_PASS as u64,
            tokens_per_call: TOKENS_PER_CALL as u64,
        }
    }

    fn encode(&self, text: &str) -> lanewise::Result<Encoded> {
        let text = format!("{}{text}", self.prefix);
        self.embedder.encode(Input::new(Prompt::Raw, &text))
    }

    fn usage(encoded: &Encoded) -> Usage {
        let usage = encoded.usage();
        Usage {
            tokens: usage.tokens,
            truncated: usage.truncated,
        }
    }

    fn ids(encoded: &Encoded) -> &[u32] {
        encoded.ids()
    }

    fn bytes_read(&self, text: &str, encoded: &Encoded) -> usize {
        self.embedder.bytes_read(&self.prefix, text, encoded)
    }

    fn embed(&self, texts: &[Encoded], vectors: &mut [f32]) -> lanewise::Result<()> {
        self.embedder.embed_encoded(texts, vectors)
    }
}

/// The model's name and the SHA-256 of its file.
pub fn model_identity(gguf: &Gguf) -> Result<(String, String), Failure> {
    named(gguf, digest::of_model(gguf))
}

/// The same, for which all of the file is read.
pub fn whole_model_identity(gguf: &Gguf) -> Result<(String, String), Failure> {
    named(gguf, digest::of_whole_model(gguf))
}

fn named(gguf: &Gguf, digest: io::Result<String>) -> Result<(String, String), Failure> {
    let name = gguf.optional_str("general.name").ok().flatten();
    let digest = digest.map_err(|error| {
        let problem = format_args!("cannot read: {error}");
        Failure::file(gguf.path(), problem, "check the file and its disk")
    })?;
    Ok((name.unwrap_or_default(), digest))
}

/// The option of a setting.
pub fn option(setting: Setting) -> String {
    format!("--{}", setting.name().replace('_', "-"))
}

/// What ends a command if a run or merge fails; `command` continues it after Ctrl-C.
pub fn failure(error: Error, command: impl FnOnce() -> String) -> Failure {
    let code = match error {
        Error::Argument(_) => failure::USAGE,
        Error::Cancelled => return interrupt::failure(&command()),
        Error::Embed(error) => match error.downcast::<lanewise::Error>() {
            Ok(error) => return (*error).into(),
            Err(error) => {
                return Failure::Stopped {
                    code: failure::MODEL,
                    message: error.to_string(),
                };
            }
        },
        _ => failure::PARTIAL,
    };
    Failure::Stopped {
        code,
        message: error.message(option),
    }
}

/// From now on panics that become an error of an input file are not reported by themselves.
pub fn silence_caught_panics() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !lanewise_bulk::panics_are_caught() {
            report(info);
        }
    }));
}
