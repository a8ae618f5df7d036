//! What several instruction sets of x86-64 share: reductions of 256-bit and 128-bit registers, and
//! the scales of packed weights.

use std::arch::x86_64::*;

/// Reduces eight lanes with `operation`: lanes `i` and `i + 4` first, then `+ 2`, `+ 1`, which is
/// the end of the tree that [`Simd::reduce_add`](crate::simd::Simd::reduce_add) fixes.
///
/// # Safety
///
/// The CPU supports AVX.
#[inline(always)]
pub unsafe fn reduce_8(lanes: __m256, operation: impl Fn(__m128, __m128) -> __m128) -> f32 {
    // SAFETY: these intrinsics access no memory and need AVX, which the caller guarantees.
    unsafe {
        let four = operation(
            _mm256_castps256_ps128(lanes),
            _mm256_extractf128_ps::<1>(lanes),
        );
        let two = operation(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(operation(two, _mm_movehdup_ps(two)))
    }
}

/// [`Simd::max_magnitude`](crate::simd::Simd::max_magnitude) on eight lanes.
///
/// # Safety
///
/// The CPU supports AVX2.
#[inline(always)]
pub unsafe fn max_magnitude_8(left: __m256, right: __m256) -> __m256 {
    // SAFETY: these intrinsics access no memory and need AVX2, which the caller guarantees.
    unsafe {
        _mm256_castsi256_ps(_mm256_max_epi32(
            _mm256_castps_si256(left),
            _mm256_castps_si256(right),
        ))
    }
}

/// [`Simd::max_magnitude`](crate::simd::Simd::max_magnitude) on four lanes.
///
/// # Safety
///
/// The CPU supports SSE4.1.
#[inline(always)]
pub unsafe fn max_magnitude_4(left: __m128, right: __m128) -> __m128 {
    // SAFETY: these intrinsics access no memory and need SSE4.1, which the caller guarantees.
    unsafe {
        _mm_castsi128_ps(_mm_max_epi32(
            _mm_castps_si128(left),
            _mm_castps_si128(right),
        ))
    }
}

/// Copies the scales of a block of 8 rows of Q8_0. They are collected in general registers: the shuffle
/// ports are busy with the transpose.
///
/// # Safety
///
/// `from + row * row_bytes` is valid for reading 2 bytes for each `row` below 8, `to` for writing 8
/// values.
#[inline]
pub unsafe fn copy_scales_of_8_rows(from: *const u8, row_bytes: usize, to: *mut u16) {
    // SAFETY: rows stay below 8, so each read is one that the caller guarantees, and the two writes
    // are the 16 bytes of 8 values.
    unsafe {
        let scale = |row: usize| {
            let scale = from.add(row * row_bytes).cast::<u16>();
            u64::from(scale.read_unaligned())
        };
        let four = |first: usize| {
            scale(first) | scale(first + 1) << 16 | scale(first + 2) << 32 | scale(first + 3) << 48
        };
        let to = to.cast::<u64>();
        to.write_unaligned(four(0));
        to.add(1).write_unaligned(four(4));
    }
}
