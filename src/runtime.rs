//! A model together with what runs it.

use std::sync::Arc;

use lanewise_kernels::Isa;
use lanewise_pool::ThreadPlan;

use crate::engine::{Batch, Executor, Matrix, PackedFile, PhaseTimes};
use crate::models::{ForwardPass, Model};
use crate::{Error, Result};

/// Tokens of one pass at most, but always at least one text: a batch of short texts takes no more
/// scratch than one text of full length. 33,000 tokens in one pass ran at four fifths of the speed
/// of 8,000, because their values do not stay in the caches.
pub const TOKENS_PER_PASS: usize = 2048;

/// As [`TOKENS_PER_PASS`], of a model whose weights stay in the last cache from pass to pass: reading them
/// more often costs little, and the values of so few tokens stay in the caches as well. 256 texts of
/// all-MiniLM-L6-v2 took 0.79 of the time of passes of 2048 tokens (docs/LOG.md).
const TOKENS_PER_CACHED_PASS: usize = 512;

/// Weights that stay in the last cache: 32 MB are what the cores of one Zen 4 die share.
const CACHED_WEIGHTS: usize = 32 << 20;

/// Scratch of a pass for each of its tokens, in bytes: residual stream, queries, keys, values and
/// the outputs of products. An upper bound for EmbeddingGemma-300M, whose buffers add up to about
/// 20 KB a token on two threads, and for BERT of 1024 values, with about 34 KB.
pub const SCRATCH_BYTES_PER_TOKEN: usize = 40 << 10;

/// How to run a model.
#[derive(Clone, Copy, Debug)]
pub struct RuntimeOptions {
    /// Threads, the calling one included; `None` for as many as the machine allows.
    pub threads: Option<usize>,
    /// Instruction set; `None` for the fastest supported.
    pub isa: Option<Isa>,
    /// Whether vectors pass the dense heads, as the model was trained.
    pub dense_heads: bool,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self {
            threads: None,
            isa: None,
            dense_heads: true,
        }
    }
}

/// A model with the threads, kernels and scratch to run it.
pub struct Runtime {
    model: Arc<dyn Model>,
    executor: Executor,
    batch: Batch,
    pass: Box<dyn ForwardPass>,
    /// Tokens of one pass at most.
    tokens_per_pass: usize,
    /// The file of panels that products read, until it is found changed.
    packed: Option<Arc<PackedFile>>,
}

impl Runtime {
    /// Starts the threads; scratch grows with the first texts.
    ///
    /// # Errors
    /// If the instruction set or the number of threads is not available, or if the file lacks the
    /// dense heads and `options` asks for them.
    pub fn new(model: Arc<dyn Model>, options: &RuntimeOptions) -> Result<Self> {
        let pass = Arc::clone(&model).forward_pass(options.dense_heads)?;
        let packed = model
            .matrices()
            .of_products()
            .find_map(Matrix::packed_file)
            .cloned();
        Ok(Self {
            executor: Executor::new(options.threads, options.isa)?,
            batch: Batch::default(),
            tokens_per_pass: tokens_per_pass(&*model),
            model,
            pass,
            packed,
        })
    }

    /// The threads chosen, and why.
    pub fn threads(&self) -> &ThreadPlan {
        self.executor.plan()
    }

    /// The instruction set chosen.
    pub fn isa(&self) -> Isa {
        self.executor.kernels().isa()
    }

    /// [`embed`](Self::embed), and the time that each thread spent in each phase.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    ///
    /// # Panics
    /// As [`embed`](Self::embed).
    pub fn embed_profiled(&mut self, texts: &[&[u32]], out: &mut [f32]) -> Result<Vec<PhaseTimes>> {
        self.executor.start_profile();
        let result = self.embed(texts, out);
        let times = self.executor.stop_profile();
        result.map(|()| times)
    }

    /// Embeds texts given as ids, the special tokens at both ends included: row `i` of `out` is the
    /// vector of text `i`, of unit length.
    ///
    /// A vector has the same bits whatever else is in the batch and however many threads run.
    /// Nothing is allocated but to grow the scratch, for the largest batch so far.
    ///
    /// # Errors
    /// [`Error::Argument`] for an empty text, one longer than the model's context, or an id outside
    /// the vocabulary; [`Error::File`] naming the layer if the weights give values that are not
    /// finite or all zero, or if the file was changed since it was opened; [`Error::Io`] if it can
    /// no longer be read; [`Error::Memory`] if there is no memory for scratch.
    ///
    /// # Panics
    /// If `out` is not `texts.len() * width` values.
    pub fn embed(&mut self, texts: &[&[u32]], out: &mut [f32]) -> Result<()> {
        self.run_passes(texts, &[], out)
    }

    /// Scores pairs of texts, given as ids with the special tokens: `out[i]` is the score of pair `i`, whose
    /// second text begins with token `second_parts[i]`, before the last function.
    ///
    /// A score has the same bits whatever else is in the batch and however many threads run.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    ///
    /// # Panics
    /// If the three are not of one length.
    pub fn score(
        &mut self,
        pairs: &[&[u32]],
        second_parts: &[usize],
        out: &mut [f32],
    ) -> Result<()> {
        assert_eq!(second_parts.len(), pairs.len(), "one place a pair");
        self.run_passes(pairs, second_parts, out)
    }

    /// Runs as many passes as the texts need. `second_parts` is empty if texts have one part.
    fn run_passes(
        &mut self,
        texts: &[&[u32]],
        second_parts: &[usize],
        out: &mut [f32],
    ) -> Result<()> {
        let width = self.model.shape().width;
        assert_eq!(
            out.len(),
            texts.len() * width,
            "one row of {width} values a text"
        );
        self.model.gguf().check_unchanged()?;
        self.executor.restart_after_fork()?;
        // Before a page of it is read that is no longer there.
        self.leave_changed_panels();
        let (mut first, mut rest) = (0, out);
        while first < texts.len() {
            let count = texts_of_a_pass(&texts[first..], self.tokens_per_pass);
            let (rows, after) = rest.split_at_mut(count * width);
            let pass = first..first + count;
            let second_parts = second_parts.get(pass.clone()).unwrap_or_default();
            self.pass(first, &texts[pass], second_parts, rows)?;
            (first, rest) = (first + count, after);
        }
        Ok(())
    }

    /// Runs texts in one forward pass; `first` is the number of the first one, for messages.
    fn pass(
        &mut self,
        first: usize,
        texts: &[&[u32]],
        second_parts: &[usize],
        out: &mut [f32],
    ) -> Result<()> {
        let (shape, threads) = (self.model.shape(), self.executor.threads());
        self.batch.set(first, texts, shape, threads)?;
        if !second_parts.is_empty() {
            self.batch.set_second_parts(second_parts);
        }
        self.reserve()?;
        let mut result = self.run(out);
        // A pass that may have read other panels than those that were checked does not count: they
        // are packed from now on.
        if self.leave_changed_panels() {
            self.reserve()?;
            result = self.run(out);
        }
        // A file changed meanwhile is at fault before its weights are.
        self.model.gguf().check_unchanged()?;
        result?;
        if out.iter().all(|value| value.is_finite()) {
            return Ok(());
        }
        let (executor, batch, pass) = (&mut self.executor, &self.batch, &mut self.pass);
        let culprit = pass.first_not_finite(executor, batch, out);
        let name = self.model.family().name;
        Err(self.model.gguf().file_error(
            culprit,
            "the forward pass gives values that are not finite, or nothing but zeros",
            format!("the weights are damaged or not those of {name}; fetch the file again"),
        ))
    }

    /// Whether the file of packed panels was changed since the last call, so that from now on panels
    /// are packed.
    fn leave_changed_panels(&mut self) -> bool {
        let changed = |packed: &mut Arc<PackedFile>| !packed.check_in_use();
        self.packed.take_if(changed).is_some()
    }

    fn run(&mut self, out: &mut [f32]) -> Result<()> {
        let (executor, batch, pass) = (&mut self.executor, &self.batch, &mut self.pass);
        executor.run_pass(batch.tokens(), |executor| pass.run(executor, batch, out))
    }

    /// Takes the memory that the pass over the batch will use, so that only this can fail.
    fn reserve(&mut self) -> Result<()> {
        let batch = &self.batch;
        let reserved = self
            .pass
            .reserve(self.executor.kernels(), batch)
            .and_then(|()| self.executor.reserve(batch, self.pass.longest_row()));
        reserved.map_err(|_| Error::Memory {
            tokens: batch.tokens(),
        })
    }
}

/// Tokens of one pass at most, of this model.
fn tokens_per_pass(model: &dyn Model) -> usize {
    let matrices = model.matrices();
    let weights: usize = matrices
        .of_products()
        .map(|matrix| matrix.rows() * matrix.columns())
        .sum();
    if weights <= CACHED_WEIGHTS {
        TOKENS_PER_CACHED_PASS
    } else {
        TOKENS_PER_PASS
    }
}

/// How many of the first texts one pass of at most `most` tokens takes: at least one.
fn texts_of_a_pass(texts: &[&[u32]], most: usize) -> usize {
    let mut tokens = 0;
    let fitting = texts.iter().take_while(|ids| {
        tokens += ids.len();
        tokens <= most
    });
    fitting.count().max(1)
}
