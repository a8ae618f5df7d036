//! What users of the pool rely on: every task runs once, panics reach the caller, nothing hangs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use lanewise_pool::partition::{Cut, chunks, grid, uneven};
use lanewise_pool::{CachePadded, Pool, ThreadPlan, initial_tasks, initial_thread, thread_loads};

/// Miri takes a thousand times as long, and sees a wrong access without repetition.
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

/// Twelve groups of threads on whatever CPUs there are; fewer tasks than threads, as many, and
/// more, some of which take much longer than others.
#[test]
#[cfg_attr(miri, ignore = "Miri takes minutes to start that many threads")]
fn every_task_runs_once_on_96_threads() {
    let mut pool = pool(96);
    assert_eq!(pool.threads(), 96);
    let runs: Vec<AtomicUsize> = (0..400).map(|_| AtomicUsize::new(0)).collect();
    for job in 0..50 {
        let tasks = [2, 5, 95, 96, 97, 200, 400][job % 7];
        let mut scratch: Vec<_> = (0..96).map(|_| CachePadded(0_usize)).collect();
        let mut written = vec![0; tasks];
        pool.for_each_part(
            chunks(&mut written, 1),
            &mut scratch,
            |task, part, count| {
                if task % 50 == job % 50 {
                    std::thread::sleep(Duration::from_micros(200));
                }
                part[0] = task + 1;
                count.0 += 1;
                runs[task].fetch_add(1, Relaxed);
            },
        );
        assert!(
            written
                .iter()
                .enumerate()
                .all(|(task, &value)| value == task + 1)
        );
        assert_eq!(scratch.iter().map(|count| count.0).sum::<usize>(), tasks);
        for (task, runs) in runs.iter().enumerate() {
            assert_eq!(runs.swap(0, Relaxed), usize::from(task < tasks));
        }
    }
}

#[test]
fn tasks_of_other_groups_are_taken_over() {
    if cfg!(miri) {
        return;
    }
    let mut pool = pool(24);
    // Thread 0 has the first tasks and waits in one until all others have run: those that threads
    // which never wake would have had are then run by threads of other groups.
    let done = AtomicUsize::new(0);
    let tasks = 240;
    pool.for_each(tasks, |task, _| {
        if task == 0 {
            while done.load(Relaxed) < tasks - 1 {
                std::thread::yield_now();
            }
        } else {
            done.fetch_add(1, Relaxed);
        }
    });
    assert_eq!(done.into_inner(), tasks - 1);
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
    // The worker does take part: each of the two tasks waits until the other has begun.
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
fn a_single_threaded_pool_runs_every_task_on_the_caller() {
    let mut pool = pool(3);
    let caller = std::thread::current().id();
    pool.set_single_threaded(true);
    let runs = AtomicUsize::new(0);
    pool.for_each(100, |_, worker| {
        assert_eq!((worker, std::thread::current().id()), (0, caller));
        runs.fetch_add(1, Relaxed);
    });
    assert_eq!(runs.into_inner(), 100);
    assert_eq!(pool.threads(), 3);
    // And back: every task waits until two have begun.
    pool.set_single_threaded(false);
    let begun = AtomicUsize::new(0);
    pool.for_each(2, |_, _| {
        begun.fetch_add(1, Relaxed);
        while begun.load(Relaxed) < 2 {
            std::thread::yield_now();
        }
    });
}

#[test]
fn initial_tasks_cover_the_tasks_in_order_and_evenly() {
    for (tasks, threads) in [(0, 1), (0, 3), (1, 3), (7, 3), (9, 3), (10, 4), (100, 7)] {
        let mut next = 0;
        for worker in 0..threads {
            let range = initial_tasks(tasks, threads, worker);
            assert_eq!(range.start, next, "{worker} of {threads}, {tasks} tasks");
            assert!([tasks / threads, tasks.div_ceil(threads)].contains(&range.len()));
            next = range.end;
        }
        assert_eq!(next, tasks, "{threads} threads");
    }
}

#[test]
fn each_task_is_initially_one_threads() {
    for (tasks, threads) in [(1, 1), (1, 3), (7, 3), (9, 3), (10, 4), (100, 7), (5, 8)] {
        for task in 0..tasks {
            let thread = initial_thread(tasks, threads, task);
            assert!(initial_tasks(tasks, threads, thread).contains(&task));
        }
    }
}

#[test]
fn threads_that_are_done_take_over_what_is_left() {
    assert_eq!(thread_loads(&[], 2), [0, 0]);
    assert_eq!(thread_loads(&[7], 2), [7, 0]);
    assert_eq!(thread_loads(&[1, 1, 1, 1, 1], 2), [3, 2]);
    // The second thread is done after 2 and takes the third task of the first one.
    assert_eq!(thread_loads(&[4, 1, 1, 1, 1], 2), [4, 4]);
    // Groups far away are reached as well.
    let one_long = [&[900; 2][..], &[1; 94]].concat();
    let loads = thread_loads(&[one_long, vec![1; 96]].concat(), 96);
    assert_eq!(loads.iter().sum::<u64>(), 1800 + 94 + 96);
    assert!(loads.iter().all(|&load| load <= 902), "{loads:?}");
}

#[test]
fn a_grid_cuts_every_row_alike() {
    let cut = Cut {
        length: 10,
        unit: 3,
        parts: 3,
    };
    assert_eq!([0, 1, 2].map(|part| cut.range(part)), [0..6, 6..9, 9..10]);
    assert_eq!(cut.times(2).range(1), 12..18);
    let mut buffer = [0; 24];
    pool(3).for_each_part(
        grid(&mut buffer, 12, cut),
        &mut [(); 3],
        |index, part, ()| {
            part.fill(index + 1);
        },
    );
    let row = |first: usize| {
        [
            [first; 6].as_slice(),
            &[first + 1; 3],
            &[first + 2],
            &[0; 2],
        ]
        .concat()
    };
    assert_eq!(buffer[..], [row(1), row(4)].concat());
    // More parts than units: the last ones are empty.
    let cut = Cut { parts: 5, ..cut };
    assert_eq!([3, 4].map(|part| cut.range(part)), [9..10, 10..10]);
    assert_panics("no parts", || {
        _ = grid(&mut [0; 4], 4, Cut { unit: 0, ..cut })
    });
    for (stride, length) in [(0, 0), (3, 2), (4, 5)] {
        let cut = Cut { length, ..cut };
        assert_panics("rows of", || _ = grid(&mut [0; 4], stride, cut));
    }
}

#[test]
fn parts_of_several_buffers_cover_each_of_them_once() {
    let mut pool = pool(3);
    let mut scratch = vec![CachePadded(0_usize); pool.threads()];
    let mut tens = vec![0; 10];
    let mut list = vec![0; 13];
    let mut pieces = vec![0; 9];
    let mut single = vec![0; 3];
    let partition = (
        chunks(&mut tens, 4),
        chunks(&mut list, 5),
        uneven(&mut pieces, &[2, 2, 9]),
        chunks(&mut single, 1),
    );
    pool.for_each_part(partition, &mut scratch, |index, part, scratch| {
        let (tens, chunk, piece, single) = part;
        assert_eq!(tens.len(), [4, 4, 2][index]);
        assert_eq!(piece.len(), [2, 0, 7][index]);
        for part in [tens, chunk, piece, single] {
            part.iter_mut().for_each(|x| *x += index + 1);
        }
        scratch.0 += 1;
    });
    assert_eq!(tens, [1, 1, 1, 1, 2, 2, 2, 2, 3, 3]);
    assert_eq!(list, [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3]);
    assert_eq!(pieces, [1, 1, 3, 3, 3, 3, 3, 3, 3]);
    assert_eq!(single, [1, 2, 3]);
    assert_eq!(scratch.iter().map(|n| n.0).sum::<usize>(), 3);
}

#[test]
fn empty_buffers_have_no_parts() {
    let mut pool = pool(2);
    let never = |_, _: &mut [u8], _: &mut ()| unreachable!();
    pool.for_each_part(chunks(&mut [], 3), &mut [(); 2], never);
    pool.for_each_part(uneven(&mut [], &[]), &mut [(); 2], never);
    let runs = AtomicUsize::new(0);
    pool.for_each_part(
        uneven(&mut [0_u8; 0], &[0, 0]),
        &mut [(); 2],
        |_, part, _| {
            assert!(part.is_empty());
            runs.fetch_add(1, Relaxed);
        },
    );
    assert_eq!(runs.into_inner(), 2);
}

#[track_caller]
fn assert_panics(message: &str, body: impl FnOnce()) {
    let panic = catch_unwind(AssertUnwindSafe(body)).expect_err(message);
    let found = panic.downcast_ref::<String>().map(String::as_str);
    let found = found.or_else(|| panic.downcast_ref::<&str>().copied());
    assert!(found.unwrap_or_default().contains(message), "{found:?}");
}

#[test]
fn partitions_that_do_not_fit_are_refused() {
    assert_panics("no elements", || _ = chunks(&mut [0; 4], 0));
    assert_panics("decrease", || _ = uneven(&mut [0; 4], &[3, 2, 4]));
    assert_panics("end with the buffer", || _ = uneven(&mut [0; 4], &[3]));
    assert_panics("end with the buffer", || _ = uneven(&mut [0; 4], &[]));
    for different in [[2, 3, 2, 2], [2, 2, 3, 2], [2, 2, 2, 3]] {
        let mut buffers = different.map(|length| vec![0; length]);
        let [a, b, c, d] = buffers.each_mut().map(|buffer| chunks(buffer, 1));
        assert_panics("different lengths", || {
            pool(1).for_each_part((a, b, c, d), &mut [()], |_, _, _| ());
        });
    }
    assert_panics("one scratch a thread", || {
        pool(2).for_each_part(chunks(&mut [0; 2], 1), &mut [()], |_, _, _| ());
    });
}

/// Prints times and checks nothing:
/// `cargo test --release -p lanewise-pool --test jobs -- --nocapture timed`.
#[test]
#[cfg_attr(miri, ignore = "prints times and checks nothing")]
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
    // Empty tasks are mostly done before the worker arrives. Here each waits until both have begun.
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
