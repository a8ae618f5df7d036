//! Texts that wait, and who waits for them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot::Sender;

use super::rate::Rate;
use super::{Lane, Vector};
use crate::error::Result;
use crate::model::Model;

/// Bulk passes are short for so long after an interactive text.
const INTERACTIVE: Duration = Duration::from_secs(10);

/// Tokens of a pass when nobody interactive is about: several passes of the runtime, and on slow machines
/// seconds.
const MOST_TOKENS: usize = 2048;

/// After this number of interactive passes a bulk pass comes, so that bulk texts never stand still.
const TURNS: usize = 4;

/// What makes a vector: the model and the tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The address of the model, which no other one has while this one is in use.
    pub model: usize,
    pub ids: Arc<[u32]>,
}

impl Key {
    pub fn new(model: &Arc<dyn Model>, ids: &Arc<[u32]>) -> Self {
        Self {
            model: Arc::as_ptr(model).addr(),
            ids: Arc::clone(ids),
        }
    }
}

/// A text that waits or is being embedded.
struct Entry {
    model: Arc<dyn Model>,
    lane: Lane,
    is_running: bool,
    waiters: Vec<Sender<Result<Vector>>>,
}

/// Texts of one pass, all of one model.
pub struct Pass {
    pub model: Arc<dyn Model>,
    pub keys: Vec<Key>,
}

/// Both lanes.
#[derive(Default)]
pub struct Queue {
    entries: HashMap<Key, Entry>,
    interactive: VecDeque<Key>,
    bulk: VecDeque<Key>,
    /// Of texts that wait, without those of a pass.
    tokens: usize,
    texts: usize,
    /// Interactive passes since the last bulk pass.
    turns: usize,
    last_interactive: Option<Instant>,
    rate: Rate,
}

impl Queue {
    pub fn contains(&self, key: &Key) -> bool {
        self.entries.contains_key(key)
    }

    /// Tokens that wait.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Texts that wait.
    pub fn texts(&self) -> usize {
        self.texts
    }

    /// Texts that wait in a lane.
    pub fn waiting(&self, lane: Lane) -> usize {
        let of_lane = |entry: &&Entry| entry.lane == lane && !entry.is_running;
        self.entries.values().filter(of_lane).count()
    }

    /// How long the texts that wait will take.
    pub fn retry_after(&self) -> Duration {
        let whole = self.rate.time_of(self.tokens).as_secs() + 1;
        Duration::from_secs(whole.min(60))
    }

    /// Someone interactive is about.
    pub fn interactive_seen(&mut self, now: Instant) {
        self.last_interactive = Some(now);
    }

    /// A pass took this time.
    pub fn passed(&mut self, tokens: usize, time: Duration) {
        self.rate.passed(tokens, time);
    }

    /// Adds a text, or someone who waits for it as well: then it returns true.
    pub fn push(
        &mut self,
        key: Key,
        model: &Arc<dyn Model>,
        lane: Lane,
        waiter: Sender<Result<Vector>>,
    ) -> bool {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.waiters.push(waiter);
            if lane == Lane::Interactive && entry.lane == Lane::Bulk && !entry.is_running {
                // Its place among the bulk texts is passed over, since there it has another lane.
                entry.lane = lane;
                self.interactive.push_back(key);
            }
            return true;
        }
        self.tokens += key.ids.len();
        self.texts += 1;
        self.lane(lane).push_back(key.clone());
        let entry = Entry {
            model: Arc::clone(model),
            lane,
            is_running: false,
            waiters: vec![waiter],
        };
        self.entries.insert(key, entry);
        false
    }

    /// The texts of the next pass, `None` if nothing waits; and how many were left out since nobody waits for
    /// them any more.
    pub fn next(&mut self, budget: Duration, now: Instant) -> (Option<Pass>, u64) {
        let mut dropped = 0;
        let bulk_waits = !self.bulk.is_empty();
        let bulk_first = bulk_waits && self.turns >= TURNS;
        let order = match bulk_first {
            false => [Lane::Interactive, Lane::Bulk],
            true => [Lane::Bulk, Lane::Interactive],
        };
        for lane in order {
            let is_shared = self
                .last_interactive
                .is_some_and(|last| now.duration_since(last) < INTERACTIVE);
            let most = match lane == Lane::Bulk && is_shared {
                true => self.rate.tokens_in(budget).min(MOST_TOKENS),
                false => MOST_TOKENS,
            };
            let pass = self.take(lane, most, &mut dropped);
            if pass.is_some() {
                self.turns = match lane {
                    Lane::Interactive if bulk_waits => self.turns + 1,
                    _ => 0,
                };
                return (pass, dropped);
            }
        }
        (None, dropped)
    }

    /// As many texts of a lane as fit in a pass, at least one if there is any.
    fn take(&mut self, lane: Lane, most: usize, dropped: &mut u64) -> Option<Pass> {
        let mut pass: Option<Pass> = None;
        let mut tokens = 0;
        while let Some(key) = self.lane(lane).pop_front() {
            let Some(entry) = self.entries.get_mut(&key) else {
                continue;
            };
            if entry.lane != lane || entry.is_running {
                continue;
            }
            entry.waiters.retain(|waiter| !waiter.is_closed());
            if entry.waiters.is_empty() {
                self.forget(&key);
                *dropped += 1;
                continue;
            }
            let fits = match &pass {
                None => true,
                Some(pass) => {
                    tokens + key.ids.len() <= most && Arc::ptr_eq(&pass.model, &entry.model)
                }
            };
            if !fits {
                self.lane(lane).push_front(key);
                break;
            }
            entry.is_running = true;
            tokens += key.ids.len();
            self.tokens -= key.ids.len();
            self.texts -= 1;
            let pass = pass.get_or_insert_with(|| Pass {
                model: Arc::clone(&entry.model),
                keys: Vec::new(),
            });
            pass.keys.push(key);
        }
        pass
    }

    /// Hands the result of a text to all who wait for it.
    pub fn finish(&mut self, key: &Key, result: &Result<Vector>) {
        for waiter in self
            .entries
            .remove(key)
            .into_iter()
            .flat_map(|entry| entry.waiters)
        {
            // Who went away in the meantime needs none.
            let _ = waiter.send(result.clone());
        }
    }

    fn forget(&mut self, key: &Key) {
        self.entries.remove(key);
        self.tokens -= key.ids.len();
        self.texts -= 1;
    }

    fn lane(&mut self, lane: Lane) -> &mut VecDeque<Key> {
        match lane {
            Lane::Interactive => &mut self.interactive,
            Lane::Bulk => &mut self.bulk,
        }
    }
}
