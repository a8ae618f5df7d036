//! Which texts are embedded next.
//!
//! One thread runs passes. What waits is packed into one pass, up to a number of tokens, so that many clients
//! share the reading of the weights; a text that comes when nothing waits starts at once. There are two lanes:
//! interactive texts go first, and while there are any, a pass of bulk texts takes at most the time budget. How
//! texts are packed cannot change a vector, since the model gives a text the same bits in any batch.

mod cache;
mod queue;
mod rate;
mod worker;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fmt, io};

use tokio::sync::oneshot;

use crate::error::{Refusal, Result};
use crate::model::{Model, Tokens};
use cache::Cache;
use queue::{Key, Queue};

/// Whose turn it is first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Someone waits for it.
    Interactive,
    /// It is one of many.
    Bulk,
}

/// The bounds of a scheduler.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// What a pass of bulk texts takes at most while interactive ones are about, if it is not one long text.
    pub budget: Duration,
    /// Tokens that may wait; more are refused as [`Refusal::Busy`].
    pub waiting_tokens: usize,
    /// Texts that may wait.
    pub waiting_texts: usize,
    /// Bytes of vectors that are kept for texts which come again; 0 for none.
    pub cache_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            budget: Duration::from_millis(50),
            waiting_tokens: 1 << 20,
            waiting_texts: 1 << 16,
            cache_bytes: 0,
        }
    }
}

/// A whole vector of a text.
pub type Vector = Arc<[f32]>;

/// What a scheduler has done, and what waits.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Snapshot {
    /// Interactive texts that wait.
    pub interactive: usize,
    /// Bulk texts that wait.
    pub bulk: usize,
    /// Tokens that wait.
    pub tokens: usize,
    /// Passes that were run.
    pub passes: u64,
    /// Texts that were embedded.
    pub embedded: u64,
    /// Tokens that were embedded.
    pub embedded_tokens: u64,
    /// Time that passes took.
    pub busy: Duration,
    /// Texts whose vectors were in the cache.
    pub hits: u64,
    /// Texts that were waited for already.
    pub joined: u64,
    /// Texts that nobody waited for any more.
    pub dropped: u64,
    /// Requests that were refused since too much waited.
    pub refused: u64,
    /// Bytes that the cache takes.
    pub cache_bytes: usize,
}

/// The queue of a model, and the thread that works on it. Dropped, it is [closed](Self::close).
pub struct Scheduler {
    shared: Arc<Shared>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

/// What requests and the worker share.
struct Shared {
    state: Mutex<State>,
    /// There is work, or no more will come.
    changed: Condvar,
    limits: Limits,
}

struct State {
    model: Arc<dyn Model>,
    queue: Queue,
    /// Of vectors of the model in use.
    cache: Cache,
    closed: bool,
    done: Snapshot,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The vectors of a request, to be waited for. Dropped, what waits for it is taken from the queue.
#[derive(Debug)]
pub struct Pending(Vec<Waited>);

#[derive(Debug)]
enum Waited {
    Known(Vector),
    Coming(oneshot::Receiver<Result<Vector>>),
}

impl Pending {
    /// The vectors, in the order of the texts.
    ///
    /// # Errors
    /// [`Refusal::Model`] if the model failed.
    pub async fn vectors(self) -> Result<Vec<Vector>> {
        let mut vectors = Vec::with_capacity(self.0.len());
        for waited in self.0 {
            vectors.push(match waited {
                Waited::Known(vector) => vector,
                Waited::Coming(vector) => vector.await.map_err(|_| Refusal::Stopping)??,
            });
        }
        Ok(vectors)
    }
}

impl Scheduler {
    /// A scheduler of a model, and its thread.
    ///
    /// # Errors
    /// If there is no thread.
    pub fn start(model: Arc<dyn Model>, limits: Limits) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                model,
                queue: Queue::default(),
                cache: Cache::new(limits.cache_bytes),
                closed: false,
                done: Snapshot::default(),
            }),
            changed: Condvar::new(),
            limits,
        });
        let of_worker = Arc::clone(&shared);
        let worker = thread::Builder::new()
            .name("passes".into())
            .spawn(move || worker::run(&of_worker))?;
        Ok(Self {
            shared,
            worker: Mutex::new(Some(worker)),
        })
    }

    /// The model in use.
    pub fn model(&self) -> Arc<dyn Model> {
        Arc::clone(&self.shared.lock().model)
    }

    /// From now on texts are embedded with another model; those that wait still with the one that made their
    /// tokens.
    pub fn replace(&self, model: Arc<dyn Model>) {
        let mut state = self.shared.lock();
        state.model = model;
        state.cache.clear();
    }

    /// Lets the texts of a request wait for their vectors: all of them or none. `model` is the one that made the
    /// tokens.
    ///
    /// # Errors
    /// [`Refusal::Busy`] if too much waits, [`Refusal::Stopping`] after [`close`](Self::close).
    pub fn submit(&self, model: &Arc<dyn Model>, texts: &[Tokens], lane: Lane) -> Result<Pending> {
        let mut state = self.shared.lock();
        let state = &mut *state;
        if state.closed {
            return Err(Refusal::Stopping);
        }
        let keys = texts.iter().map(|text| Key::new(model, &text.ids));
        let keys: Vec<Key> = keys.collect();
        let is_new = |key: &&Key| !state.cache.contains(key) && !state.queue.contains(key);
        let (mut new_texts, mut new_tokens) = (0, 0);
        for key in keys.iter().filter(is_new) {
            new_texts += 1;
            new_tokens += key.ids.len();
        }
        let (waiting, limits) = (state.queue.tokens(), &self.shared.limits);
        let fit = |texts: usize, tokens: usize| {
            texts <= limits.waiting_texts && tokens <= limits.waiting_tokens
        };
        // However long the client waits.
        if !fit(new_texts, new_tokens) {
            return Err(Refusal::too_large(
                "input",
                format!("has {new_texts} texts of {new_tokens} tokens, more than may wait at all"),
                format!(
                    "send at most {} texts of together {} tokens at a time",
                    limits.waiting_texts, limits.waiting_tokens
                ),
            ));
        }
        if new_texts > 0 && !fit(state.queue.texts() + new_texts, waiting + new_tokens) {
            state.done.refused += 1;
            return Err(Refusal::Busy {
                waiting,
                retry_after: state.queue.retry_after(),
            });
        }
        let now = Instant::now();
        if lane == Lane::Interactive {
            state.queue.interactive_seen(now);
        }
        let pending = keys.into_iter().map(|key| {
            if let Some(vector) = state.cache.get(&key) {
                state.done.hits += 1;
                return Waited::Known(vector);
            }
            let (sender, receiver) = oneshot::channel();
            if state.queue.push(key, model, lane, sender) {
                state.done.joined += 1;
            }
            Waited::Coming(receiver)
        });
        let pending = pending.collect();
        self.shared.changed.notify_one();
        Ok(Pending(pending))
    }

    /// What was done, and what waits.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.shared.lock();
        Snapshot {
            interactive: state.queue.waiting(Lane::Interactive),
            bulk: state.queue.waiting(Lane::Bulk),
            tokens: state.queue.tokens(),
            cache_bytes: state.cache.bytes(),
            ..state.done
        }
    }

    /// Takes no more requests; those that wait are done.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_one();
    }

    /// [Closes](Self::close) it, and waits until everything is done.
    pub fn join(&self) {
        self.close();
        let worker = self
            .worker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(worker) = worker {
            // Its panics are caught where a model runs, and there are no others.
            let _ = worker.join();
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scheduler").field(&self.snapshot()).finish()
    }
}

/// A pass of the model; a panic in it is an error of the texts.
fn embed(model: &dyn Model, texts: &[&[u32]]) -> Result<Vec<Vector>> {
    let dims = model.info().dims;
    let mut out = vec![0.0; texts.len() * dims];
    let done = catch_unwind(AssertUnwindSafe(|| model.embed(texts, &mut out)));
    done.unwrap_or_else(|_| {
        Err(Refusal::Model(
            "the forward pass panicked; this is a bug of Lanewise".into(),
        ))
    })?;
    Ok(out.chunks_exact(dims).map(Vector::from).collect())
}
