//! AVX-512 with VNNI.

mod attention;
mod gemm;
mod vector;

use crate::Isa;
use vector::Lanes;

crate::table::define_table!(Isa::Avx512; #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]);
