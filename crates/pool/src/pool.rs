//! A fork-join pool for very short jobs.
//!
//! Only the caller writes `state`, which holds the number of the job and whether the job is *open*.
//! It writes the job, opens it and takes tasks like any worker. A worker that sees an open job
//! enters it: it adds one to the count of those *inside*, and loads `state` again. If that is what
//! it was, the worker takes tasks until none is left; in any case it subtracts one again. When the
//! caller finds no more tasks, it closes the job and waits until nobody is inside. Entering is an
//! addition and then a load, closing a store and then a load of the count, all four sequentially
//! consistent: so the caller sees that the worker is inside, or the worker that the job is closed.
//! Nobody waits for a worker that has not entered: if it is asleep, or its virtual CPU is taken
//! away, only its help is missing.
//!
//! Each thread begins with one contiguous range of the tasks, so that neighboring tasks (panels of
//! weights) are read by one core. A thread that has finished its own range takes single tasks from
//! the others.
//!
//! With many threads the time of a short job is that of cache lines which travel between cores. So
//! threads count themselves in *groups* of `GROUP`, look for tasks in their own group first, and
//! skip a group in which somebody has found none. The ranges are not written by the caller: what a
//! thread has taken of its range carries the number of the job, and a range of an earlier job
//! counts as whole.
//!
//! Waiting threads spin for `SPIN` and then park. A thread that is about to park first sets its
//! `asleep` flag and then loads what it waits for once more; a thread that changes that does so
//! first and then loads the flags. All four accesses are sequentially consistent, so at least one
//! of the two sees the other and no wake-up is lost.

use std::any::Any;
use std::ops;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use core_affinity::CoreId;

use crate::partition::Partition;
use crate::ranges::{GROUP, in_order, initial_tasks};
use crate::sync::{self, Arc, AtomicBool, AtomicU64, JoinHandle, Mutex, Thread, UnsafeCell};
use crate::threads::ThreadPlan;
use crate::{Error, Result};

/// How long a thread spins before it parks. Waking a thread costs 5 to 50 µs, so this should be
/// longer than the serial work between two jobs of a forward pass, and too short to matter once the
/// pass is over.
const SPIN: Duration = Duration::from_micros(100);

/// Loads of `state` between two readings of the clock, one of which costs as much as a few loads.
const LOADS_PER_CLOCK: usize = 64;

/// The fields of `state`, from the lowest bits up: the flags `OPEN` and `STOP`, and the number of
/// the job in units of `JOB`.
const OPEN: u64 = 1 << 0;
const STOP: u64 = 1 << 1;
const JOB: u64 = 1 << 2;

/// A value on cache lines of its own, so that threads that write to neighboring values do not
/// contend. It takes two lines of 64 bytes, because processors prefetch lines in pairs.
#[derive(Clone, Debug, Default)]
#[repr(align(128))]
pub struct CachePadded<T>(pub T);

/// A fixed set of threads that run the tasks of one job at a time. Dropping it joins them.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// The process that started the workers; a process forked from it has no workers.
    process: u32,
    /// Whether jobs run on the calling thread only.
    single_threaded: bool,
}

/// What the caller and the workers share.
struct Shared {
    state: CachePadded<AtomicU64>,
    job: UnsafeCell<Job>,
    /// What each thread's range has given away.
    ranges: Box<[CachePadded<Range>]>,
    groups: Box<[Group]>,
    /// Whether each thread is parked or about to park.
    asleep: Box<[CachePadded<AtomicBool>]>,
    /// The calling thread, once it has parked.
    caller: Mutex<Option<Thread>>,
    /// The first panic of the job.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    spin: Duration,
}

// SAFETY: every field but `job` is `Sync` by itself. Only the caller writes `job`, while the job is
// closed and nobody is inside, and workers read it only between entering and leaving.
unsafe impl Sync for Shared {}
// SAFETY: every field but `job` is `Send` by itself. The pointer in `job` points to a `Sync`
// closure and is used only while `for_each`, which borrows the closure, runs.
unsafe impl Send for Shared {}

/// The body of a job with its type erased: `call(body, task, worker)` runs one task.
#[derive(Clone, Copy)]
struct Job {
    body: *const (),
    call: unsafe fn(*const (), usize, usize),
    tasks: usize,
    /// The number of the job, from 1 on.
    number: u64,
}

/// What a thread's range has given away: the low half of the number of the job that took from it
/// last, and the tasks that it took.
#[derive(Default)]
struct Range(AtomicU64);

impl Range {
    /// Takes one of the tasks `initial`, which are those of this range in job `number`. `Relaxed` is
    /// enough throughout: the exchange by itself gives each task away once, and entering and leaving
    /// order what tasks read and write.
    fn take(&self, number: u64, initial: ops::Range<usize>) -> Option<usize> {
        let mut before = self.0.load(Relaxed);
        loop {
            let same_job = before >> 32 == number & LOW;
            let taken = if same_job { before & LOW } else { 0 };
            // An empty range is only read, so that its cache line need not travel.
            let task = initial.start + taken as usize;
            if task >= initial.end {
                return None;
            }
            let after = number << 32 | (taken + 1);
            match self
                .0
                .compare_exchange_weak(before, after, Relaxed, Relaxed)
            {
                Ok(_) => return Some(task),
                Err(current) => before = current,
            }
        }
    }
}

/// The low half of a word.
const LOW: u64 = u32::MAX as u64;

/// What [`GROUP`] threads share.
#[derive(Default)]
struct Group {
    /// How many of them are inside.
    inside: CachePadded<AtomicU64>,
    /// The last job of which somebody found no task left in the group.
    exhausted: CachePadded<AtomicU64>,
}

impl Pool {
    /// Starts the workers of `plan`: one fewer than its threads, since the calling thread works
    /// too. If pinning is refused, workers run unpinned.
    ///
    /// # Errors
    ///
    /// [`Error::Spawn`] if the operating system refuses to start a thread.
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
                tasks: 0,
                number: 0,
            }),
            ranges: (0..threads).map(|_| CachePadded::default()).collect(),
            groups: (0..threads.div_ceil(GROUP))
                .map(|_| Group::default())
                .collect(),
            asleep: (0..threads).map(|_| CachePadded::default()).collect(),
            caller: Mutex::new(None),
            panic: Mutex::new(None),
            spin,
        });
        let mut pool = Self {
            shared,
            workers: Vec::with_capacity(threads.saturating_sub(1)),
            process: process::id(),
            single_threaded: false,
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

    /// Whether this is the process that started the workers. In a process forked from it there are
    /// no workers, and jobs run on the calling thread only.
    pub fn has_its_workers(&self) -> bool {
        self.process == process::id()
    }

    /// Sets whether the following jobs run on the calling thread only, or on all threads, which is
    /// the default. The number of [`threads`](Self::threads) stays the same.
    pub fn set_single_threaded(&mut self, single_threaded: bool) {
        self.single_threaded = single_threaded;
    }

    /// Runs `body(task, worker)` once for each task in `0..tasks`, on all threads, and returns
    /// when all tasks have run. `worker` is the number of the thread that runs the task, below
    /// [`threads`](Self::threads); the calling thread is 0. A single task runs on the calling
    /// thread and wakes no worker. Nothing is allocated.
    ///
    /// # Panics
    ///
    /// If `tasks` is above `u32::MAX`. If `body` panics, its first panic is resumed on the
    /// calling thread once no thread runs `body` any more; tasks that had not begun by then may
    /// never run. The pool stays usable.
    pub fn for_each<F: Fn(usize, usize) + Sync>(&mut self, tasks: usize, body: F) {
        if tasks <= 1 || self.workers.is_empty() || self.single_threaded {
            (0..tasks).for_each(|task| body(task, 0));
            return;
        }
        // `Range` counts them in half a word.
        assert!(u32::try_from(tasks).is_ok(), "too many tasks");

        /// # Safety
        ///
        /// `body` points to an `F` that lives until this returns and that this thread may use.
        unsafe fn call<F: Fn(usize, usize)>(body: *const (), task: usize, worker: usize) {
            // SAFETY: `body` points to a live `F`, as the caller guarantees.
            let body = unsafe { &*body.cast::<F>() };
            body(task, worker);
        }
        let shared = &*self.shared;
        let state = &shared.state.0;
        let opened = (state.load(Relaxed) & !OPEN).wrapping_add(JOB) | OPEN;
        let job = Job {
            body: (&raw const body).cast(),
            call: call::<F>,
            tasks,
            number: opened / JOB,
        };
        if job.number & LOW == 0 {
            // Half the number begins anew: no range may still have one that comes again.
            shared
                .ranges
                .iter()
                .for_each(|range| range.0.0.store(LOW << 32, Relaxed));
        }
        // SAFETY: `&mut self` means that no other job runs, and the previous job was closed and had
        // nobody inside when it ended, so no worker reads `job`.
        shared.job.with_mut(|place| unsafe { *place = job });
        // The release in this store publishes `job` to the workers that enter.
        state.store(opened, SeqCst);
        for (asleep, worker) in shared.asleep[1..].iter().zip(&self.workers).take(tasks - 1) {
            if asleep.0.load(SeqCst) {
                worker.thread().unpark();
            }
        }

        // SAFETY: `job` was made from `body`, which is an `F`, is `Sync`, and lives to the end of
        // this function. The end is reached, panic or not, only after `run` has returned here, the
        // job is closed and every worker has left it.
        unsafe { shared.run(job, 0) };
        state.store(opened & !OPEN, SeqCst);
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

    /// Runs `body(index, part, scratch)` once for each part of `partition`, where `scratch` is the
    /// element of the slice that belongs to the thread that runs it. Wrap small elements in
    /// [`CachePadded`].
    ///
    /// # Panics
    ///
    /// If `scratch` has fewer elements than the pool has [`threads`](Self::threads), and as
    /// [`for_each`](Self::for_each).
    pub fn for_each_part<P: Partition, W: Send>(
        &mut self,
        partition: P,
        scratch: &mut [W],
        body: impl Fn(usize, P::Part, &mut W) + Sync,
    ) {
        assert!(scratch.len() >= self.threads(), "one scratch a thread");
        let scratch = Scratch(scratch.as_mut_ptr());
        self.for_each(partition.parts(), |task, worker| {
            // SAFETY: this function owns the partition and takes parts only here, and `for_each`
            // gives each task below `parts` away at most once.
            let part = unsafe { partition.part(task) };
            // SAFETY: worker < threads <= the length of the slice.
            let scratch = unsafe { scratch.of(worker) };
            // SAFETY: the slice is borrowed exclusively until `for_each` has returned. No two
            // threads have the same number and a thread runs one task at a time, so this is the
            // only reference to the element.
            let scratch = unsafe { &mut *scratch };
            body(task, part, scratch);
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if !self.has_its_workers() {
            // There are no threads to join, and the C library may have reused their memory.
            self.workers.drain(..).for_each(std::mem::forget);
            return;
        }
        // No job is open: `for_each` closes its job even if it panics.
        self.shared.state.0.fetch_or(STOP, SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its tasks, so there is none to resume.
            let _ = worker.join();
        }
    }
}

/// The address of a slice with one element of scratch for each thread.
struct Scratch<W>(*mut W);

// SAFETY: a shared `Scratch` gives access to elements through `of` only, and `for_each_part`
// dereferences the element of the current thread only. One thread at most thus reaches an element
// at a time, for which `W: Send` is enough.
unsafe impl<W: Send> Sync for Scratch<W> {}

impl<W> Scratch<W> {
    /// The address of the element of thread `worker`.
    ///
    /// # Safety
    ///
    /// `worker` is below the length of the slice, which is still borrowed.
    unsafe fn of(&self, worker: usize) -> *mut W {
        // SAFETY: element `worker` lies inside the slice, as the caller guarantees.
        unsafe { self.0.add(worker) }
    }
}

impl Shared {
    /// Runs tasks until none is left, in the order of [`in_order`]. If a task panics, this
    /// returns early, and the first panic of a job is kept.
    ///
    /// # Safety
    ///
    /// - `job` is the one that the caller of the pool opened last.
    /// - `job.body` points to a value of the type that `job.call` expects, which lives until this
    ///   returns and which this thread may use.
    unsafe fn run(&self, job: Job, worker: usize) {
        let threads = self.ranges.len();
        let result = catch_unwind(AssertUnwindSafe(|| {
            for (group, members) in in_order(worker, threads) {
                let exhausted = &self.groups[group].exhausted.0;
                // A range never gets tasks back, so what is found once holds for the job.
                if exhausted.load(Relaxed) == job.number {
                    continue;
                }
                for member in members {
                    let initial = || initial_tasks(job.tasks, threads, member);
                    while let Some(task) = self.ranges[member].0.take(job.number, initial()) {
                        // SAFETY: `body` points to a live value of the type that `call` expects, as
                        // the caller guarantees.
                        unsafe { (job.call)(job.body, task, worker) };
                    }
                }
                exhausted.store(job.number, Relaxed);
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

    /// Waits until nobody is inside the closed job. The acquire in the load makes everything that
    /// the workers wrote visible, since each of them leaves with a release.
    fn wait_for_workers(&self) {
        let left = || {
            self.groups
                .iter()
                .all(|group| group.inside.0.load(SeqCst) == 0)
        };
        if self.spin_until(left) {
            return;
        }
        *self.caller.lock().unwrap_or_else(PoisonError::into_inner) = Some(sync::current());
        self.park_until(0, left);
    }

    /// Enters the job that `state` says is open, and returns whether it still is. If so, this
    /// acquires what the caller released by opening it, and the caller does not write `job` before
    /// [`leave`](Self::leave).
    fn enter(&self, worker: usize, state: u64) -> bool {
        self.groups[worker / GROUP].inside.0.fetch_add(1, SeqCst);
        self.state.0.load(SeqCst) == state
    }

    /// Leaves what was entered, whether it was open or not. The last worker of a group wakes the
    /// caller if that has parked, which it does only once the job is closed.
    fn leave(&self, worker: usize) {
        let before = self.groups[worker / GROUP].inside.0.fetch_sub(1, SeqCst);
        if before == 1 && self.asleep[0].0.load(SeqCst) {
            let caller = self.caller.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(caller) = &*caller {
                caller.unpark();
            }
        }
    }

    /// Spins until `ready` or until the time is over, and returns whether it is ready.
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

/// Runs the jobs of `shared` as thread `worker` until the pool is dropped.
fn work(shared: &Shared, worker: usize, cpu: Option<CoreId>) {
    if let Some(cpu) = cpu {
        // Some containers refuse this; the scheduler then chooses the CPU.
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
        // The job may have been closed in the meantime.
        if state & OPEN == 0 || number(state) == done {
            continue;
        }
        if shared.enter(worker, state) {
            shared.job.with(|job| {
                // SAFETY: this worker is inside the open job, so the caller does not write `job`
                // before this worker has left.
                let job = unsafe { *job };
                // SAFETY: this is the open job. `for_each` made it from a `Sync` body of the type
                // that `call` expects, and keeps the body until this worker has left.
                unsafe { shared.run(job, worker) };
            });
            done = number(state);
        }
        shared.leave(worker);
    }
}
