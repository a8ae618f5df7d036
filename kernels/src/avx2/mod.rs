//! AVX2 with FMA and F16C.

mod attention;
mod gemm;
mod vector;

use crate::Isa;
use vector::Lanes;
pub(crate) use vector::{max_bits_4, max_bits_8, reduce_8};

crate::table::define_table!(Isa::Avx2; #[target_feature(enable = "avx2,fma,f16c")]);
