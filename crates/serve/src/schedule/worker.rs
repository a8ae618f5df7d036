//! The thread that runs passes.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::queue::Pass;
use super::{Shared, Vector, embed};
use crate::error::Result;

/// Runs passes until the scheduler is closed and nothing waits.
pub fn run(shared: &Shared) {
    let mut state = shared.lock();
    loop {
        let (pass, dropped) = state.queue.next(shared.limits.budget, Instant::now());
        state.done.dropped += dropped;
        let Some(pass) = pass else {
            if state.closed {
                return;
            }
            state = shared
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        drop(state);
        let start = Instant::now();
        let results = results(&pass);
        let time = start.elapsed();
        let tokens: usize = pass.keys.iter().map(|key| key.ids.len()).sum();
        state = shared.lock();
        state.queue.passed(tokens, time);
        state.done.passes += 1;
        state.done.busy += time;
        state.done.embedded += pass.keys.len() as u64;
        state.done.embedded_tokens += tokens as u64;
        for (key, result) in pass.keys.iter().zip(&results) {
            state.queue.finish(key, result);
            if let Ok(vector) = result
                && Arc::ptr_eq(&pass.model, &state.model)
            {
                state.cache.insert(key.clone(), vector.clone());
            }
        }
    }
}

/// A result for each text of a pass. If a pass fails, its texts are tried one by one, so that one of them
/// cannot spoil the others.
fn results(pass: &Pass) -> Vec<Result<Vector>> {
    let texts: Vec<&[u32]> = pass.keys.iter().map(|key| &*key.ids).collect();
    match embed(&*pass.model, &texts) {
        Ok(vectors) => vectors.into_iter().map(Ok).collect(),
        Err(refusal) if texts.len() == 1 => vec![Err(refusal)],
        Err(_) => {
            let single =
                |text| embed(&*pass.model, &[text]).map(|mut vectors| vectors.swap_remove(0));
            texts.into_iter().map(single).collect()
        }
    }
}
