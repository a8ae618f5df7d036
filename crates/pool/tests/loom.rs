//! Every interleaving of the pool's threads, up to a number of preemptions: no task is lost or run
//! twice, no wake-up is lost, and what tasks write is seen by the caller.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p lanewise-pool --test loom`
#![cfg(loom)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use lanewise_pool::{Pool, ThreadPlan};
use loom::cell::UnsafeCell;

/// Runs `model` in every interleaving with at most `preemptions` preemptions. loom panics at a
/// deadlock and at a data race.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// Cells that one task each may write.
struct Cells(Vec<UnsafeCell<usize>>);

// SAFETY: loom checks every access.
unsafe impl Sync for Cells {}

impl Cells {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| UnsafeCell::new(0)).collect())
    }

    fn add(&self, task: usize) {
        // SAFETY: loom checks that nobody else reads or writes it.
        self.0[task].with_mut(|cell| unsafe { *cell += 1 });
    }

    fn assert_each_is(&self, expected: usize) {
        for cell in &self.0 {
            // SAFETY: loom checks that nobody else writes it.
            cell.with(|cell| assert_eq!(unsafe { *cell }, expected));
        }
    }
}

/// Runs `jobs` jobs one after the other and then drops the pool.
fn jobs(threads: usize, tasks: usize, jobs: usize) {
    let mut pool = Pool::new(&ThreadPlan::unpinned(threads)).unwrap();
    let cells = Cells::new(tasks);
    for job in 1..=jobs {
        pool.for_each(tasks, |task, worker| {
            assert!(worker < threads);
            cells.add(task);
        });
        cells.assert_each_is(job);
    }
}

#[test]
fn a_worker_and_the_caller_share_two_jobs() {
    explore(4, || jobs(2, 2, 2));
}

#[test]
fn three_jobs_in_a_row_do_not_mix() {
    explore(2, || jobs(2, 2, 3));
}

#[test]
fn two_workers_and_the_caller_share_a_job() {
    explore(2, || jobs(3, 3, 1));
}

#[test]
fn a_pool_that_never_ran_a_job_can_be_dropped() {
    explore(4, || drop(Pool::new(&ThreadPlan::unpinned(3)).unwrap()));
}

#[test]
fn a_panic_reaches_the_caller_after_everyone_has_left() {
    explore(2, || {
        let mut pool = Pool::new(&ThreadPlan::unpinned(2)).unwrap();
        let cells = Cells::new(2);
        let result = catch_unwind(AssertUnwindSafe(|| {
            pool.for_each(2, |task, _| {
                cells.add(task);
                std::panic::resume_unwind(Box::new(task));
            });
        }));
        assert!(result.unwrap_err().is::<usize>());
        // Nobody is inside any more: the cells can be written without a race.
        cells.add(0);
        cells.add(1);
        pool.for_each(2, |task, _| cells.add(task));
    });
}
