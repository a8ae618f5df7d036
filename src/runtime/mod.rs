//! The thin runtime: threads, scratch, and the forward pass that runs on them.

mod attention;
mod batch;
mod company;
mod forward;
pub mod phases;
pub mod pool;
mod product;
mod rope;
pub mod split;
mod sync;
pub mod threads;

use crate::model::{MatrixType, Model};
use crate::{Error, Result};
use batch::Batch;
use company::{Company, Watch};
use forward::State;
use lanewise_kernels::{BLOCK, Isa, Kernels, MAX_HEAD_DIM, MAX_KEYS, Q8_0_BYTES};
use phases::PhaseTimes;
use pool::Pool;
use product::Worker;
use std::collections::TryReserveError;
use std::sync::Arc;
use std::time::Instant;
use threads::ThreadPlan;

/// Tokens of one pass at most, but always at least one text: a batch of short texts so takes no more scratch than one text
/// of full length. 33,000 tokens in one pass ran at four fifths of the speed of 8,000, for want of cache.
pub const TOKENS_PER_PASS: usize = 2048;
/// Bytes of scratch that a pass takes for each of its tokens, at most: residual stream, queries, keys, values and the
/// products' outputs.
pub const SCRATCH_BYTES_PER_TOKEN: usize = 40 << 10;

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
    company: Company,
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
            company: Company::default(),
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
    /// [`Error::File`] naming the layer if the weights give values that are not finite or all zero, or if the file was
    /// changed since it was opened; [`Error::Io`] if it cannot be read any more; [`Error::Memory`] if memory for scratch
    /// cannot be had.
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
        self.model.gguf().check_unchanged()?;
        if !self.pool.has_its_workers() {
            self.pool = Pool::new(&self.plan)?;
        }
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
        self.reserve()?;
        let result = self.forward_in_company(out);
        // A file changed meanwhile is at fault before its weights are.
        self.model.gguf().check_unchanged()?;
        result?;
        if out.iter().all(|value| value.is_finite()) {
            return Ok(());
        }
        let culprit = self.first_layer_not_finite(out);
        Err(self.model.gguf().file_error(
            culprit,
            "the forward pass gives values that are not finite, or nothing but zeros",
            "the weights are damaged or not those of EmbeddingGemma; fetch the file again",
        ))
    }

    /// The forward pass on all threads, or on one if the machine is too busy for more.
    fn forward_in_company(&mut self, out: &mut [f32]) -> Result<()> {
        let tokens = self.batch.tokens();
        let alone = self.company.shuns(tokens, self.pool.threads());
        self.pool.set_alone(alone);
        if !alone {
            self.plan.leave_cpus_of_workers();
        }
        let watch = Watch::start();
        self.forward(out)?;
        if !alone {
            self.company.met(tokens, watch.off_cpu());
        }
        Ok(())
    }

    /// Takes the memory that the pass over the batch will use, so that only this can fail.
    fn reserve(&mut self) -> Result<()> {
        let model = self.model.clone();
        let matrices = || model.weights().matrices();
        let longest_row = matrices().map(|matrix| matrix.columns).max();
        let lines = self.kernels.panel_lines(longest_row.unwrap_or(0));
        let quantised = matrices().filter(|matrix| matrix.kind != MatrixType::Q8_0);
        let blocks = quantised.map(|matrix| matrix.columns / BLOCK).max();
        let row_bytes = blocks.unwrap_or(0) * Q8_0_BYTES;
        let mut scratch = || {
            self.state.reserve(&model, &self.batch)?;
            self.workers.iter_mut().try_for_each(|worker| {
                worker.reserve(model.config(), &self.batch, lines, row_bytes)
            })
        };
        scratch().map_err(|_: TryReserveError| Error::Memory {
            tokens: self.batch.tokens(),
        })
    }
}

/// Makes room for `length` elements in all.
fn reserve<T>(buffer: &mut Vec<T>, length: usize) -> Result<(), TryReserveError> {
    buffer.try_reserve(length.saturating_sub(buffer.len()))
}

/// Scales a vector to unit length; one of zeros becomes NaN, which no caller takes for a vector.
pub(crate) fn normalize(vector: &mut [f32]) {
    let squares: f64 = vector.iter().map(|value| f64::from(*value).powi(2)).sum();
    let norm = squares.sqrt();
    vector
        .iter_mut()
        .for_each(|value| *value = (f64::from(*value) / norm) as f32);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_get_unit_length_and_zeros_nan() {
        let mut vector = [3.0, 4.0];
        normalize(&mut vector);
        assert_eq!(vector, [0.6, 0.8]);
        let mut tiny = [f32::from_bits(1); 4];
        normalize(&mut tiny);
        assert_eq!(tiny, [0.5; 4]);
        let mut zeros = [0.0; 2];
        normalize(&mut zeros);
        assert!(zeros.iter().all(|value| value.is_nan()));
    }
}
