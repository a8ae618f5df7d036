//! The one instruction that the compiler must not choose itself.

use std::arch::asm;
use std::arch::x86_64::__m256i;

/// `vpdpwssd`: adds to each lane of `sums` the products of its two words in `left` and `right`.
///
/// As inline assembly, because LLVM turns the intrinsic, `_mm256_dpwssd_avx_epi32`, into `vpmaddwd`
/// and `vpaddd` where it sees a chain of sums. That is one instruction more for each multiply-add,
/// and on Intel's processors the addition may take the place of a multiplication: the ports of 256
/// bits do both.
///
/// # Safety
///
/// The CPU supports AVX-VNNI.
#[inline]
#[target_feature(enable = "avxvnni,avx2")]
pub unsafe fn dpwssd(mut sums: __m256i, left: __m256i, right: __m256i) -> __m256i {
    // SAFETY: the instruction accesses registers alone and sets no flags, and the caller guarantees
    // that the CPU has it. `{vex}` asks for the encoding that needs no AVX-512.
    unsafe {
        asm!(
            "{{vex}} vpdpwssd {sums}, {left}, {right}",
            sums = inout(ymm_reg) sums,
            left = in(ymm_reg) left,
            right = in(ymm_reg) right,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}
