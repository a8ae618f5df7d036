//! Speed and memory do not change while a program embeds many texts. With the real model and the
//! figures printed: `cargo test --release --test drift -- --include-ignored --nocapture`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanewise::internals::models;
use lanewise::internals::{Runtime, RuntimeOptions};
use lanewise_testkit::assets::{self, Variant};
use lanewise_testkit::scratch;
use lanewise_testkit::texts::text;
use lanewise_testkit::tiny_model::{self, Options};

const TEXTS: usize = 2000;
const SHORT: usize = 4;
/// One text in this many is long in the mixed part.
const MIXED: usize = 200;
const WARM_UP: usize = 50;

#[test]
fn two_thousand_texts_change_neither_speed_nor_memory() {
    let tiny = tiny_model::written(scratch!("tiny.gguf"), &Options::default());
    check(&tiny);
}

#[test]
#[ignore = "takes half a minute on an idle machine, and many on a busy one"]
fn two_thousand_texts_of_the_real_model_change_neither() {
    if let Some(real) = assets::real_model(Variant::Q8_0) {
        check(&real);
    }
}

fn check(path: &Path) {
    let model = models::open(path).unwrap();
    let mut runtime = Runtime::new(Arc::clone(&model), &RuntimeOptions::default()).unwrap();
    let shape = model.shape();
    let mut vector = vec![0.0; shape.width];
    let short = text(SHORT, shape.vocabulary, 0);
    let long = text(shape.context.min(512), shape.vocabulary, 0);
    let mut embed = |ids: &[u32]| {
        let start = Instant::now();
        runtime.embed(&[ids], &mut vector).unwrap();
        start.elapsed()
    };
    compare_ends("short", &mut |_| embed(&short));
    embed(&long);
    compare_ends("mixed with long", &mut |index| {
        if index % MIXED == 0 {
            embed(&long);
        }
        embed(&short)
    });
}

/// Compares the first quarter of many short texts with the last.
fn compare_ends(name: &str, embed: &mut dyn FnMut(usize) -> Duration) {
    (1..WARM_UP).for_each(|index| {
        embed(index);
    });
    let before = anonymous_kib();
    let times: Vec<Duration> = (0..TEXTS).map(embed).collect();
    let growth = anonymous_kib() - before;
    let (first, last) = (
        typical(&times[..TEXTS / 4]),
        typical(&times[3 * TEXTS / 4..]),
    );
    println!("{name}: {first:.1?} at first, {last:.1?} at last, {growth} KiB more");
    // Wide enough for what other processes do to the times.
    assert!(last < 2 * first, "{name}: {first:?} became {last:?}");
    assert!(growth < 1024, "{name}: memory grew by {growth} KiB");
}

/// The time that one text in ten stays below: disturbances are left out.
fn typical(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 10]
}

/// Memory that is no page of a file; 0 where the system does not say.
fn anonymous_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or(0)
}
