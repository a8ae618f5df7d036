//! AVX-512 F, BW, DQ, VL and VNNI.

mod dot_i8;
mod gemm;
mod gemm_i8;
mod hamming;
mod reduce;
mod scores;
mod simd;
mod weighted_sum;

use simd::Lanes;

use crate::Isa;

/// The kernels for Zen 4, which has one 512-bit multiplier: products apply the scales of
/// activations to the integers.
pub(crate) static ZEN4_TABLE: Functions = Functions {
    isa: Isa::Avx512Zen4,
    gemm: [gemm::gemm::<1, true>, gemm::gemm::<2, false>],
    ..TABLE
};

crate::table::define_table!(Isa::Avx512, [gemm::gemm::<1, false>, gemm::gemm::<2, false>]; #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]);
