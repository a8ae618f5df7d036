//! Which tasks a thread begins with, and where it looks for more.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

/// Threads of a group: as many as share a cache on most processors of many cores. The model checker
/// has few threads, which should be several groups.
pub(crate) const GROUP: usize = if cfg!(loom) { 2 } else { 8 };

/// The range of the tasks `0..tasks` that thread `worker` of `threads` begins with in
/// [`Pool::for_each`](crate::Pool::for_each). The ranges are contiguous, in the order of the threads, and differ by at
/// most one task in length.
///
/// # Panics
///
/// If `threads` is 0.
pub fn initial_tasks(tasks: usize, threads: usize, worker: usize) -> Range<usize> {
    let (quotient, remainder) = (tasks / threads, tasks % threads);
    let start = |worker: usize| worker * quotient + worker.min(remainder);
    start(worker)..start(worker + 1)
}

/// The thread whose [`initial_tasks`] hold `task`.
///
/// # Panics
///
/// If `task` is not below `tasks`.
pub fn initial_thread(tasks: usize, threads: usize, task: usize) -> usize {
    assert!(task < tasks, "task {task} of {tasks}");
    let (quotient, remainder) = (tasks / threads, tasks % threads);
    // The first `remainder` threads have a task more.
    let longer = remainder * (quotient + 1);
    match task.checked_sub(longer) {
        None => task / (quotient + 1),
        Some(task) => remainder + task / quotient,
    }
}

/// What each of `threads` threads does of a job whose tasks take these times, in any unit, if all
/// of them begin at once and are equally fast: its own range and then what others have left, as in
/// [`Pool::for_each`](crate::Pool::for_each).
///
/// # Panics
///
/// If `threads` is 0.
pub fn thread_loads(tasks: &[u64], threads: usize) -> Vec<u64> {
    let mut loads = vec![0; threads];
    if tasks.len() <= 1 {
        loads[0] = tasks.iter().sum();
        return loads;
    }
    let mut left: Vec<_> = (0..threads)
        .map(|thread| initial_tasks(tasks.len(), threads, thread))
        .collect();
    let mut busy: BinaryHeap<_> = (0..threads).map(|thread| Reverse((0, thread))).collect();
    while let Some(Reverse((load, thread))) = busy.pop() {
        let mut members = in_order(thread, threads).flat_map(|(_, members)| members);
        if let Some(task) = members.find_map(|member| left[member].next()) {
            busy.push(Reverse((load + tasks[task], thread)));
        } else {
            loads[thread] = load;
        }
    }
    loads
}

/// The groups in the order in which thread `worker` of `threads` looks for tasks, each with its
/// members in that order: first those from the thread itself on, in its own group and then in the
/// others, and at last those before it.
pub(crate) fn in_order(
    worker: usize,
    threads: usize,
) -> impl Iterator<Item = (usize, impl Iterator<Item = usize>)> {
    let (groups, own) = (threads.div_ceil(GROUP), worker / GROUP);
    (own..groups).chain(0..own).map(move |group| {
        let members = group * GROUP..threads.min((group + 1) * GROUP);
        let first = worker.clamp(members.start, members.end);
        // In another group `first` is its start or its end, and all members follow in order.
        (group, (first..members.end).chain(members.start..first))
    })
}
