//! What connects `lanewise-bulk` with the command line: the model, names of settings, exit codes.

use std::panic;

use lanewise::internals::{SCRATCH_BYTES_PER_TOKEN, TOKENS_PER_CALL, TOKENS_PER_PASS};
use lanewise::{Embedder, Encoded, Input, Prompt};
use lanewise_bulk::{Embed, Error, ModelMemory, Setting, Usage};

use super::failure::{self, Failure};
use super::interrupt;

/// An open model with the prompt of every text.
pub struct Model {
    /// The model.
    pub embedder: Embedder,
    /// The prompt of every text.
    pub prompt: Prompt,
    /// The title of every document.
    pub title: Option<String>,
}

impl Model {
    /// A text of the input with its prompt and title.
    pub fn input<'a>(&'a self, text: &'a str) -> Input<'a> {
        Input {
            title: self.title.as_deref(),
            ..Input::new(self.prompt, text)
        }
    }
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
        self.embedder.encode(self.input(text))
    }

    fn usage(encoded: &Encoded) -> Usage {
        let usage = encoded.usage();
        Usage {
            tokens: usage.tokens,
            truncated: usage.truncated,
        }
    }

    fn bytes_read(&self, text: &str, encoded: &Encoded) -> usize {
        self.embedder.bytes_read(self.input(text), encoded)
    }

    fn embed(&self, texts: &[Encoded], vectors: &mut [f32]) -> lanewise::Result<()> {
        self.embedder.embed_encoded(texts, vectors)
    }
}

/// The option of a setting.
fn option(setting: Setting) -> String {
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
