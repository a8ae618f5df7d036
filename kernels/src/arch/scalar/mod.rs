//! Portable Rust: the specification of all other kernels, and what runs on a CPU without AVX2.

mod dot_i8;
mod gemm;
mod gemm_i8;
mod hamming;
mod scores;
mod simd;
mod weighted_sum;

pub(crate) use simd::Lanes;
pub(crate) use weighted_sum::VALUE_LINES;

use crate::Isa;

crate::table::define_table!(Isa::Scalar, [gemm::gemm::<1>, gemm::gemm::<2>];);
