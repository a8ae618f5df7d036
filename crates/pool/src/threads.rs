//! How many threads to use, and on which CPUs.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZero;

use core_affinity::CoreId;

use crate::{Error, Result};

/// The largest number of threads that can be asked for. The machines that this pool is made for
/// have far fewer CPUs, so a larger number is a mistake.
pub const MAX_THREADS: usize = 1024;

/// The threads of one [`Pool`](crate::Pool), and why it has that many.
#[derive(Clone, Debug)]
pub struct ThreadPlan {
    /// The CPU that each thread is pinned to, or `None` if the scheduler chooses.
    ///
    /// Thread 0 is the calling thread. It belongs to the user of the library and is never pinned:
    /// its entry keeps that CPU free of workers, and is the CPU that
    /// [`leave_cpus_of_workers`](Self::leave_cpus_of_workers) moves it to.
    pub cpus: Vec<Option<CoreId>>,
    /// Whether there are more threads than CPUs to run them, so that a thread that spins takes
    /// time from the thread that it waits for.
    pub(crate) oversubscribed: bool,
    reason: String,
}

impl ThreadPlan {
    /// Plans `requested` threads, or with `None` as many as the process may run at once: the number
    /// of CPUs in its affinity mask, at most the cgroup's CPU quota rounded down, and at least one.
    ///
    /// Every physical core gets a thread before any core gets a second one. If there are more
    /// threads than may run at once, all of them are left unpinned.
    ///
    /// # Errors
    ///
    /// [`Error::ThreadCount`] if `requested` is 0 or above [`MAX_THREADS`].
    pub fn choose(requested: Option<usize>) -> Result<Self> {
        let allowed = core_affinity::get_core_ids().unwrap_or_default();
        let parallelism = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self::from_machine(requested, allowed, parallelism, thread_siblings)
    }

    /// Plans `threads` unpinned threads, whatever the machine: a model checker runs all of them on
    /// one thread of the operating system.
    #[cfg(loom)]
    pub fn unpinned(threads: usize) -> Self {
        Self {
            cpus: vec![None; threads],
            oversubscribed: false,
            reason: "for the model checker".into(),
        }
    }

    /// Moves the calling thread to its own CPU, that of thread 0, if it runs on a worker's CPU and
    /// its affinity mask allows its own.
    ///
    /// The scheduler may have put the calling thread there while the worker was parked. Then the
    /// two would take turns of milliseconds each, since the worker is pinned and the scheduler
    /// is slow to move a thread that runs.
    ///
    /// The move changes the affinity mask of the calling thread for the time of two system calls:
    /// it is set to the one CPU and then back to the mask that it was before. A thread that the
    /// calling thread starts later inherits the restored mask. If another thread or process
    /// sets the mask of the calling thread between the two calls, that change is lost. If the
    /// mask cannot be restored, the calling thread stays pinned. Errors are ignored, and on
    /// systems other than Linux nothing happens.
    #[cfg(target_os = "linux")]
    pub fn leave_cpus_of_workers(&self) {
        use rustix::thread::{sched_getaffinity, sched_getcpu, sched_setaffinity};
        let [Some(own), workers @ ..] = &self.cpus[..] else {
            return;
        };
        let here = Some(CoreId { id: sched_getcpu() });
        if !workers.contains(&here) {
            return;
        }
        if let Ok(allowed) = sched_getaffinity(None)
            && allowed.is_set(own.id)
            && core_affinity::set_for_current(*own)
        {
            // The mask was in force a moment ago. If it is refused now, because its CPUs were taken
            // away meanwhile, the thread stays on a CPU that it may use.
            let _ = sched_setaffinity(None, &allowed);
        }
    }

    /// Does nothing: only on Linux is it known which CPU the calling thread runs on.
    #[cfg(not(target_os = "linux"))]
    pub fn leave_cpus_of_workers(&self) {}

    /// [`choose`](Self::choose) for a machine with the CPUs `allowed` by the affinity mask (empty
    /// if unknown) and with `parallelism` by mask and quota together. `siblings` returns a
    /// string that the CPUs of one core have in common, or `None` if it is unknown.
    fn from_machine(
        requested: Option<usize>,
        allowed: Vec<CoreId>,
        parallelism: usize,
        siblings: impl Fn(CoreId) -> Option<String>,
    ) -> Result<Self> {
        if let Some(threads) = requested
            && !(1..=MAX_THREADS).contains(&threads)
        {
            return Err(Error::ThreadCount { requested: threads });
        }
        // `available_parallelism` is the minimum of mask and quota (of cgroup v1 and v2), so a
        // quota shows as a number below the mask's.
        let usable = match allowed.len() {
            0 => parallelism,
            cpus => parallelism.clamp(1, cpus),
        };
        let limits = if allowed.is_empty() {
            format!("{usable} usable, affinity unknown")
        } else {
            let cpus = allowed.len();
            let plural = if cpus == 1 { "" } else { "s" };
            let quota = if usable < cpus {
                format!("quota of {usable}")
            } else {
                "no lower quota".to_owned()
            };
            format!("{cpus} allowed CPU{plural}, {quota}")
        };
        let threads = requested.unwrap_or(usable.min(MAX_THREADS));
        let oversubscribed = threads > usable;
        let cpus = if oversubscribed || allowed.is_empty() {
            vec![None; threads]
        } else {
            let order = cores_before_siblings(allowed, siblings);
            order.into_iter().take(threads).map(Some).collect()
        };
        let reason = match requested {
            Some(_) => format!("requested; {limits}"),
            None => limits,
        };
        Ok(Self {
            cpus,
            oversubscribed,
            reason,
        })
    }
}

/// The number of threads and its reason, as in `2 (2 allowed CPUs, no lower quota)`.
impl fmt::Display for ThreadPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.cpus.len(), self.reason)
    }
}

/// Sorts CPUs so that the first one of each core comes before the second one of any core.
fn cores_before_siblings(
    cpus: Vec<CoreId>,
    siblings: impl Fn(CoreId) -> Option<String>,
) -> Vec<CoreId> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut ranked: Vec<(usize, CoreId)> = cpus
        .into_iter()
        .map(|cpu| match siblings(cpu) {
            Some(core) => {
                let count = seen.entry(core).or_default();
                *count += 1;
                (*count, cpu)
            }
            None => (1, cpu),
        })
        .collect();
    ranked.sort();
    ranked.into_iter().map(|(_, cpu)| cpu).collect()
}

/// The list of the CPUs of the core that `cpu` belongs to, as the same text for each of them;
/// `None` without `/sys`.
fn thread_siblings(cpu: CoreId) -> Option<String> {
    let id = cpu.id;
    let path = format!("/sys/devices/system/cpu/cpu{id}/topology/thread_siblings_list");
    std::fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(requested: Option<usize>, cpus: usize, parallelism: usize) -> ThreadPlan {
        let allowed = (0..cpus).map(|id| CoreId { id }).collect();
        // CPUs 2n and 2n + 1 share a core.
        let siblings = |cpu: CoreId| Some((cpu.id / 2).to_string());
        ThreadPlan::from_machine(requested, allowed, parallelism, siblings).unwrap()
    }

    fn ids(plan: &ThreadPlan) -> Vec<Option<usize>> {
        plan.cpus.iter().map(|cpu| cpu.map(|cpu| cpu.id)).collect()
    }

    #[test]
    fn physical_cores_come_before_their_siblings() {
        assert_eq!(ids(&plan(None, 4, 4)), [Some(0), Some(2), Some(1), Some(3)]);
        assert_eq!(ids(&plan(Some(2), 4, 4)), [Some(0), Some(2)]);
    }

    #[test]
    fn a_quota_bounds_the_threads() {
        let plan = plan(None, 4, 2);
        assert_eq!(plan.to_string(), "2 (4 allowed CPUs, quota of 2)");
        assert_eq!(ids(&plan), [Some(0), Some(2)]);
    }

    #[test]
    fn more_threads_than_may_run_are_unpinned() {
        let plan = plan(Some(8), 2, 2);
        assert!(plan.oversubscribed);
        assert_eq!(ids(&plan), [None; 8]);
    }

    #[test]
    fn an_unknown_mask_leaves_threads_unpinned() {
        assert_eq!(ids(&plan(None, 0, 3)), [None; 3]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_caller_leaves_a_worker_cpu_and_stays_unpinned() {
        use rustix::thread::{sched_getaffinity, sched_getcpu, sched_setaffinity};
        let plan = ThreadPlan::choose(None).unwrap();
        let [Some(_), Some(worker), ..] = plan.cpus[..] else {
            println!("SKIPPED: one CPU");
            return;
        };
        let allowed = sched_getaffinity(None).unwrap();
        let left = (0..100).filter(|_| {
            assert!(core_affinity::set_for_current(worker));
            plan.leave_cpus_of_workers();
            assert_eq!(sched_getcpu(), worker.id, "a pinned thread stays");
            sched_setaffinity(None, &allowed).unwrap();
            plan.leave_cpus_of_workers();
            assert!(sched_getaffinity(None).unwrap() == allowed);
            sched_getcpu() != worker.id
        });
        // On a busy machine the scheduler may move it back before the check.
        let left = left.count();
        assert!(left > 50, "{left} of 100");
    }

    #[test]
    fn impossible_numbers_are_refused() {
        for threads in [0, MAX_THREADS + 1] {
            let error = ThreadPlan::choose(Some(threads)).unwrap_err().to_string();
            assert!(error.contains("from 1 to 1024"), "{error}");
        }
    }
}
