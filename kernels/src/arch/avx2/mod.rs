//! AVX2 with FMA and F16C.

mod attention;
mod gemm;
mod simd;

pub(super) use simd::Lanes;

use crate::Isa;

crate::table::define_table!(Isa::Avx2; #[target_feature(enable = "avx2,fma,f16c")]);
