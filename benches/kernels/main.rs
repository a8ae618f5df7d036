//! Every kernel by itself: `cargo bench --bench kernels -- gemm`.
//!
//! Benchmarks are called `operation/types/shape/instruction set/cold|warm`. Shapes are rows x
//! columns x tokens for the matrix products, heads x lanes x depth for the attention products.
//! *Cold* means that the weights were evicted from every cache; activations are warm always, as
//! they are in the forward pass. The throughput is in multiply-adds of the types named (elements)
//! or in bytes, to be held against the limits that `lanewise-tools roofline` prints; all kernels
//! run on one thread. The product with INT16 has half the multiply-adds of INT8 at its peak.
//!
//! Each benchmark first checks that its result has the bits of the scalar kernels.

mod suite;

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use lanewise::find_model;
use lanewise::internals::gguf::Gguf;
use lanewise::internals::tokenizer::SentencePiece;
use lanewise_kernels::Activation;
use lanewise_testkit::{assets, scratch};
use lanewise_workloads::{self as work, SHAPES, TOKENS, Temperature};
use suite::Suite;

const TEMPERATURES: [Temperature; 2] = [Temperature::Warm, Temperature::Cold];

/// Width of the residual stream, and of a head.
const HIDDEN: usize = 768;
const HEAD: usize = 256;
/// Vectors that are searched: whole tiles of every kernel, 150 KB as INT8.
const SEARCHED: usize = 192;
/// Query heads of the 8 tokens whose attention is one task.
const ROWS: usize = 24;
/// Numbers of keys: a short text, the width of the sliding window, the whole context.
const KEYS: [usize; 3] = [64, 512, 2048];

fn matrix_products(criterion: &mut Criterion) {
    let mut suite = Suite::new(criterion);
    for shape in SHAPES {
        if shape.terms == 1 {
            for temperature in TEMPERATURES {
                suite.kernel(temperature, |kernels| {
                    work::pack_panel(kernels, shape, temperature)
                });
            }
        }
        for tokens in TOKENS {
            suite.kernel(Temperature::Warm, |kernels| {
                work::gemm(kernels, shape, tokens)
            });
            for temperature in TEMPERATURES {
                suite.kernel(temperature, |kernels| {
                    work::pack_gemm(kernels, shape, tokens, temperature)
                });
            }
        }
    }
}

fn attention(criterion: &mut Criterion) {
    let mut suite = Suite::new(criterion);
    let warm = Temperature::Warm;
    suite.kernel(warm, |kernels| work::head_norm_rope(kernels, HEAD));
    suite.kernel(warm, |kernels| work::head_rope(kernels, HEAD));
    suite.portable(work::pack_keys(HEAD));
    suite.kernel(warm, |kernels| work::attention_scores(kernels, ROWS, HEAD));
    for keys in KEYS {
        suite.kernel(warm, |kernels| work::softmax(kernels, keys));
        suite.kernel(warm, |kernels| work::pack_values(kernels, keys));
        suite.kernel(warm, |kernels| {
            work::attention_weighted_sum(kernels, ROWS, keys)
        });
    }
}

fn rows(criterion: &mut Criterion) {
    let mut suite = Suite::new(criterion);
    let warm = Temperature::Warm;
    suite.kernel(warm, |kernels| work::add_rms_norm(kernels, HIDDEN));
    suite.kernel(warm, |kernels| work::add_layer_norm(kernels, HIDDEN));
    suite.kernel(warm, |kernels| work::rms_norm_quantize(kernels, HIDDEN));
    suite.kernel(warm, |kernels| work::rms_norm(kernels, HIDDEN));
    suite.kernel(warm, |kernels| work::layer_norm_quantize(kernels, HIDDEN));
    suite.kernel(warm, |kernels| work::layer_norm(kernels, HIDDEN));
    suite.kernel(warm, |kernels| work::add(kernels, HIDDEN));
    for terms in [1, 2] {
        suite.kernel(warm, |kernels| work::quantize(kernels, HIDDEN, terms));
    }
    for tokens in TOKENS {
        for activation in Activation::ALL {
            suite.kernel(warm, |kernels| {
                work::activate_multiply_quantize(kernels, activation, tokens)
            });
        }
        suite.kernel(warm, |kernels| work::bias_gelu_quantize(kernels, tokens));
    }
    for temperature in TEMPERATURES {
        suite.kernel(temperature, |kernels| {
            work::dequantize_q8_0(kernels, HIDDEN, temperature)
        });
    }
    suite.kernel(warm, |kernels| work::accumulate(kernels, HIDDEN));
}

/// Rows that stay in the L2 cache; what memory allows is in `lanewise-tools search-bench`.
fn search(criterion: &mut Criterion) {
    let mut suite = Suite::new(criterion);
    let warm = Temperature::Warm;
    suite.kernel(warm, |kernels| work::dot_i8(kernels, SEARCHED, HIDDEN));
    suite.kernel(warm, |kernels| work::dot_f32(kernels, SEARCHED, HIDDEN));
    suite.kernel(warm, |kernels| work::hamming(kernels, SEARCHED, HIDDEN / 8));
    suite.kernel(warm, |kernels| {
        work::hamming_planes(kernels, SEARCHED, HIDDEN / 8)
    });
    for queries in [16, 256] {
        suite.kernel(warm, |kernels| {
            work::gemm_i8(kernels, SEARCHED, HIDDEN, queries)
        });
        suite.kernel(warm, |kernels| {
            work::hamming_many(kernels, SEARCHED, HIDDEN / 8, queries)
        });
        suite.kernel(warm, |kernels| work::at_least(kernels, SEARCHED, queries));
        suite.kernel(warm, |kernels| work::at_most(kernels, SEARCHED, queries));
    }
}

/// With the vocabulary of the real model where it is there, and with that of the tiny one.
fn tokenizing(criterion: &mut Criterion) {
    let mut suite = Suite::new(criterion);
    let tiny = work::tiny_tokenizer(&scratch!("tiny.gguf"))
        .expect("the tiny model can be written and read");
    let real = find_model()
        .and_then(Gguf::open)
        .and_then(|gguf| SentencePiece::from_gguf(Arc::new(gguf)));
    match real {
        Ok(real) => {
            let real = Arc::new(real);
            for paragraphs in [1, 16] {
                suite.portable(work::tokenize(Arc::clone(&real), "model", paragraphs));
            }
        }
        Err(error) => assets::skip(format!("tokenizing with the real vocabulary: {error}")),
    }
    suite.portable(work::tokenize(Arc::new(tiny), "tiny", 16));
}

criterion_group!(
    benches,
    matrix_products,
    attention,
    rows,
    search,
    tokenizing
);
criterion_main!(benches);
