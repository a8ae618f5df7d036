//! AVX-512 F, BW, DQ, VL and VNNI.

mod attention;
mod gemm;
mod simd;

use simd::Lanes;

use crate::Isa;

crate::table::define_table!(Isa::Avx512; #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]);
