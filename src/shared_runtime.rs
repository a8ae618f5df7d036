//! One runtime for all the threads of a process, and for a process forked from it.

use std::process;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::runtime::Runtime;
use crate::{Error, Result};

/// A runtime that threads use one after the other.
pub(crate) struct SharedRuntime {
    runtime: Mutex<Runtime>,
    /// The process that last embedded, in the upper half, and how many of its threads wait for the
    /// lock or hold it.
    ///
    /// A fork copies only the thread that forks: a lock that another one holds is never released
    /// in the new process. There the count, which is positive as long as anyone holds the
    /// lock, still carries the number of the old process.
    queue: AtomicU64,
}

impl SharedRuntime {
    /// Shares a runtime.
    pub fn new(runtime: Runtime) -> Self {
        Self {
            runtime: Mutex::new(runtime),
            queue: AtomicU64::new(0),
        }
    }

    /// [`Runtime::embed`], once no other thread uses the runtime.
    ///
    /// # Errors
    /// As [`Runtime::embed`]; or if this process was forked while another thread used the runtime,
    /// which here it never releases.
    pub fn embed(&self, texts: &[&[u32]], out: &mut [f32]) -> Result<()> {
        self.with(|runtime| runtime.embed(texts, out))
    }

    /// [`Runtime::score`], once no other thread uses the runtime.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    pub fn score(&self, pairs: &[&[u32]], second_parts: &[usize], out: &mut [f32]) -> Result<()> {
        self.with(|runtime| runtime.score(pairs, second_parts, out))
    }

    fn with(&self, run: impl FnOnce(&mut Runtime) -> Result<()>) -> Result<()> {
        let _place = Place::take(&self.queue)?;
        // Every call writes its scratch before reading it, so one that panicked leaves no trace.
        run(&mut self.runtime.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A thread's place in the queue, given up when dropped, also by a panic.
struct Place<'a>(&'a AtomicU64);

impl<'a> Place<'a> {
    fn take(queue: &'a AtomicU64) -> Result<Self> {
        let this_process = u64::from(process::id()) << 32;
        let joined = queue.fetch_update(Relaxed, Relaxed, |queue| {
            let (process, count) = (queue & !0xffff_ffff, queue & 0xffff_ffff);
            (process == this_process || count == 0).then_some(this_process | (count + 1))
        });
        match joined {
            Ok(_) => Ok(Self(queue)),
            Err(_) => Err(Error::Argument {
                name: "embedder".into(),
                problem: "this process was forked while another thread was embedding".into(),
                remedy: "open the model again in the new process".into(),
            }),
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
