//! Portable Rust: the specification of all other kernels, and what runs on a CPU without AVX2.

mod attention;
mod gemm;
mod simd;

use crate::Isa;
pub(crate) use simd::Lanes;

crate::table::define_table!(Isa::Scalar;);
