//! Every vector is finite and has unit length, and denormal weights do not make a pass slow.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lanewise::Embedder;
use lanewise::internals::gguf::Gguf;
use lanewise_testkit::scratch;
use lanewise_testkit::tiny_model::{self, Options};

fn tiny(name: &str, options: &Options) -> PathBuf {
    tiny_model::written(scratch!(format!("{name}.gguf")), options)
}

fn length(vector: &[f32]) -> f64 {
    let squares = vector.iter().map(|&x| f64::from(x) * f64::from(x));
    squares.sum::<f64>().sqrt()
}

#[test]
fn vectors_of_any_text_and_any_dims_have_unit_length() {
    let path = tiny("length", &Options::default());
    let long = "words of many kinds, 12 and Bücher, 東京 ".repeat(20);
    for dims in [64, 48, 2, 1] {
        let embedder = Embedder::builder().dims(dims).open(&path).unwrap();
        for (end, _) in long.char_indices().step_by(7) {
            let vector = embedder.embed(&long[..end]).unwrap().vector;
            let length = length(&vector);
            assert!((length - 1.0).abs() < 1e-6, "{length} at {end}, {dims}");
        }
    }
}

#[test]
fn weights_that_give_a_zero_vector_are_an_error() {
    let path = tiny("zeros", &Options::default());
    fill(&path, |name| name == "output_norm.weight", 0.0);
    let error = Embedder::open(&path).unwrap().embed("text").unwrap_err();
    assert!(error.to_string().contains("output_norm.weight"), "{error}");
}

/// Rows scaled to denormals run through every norm, product and attention. Where the processor
/// handles denormals in microcode, as many do, an operation on one costs a hundred times as much.
#[test]
fn denormals_do_not_slow_a_pass() {
    let options = Options {
        layers: 6,
        hidden: 256,
        feed_forward: 512,
        ..Options::default()
    };
    let usual = tiny("usual", &options);
    let denormal = tiny("denormal", &options);
    let inside = |name: &str| name.starts_with("blk.") && name.ends_with("norm.weight");
    fill(&denormal, inside, 1e-39);
    assert!((1e-39_f32).is_subnormal());
    let text = "a text of some words ".repeat(30);
    let time = |path: &Path| {
        let embedder = Embedder::builder().threads(1).open(path).unwrap();
        let runs = (0..20).map(|_| {
            let start = Instant::now();
            embedder.embed(&*text).unwrap();
            start.elapsed()
        });
        runs.min().unwrap()
    };
    // In turns, so that another program disturbs both.
    let mut best = [Duration::MAX; 2];
    for _ in 0..3 {
        best[0] = best[0].min(time(&usual));
        best[1] = best[1].min(time(&denormal));
    }
    let ratio = best[1].as_secs_f64() / best[0].as_secs_f64();
    println!(
        "{:?} with usual weights, {:?} with denormal ones: {ratio:.2}",
        best[0], best[1]
    );
    assert!(
        ratio < 2.0,
        "denormals make a pass {ratio:.1} times as slow"
    );
}

/// Sets all values of the tensors of floats that `chosen` names.
fn fill(path: &Path, chosen: impl Fn(&str) -> bool, value: f32) {
    let mut bytes = std::fs::read(path).unwrap();
    let gguf = Gguf::open(path).unwrap();
    let tensors = gguf.tensors().iter().filter(|tensor| chosen(&tensor.name));
    for tensor in tensors {
        for bytes in bytes[tensor.range.clone()].chunks_exact_mut(4) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
    }
    drop(gguf);
    std::fs::write(path, bytes).unwrap();
}
