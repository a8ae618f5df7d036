//! The plan of the pool's threads.

use core_affinity::CoreId;

/// Threads that no CPU is chosen for.
pub struct ThreadPlan {
    /// One entry a thread.
    pub cpus: Vec<Option<CoreId>>,
    /// Always: the pool then parks without spinning first, and a model has no clock to spin by.
    pub(super) oversubscribed: bool,
}

impl ThreadPlan {
    /// A plan of so many threads, the calling one included.
    pub fn of(threads: usize) -> Self {
        Self {
            cpus: vec![None; threads],
            oversubscribed: true,
        }
    }
}
