//! The settings of an embedder, and opening it with them.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use lanewise_kernels::{Isa, Kernels};
use lanewise_pool::MAX_THREADS;

use crate::embedder::OpeningTimes;
use crate::engine::{Matrix, Pooling};
use crate::models::{self, Model, OpenOptions};
use crate::packed::{self, Candidate, PackedState, PackedWeights, Place};
use crate::reranker::Reranker;
use crate::runtime::{Runtime, RuntimeOptions};
use crate::shared_runtime::SharedRuntime;
use crate::{Embedder, Error, Overflow, Result};

/// Settings of an [`Embedder`] that is yet to be opened.
///
/// What is not set comes from the environment, `LANEWISE_THREADS`, `LANEWISE_ISA` and
/// `LANEWISE_PACKED_WEIGHTS` (`off`, `use` or `write`), or else is found out from the machine.
#[derive(Debug, Clone, Default)]
pub struct EmbedderBuilder {
    threads: Option<usize>,
    isa: Option<Isa>,
    dims: Option<usize>,
    no_dense_heads: bool,
    pooling: Option<Pooling>,
    overflow: Overflow,
    instruction: Option<String>,
    packed_weights: Option<PackedWeights>,
    packed_directory: Option<PathBuf>,
}

impl Embedder {
    /// Opens a model file with the default settings; [`builder`](Self::builder) has others.
    ///
    /// # Errors
    /// As [`EmbedderBuilder::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().open(path)
    }

    /// Settings to be changed before opening a file.
    pub fn builder() -> EmbedderBuilder {
        EmbedderBuilder::default()
    }
}

impl Reranker {
    /// Opens a model file with the default settings; [`EmbedderBuilder::open_reranker`] has others.
    ///
    /// # Errors
    /// As [`EmbedderBuilder::open_reranker`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Embedder::builder().open_reranker(path)
    }
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

    /// The length of vectors. EmbeddingGemma was trained for 768, 512, 256 and 128; other models, or one
    /// of another width, give any length up to their width, shorter ones at a loss.
    pub fn dims(mut self, dims: usize) -> Self {
        self.dims = Some(dims);
        self
    }

    /// Whether the two dense heads of EmbeddingGemma are applied; `true` unless set, and then a file
    /// without them is refused. Vectors made without the heads compare with each other only. A model of
    /// a kind that has no such heads is refused if they are to be left out.
    pub fn dense_heads(mut self, dense_heads: bool) -> Self {
        self.no_dense_heads = !dense_heads;
        self
    }

    /// How the vectors of a text's tokens become one, for a file that does not say it: the model's card
    /// does. A file that says otherwise is refused.
    pub fn pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = Some(pooling);
        self
    }

    /// What queries are for, in a sentence that the model reads before each: a model such as Qwen3-Embedding,
    /// which has a general one unless another is set here. A model that reads no instructions is refused.
    pub fn instruction(mut self, instruction: impl Into<String>) -> Self {
        self.instruction = Some(instruction.into());
        self
    }

    /// What happens to texts that are too long; truncation unless set.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Whether weights that were packed before are read from a file, and one is written;
    /// [`PackedWeights::Use`] unless set. Whatever goes wrong with it, opening succeeds without.
    pub fn packed_weights(mut self, packed_weights: PackedWeights) -> Self {
        self.packed_weights = Some(packed_weights);
        self
    }

    /// The directory for files of packed weights; `packed` in Lanewise's cache directory
    /// (`$XDG_CACHE_HOME/lanewise`, else `~/.cache/lanewise`) unless set.
    pub fn packed_weights_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.packed_directory = Some(directory.into());
        self
    }

    /// What becomes of packed weights, if it is set here or in the environment.
    ///
    /// # Errors
    /// If the setting in the environment cannot be used.
    #[doc(hidden)]
    pub fn packed_weights_set(&self) -> Result<Option<PackedWeights>> {
        const NAME: &str = "LANEWISE_PACKED_WEIGHTS";
        if self.packed_weights.is_some() {
            return Ok(self.packed_weights);
        }
        let Some(value) = variable(NAME)? else {
            return Ok(None);
        };
        match value.as_str() {
            "off" => Ok(Some(PackedWeights::Off)),
            "use" => Ok(Some(PackedWeights::Use)),
            "write" => Ok(Some(PackedWeights::UseAndWrite)),
            other => Err(Error::Argument {
                name: NAME.into(),
                problem: format!("'{other}' says nothing about packed weights"),
                remedy: "use off, use or write, or unset it".into(),
            }),
        }
    }

    /// The options of a [`Runtime`], the environment consulted for what is not set.
    ///
    /// # Errors
    /// If a setting, here or in the environment, cannot be used; the message names it.
    #[doc(hidden)]
    pub fn runtime_options(&self) -> Result<RuntimeOptions> {
        let threads = match self.threads {
            Some(threads) => Some(checked_threads("threads", &threads.to_string())?),
            None => variable("LANEWISE_THREADS")?
                .map(|value| checked_threads("LANEWISE_THREADS", &value))
                .transpose()?,
        };
        let isa = match self.isa {
            Some(isa) => Some(checked_isa("isa", isa)?),
            None => variable("LANEWISE_ISA")?
                .map(|value| {
                    let known = value.parse().map_err(|_| Error::Argument {
                        name: "LANEWISE_ISA".into(),
                        problem: format!("no instruction set is called '{value}'"),
                        remedy: "use scalar, avx2, avx-vnni, avx512 or avx512-zen4, or unset it"
                            .into(),
                    })?;
                    checked_isa("LANEWISE_ISA", known)
                })
                .transpose()?,
        };
        Ok(RuntimeOptions {
            threads,
            isa,
            dense_heads: !self.no_dense_heads,
        })
    }

    /// Opens a model file for a [`Runtime`] with these options, with its packed weights.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[doc(hidden)]
    pub fn open_model(
        &self,
        path: impl AsRef<Path>,
        options: &RuntimeOptions,
    ) -> Result<(Arc<dyn Model>, PackedState)> {
        let packed = self.packed(options)?;
        let model = models::open_with(path, &self.open_options())?;
        let state = packed.open(&*model, || ()).1;
        Ok((model, state))
    }

    fn open_options(&self) -> OpenOptions {
        OpenOptions {
            pooling: self.pooling,
        }
    }

    fn packed(&self, options: &RuntimeOptions) -> Result<PackedOptions> {
        let isa = options.isa.unwrap_or_else(Isa::detect);
        Ok(PackedOptions {
            policy: self.packed_weights_set()?.unwrap_or_default(),
            place: Kernels::for_isa(isa).map(|kernels| Place {
                kernels,
                directory: self.packed_directory.clone(),
            }),
        })
    }

    /// Opens a model file.
    ///
    /// # Errors
    /// If a setting cannot be used, or the file is missing, damaged, of another kind or without
    /// the dense heads.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Embedder> {
        let options = self.runtime_options()?;
        let packed = self.packed(&options)?;
        let mut lap = Lap::start();
        let model = models::open_with(path, &self.open_options())?;
        if model.score_function().is_some() {
            return Err(model.gguf().file_error(
                format!("{}.pooling_type", model.family().architecture),
                "is 4 (rank): the model is a reranker, which gives pairs of texts scores, and no vectors",
                "use an embedding model, or score texts with this one (`lanewise rerank`)",
            ));
        }
        let dims = model.dims().checked(self.dims)?;
        if self.no_dense_heads && model.dense_heads().is_none() {
            return Err(Error::Argument {
                name: "dense_heads".into(),
                problem: format!("a model of {} has none to leave out", model.family().name),
                remedy: "leave this setting out".into(),
            });
        }
        let mut prompts = (model.family().prompts)(model.gguf())?;
        if let Some(instruction) = &self.instruction {
            prompts.instruct(instruction)?;
        }
        let map = lap.next();
        let (tokenizer, packed_state) = packed.open(&*model, || {
            (model.family().tokenizer)(Arc::clone(model.gguf()))
        });
        let tokenizer = tokenizer?;
        let index = lap.next();
        let runtime = Runtime::new(Arc::clone(&model), &options)?;
        let start = lap.next();
        Ok(Embedder {
            tokenizer,
            prompts,
            runtime: SharedRuntime::new(runtime),
            dims,
            overflow: self.overflow,
            opening_times: OpeningTimes { map, index, start },
            packed_place: packed.place,
            packed_state,
            model,
        })
    }

    /// Opens the model file of a reranker.
    ///
    /// # Errors
    /// If a setting cannot be used or is one of vectors, or the file is missing, damaged or no reranker's.
    pub fn open_reranker(self, path: impl AsRef<Path>) -> Result<Reranker> {
        for (name, is_set) in [
            ("dims", self.dims.is_some()),
            ("dense_heads", self.no_dense_heads),
            ("pooling", self.pooling.is_some()),
            ("instruction", self.instruction.is_some()),
        ] {
            if is_set {
                return Err(Error::Argument {
                    name: name.into(),
                    problem: "a reranker makes no vectors".into(),
                    remedy: "leave this setting out".into(),
                });
            }
        }
        let options = self.runtime_options()?;
        let (model, _) = self.open_model(path, &options)?;
        let Some(function) = model.score_function() else {
            return Err(model.gguf().file_error(
                format!("{}.pooling_type", model.family().architecture),
                "is not 4 (rank): the model is no reranker",
                "use a reranker, such as ms-marco-MiniLM or bge-reranker, or compare vectors",
            ));
        };
        Ok(Reranker {
            tokenizer: (model.family().tokenizer)(Arc::clone(model.gguf()))?,
            runtime: SharedRuntime::new(Runtime::new(Arc::clone(&model), &options)?),
            function,
            overflow: self.overflow,
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

fn checked_threads(name: &str, threads: &str) -> Result<usize> {
    let number = threads.parse().ok();
    if let Some(number) = number.filter(|number| (1..=MAX_THREADS).contains(number)) {
        return Ok(number);
    }
    Err(Error::Argument {
        name: name.into(),
        problem: format!("'{threads}' is not a usable number of threads"),
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

/// What becomes of packed weights, and where they are.
struct PackedOptions {
    policy: PackedWeights,
    /// `None` if there are no such kernels.
    place: Option<Place>,
}

impl PackedOptions {
    /// Does `beside`, and has meanwhile the system map the pages that every forward pass reads:
    /// those of the packed weights, which are checked, or of all matrices of the layers and of what
    /// runs once a text, but not the embedding table, of which a pass copies a few rows.
    fn open<T>(&self, model: &dyn Model, beside: impl FnOnce() -> T) -> (T, PackedState) {
        let found = self.find(model);
        // Each takes about 10 ms. Without the thread, which the system may refuse, this one reads
        // packed weights alone, and other pages are mapped one by one, later.
        let result = thread::scope(|scope| {
            let map = || match &found {
                Ok(candidate) => candidate.read(),
                Err(_) => prefault(model),
            };
            let _ = thread::Builder::new().spawn_scoped(scope, map);
            beside()
        });
        let was_candidate = found.is_ok();
        let mut state = found.map_or_else(|state| state, |candidate| candidate.attach(model));
        if self.policy == PackedWeights::UseAndWrite
            && let Some(place) = &self.place
            && state.may_be_written()
            // Whatever goes wrong, the state remains what it was.
            && let Ok(Some(_)) = packed::write(model, place, |_| ())
        {
            state = packed::open(model, place);
        }
        if was_candidate && !matches!(state, PackedState::Used { .. }) {
            prefault(model);
        }
        (result, state)
    }

    fn find(&self, model: &dyn Model) -> Result<Candidate, PackedState> {
        match (&self.place, self.policy) {
            (_, PackedWeights::Off) | (None, _) => Err(PackedState::Off),
            // What needs no file beside the program leaves none behind either.
            _ if model.gguf().is_bundled() => Err(PackedState::Off),
            (Some(place), _) => packed::find(model, place),
        }
    }
}

fn prefault(model: &dyn Model) {
    model.matrices().of_products().for_each(Matrix::prefault);
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
    fn absurd_numbers_of_threads_are_refused() {
        for wrong in ["0", "1000000", "-1", "two", ""] {
            let error = checked_threads("threads", wrong).unwrap_err();
            assert!(error.to_string().contains(&format!("'{wrong}' is not")));
        }
        assert_eq!(checked_threads("threads", "2").unwrap(), 2);
    }
}
