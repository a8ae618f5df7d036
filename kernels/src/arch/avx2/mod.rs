//! AVX2 with FMA and F16C.

mod gemm;
mod scores;
mod simd;
mod weighted_sum;

pub(super) use simd::Lanes;

use crate::Isa;

crate::table::define_table!(Isa::Avx2, [gemm::gemm::<1>, gemm::gemm::<2>]; #[target_feature(enable = "avx2,fma,f16c")]);
