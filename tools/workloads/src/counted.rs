//! The calls whose instructions are counted: each kernel on rows of any number of blocks.

use lanewise_kernels::{Activation, BLOCK, BlockFormat, Isa, Kernels, PANEL};

use super::{Shape, Temperature, Work};

/// Rows of an attention tile that fills all registers.
const ATTENTION_ROWS: usize = 12;

/// Rows that are whole tiles of every search kernel.
const SEARCH_ROWS: usize = 48;

/// What counts the instructions of an instruction set's kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// valgrind, in `cargo bench --bench instructions`.
    Valgrind,
    /// Single-stepping on the real CPU, in `lanewise-tools icount`.
    SingleStep,
}

impl Counter {
    /// The counter of the kernels of `isa`.
    pub fn of(isa: Isa) -> Counter {
        match isa {
            Isa::Scalar | Isa::Avx2 => Counter::Valgrind,
            // valgrind knows neither AVX-VNNI nor AVX-512.
            Isa::AvxVnni | Isa::Avx512 | Isa::Avx512Zen4 => Counter::SingleStep,
        }
    }
}

/// A kernel and its work on a number of blocks.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Name in the tables of counts.
    pub name: &'static str,
    work: fn(Kernels, usize) -> Work,
}

impl Counted {
    /// The call on `blocks` blocks.
    pub fn work(&self, kernels: Kernels, blocks: usize) -> Work {
        (self.work)(kernels, blocks)
    }

    /// The kernel of a name.
    pub fn named(name: &str) -> Option<Self> {
        COUNTED.into_iter().find(|counted| counted.name == name)
    }
}

/// Every kernel; the matrix product with each tile size, because each is separate code.
pub const COUNTED: [Counted; 48] = [
    counted("pack_panel", |kernels, blocks| {
        super::pack_panel(kernels, panel(blocks, 1), Temperature::Warm)
    }),
    counted("gemm_1_token", |kernels, blocks| {
        gemm(kernels, blocks, 1, 1)
    }),
    counted("gemm_2_tokens", |kernels, blocks| {
        gemm(kernels, blocks, 1, 2)
    }),
    counted("gemm_3_tokens", |kernels, blocks| {
        gemm(kernels, blocks, 1, 3)
    }),
    counted("gemm_4_tokens", |kernels, blocks| {
        gemm(kernels, blocks, 1, 4)
    }),
    counted("gemm_5_tokens", |kernels, blocks| {
        gemm(kernels, blocks, 1, 5)
    }),
    counted("gemm_6_tokens", |kernels, blocks| {
        gemm(kernels, blocks, 1, 6)
    }),
    counted("gemm_2_terms_1_token", |kernels, blocks| {
        gemm(kernels, blocks, 2, 1)
    }),
    counted("gemm_2_terms_6_tokens", |kernels, blocks| {
        gemm(kernels, blocks, 2, 6)
    }),
    counted("attention_scores", |kernels, blocks| {
        super::attention_scores(kernels, ATTENTION_ROWS, blocks * BLOCK)
    }),
    counted("attention_weighted_sum", |kernels, blocks| {
        super::attention_weighted_sum(kernels, ATTENTION_ROWS, blocks * BLOCK)
    }),
    counted("head_norm_rope", |kernels, blocks| {
        super::head_norm_rope(kernels, blocks * BLOCK)
    }),
    counted("softmax", |kernels, blocks| {
        super::softmax(kernels, blocks * BLOCK)
    }),
    counted("pack_values", |kernels, blocks| {
        super::pack_values(kernels, blocks * BLOCK)
    }),
    counted("head_bias", |kernels, blocks| {
        super::head_bias(kernels, blocks * BLOCK)
    }),
    counted("head_rope", |kernels, blocks| {
        super::head_rope(kernels, blocks * BLOCK)
    }),
    counted("add_layer_norm", |kernels, blocks| {
        super::add_layer_norm(kernels, blocks * BLOCK)
    }),
    counted("layer_norm", |kernels, blocks| {
        super::layer_norm(kernels, blocks * BLOCK)
    }),
    counted("layer_norm_quantize", |kernels, blocks| {
        super::layer_norm_quantize(kernels, blocks * BLOCK)
    }),
    counted("add_rms_norm", |kernels, blocks| {
        super::add_rms_norm(kernels, blocks * BLOCK)
    }),
    counted("rms_norm_quantize", |kernels, blocks| {
        super::rms_norm_quantize(kernels, blocks * BLOCK)
    }),
    counted("rms_norm", |kernels, blocks| {
        super::rms_norm(kernels, blocks * BLOCK)
    }),
    counted("gelu_multiply_quantize", |kernels, blocks| {
        super::activate_multiply_quantize(kernels, Activation::Gelu, blocks)
    }),
    counted("gelu_tanh_multiply_quantize", |kernels, blocks| {
        super::activate_multiply_quantize(kernels, Activation::GeluTanh, blocks)
    }),
    counted("silu_multiply_quantize", |kernels, blocks| {
        super::activate_multiply_quantize(kernels, Activation::Silu, blocks)
    }),
    counted("bias_gelu_quantize", |kernels, blocks| {
        super::bias_gelu_quantize(kernels, blocks)
    }),
    counted("quantize", |kernels, blocks| {
        super::quantize(kernels, blocks * BLOCK, 1)
    }),
    counted("quantize_2_terms", |kernels, blocks| {
        super::quantize(kernels, blocks * BLOCK, 2)
    }),
    counted("dequantize_q8_0", |kernels, blocks| {
        super::dequantize_q8_0(kernels, blocks * BLOCK, Temperature::Warm)
    }),
    counted("unpack_q4_0", |kernels, blocks| {
        super::unpack(kernels, BlockFormat::Q4_0, blocks * BLOCK)
    }),
    counted("unpack_q4_1", |kernels, blocks| {
        super::unpack(kernels, BlockFormat::Q4_1, blocks * BLOCK)
    }),
    counted("unpack_q5_0", |kernels, blocks| {
        super::unpack(kernels, BlockFormat::Q5_0, blocks * BLOCK)
    }),
    counted("unpack_q5_1", |kernels, blocks| {
        super::unpack(kernels, BlockFormat::Q5_1, blocks * BLOCK)
    }),
    counted("unpack_iq4_nl", |kernels, blocks| {
        super::unpack(kernels, BlockFormat::Iq4Nl, blocks * BLOCK)
    }),
    counted("unpack_q4_k", |kernels, blocks| {
        super::unpack(kernels, BlockFormat::Q4K, blocks * BLOCK)
    }),
    counted("unpack_q5_k", |kernels, blocks| {
        super::unpack(kernels, BlockFormat::Q5K, blocks * BLOCK)
    }),
    counted("unpack_q6_k", |kernels, blocks| {
        super::unpack(kernels, BlockFormat::Q6K, blocks * BLOCK)
    }),
    counted("accumulate", |kernels, blocks| {
        super::accumulate(kernels, blocks * BLOCK)
    }),
    counted("add", |kernels, blocks| super::add(kernels, blocks * BLOCK)),
    counted("dot_i8", |kernels, blocks| {
        super::dot_i8(kernels, SEARCH_ROWS, blocks * BLOCK)
    }),
    counted("gemm_i8_16_queries", |kernels, blocks| {
        super::gemm_i8(kernels, SEARCH_ROWS, blocks * BLOCK, 16)
    }),
    counted("gemm_i8_32_queries", |kernels, blocks| {
        super::gemm_i8(kernels, SEARCH_ROWS, blocks * BLOCK, 32)
    }),
    counted("hamming", |kernels, blocks| {
        super::hamming(kernels, SEARCH_ROWS, blocks * BLOCK)
    }),
    counted("hamming_planes", |kernels, blocks| {
        super::hamming_planes(kernels, SEARCH_ROWS, blocks * BLOCK)
    }),
    counted("hamming_16_queries", |kernels, blocks| {
        super::hamming_many(kernels, SEARCH_ROWS, blocks * BLOCK, 16)
    }),
    counted("dot_f32", |kernels, blocks| {
        super::dot_f32(kernels, SEARCH_ROWS, blocks * BLOCK)
    }),
    counted("at_least", |kernels, blocks| {
        super::at_least(kernels, SEARCH_ROWS, blocks * BLOCK)
    }),
    counted("at_most", |kernels, blocks| {
        super::at_most(kernels, SEARCH_ROWS, blocks * BLOCK)
    }),
];

const fn counted(name: &'static str, work: fn(Kernels, usize) -> Work) -> Counted {
    Counted { name, work }
}

fn panel(blocks: usize, terms: usize) -> Shape {
    Shape {
        rows: PANEL,
        columns: blocks * BLOCK,
        terms,
    }
}

fn gemm(kernels: Kernels, blocks: usize, terms: usize, tokens: usize) -> Work {
    super::gemm(kernels, panel(blocks, terms), tokens)
}
