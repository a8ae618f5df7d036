//! AVX2 with FMA and F16C.

mod attention;
mod gemm;
mod simd;

use crate::Isa;
use simd::Lanes;

crate::table::define_table!(Isa::Avx2; #[target_feature(enable = "avx2,fma,f16c")]);
