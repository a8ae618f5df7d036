//! The settings of an embedder, and opening it with them.

use std::env;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::model::Model;
use crate::runtime::{Runtime, Settings};
use crate::tokenizer::Tokenizer;
use crate::turns::Turns;
use crate::{Embedder, Error, Overflow, Result};
use lanewise_kernels::Isa;
use lanewise_pool::MAX_THREADS;

/// The width of EmbeddingGemma, and the shorter lengths that it was trained to be cut to.
const TRAINED_WIDTH: usize = 768;
const TRAINED_DIMS: [usize; 4] = [TRAINED_WIDTH, 512, 256, 128];

/// How long the parts of [`EmbedderBuilder::open`] took.
#[derive(Debug, Clone, Copy)]
pub struct OpeningTimes {
    /// Mapping the file and checking its header.
    pub map: Duration,
    /// Indexing the vocabulary and, at the same time, mapping the pages of the weights.
    pub index: Duration,
    /// Starting the threads and allocating scratch.
    pub start: Duration,
}

/// Settings of an [`Embedder`] that is yet to be opened.
///
/// What is not set comes from the environment, `LANEWISE_THREADS` and `LANEWISE_ISA`, or else is
/// found out from the machine.
#[derive(Debug, Clone, Default)]
pub struct EmbedderBuilder {
    threads: Option<usize>,
    isa: Option<Isa>,
    dims: Option<usize>,
    no_dense_heads: bool,
    overflow: Overflow,
}

impl EmbedderBuilder {
    /// The number of threads, the calling one included.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// The instruction set whose kernels run.
    pub fn isa(mut self, isa: Isa) -> Self {
        self.isa = Some(isa);
        self
    }

    /// The length of vectors: 768, 512, 256 or 128. For a model of another width than 768, any
    /// length up to its width.
    pub fn dims(mut self, dims: usize) -> Self {
        self.dims = Some(dims);
        self
    }

    /// Whether the two dense heads are applied; `true` unless set, and then a file without them is
    /// refused. Vectors made without the heads compare with each other only.
    pub fn dense_heads(mut self, dense_heads: bool) -> Self {
        self.no_dense_heads = !dense_heads;
        self
    }

    /// What happens to texts that are too long; truncation unless set.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// The settings that a [`Runtime`] takes, the environment consulted for what is not set.
    ///
    /// # Errors
    /// If a setting, here or in the environment, cannot be used; the message names it.
    pub fn settings(&self) -> Result<Settings> {
        let threads = match self.threads {
            Some(threads) => Some(checked_threads("threads", threads)?),
            None => variable("LANEWISE_THREADS")?
                .map(|value| checked_threads("LANEWISE_THREADS", value.parse().unwrap_or(0)))
                .transpose()?,
        };
        let isa = match self.isa {
            Some(isa) => Some(checked_isa("isa", isa)?),
            None => variable("LANEWISE_ISA")?
                .map(|value| {
                    let known = value.parse().map_err(|_| Error::Argument {
                        name: "LANEWISE_ISA".into(),
                        problem: format!("no instruction set is called '{value}'"),
                        remedy: "use scalar, avx2 or avx512, or unset it".into(),
                    })?;
                    checked_isa("LANEWISE_ISA", known)
                })
                .transpose()?,
        };
        Ok(Settings {
            threads,
            isa,
            dense_heads: !self.no_dense_heads,
        })
    }

    /// Opens a model file.
    ///
    /// # Errors
    /// If a setting cannot be used, or the file is missing, damaged, of another kind or without
    /// the dense heads.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Embedder> {
        let settings = self.settings()?;
        let mut lap = Lap::start();
        let model = Arc::new(Model::open(path)?);
        let dims = checked_dims(self.dims, model.config().hidden)?;
        let map = lap.next();
        let tokenizer = thread::scope(|scope| {
            // Both take about 10 ms. Without the thread, which the system may refuse, pages come one by one, later.
            let _ = thread::Builder::new().spawn_scoped(scope, || model.prefault());
            Tokenizer::from_gguf(Arc::clone(model.gguf()))
        })?;
        let index = lap.next();
        let runtime = Runtime::new(Arc::clone(&model), &settings)?;
        let start = lap.next();
        Ok(Embedder {
            tokenizer,
            runtime: Turns::new(runtime),
            dims,
            overflow: self.overflow,
            opening_times: OpeningTimes { map, index, start },
            model,
        })
    }
}

/// An environment variable's value, `None` if unset or empty.
fn variable(name: &str) -> Result<Option<String>> {
    match env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(Error::Argument {
            name: name.into(),
            problem: "is not valid UTF-8".into(),
            remedy: "set it to another value, or unset it".into(),
        }),
    }
}

fn checked_threads(name: &str, threads: usize) -> Result<usize> {
    if (1..=MAX_THREADS).contains(&threads) {
        return Ok(threads);
    }
    Err(Error::Argument {
        name: name.into(),
        problem: "is not a usable number of threads".into(),
        remedy: format!("use 1 to {MAX_THREADS}, or leave it out to use what the machine has"),
    })
}

fn checked_isa(name: &str, isa: Isa) -> Result<Isa> {
    if isa.is_supported() {
        return Ok(isa);
    }
    Err(Error::Argument {
        name: name.into(),
        problem: format!("this machine does not run {isa}"),
        remedy: format!("use {} or leave it out", Isa::detect()),
    })
}

fn checked_dims(dims: Option<usize>, width: usize) -> Result<usize> {
    let dims = dims.unwrap_or(width);
    let (usable, remedy) = if width == TRAINED_WIDTH {
        let usable = TRAINED_DIMS.contains(&dims);
        (usable, "use 768, 512, 256 or 128".into())
    } else {
        let usable = (1..=width).contains(&dims);
        (usable, format!("use 1 to {width} with this model"))
    };
    if usable {
        return Ok(dims);
    }
    Err(Error::Argument {
        name: "dims".into(),
        problem: format!("the model gives no vectors of {dims} values"),
        remedy,
    })
}

/// Measures consecutive pieces of work.
struct Lap(Instant);

impl Lap {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn next(&mut self) -> Duration {
        let now = Instant::now();
        now - std::mem::replace(&mut self.0, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trained_model_has_four_lengths_and_others_have_all_up_to_their_width() {
        for dims in [768, 512, 256, 128] {
            assert_eq!(checked_dims(Some(dims), 768).unwrap(), dims);
        }
        assert_eq!(checked_dims(None, 64).unwrap(), 64);
        assert_eq!(checked_dims(Some(10), 64).unwrap(), 10);
        for (dims, width) in [(0, 768), (100, 768), (1024, 768), (0, 64), (65, 64)] {
            let message = checked_dims(Some(dims), width).unwrap_err().to_string();
            assert!(message.starts_with("dims: "), "{message}");
        }
    }

    #[test]
    fn thread_numbers_that_are_slips_are_refused() {
        assert!(checked_threads("threads", 0).is_err());
        assert!(checked_threads("threads", 1_000_000).is_err());
        assert_eq!(checked_threads("threads", 2).unwrap(), 2);
    }
}
