//! What several instruction sets of x86-64 share: reductions of 256-bit and 128-bit registers, and
//! the scales of packed weights.

use std::arch::x86_64::*;

use crate::queries::{WORD, word_of};

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

/// The sums of the eight lanes of each of four registers.
#[inline]
#[target_feature(enable = "avx2")]
pub fn sums_of_4([a, b, c, d]: [__m256i; 4]) -> __m128i {
    let ab = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let cd = _mm256_add_epi32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
    let abcd = _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
    _mm_add_epi32(
        _mm256_castsi256_si128(abcd),
        _mm256_extracti128_si256::<1>(abcd),
    )
}

/// A mask of the last `count` of 32 bytes.
///
/// # Panics
///
/// If `count` is above 32.
#[inline]
#[target_feature(enable = "avx2")]
pub fn last_bytes(count: usize) -> __m256i {
    static WINDOW: [[u8; 32]; 2] = [[0; 32], [0xff; 32]];
    let window = &WINDOW.as_flattened()[count..][..32];
    // SAFETY: the slice is the 32 bytes that are loaded.
    unsafe { _mm256_loadu_si256(window.as_ptr().cast()) }
}

/// `count` bytes from memory, fewer than 32, and zeros after them. Copied in powers of two: a copy of any length would be a
/// call.
///
/// # Safety
///
/// `from` is valid for reading `count` bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub unsafe fn padded(from: *const u8, count: usize) -> __m256i {
    let mut bytes = [0u8; 32];
    let to = bytes.as_mut_ptr();
    let mut at = 0;
    // SAFETY: the parts that are copied are adjacent and `count % 32` bytes together, which the caller guarantees
    // and the array has. The load reads the array.
    unsafe {
        if count & 16 != 0 {
            to.cast::<[u8; 16]>().write(from.cast::<[u8; 16]>().read());
            at = 16;
        }
        if count & 8 != 0 {
            let part = from.add(at).cast::<[u8; 8]>().read();
            to.add(at).cast::<[u8; 8]>().write(part);
            at += 8;
        }
        let last = word_of(from.add(at), count % WORD);
        to.add(at).cast::<[u8; WORD]>().write(last.to_ne_bytes());
        _mm256_loadu_si256(bytes.as_ptr().cast())
    }
}
