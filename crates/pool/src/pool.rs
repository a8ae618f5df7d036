//! A fork-join pool for very short jobs.
//!
//! One word says it all: `state` holds the number of the job, whether it is *open*, and how many
//! workers are *inside* it. The caller writes the job, opens it and takes tasks like any worker. A
//! worker that sees an open job enters by adding one to the word, takes tasks until none is left,
//! and leaves by taking one off. When the caller finds no more tasks it closes the job and waits
//! for the workers inside. Nobody waits for a worker that has not entered: one that is asleep, or
//! whose virtual CPU is taken away, costs nothing but its help.
//!
//! The tasks are shared out as one contiguous range a thread, so that neighbouring tasks (panels
//! of weights) are read by one core; whoever is done with its own range takes single tasks from
//! the others.
//!
//! Waiting spins for `SPIN` and then parks. A sleeper first says that it sleeps and then looks
//! at `state` once more; whoever changes `state` does so first and then looks for sleepers. Both
//! sides are sequentially consistent, so one of them sees the other and no wake-up is lost.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use std::time::{Duration, Instant};

use core_affinity::CoreId;

use crate::partition::Split;
use crate::sync::{
    self, Arc, AtomicBool, AtomicU64, AtomicUsize, JoinHandle, Mutex, Thread, UnsafeCell,
};
use crate::threads::ThreadPlan;
use crate::{Error, Result};

/// How long a thread spins before it parks. Waking one costs 5 to 50 µs, so it should outlast the
/// serial work between two jobs of a forward pass, and be too short to matter once that is over.
const SPIN: Duration = Duration::from_micros(100);

/// Loads between two looks at the clock, which costs about as much as a few of them.
const LOADS_PER_CLOCK: usize = 64;

/// The bits of `state`: workers inside below, then the flags, then the number of the job.
const INSIDE: u64 = 0xffff;
const OPEN: u64 = 1 << 16;
const STOP: u64 = 1 << 17;
const JOB: u64 = 1 << 18;

/// A value on cache lines of its own, so that threads that write to neighbours do not contend.
/// Two lines of 64 bytes, because processors prefetch them in pairs.
#[derive(Clone, Debug, Default)]
#[repr(align(128))]
pub struct CachePadded<T>(pub T);

/// A fixed set of threads that run the tasks of one job at a time. Dropping it joins them.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// The process that started the workers; one forked from it has none.
    process: u32,
    /// Whether jobs run on the caller alone.
    alone: bool,
}

/// What the caller and the workers share.
struct Shared {
    state: CachePadded<AtomicU64>,
    job: UnsafeCell<Job>,
    /// The tasks left, by thread.
    ranges: Box<[CachePadded<Range>]>,
    /// Whether a thread is parked, by thread.
    asleep: Box<[CachePadded<AtomicBool>]>,
    /// The thread that called, once it has parked.
    caller: Mutex<Option<Thread>>,
    /// The first panic of the job.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    spin: Duration,
}

// SAFETY: all but `job` is made to be shared. `job` is written by the caller alone, while the job
// is closed and nobody is inside, and read by workers only between entering and leaving.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `job` is to a `Sync` closure, and only used while `for_each` runs.
unsafe impl Send for Shared {}

/// The body of a job, with its type erased.
#[derive(Clone, Copy)]
struct Job {
    body: *const (),
    call: unsafe fn(*const (), usize, usize),
}

/// The tasks `next..end` of one thread that nobody has taken yet.
#[derive(Default)]
struct Range {
    next: AtomicUsize,
    end: AtomicUsize,
}

impl Range {
    /// Takes a task. Relaxed throughout: the atomic addition alone gives each task away once, and
    /// what tasks read and write is ordered by entering and leaving through `state`.
    fn take(&self) -> Option<usize> {
        let end = self.end.load(Relaxed);
        // The look first keeps an empty range's line shared, and `next` from growing on.
        if self.next.load(Relaxed) >= end {
            return None;
        }
        let task = self.next.fetch_add(1, Relaxed);
        (task < end).then_some(task)
    }
}

/// The tasks that `worker` begins with when `threads` share `tasks`: one run each, as even as they come.
pub fn initial_tasks(tasks: usize, threads: usize, worker: usize) -> std::ops::Range<usize> {
    let (quotient, remainder) = (tasks / threads, tasks % threads);
    let start = |worker: usize| worker * quotient + worker.min(remainder);
    start(worker)..start(worker + 1)
}

impl Pool {
    /// Starts the workers of `plan`: one fewer than its threads, since the caller works too.
    /// Pinning that is refused is gone without.
    ///
    /// # Errors
    ///
    /// [`Error::Spawn`] if the system refuses a thread.
    pub fn new(plan: &ThreadPlan) -> Result<Self> {
        let threads = plan.cpus.len();
        // A model checker has no clock to spin by.
        let spin = if plan.oversubscribed || cfg!(loom) {
            Duration::ZERO
        } else {
            SPIN
        };
        let shared = Arc::new(Shared {
            state: CachePadded(AtomicU64::new(0)),
            job: UnsafeCell::new(Job {
                body: std::ptr::null(),
                call: |_, _, _| (),
            }),
            ranges: (0..threads).map(|_| CachePadded::default()).collect(),
            asleep: (0..threads).map(|_| CachePadded::default()).collect(),
            caller: Mutex::new(None),
            panic: Mutex::new(None),
            spin,
        });
        let mut pool = Self {
            shared,
            workers: Vec::with_capacity(threads.saturating_sub(1)),
            process: process::id(),
            alone: false,
        };
        for (worker, &cpu) in plan.cpus.iter().enumerate().skip(1) {
            let shared = Arc::clone(&pool.shared);
            let handle = sync::Builder::new()
                .name(format!("lanewise-{worker}"))
                .spawn(move || work(&shared, worker, cpu))
                .map_err(|source| Error::Spawn {
                    thread: worker + 1,
                    source,
                })?;
            pool.workers.push(handle);
        }
        Ok(pool)
    }

    /// The number of threads, the calling one included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// False in a process forked from the one that started the workers. They stayed behind there;
    /// jobs here run on the caller alone.
    pub fn has_its_workers(&self) -> bool {
        self.process == process::id()
    }

    /// From now on jobs run on the caller alone, or on all threads again.
    pub fn set_single_threaded(&mut self, alone: bool) {
        self.alone = alone;
    }

    /// Runs `body(task, worker)` once for each task in `0..tasks`, on all threads, and returns
    /// when all have run. `worker` is below [`threads`](Self::threads); 0 is the calling thread.
    /// One task runs on the caller, with nobody woken. Nothing is allocated.
    ///
    /// # Panics
    ///
    /// With the first panic of `body`, once no thread runs it any more; tasks that were not begun
    /// by then may have been left out. The pool stays usable.
    pub fn for_each<F: Fn(usize, usize) + Sync>(&mut self, tasks: usize, body: F) {
        if tasks <= 1 || self.workers.is_empty() || self.alone {
            (0..tasks).for_each(|task| body(task, 0));
            return;
        }
        // So far from the top that `Range::next` cannot wrap.
        assert!(tasks <= usize::MAX / 2, "too many tasks");

        /// # Safety
        ///
        /// `body` points to a live `F`.
        unsafe fn call<F: Fn(usize, usize)>(body: *const (), task: usize, worker: usize) {
            // SAFETY: the caller's promise.
            unsafe { (*body.cast::<F>())(task, worker) }
        }
        let job = Job {
            body: (&raw const body).cast(),
            call: call::<F>,
        };
        let shared = &*self.shared;
        // SAFETY: `&mut self` means that no other job runs, and the last one ended closed with
        // nobody inside: no worker reads `job`.
        shared.job.with_mut(|place| unsafe { *place = job });
        for (worker, CachePadded(range)) in shared.ranges.iter().enumerate() {
            let initial = initial_tasks(tasks, self.threads(), worker);
            range.next.store(initial.start, Relaxed);
            range.end.store(initial.end, Relaxed);
        }

        // The release in this store hands `job` and the ranges to whoever enters.
        let state = &shared.state.0;
        let opened = (state.load(Relaxed) & !OPEN).wrapping_add(JOB) | OPEN;
        state.store(opened, SeqCst);
        for (asleep, worker) in shared.asleep[1..].iter().zip(&self.workers).take(tasks - 1) {
            if asleep.0.load(SeqCst) {
                worker.thread().unpark();
            }
        }

        // SAFETY: `body` lives to the end of this function, which is reached, panic or not, only
        // after the job is closed and everyone has left.
        unsafe { shared.run(job, 0) };
        state.fetch_and(!OPEN, SeqCst);
        shared.wait_for_workers();
        let panic = shared
            .panic
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
    }

    /// Runs `body(index, part, scratch)` once for each part of `split`, where `scratch` belongs to
    /// the thread that runs it. Wrap scratch that is small in [`CachePadded`].
    ///
    /// # Panics
    ///
    /// If there is less than one scratch a thread, and like [`for_each`](Self::for_each).
    pub fn for_each_part<S: Split, W: Send>(
        &mut self,
        split: S,
        scratch: &mut [W],
        body: impl Fn(usize, S::Part, &mut W) + Sync,
    ) {
        assert!(scratch.len() >= self.threads(), "one scratch a thread");
        let scratch = Scratch(scratch.as_mut_ptr());
        self.for_each(split.parts(), |task, worker| {
            // SAFETY: the split is used up here and `for_each` gives each task below `parts` away
            // once.
            let part = unsafe { split.part(task) };
            // SAFETY: worker < threads <= the length of the slice, which is borrowed throughout.
            // No two threads have the same number, and a thread runs one task at a time.
            let scratch = unsafe { &mut *scratch.of(worker) };
            body(task, part, scratch);
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if !self.has_its_workers() {
            // There are no threads to join, and the memory of their handles may be others' by now.
            self.workers.drain(..).for_each(std::mem::forget);
            return;
        }
        // No job is open: `for_each` closes it even if it panics.
        self.shared.state.0.fetch_or(STOP, SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its tasks, so there is none to carry on.
            let _ = worker.join();
        }
    }
}

/// The first of one scratch a thread.
struct Scratch<W>(*mut W);

// SAFETY: each thread reaches its own element only, for which `W: Send` suffices.
unsafe impl<W: Send> Sync for Scratch<W> {}

impl<W> Scratch<W> {
    /// # Safety
    ///
    /// `worker` is below the length of the slice.
    unsafe fn of(&self, worker: usize) -> *mut W {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(worker) }
    }
}

impl Shared {
    /// Runs tasks until none is left, first of `worker`'s own range, then of the others'. A panic
    /// ends it and is kept.
    ///
    /// # Safety
    ///
    /// `job` is the open one, and its body lives until this returns.
    unsafe fn run(&self, job: Job, worker: usize) {
        let threads = self.ranges.len();
        let result = catch_unwind(AssertUnwindSafe(|| {
            for victim in (worker..threads).chain(0..worker) {
                while let Some(task) = self.ranges[victim].0.take() {
                    // SAFETY: the caller's promise.
                    unsafe { (job.call)(job.body, task, worker) };
                }
            }
        }));
        if let Err(payload) = result {
            let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
            match *first {
                None => *first = Some(payload),
                // Dropping a payload may panic again.
                Some(_) => std::mem::forget(payload),
            }
        }
    }

    /// Waits until nobody is inside the closed job. The acquire in the load makes all that the
    /// workers wrote visible: each leaves with a release.
    fn wait_for_workers(&self) {
        let left = || self.state.0.load(SeqCst) & INSIDE == 0;
        if self.spin_until(left) {
            return;
        }
        *self.caller.lock().unwrap_or_else(PoisonError::into_inner) = Some(sync::current());
        self.park_until(0, left);
    }

    /// Leaves the job, and wakes the caller if it sleeps and this was the last worker.
    fn leave(&self) {
        let before = self.state.0.fetch_sub(1, SeqCst);
        if before & (INSIDE | OPEN) == 1 && self.asleep[0].0.load(SeqCst) {
            let caller = self.caller.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(caller) = &*caller {
                caller.unpark();
            }
        }
    }

    /// Spins until `ready` or the time is over; returns whether it is ready.
    fn spin_until(&self, ready: impl Fn() -> bool) -> bool {
        if self.spin.is_zero() {
            return ready();
        }
        let mut start = None;
        loop {
            for _ in 0..LOADS_PER_CLOCK {
                if ready() {
                    return true;
                }
                std::hint::spin_loop();
            }
            if start.get_or_insert_with(Instant::now).elapsed() > self.spin {
                return false;
            }
        }
    }

    /// Parks thread `worker`, the current one, until `ready`, which loads `state` with `SeqCst`.
    fn park_until(&self, worker: usize, ready: impl Fn() -> bool) {
        let asleep = &self.asleep[worker].0;
        asleep.store(true, SeqCst);
        while !ready() {
            sync::park();
        }
        asleep.store(false, Relaxed);
    }
}

/// The life of a worker.
fn work(shared: &Shared, worker: usize, cpu: Option<CoreId>) {
    if let Some(cpu) = cpu {
        // Refused in some containers; the scheduler then decides.
        core_affinity::set_for_current(cpu);
    }
    let number = |state: u64| state / JOB;
    let mut done = 0;
    loop {
        let seen = || shared.state.0.load(SeqCst);
        let ready = || {
            let state = seen();
            state & STOP != 0 || (state & OPEN != 0 && number(state) != done)
        };
        if !shared.spin_until(ready) {
            shared.park_until(worker, ready);
        }
        let state = seen();
        if state & STOP != 0 {
            return;
        }
        // It may have been closed since, or someone else has entered: look again.
        if state & OPEN == 0 || number(state) == done {
            continue;
        }
        // Entering acquires what the caller released by opening: additions of other workers in
        // between carry that on. It succeeds only while the job is open.
        let entered = shared
            .state
            .0
            .compare_exchange_weak(state, state + 1, AcqRel, Acquire);
        if entered.is_ok() {
            // SAFETY: this worker is inside, so the caller neither writes `job` nor lets go of
            // its body until this worker leaves.
            shared.job.with(|job| unsafe { shared.run(*job, worker) });
            done = number(state);
            shared.leave();
        }
    }
}
