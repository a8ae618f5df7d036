//! The thin runtime: threads, scratch, and the forward pass that runs on them.

mod attention;
mod batch;
mod forward;
pub mod phases;
pub mod pool;
mod product;
mod rope;
pub mod split;
mod sync;
pub mod threads;

use crate::model::Model;
use crate::{Error, Result};
use batch::Batch;
use forward::State;
use lanewise_kernels::{Isa, Kernels, MAX_HEAD_DIM, MAX_KEYS};
use phases::PhaseTimes;
use pool::Pool;
use product::Worker;
use std::sync::Arc;
use std::time::Instant;
use threads::ThreadPlan;

/// Tokens of one pass at most, but always at least one text: a batch of short texts so takes no more scratch than one text
/// of full length. 33,000 tokens in one pass ran at four fifths of the speed of 8,000, for want of cache.
const TOKENS_PER_PASS: usize = 2048;

/// How to run a model.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Threads, the calling one included; `None` for as many as the machine allows.
    pub threads: Option<usize>,
    /// Instruction set; `None` for the fastest supported.
    pub isa: Option<Isa>,
    /// Whether vectors pass the two dense heads, as the model was trained.
    pub dense_heads: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            threads: None,
            isa: None,
            dense_heads: true,
        }
    }
}

/// A model with the threads, kernels and scratch to run it.
pub struct Runtime {
    model: Arc<Model>,
    plan: ThreadPlan,
    kernels: Kernels,
    dense_heads: bool,
    pool: Pool,
    workers: Vec<Worker>,
    batch: Batch,
    state: State,
}

impl Runtime {
    /// Starts the threads; scratch grows with the first texts.
    ///
    /// # Errors
    ///
    /// If the instruction set or the number of threads cannot be had, if the file lacks the dense heads and `settings`
    /// asks for them, or if the model is larger than the kernels allow.
    pub fn new(model: Arc<Model>, settings: &Settings) -> Result<Runtime> {
        if settings.dense_heads && !model.has_dense_heads() {
            return Err(model.gguf().file_error(
                "dense_2.weight",
                "the file has no dense heads, without which vectors lie in another space",
                "use a file with the heads, or ask for vectors without them (--no-dense-head)",
            ));
        }
        check_limits(&model)?;
        let isa = settings.isa.unwrap_or_else(Isa::detect);
        let kernels = Kernels::for_isa(isa).ok_or_else(|| Error::Argument {
            name: "instruction set".into(),
            problem: format!("this CPU does not support {isa}"),
            remedy: format!(
                "take {} or let Lanewise choose (LANEWISE_ISA unset)",
                Isa::detect()
            ),
        })?;
        let plan = ThreadPlan::choose(settings.threads)?;
        let pool = Pool::new(&plan)?;
        Ok(Runtime {
            workers: (0..pool.threads()).map(|_| Worker::default()).collect(),
            dense_heads: settings.dense_heads,
            batch: Batch::default(),
            state: State::default(),
            model,
            plan,
            kernels,
            pool,
        })
    }

    /// The threads chosen, and why.
    pub fn threads(&self) -> &ThreadPlan {
        &self.plan
    }

    /// The instruction set chosen.
    pub fn isa(&self) -> Isa {
        self.kernels.isa()
    }

    /// [`embed`](Self::embed), and the time that each thread spent in each phase.
    ///
    /// # Errors
    ///
    /// As [`embed`](Self::embed).
    ///
    /// # Panics
    ///
    /// As [`embed`](Self::embed).
    pub fn embed_timed(&mut self, texts: &[&[u32]], out: &mut [f32]) -> Result<Vec<PhaseTimes>> {
        let now = Instant::now();
        self.workers
            .iter_mut()
            .for_each(|worker| worker.stopwatch.start(now));
        let result = self.embed(texts, out);
        let stop = |worker: &mut Worker| worker.stopwatch.stop();
        let times = self.workers.iter_mut().map(stop).collect();
        result.map(|()| times)
    }

    /// Embeds texts given as ids, `<bos>` and `<eos>` included: row `i` of `out` is the vector of text `i`, of unit length.
    ///
    /// A vector has the same bits whatever else is in the batch and however many threads run. Nothing is allocated but to
    /// grow the scratch, for the largest batch so far.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for an empty text, one longer than the model's context, or an id outside the vocabulary;
    /// [`Error::File`] naming the layer if the weights give values that are not finite; [`Error::Io`] if the file cannot be
    /// read any more.
    ///
    /// # Panics
    ///
    /// If `out` is not `texts.len() * hidden` values.
    pub fn embed(&mut self, texts: &[&[u32]], out: &mut [f32]) -> Result<()> {
        let config = self.model.config();
        assert_eq!(
            out.len(),
            texts.len() * config.hidden,
            "one vector of {} a text",
            config.hidden
        );
        let hidden = config.hidden;
        let (mut first, mut rest) = (0, out);
        while first < texts.len() {
            let count = texts_of_a_pass(&texts[first..]);
            let (vectors, after) = rest.split_at_mut(count * hidden);
            self.pass(first, &texts[first..first + count], vectors)?;
            (first, rest) = (first + count, after);
        }
        Ok(())
    }

    /// Embeds texts in one forward pass; `first` is the number of the first one, for messages.
    fn pass(&mut self, first: usize, texts: &[&[u32]], out: &mut [f32]) -> Result<()> {
        let config = self.model.config();
        self.batch.set(first, texts, config, self.pool.threads())?;
        self.forward(out)?;
        Worker::level(&mut self.workers);
        if out.iter().all(|value| value.is_finite()) {
            return Ok(());
        }
        let culprit = self.first_layer_not_finite(out);
        Err(self.model.gguf().file_error(
            culprit,
            "the forward pass gives values that are not finite",
            "the weights are damaged or not those of EmbeddingGemma; fetch the file again",
        ))
    }
}

/// How many of the first texts one pass takes: at least one.
fn texts_of_a_pass(texts: &[&[u32]]) -> usize {
    let mut tokens = 0;
    let fitting = texts.iter().take_while(|ids| {
        tokens += ids.len();
        tokens <= TOKENS_PER_PASS
    });
    fitting.count().max(1)
}

/// What exact integer sums bound.
fn check_limits(model: &Model) -> Result<()> {
    let config = model.config();
    let refuse = |field: &str, value: usize, limit: usize| {
        Err(model.gguf().file_error(
            field,
            format!("{value} is more than the kernels' limit of {limit}"),
            "use EmbeddingGemma or a model of its size",
        ))
    };
    if config.head_dim > MAX_HEAD_DIM {
        return refuse(
            "gemma-embedding.attention.key_length",
            config.head_dim,
            MAX_HEAD_DIM,
        );
    }
    if config.context > MAX_KEYS {
        return refuse("gemma-embedding.context_length", config.context, MAX_KEYS);
    }
    if let Some([dense_2, _]) = &model.weights().dense
        && !dense_2.rows.is_multiple_of(lanewise_kernels::BLOCK)
    {
        return Err(model.gguf().file_error(
            "dense_2.weight",
            format!("{} rows are no multiple of 32", dense_2.rows),
            "use EmbeddingGemma or a model with heads of such a size",
        ));
    }
    Ok(())
}
