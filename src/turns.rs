//! One runtime for all the threads of a process, and for a process forked from it.

use std::process;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::runtime::Runtime;
use crate::{Error, Result};

/// A runtime that threads use one after the other.
pub(crate) struct Turns {
    runtime: Mutex<Runtime>,
    /// The process that last embedded, in the upper half, and how many of its threads are between
    /// asking for their turn and its end.
    ///
    /// A fork copies only the thread that forks: a lock that another one holds is never given back
    /// in the new process. There the count, which is positive as long as anyone holds the lock,
    /// still goes with the old process.
    queue: AtomicU64,
}

impl Turns {
    pub fn new(runtime: Runtime) -> Self {
        Self {
            runtime: Mutex::new(runtime),
            queue: AtomicU64::new(0),
        }
    }

    /// [`Runtime::embed`], once it is this thread's turn.
    ///
    /// # Errors
    /// As [`Runtime::embed`]; or if this process was forked during a turn, which then never ends.
    pub fn embed(&self, texts: &[&[u32]], out: &mut [f32]) -> Result<()> {
        let _turn = Turn::ask(&self.queue)?;
        // Every call writes its scratch before reading it, so one that panicked leaves no trace.
        let mut runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        runtime.embed(texts, out)
    }
}

/// A thread's place in the queue, given up at its end, a panic included.
struct Turn<'a>(&'a AtomicU64);

impl<'a> Turn<'a> {
    fn ask(queue: &'a AtomicU64) -> Result<Self> {
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

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
