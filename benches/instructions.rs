//! Instructions of the scalar and AVX2 kernels and of the tokenizer, counted by valgrind
//! (iai-callgrind): exact, so that a fresh clone fails where one takes more than 0.5 % over the
//! committed count in `instructions.txt`.
//!
//! valgrind knows neither AVX-VNNI nor AVX-512: those kernels are counted by `lanewise-tools icount`.
#![allow(
    missing_docs,
    reason = "the macros of iai-callgrind make public items without documentation"
)]

use std::sync::Arc;

use iai_callgrind::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use lanewise_kernels::{Isa, Kernels};
use lanewise_testkit::scratch;
use lanewise_workloads::{self as work, Counted, Counter, Prepared, limits};

/// Blocks of 32 values: the most that a head may have.
const BLOCKS: usize = 16;

/// The committed count as a limit that fails the run.
fn limited(id: &str) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, limits::limit(id))]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

/// Says where the limits come from before anything is held against them.
fn announced() -> LibraryBenchmarkConfig {
    eprintln!("{}", limits::notice());
    LibraryBenchmarkConfig::default()
}

fn kernel(isa: Isa, name: &str) -> Prepared {
    assert_eq!(Counter::of(isa), Counter::Valgrind);
    let kernels = Kernels::for_isa(isa).expect("a CPU with AVX2");
    let counted = Counted::named(name).expect("a counted kernel");
    counted.work(kernels, BLOCKS).prepare()
}

fn tokenizer(paragraphs: usize) -> Prepared {
    let tokenizer = work::tiny_tokenizer(&scratch!("tiny.gguf"))
        .expect("the tiny model can be written and read");
    let mut work = work::tokenize(Arc::new(tokenizer), "tiny", paragraphs).prepare();
    // The first call makes the working space; how much the allocator does for it depends on the
    // length of paths.
    work.run();
    work
}

#[library_benchmark(setup = tokenizer)]
#[bench::tokenize(args = (4), config = limited("tokenize"))]
fn tokenizing(mut work: Prepared) -> Prepared {
    work.run();
    work
}

/// One benchmark a kernel; its identifier is its name in the table of limits.
macro_rules! kernels {
    ($function:ident, $isa:expr, $($id:ident = $kernel:literal,)*) => {
        #[library_benchmark(setup = kernel)]
        $(#[bench::$id(args = ($isa, $kernel), config = limited(stringify!($id)))])*
        fn $function(mut work: Prepared) -> Prepared {
            work.run();
            work
        }
    };
}

kernels! {
    scalar, Isa::Scalar,
    scalar_pack_panel = "pack_panel",
    scalar_gemm_1_token = "gemm_1_token",
    scalar_gemm_2_tokens = "gemm_2_tokens",
    scalar_gemm_3_tokens = "gemm_3_tokens",
    scalar_gemm_4_tokens = "gemm_4_tokens",
    scalar_gemm_5_tokens = "gemm_5_tokens",
    scalar_gemm_6_tokens = "gemm_6_tokens",
    scalar_gemm_2_terms_1_token = "gemm_2_terms_1_token",
    scalar_gemm_2_terms_6_tokens = "gemm_2_terms_6_tokens",
    scalar_attention_scores = "attention_scores",
    scalar_attention_weighted_sum = "attention_weighted_sum",
    scalar_head_norm_rope = "head_norm_rope",
    scalar_softmax = "softmax",
    scalar_pack_values = "pack_values",
    scalar_head_bias = "head_bias",
    scalar_head_rope = "head_rope",
    scalar_add_layer_norm = "add_layer_norm",
    scalar_layer_norm = "layer_norm",
    scalar_layer_norm_quantize = "layer_norm_quantize",
    scalar_add_rms_norm = "add_rms_norm",
    scalar_rms_norm_quantize = "rms_norm_quantize",
    scalar_rms_norm = "rms_norm",
    scalar_gelu_multiply_quantize = "gelu_multiply_quantize",
    scalar_gelu_tanh_multiply_quantize = "gelu_tanh_multiply_quantize",
    scalar_silu_multiply_quantize = "silu_multiply_quantize",
    scalar_bias_gelu_quantize = "bias_gelu_quantize",
    scalar_quantize = "quantize",
    scalar_quantize_2_terms = "quantize_2_terms",
    scalar_dequantize_q8_0 = "dequantize_q8_0",
    scalar_unpack_q4_0 = "unpack_q4_0",
    scalar_unpack_q4_1 = "unpack_q4_1",
    scalar_unpack_q5_0 = "unpack_q5_0",
    scalar_unpack_q5_1 = "unpack_q5_1",
    scalar_unpack_iq4_nl = "unpack_iq4_nl",
    scalar_unpack_q4_k = "unpack_q4_k",
    scalar_unpack_q5_k = "unpack_q5_k",
    scalar_unpack_q6_k = "unpack_q6_k",
    scalar_accumulate = "accumulate",
    scalar_add = "add",
    scalar_dot_i8 = "dot_i8",
    scalar_gemm_i8_16_queries = "gemm_i8_16_queries",
    scalar_gemm_i8_32_queries = "gemm_i8_32_queries",
    scalar_hamming = "hamming",
    scalar_hamming_planes = "hamming_planes",
    scalar_hamming_16_queries = "hamming_16_queries",
    scalar_dot_f32 = "dot_f32",
    scalar_at_least = "at_least",
    scalar_at_most = "at_most",
}

kernels! {
    avx2, Isa::Avx2,
    avx2_pack_panel = "pack_panel",
    avx2_gemm_1_token = "gemm_1_token",
    avx2_gemm_2_tokens = "gemm_2_tokens",
    avx2_gemm_3_tokens = "gemm_3_tokens",
    avx2_gemm_4_tokens = "gemm_4_tokens",
    avx2_gemm_5_tokens = "gemm_5_tokens",
    avx2_gemm_6_tokens = "gemm_6_tokens",
    avx2_gemm_2_terms_1_token = "gemm_2_terms_1_token",
    avx2_gemm_2_terms_6_tokens = "gemm_2_terms_6_tokens",
    avx2_attention_scores = "attention_scores",
    avx2_attention_weighted_sum = "attention_weighted_sum",
    avx2_head_norm_rope = "head_norm_rope",
    avx2_softmax = "softmax",
    avx2_pack_values = "pack_values",
    avx2_head_bias = "head_bias",
    avx2_head_rope = "head_rope",
    avx2_add_layer_norm = "add_layer_norm",
    avx2_layer_norm = "layer_norm",
    avx2_layer_norm_quantize = "layer_norm_quantize",
    avx2_add_rms_norm = "add_rms_norm",
    avx2_rms_norm_quantize = "rms_norm_quantize",
    avx2_rms_norm = "rms_norm",
    avx2_gelu_multiply_quantize = "gelu_multiply_quantize",
    avx2_gelu_tanh_multiply_quantize = "gelu_tanh_multiply_quantize",
    avx2_silu_multiply_quantize = "silu_multiply_quantize",
    avx2_bias_gelu_quantize = "bias_gelu_quantize",
    avx2_quantize = "quantize",
    avx2_quantize_2_terms = "quantize_2_terms",
    avx2_dequantize_q8_0 = "dequantize_q8_0",
    avx2_unpack_q4_0 = "unpack_q4_0",
    avx2_unpack_q4_1 = "unpack_q4_1",
    avx2_unpack_q5_0 = "unpack_q5_0",
    avx2_unpack_q5_1 = "unpack_q5_1",
    avx2_unpack_iq4_nl = "unpack_iq4_nl",
    avx2_unpack_q4_k = "unpack_q4_k",
    avx2_unpack_q5_k = "unpack_q5_k",
    avx2_unpack_q6_k = "unpack_q6_k",
    avx2_accumulate = "accumulate",
    avx2_add = "add",
    avx2_dot_i8 = "dot_i8",
    avx2_gemm_i8_16_queries = "gemm_i8_16_queries",
    avx2_gemm_i8_32_queries = "gemm_i8_32_queries",
    avx2_hamming = "hamming",
    avx2_hamming_planes = "hamming_planes",
    avx2_hamming_16_queries = "hamming_16_queries",
    avx2_dot_f32 = "dot_f32",
    avx2_at_least = "at_least",
    avx2_at_most = "at_most",
}

library_benchmark_group!(
    name = counted;
    benchmarks = scalar, avx2, tokenizing
);

main!(config = announced(); library_benchmark_groups = counted);
