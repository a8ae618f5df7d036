//! Portable Rust: the specification of all other kernels, and what runs on a CPU without AVX2.

mod attention;
mod gemm;
mod simd;

pub(crate) use simd::Lanes;

use crate::Isa;

crate::table::define_table!(Isa::Scalar, [gemm::gemm::<1>, gemm::gemm::<2>];);
