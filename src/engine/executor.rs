//! What runs the steps of a forward pass: the kernels, the threads and their scratch.

use std::collections::TryReserveError;
use std::time::Instant;

use lanewise_kernels::{Isa, Kernels};
use lanewise_pool::partition::Partition;
use lanewise_pool::{Pool, ThreadPlan};

use super::batch::Batch;
use super::contention::{ContentionMonitor, OffCpuTimer};
use super::profile::{Phase, PhaseTimes};
use super::scratch::Worker;
use crate::{Error, Result};

/// Kernels, threads and scratch. It knows no model: the steps that a forward pass is made of are
/// its methods ([matrix products](Self::multiply)) or take it as an argument
/// ([`Attention`](super::attention::Attention)).
pub struct Executor {
    plan: ThreadPlan,
    kernels: Kernels,
    pool: Pool,
    workers: Vec<Worker>,
    contention: ContentionMonitor,
    /// The number of tasks of each job so far.
    #[cfg(test)]
    pub(crate) jobs: Vec<usize>,
}

impl Executor {
    /// Starts the threads; scratch grows with the first batches.
    ///
    /// `threads` counts the calling one, `None` is as many as the machine allows; `isa` `None` is
    /// the fastest instruction set supported.
    ///
    /// # Errors
    /// If the CPU lacks the instruction set, or the threads cannot be started.
    pub fn new(threads: Option<usize>, isa: Option<Isa>) -> Result<Self> {
        let isa = isa.unwrap_or_else(Isa::detect);
        let kernels = Kernels::for_isa(isa).ok_or_else(|| Error::Argument {
            name: "instruction set".into(),
            problem: format!("this CPU does not support {isa}"),
            remedy: format!(
                "take {} or let Lanewise choose (LANEWISE_ISA unset)",
                Isa::detect()
            ),
        })?;
        let plan = ThreadPlan::choose(threads)?;
        let pool = Pool::new(&plan)?;
        Ok(Self {
            workers: (0..pool.threads()).map(|_| Worker::default()).collect(),
            contention: ContentionMonitor::default(),
            plan,
            kernels,
            pool,
            #[cfg(test)]
            jobs: Vec::new(),
        })
    }

    /// The threads chosen, and why.
    pub fn plan(&self) -> &ThreadPlan {
        &self.plan
    }

    /// The number of threads, the calling one included.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// The kernels of the instruction set chosen.
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// Starts the threads anew in a process that was forked from the one that started them.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn restart_after_fork(&mut self) -> Result<()> {
        if !self.pool.has_its_workers() {
            self.pool = Pool::new(&self.plan)?;
        }
        Ok(())
    }

    /// Makes room for a batch in the scratch of each thread; `longest_row` is the most columns that
    /// a matrix has.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn reserve(&mut self, batch: &Batch, longest_row: usize) -> Result<(), TryReserveError> {
        let kernels = self.kernels;
        let lines = kernels.panel_lines(longest_row);
        self.workers
            .iter_mut()
            .try_for_each(|worker| worker.reserve(kernels, batch, lines, longest_row))
    }

    /// Runs a pass over `tokens` tokens on all threads, or on the calling one if another program
    /// keeps the machine too busy for more.
    pub fn run_pass<T>(&mut self, tokens: usize, pass: impl FnOnce(&mut Self) -> T) -> T {
        let single = self
            .contention
            .prefer_single_thread(tokens, self.pool.threads());
        self.pool.set_single_threaded(single);
        if !single {
            self.plan.leave_cpus_of_workers();
        }
        let timer = OffCpuTimer::start();
        let result = pass(self);
        if !single {
            self.contention.record(tokens, timer.off_cpu());
        }
        result
    }

    /// Runs `body(index, part, worker)` once for each part, on all threads, where `worker` is the
    /// scratch of the thread that runs it; the time until then counts as waiting.
    pub(crate) fn for_each_part<P: Partition>(
        &mut self,
        parts: P,
        body: impl Fn(usize, P::Part, &mut Worker) + Sync,
    ) {
        #[cfg(test)]
        self.jobs.push(parts.parts());
        self.pool
            .for_each_part(parts, &mut self.workers, |index, part, worker| {
                worker.stopwatch.lap(Phase::Wait);
                body(index, part, worker);
            });
    }

    /// Counts the calling thread's time since the last lap for `phase`.
    pub(crate) fn lap(&mut self, phase: Phase) {
        self.workers[0].stopwatch.lap(phase);
    }

    /// From now on the time that each thread spends in each phase is measured.
    pub fn start_profile(&mut self) {
        let now = Instant::now();
        self.workers
            .iter_mut()
            .for_each(|worker| worker.stopwatch.start(now));
    }

    /// The times of each thread since [`start_profile`](Self::start_profile).
    pub fn stop_profile(&mut self) -> Vec<PhaseTimes> {
        let stop = |worker: &mut Worker| worker.stopwatch.stop();
        self.workers.iter_mut().map(stop).collect()
    }
}
