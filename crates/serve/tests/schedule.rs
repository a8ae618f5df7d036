//! The order of passes, and who gets what.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use lanewise_serve::schedule::{Lane, Limits, Scheduler, Vector};
use lanewise_serve::{Model, ModelInfo, Refusal, Result, Tokens};
use tokio::runtime::Runtime;

/// A model whose vectors are the first id of a text, that keeps what passes it was given and runs them one by one
/// when it is let.
struct Gated {
    info: ModelInfo,
    passes: Mutex<Vec<Vec<u32>>>,
    /// How many more passes may run.
    allowed: Mutex<usize>,
    changed: Condvar,
}

/// A text of this id is refused by the model.
const BAD: u32 = 99;

impl Gated {
    fn new(allowed: usize) -> Arc<Self> {
        Arc::new(Self {
            info: ModelInfo {
                name: "gated".into(),
                title: String::new(),
                sha256: String::new(),
                architecture: String::new(),
                pooling: String::new(),
                dims: 2,
                lengths: vec![2],
                shortest: None,
                context: 4096,
                vocabulary: 100,
                prompts: Vec::new(),
            },
            passes: Mutex::new(Vec::new()),
            allowed: Mutex::new(allowed),
            changed: Condvar::new(),
        })
    }

    fn allow(&self, passes: usize) {
        *self.allowed.lock().unwrap() += passes;
        self.changed.notify_all();
    }

    fn passes(&self) -> Vec<Vec<u32>> {
        self.passes.lock().unwrap().clone()
    }

    /// Waits until a pass has begun.
    fn wait_for(&self, passes: usize) {
        while self.passes().len() < passes {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Model for Gated {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn encode(&self, _: &str, _: &str) -> Result<Tokens> {
        Err(Refusal::Model("it has no texts".into()))
    }

    fn tokens(&self, ids: Vec<u32>) -> Result<Tokens> {
        Ok(Tokens {
            ids: ids.into(),
            truncated: false,
        })
    }

    fn decode(&self, _: &[u32]) -> String {
        String::new()
    }

    fn piece(&self, _: u32) -> String {
        String::new()
    }

    fn embed(&self, texts: &[&[u32]], out: &mut [f32]) -> Result<()> {
        let firsts = texts.iter().map(|ids| ids[0]).collect();
        self.passes.lock().unwrap().push(firsts);
        let allowed = self.allowed.lock().unwrap();
        let mut allowed = self
            .changed
            .wait_while(allowed, |allowed| *allowed == 0)
            .unwrap();
        *allowed -= 1;
        for (ids, out) in texts.iter().zip(out.chunks_exact_mut(2)) {
            if ids[0] == BAD {
                return Err(Refusal::Model("a bad text".into()));
            }
            out.fill(ids[0] as f32);
        }
        Ok(())
    }

    fn check_dims(&self, _: usize) -> Result<()> {
        Ok(())
    }

    fn shorten(&self, vector: &[f32], dims: usize) -> Result<Vec<f32>> {
        Ok(vector[..dims].to_vec())
    }

    fn space(&self, _: &str, _: usize) -> String {
        String::new()
    }
}

/// A text of `length` tokens that begins with `id`.
fn text(id: u32, length: usize) -> Tokens {
    let mut ids = vec![0; length];
    ids[0] = id;
    Tokens {
        ids: ids.into(),
        truncated: false,
    }
}

fn start(model: &Arc<Gated>, limits: Limits) -> (Scheduler, Arc<dyn Model>) {
    let model: Arc<dyn Model> = model.clone();
    (Scheduler::start(Arc::clone(&model), limits).unwrap(), model)
}

fn vectors(pending: lanewise_serve::schedule::Pending) -> Result<Vec<Vector>> {
    Runtime::new().unwrap().block_on(pending.vectors())
}

#[test]
fn interactive_texts_overtake_bulk_which_never_stands_still() {
    let model = Gated::new(0);
    let (scheduler, shared) = start(&model, Limits::default());
    let submit = |texts: &[Tokens], lane| scheduler.submit(&shared, texts, lane).unwrap();
    // The first pass holds the thread while the others come.
    let first = submit(&[text(1, 4)], Lane::Bulk);
    model.wait_for(1);
    let bulk = submit(&[text(2, 2000), text(3, 2000)], Lane::Bulk);
    let mut interactive = Vec::new();
    for id in 10..20 {
        interactive.push(submit(&[text(id, 2000)], Lane::Interactive));
    }
    model.allow(100);
    for pending in interactive {
        vectors(pending).unwrap();
    }
    vectors(first).unwrap();
    vectors(bulk).unwrap();
    let passes = model.passes();
    assert_eq!(passes[1..5], [[10], [11], [12], [13]]);
    assert_eq!(passes[5..11], [[2], [14], [15], [16], [17], [3]]);
}

#[test]
fn what_waits_shares_a_pass() {
    let model = Gated::new(0);
    let (scheduler, shared) = start(&model, Limits::default());
    let submit = |id| {
        scheduler
            .submit(&shared, &[text(id, 8)], Lane::Bulk)
            .unwrap()
    };
    let first = submit(1);
    model.wait_for(1);
    let others: Vec<_> = (2..50).map(submit).collect();
    model.allow(2);
    vectors(first).unwrap();
    for (id, pending) in (2..).zip(others) {
        assert_eq!(*vectors(pending).unwrap()[0], [id as f32; 2]);
    }
    assert_eq!(model.passes().len(), 2);
}

#[test]
fn equal_texts_are_embedded_once_and_kept() {
    let model = Gated::new(0);
    let limits = Limits {
        cache_bytes: 1 << 20,
        ..Limits::default()
    };
    let (scheduler, shared) = start(&model, limits);
    let submit = || {
        scheduler
            .submit(&shared, &[text(5, 8), text(5, 8)], Lane::Bulk)
            .unwrap()
    };
    let waiting = [submit(), submit()];
    model.allow(10);
    for pending in waiting {
        let found = vectors(pending).unwrap();
        assert_eq!((found.len(), &*found[0]), (2, &[5.0; 2][..]));
    }
    assert_eq!(*vectors(submit()).unwrap()[1], [5.0; 2]);
    let done = scheduler.snapshot();
    assert_eq!((done.embedded, done.joined, done.hits), (1, 3, 2));
    // Vectors of another model are not those of this one.
    let other = Gated::new(10);
    let other: Arc<dyn Model> = other;
    scheduler.replace(Arc::clone(&other));
    let pending = scheduler.submit(&other, &[text(5, 8)], Lane::Bulk).unwrap();
    vectors(pending).unwrap();
    assert_eq!(scheduler.snapshot().embedded, 2);
}

#[test]
fn a_text_that_fails_leaves_the_others() {
    let model = Gated::new(100);
    let (scheduler, shared) = start(&model, Limits::default());
    let texts = [text(1, 4), text(BAD, 4), text(2, 4)];
    let pending = scheduler.submit(&shared, &texts, Lane::Bulk).unwrap();
    assert!(matches!(vectors(pending), Err(Refusal::Model(_))));
    let pending = scheduler
        .submit(&shared, &[text(1, 4), text(2, 4)], Lane::Bulk)
        .unwrap();
    assert_eq!(vectors(pending).unwrap().len(), 2);
}

#[test]
fn nothing_is_embedded_for_those_who_went_away() {
    let model = Gated::new(0);
    let (scheduler, shared) = start(&model, Limits::default());
    let submit = |id| {
        scheduler
            .submit(&shared, &[text(id, 8)], Lane::Bulk)
            .unwrap()
    };
    let first = submit(1);
    model.wait_for(1);
    drop(submit(2));
    let last = submit(3);
    model.allow(10);
    vectors(first).unwrap();
    vectors(last).unwrap();
    assert_eq!(model.passes(), [[1], [3]]);
    assert_eq!(scheduler.snapshot().dropped, 1);
}

#[test]
fn more_than_may_wait_is_refused_and_the_rest_is_finished() {
    let model = Gated::new(0);
    let limits = Limits {
        waiting_tokens: 100,
        ..Limits::default()
    };
    let (scheduler, shared) = start(&model, limits);
    let submit = |id, length| scheduler.submit(&shared, &[text(id, length)], Lane::Bulk);
    let never = submit(1, 101).unwrap_err();
    assert!(matches!(never, Refusal::TooLarge { .. }), "{never}");
    let first = submit(1, 100).unwrap();
    model.wait_for(1);
    let second = submit(2, 100).unwrap();
    let never = submit(3, 101).unwrap_err();
    assert!(matches!(never, Refusal::TooLarge { .. }), "{never}");
    let busy = submit(3, 1).unwrap_err();
    assert!(matches!(busy, Refusal::Busy { waiting: 100, .. }), "{busy}");
    scheduler.close();
    assert_eq!(submit(4, 1).unwrap_err(), Refusal::Stopping);
    model.allow(2);
    vectors(first).unwrap();
    vectors(second).unwrap();
    scheduler.join();
}
