//! The kernels of each instruction set: matrix product, attention products, vector search and SIMD lanes.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx_vnni;
pub(crate) mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Whether values packed into this number of lines are two words a lane instead of four bytes.
const fn has_values_in_words(value_lines: usize) -> bool {
    value_lines > scalar::VALUE_LINES
}
