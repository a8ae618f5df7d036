//! AVX-VNNI with AVX2, FMA and F16C: INT8 and INT16 multiply-adds on 256-bit registers, for CPUs
//! without AVX-512.
//!
//! There is no `simd.rs`: the instruction set adds nothing to AVX2 but multiply-adds of integers,
//! so the row operations are those of AVX2's lanes.

mod dot_i8;
mod gemm;
mod gemm_i8;
mod multiply;
mod scores;
mod weighted_sum;

use super::avx2::{Lanes, hamming};
use crate::Isa;

crate::table::define_table!(Isa::AvxVnni, [gemm::gemm::<1>, gemm::gemm::<2>]; #[target_feature(enable = "avxvnni,avx2,fma,f16c")]);
