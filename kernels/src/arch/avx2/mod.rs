//! AVX2 with FMA and F16C.

mod dot_i8;
mod gemm;
mod gemm_i8;
pub(super) mod hamming;
mod scores;
mod simd;
mod weighted_sum;

pub(super) use simd::Lanes;

use crate::Isa;

crate::table::define_table!(Isa::Avx2, [gemm::gemm::<1>, gemm::gemm::<2>]; #[target_feature(enable = "avx2,fma,f16c")]);
