//! What users of the pool rely on: every task once, panics carried, no hang.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use lanewise_pool::partition::{chunks, columns, count, uneven};
use lanewise_pool::{CachePadded, Pool, ThreadPlan};

/// Miri takes a thousand times as long, and needs no repetition to see an access that is wrong.
const REPETITIONS: usize = if cfg!(miri) { 1 } else { 20 };

fn pool(threads: usize) -> Pool {
    Pool::new(&ThreadPlan::choose(Some(threads)).unwrap()).unwrap()
}

#[test]
fn every_task_runs_once_in_thousands_of_small_jobs() {
    let more_than_cpus = std::thread::available_parallelism().map_or(3, |cpus| 2 * cpus.get() + 1);
    for threads in [1, 2, 3, 8, more_than_cpus] {
        let mut pool = pool(threads);
        assert_eq!(pool.threads(), threads);
        let runs: Vec<AtomicUsize> = (0..40).map(|_| AtomicUsize::new(0)).collect();
        let jobs = REPETITIONS * if threads > 2 { 100 } else { 1_000 };
        for job in 0..jobs {
            let tasks = job % 41;
            pool.for_each(tasks, |task, worker| {
                assert!(worker < threads);
                runs[task].fetch_add(1, Relaxed);
            });
            for (task, runs) in runs.iter().enumerate() {
                assert_eq!(runs.swap(0, Relaxed), usize::from(task < tasks));
            }
        }
    }
}

#[test]
fn jobs_after_a_pause_wake_the_parked_workers() {
    let mut pool = pool(2);
    for pause in [0, 50, 90, 100, 110, 150, 1_000, 5_000].repeat(REPETITIONS) {
        std::thread::sleep(Duration::from_micros(pause));
        let by_worker = [const { AtomicUsize::new(0) }; 2];
        pool.for_each(2, |_, worker| {
            by_worker[worker].fetch_add(1, Relaxed);
        });
        assert_eq!(by_worker.iter().map(|n| n.load(Relaxed)).sum::<usize>(), 2);
    }
    // The worker does take part: both tasks wait until the other has begun.
    let begun = AtomicUsize::new(0);
    pool.for_each(2, |_, _| {
        begun.fetch_add(1, Relaxed);
        while begun.load(Relaxed) < 2 {
            std::thread::yield_now();
        }
    });
}

#[test]
fn a_caller_that_sleeps_is_woken_by_the_last_worker() {
    for threads in [2, 8] {
        let mut pool = pool(threads);
        for _ in 0..REPETITIONS {
            let begun = AtomicUsize::new(0);
            pool.for_each(threads, |_, worker| {
                begun.fetch_add(1, Relaxed);
                while begun.load(Relaxed) < threads {
                    std::thread::yield_now();
                }
                std::thread::sleep(Duration::from_millis(worker as u64));
            });
        }
    }
}

#[test]
fn a_panic_reaches_the_caller_and_the_pool_stays_usable() {
    let mut pool = pool(4);
    for job in 0..10 * REPETITIONS {
        let result = catch_unwind(AssertUnwindSafe(|| {
            pool.for_each(16, |task, _| {
                if task == job % 16 {
                    std::panic::resume_unwind(Box::new(task));
                }
            });
        }));
        assert_eq!(result.unwrap_err().downcast_ref(), Some(&(job % 16)));
        let sum = AtomicUsize::new(0);
        pool.for_each(16, |task, _| {
            sum.fetch_add(task, Relaxed);
        });
        assert_eq!(sum.into_inner(), 120);
    }
}

#[test]
fn a_pool_can_be_dropped_at_any_time_and_move_between_threads() {
    for pause in [0, 50, 100, 500].repeat(REPETITIONS) {
        let mut pool = pool(3);
        std::thread::sleep(Duration::from_micros(pause));
        pool.for_each(5, |_, _| ());
        std::thread::spawn(move || pool.for_each(5, |_, _| ()))
            .join()
            .unwrap();
    }
}

#[test]
fn parts_of_several_buffers_cover_each_of_them_once() {
    let mut pool = pool(3);
    let mut scratch = vec![CachePadded(0_usize); pool.threads()];
    let (rows, width) = (3, 10);
    let mut matrix = vec![0; rows * width];
    let mut list = vec![0; 13];
    let mut pieces = vec![0; 9];
    let split = (
        columns(&mut matrix, rows, 4),
        chunks(&mut list, 5),
        uneven(&mut pieces, &[2, 2, 9]),
        count(3),
    );
    pool.for_each_part(split, &mut scratch, |index, part, scratch| {
        let (mut columns, chunk, piece, ()) = part;
        for row in 0..columns.rows() {
            assert_eq!(columns.width(), [4, 4, 2][index]);
            columns.row(row).iter_mut().for_each(|x| *x += index + 1);
        }
        chunk.iter_mut().for_each(|x| *x += index + 1);
        piece.iter_mut().for_each(|x| *x += index + 1);
        scratch.0 += 1;
    });
    assert_eq!(matrix, [1, 1, 1, 1, 2, 2, 2, 2, 3, 3].repeat(rows));
    assert_eq!(list, [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3]);
    assert_eq!(pieces, [1, 1, 3, 3, 3, 3, 3, 3, 3]);
    assert_eq!(scratch.iter().map(|n| n.0).sum::<usize>(), 3);
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let refused = |f: &dyn Fn()| assert!(catch_unwind(AssertUnwindSafe(f)).is_err());
    refused(&|| _ = chunks(&mut [0; 4], 0));
    refused(&|| _ = columns(&mut [0; 4], 3, 1));
    refused(&|| _ = columns(&mut [0; 4], 0, 1));
    refused(&|| _ = uneven(&mut [0; 4], &[3, 2, 4]));
    refused(&|| _ = uneven(&mut [0; 4], &[3]));
    refused(&|| {
        let mut list = [0; 3];
        let split = (count(2), chunks(&mut list, 1), count(2));
        pool(1).for_each_part(split, &mut [()], |_, _, _| ());
    });
    refused(&|| pool(2).for_each_part(count(2), &mut [()], |_, _, _| ()));
}

/// Not a check, only a number: `cargo test --release -p lanewise-pool --test jobs -- --nocapture empty`.
#[test]
#[cfg_attr(miri, ignore = "a number, not a check")]
fn empty_jobs_are_timed() {
    for tasks in [2, 32] {
        let mut pool = pool(2);
        let jobs = 20_000;
        let helped = AtomicUsize::new(0);
        let best = (0..10).map(|_| {
            let start = Instant::now();
            for _ in 0..jobs {
                pool.for_each(tasks, |_, worker| {
                    if worker > 0 {
                        helped.fetch_add(1, Relaxed);
                    }
                });
            }
            start.elapsed().as_nanos() / jobs
        });
        let best = best.min().unwrap();
        println!(
            "{best} ns an empty job of {tasks} tasks on 2 threads, {:.2} of them by the worker",
            helped.load(Relaxed) as f64 / (10 * jobs) as f64
        );
    }
    // Empty tasks mostly run before the worker arrives; here each waits until both have begun.
    let mut pool = pool(2);
    let jobs = 2_000;
    let best = (0..10).map(|_| {
        let start = Instant::now();
        for _ in 0..jobs {
            let begun = AtomicUsize::new(0);
            pool.for_each(2, |_, _| {
                begun.fetch_add(1, Relaxed);
                for spin in 1_u32.. {
                    if begun.load(Relaxed) == 2 {
                        break;
                    }
                    if spin.is_multiple_of(1_000) {
                        std::thread::yield_now();
                    }
                }
            });
        }
        start.elapsed().as_nanos() / jobs
    });
    println!("{} ns a job that both threads enter", best.min().unwrap());
}
