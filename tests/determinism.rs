//! The same text always gives the same bits: in any batch, with any number of threads, on every
//! instruction set, in every run.

mod support;

use std::path::Path;
use std::sync::Arc;

use lanewise::Isa;
use lanewise::internals::models;
use lanewise::internals::{Runtime, RuntimeOptions};
use lanewise_testkit::assets::{Variant, minilm, real_model};
use lanewise_testkit::random::Random;
use lanewise_testkit::scratch;
use lanewise_testkit::texts::text;
use lanewise_testkit::tiny_bert;
use lanewise_testkit::tiny_gemma2;
use lanewise_testkit::tiny_model::{self, Options};
use lanewise_testkit::tiny_pre_norm;
use support::supported_isas;

const THREADS: [usize; 4] = [1, 2, 3, 8];

/// How texts and batches are drawn.
#[derive(Clone, Copy)]
struct Draw {
    /// Different texts.
    texts: u64,
    /// Tokens of the longest.
    longest: usize,
    /// Texts of the largest batch.
    batch: usize,
    batches: u64,
}

/// Runs random batches twice, on every number of threads and instruction set in turn, and compares
/// them bit for bit with each text alone on one thread, on the slowest of `isas`.
fn check(path: &Path, isas: &[Isa], draw: Draw) {
    let model = models::open(path).unwrap();
    let shape = model.shape();
    let (width, longest) = (shape.width, draw.longest.min(shape.context));
    let runtime = |isa, threads| {
        let settings = RuntimeOptions {
            threads: Some(threads),
            isa: Some(isa),
            dense_heads: true,
        };
        Runtime::new(Arc::clone(&model), &settings).unwrap()
    };
    let embed = |runtime: &mut Runtime, texts: &[&[u32]]| -> Vec<u32> {
        let mut out = vec![f32::NAN; texts.len() * width];
        runtime.embed(texts, &mut out).unwrap();
        out.iter().map(|value| value.to_bits()).collect()
    };

    let mut random = Random(draw.batches);
    let texts: Vec<Vec<u32>> = (0..draw.texts)
        .map(|seed| {
            // Short texts, whose lengths matter most to tiles and panels, come more often.
            let limit = (longest - 1) >> (2 * random.below(3));
            text(2 + random.below(limit.max(1)), shape.vocabulary, seed)
        })
        .collect();
    let mut alone = runtime(isas[0], 1);
    let expected: Vec<Vec<u32>> = texts
        .iter()
        .map(|text| embed(&mut alone, &[text]))
        .collect();
    let mut runtimes: Vec<Runtime> = isas
        .iter()
        .flat_map(|&isa| THREADS.map(|threads| runtime(isa, threads)))
        .collect();

    for batch in 0..draw.batches as usize {
        let count = 1 + random.below(draw.batch);
        let chosen: Vec<usize> = (0..count).map(|_| random.below(texts.len())).collect();
        let ids: Vec<&[u32]> = chosen.iter().map(|&index| &*texts[index]).collect();
        let number = batch % runtimes.len();
        let runtime = &mut runtimes[number];
        for _ in 0..2 {
            let vectors = embed(runtime, &ids);
            for (vector, &index) in vectors.chunks_exact(width).zip(&chosen) {
                assert!(
                    vector == expected[index],
                    "batch {batch}, text {index} of {} tokens, on {} and {} threads",
                    texts[index].len(),
                    isas[number / THREADS.len()],
                    THREADS[number % THREADS.len()],
                );
            }
        }
    }
}

fn tiny(name: &str) -> std::path::PathBuf {
    let options = Options {
        layers: 7,
        ..Options::default()
    };
    tiny_model::written(scratch!(format!("{name}.gguf")), &options)
}

/// Heads of 32 and of 64 values, mean and cls, matrices of their own and fused; and Nomic BERT.
fn tiny_berts(name: &str) -> [std::path::PathBuf; 3] {
    let small = tiny_bert::Options::default();
    let wide = tiny_bert::Options {
        hidden: 128,
        heads: 2,
        pooling: Some(2),
        fused: true,
        ..tiny_bert::Options::default()
    };
    let written =
        |kind, options| tiny_bert::written(scratch!(format!("{name}-{kind}.gguf")), &options);
    let nomic = tiny_bert::Options::nomic();
    [
        written("mean", small),
        written("cls", wide),
        written("nomic", nomic),
    ]
}

/// EmbeddingGemma 2, whose layers have heads of two shapes.
fn tiny_gemma2(name: &str) -> std::path::PathBuf {
    let path = scratch!(format!("{name}-gemma2.gguf"));
    tiny_gemma2::written(path, &tiny_gemma2::Options::default())
}

/// Causal attention, and attention over windows.
fn tiny_pre_norms(name: &str) -> [std::path::PathBuf; 2] {
    let qwen3 = tiny_pre_norm::Options::qwen3();
    let modern_bert = tiny_pre_norm::Options::modern_bert();
    [qwen3, modern_bert].map(|options| {
        let kind = options.architecture.name();
        tiny_pre_norm::written(scratch!(format!("{name}-{kind}.gguf")), &options)
    })
}

/// Without the scalar kernels where others run: the real model takes them a second a text.
fn fast() -> Vec<Isa> {
    let mut isas = supported_isas();
    if isas.len() > 1 {
        isas.retain(|&isa| isa != Isa::Scalar);
    }
    isas
}

const TINY: Draw = Draw {
    texts: 40,
    longest: 256,
    batch: 8,
    batches: 120,
};

const REAL: Draw = Draw {
    texts: 12,
    longest: 400,
    batch: 4,
    batches: 16,
};

#[test]
fn random_batches_give_the_bits_of_single_runs() {
    check(&tiny("random"), &supported_isas(), TINY);
}

#[test]
fn random_batches_of_berts_give_the_bits_of_single_runs() {
    for path in tiny_berts("bert") {
        check(&path, &supported_isas(), TINY);
    }
}

#[test]
fn random_batches_of_gemma_2_give_the_bits_of_single_runs() {
    check(&tiny_gemma2("random"), &supported_isas(), TINY);
}

#[test]
fn random_batches_of_pre_norm_models_give_the_same_bits() {
    for path in tiny_pre_norms("pre-norm") {
        check(&path, &supported_isas(), TINY);
    }
}

#[test]
fn random_batches_of_minilm_give_the_same_bits() {
    if let Some(path) = minilm(Variant::Q8_0) {
        check(&path, &fast(), REAL);
    }
}

/// Far more threads than CPUs, so that products are cut by tokens as well as by panels.
#[test]
fn ninety_six_threads_give_the_bits_of_one() {
    let [bert, _, nomic] = tiny_berts("threads");
    let [qwen3, modern_bert] = tiny_pre_norms("threads");
    let gemma2 = tiny_gemma2("threads");
    for path in [tiny("threads"), bert, nomic, gemma2, qwen3, modern_bert] {
        check_many_threads(&path);
    }
}

fn check_many_threads(path: &Path) {
    let model = models::open(path).unwrap();
    let shape = model.shape();
    let texts: Vec<Vec<u32>> = [256, 3, 100, 250, 31]
        .iter()
        .map(|&tokens| text(tokens, shape.vocabulary, tokens as u64))
        .collect();
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let embed = |threads| {
        let settings = RuntimeOptions {
            threads: Some(threads),
            ..RuntimeOptions::default()
        };
        let mut runtime = Runtime::new(Arc::clone(&model), &settings).unwrap();
        let mut out = vec![f32::NAN; texts.len() * shape.width];
        runtime.embed(&texts, &mut out).unwrap();
        out.iter().map(|value| value.to_bits()).collect::<Vec<_>>()
    };
    let expected = embed(1);
    for threads in [5, 32, 96] {
        assert!(embed(threads) == expected, "{threads} threads");
    }
}

#[test]
fn random_batches_of_the_real_model_give_the_same_bits() {
    if let Some(path) = real_model(Variant::Q8_0) {
        check(&path, &fast(), REAL);
    }
}

/// Half an hour: `cargo test --release --test determinism -- --ignored`.
#[test]
#[ignore = "takes long; run it after a change of kernels or of the runtime"]
fn two_thousand_random_batches_give_the_same_bits() {
    let many = |draw: Draw| Draw {
        texts: 10 * draw.texts,
        batches: 2_000,
        ..draw
    };
    check(&tiny("many"), &supported_isas(), many(TINY));
    if let Some(path) = real_model(Variant::Q8_0) {
        check(&path, &fast(), many(REAL));
    }
}
