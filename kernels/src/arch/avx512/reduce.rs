//! Sums of the lanes of several registers at once.

use std::arch::x86_64::*;

/// The sums of the four lanes of each quarter of four registers; those of the same quarter become a quarter of
/// the result, in the order of the registers.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn sums_of_quarters([a, b, c, d]: [__m512i; 4]) -> __m512i {
    let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd))
}

/// The sums of the sixteen lanes of each of four registers.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn sums_of_4(registers: [__m512i; 4]) -> __m128i {
    let abcd = sums_of_quarters(registers);
    let low = _mm512_castsi512_si256(abcd);
    let half = _mm256_add_epi32(low, _mm512_extracti64x4_epi64::<1>(abcd));
    _mm_add_epi32(
        _mm256_castsi256_si128(half),
        _mm256_extracti128_si256::<1>(half),
    )
}

/// The sums of the eight 64-bit lanes of each of eight registers, as 32-bit integers.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn sums_of_8_words([a, b, c, d, e, f, g, h]: [__m512i; 8]) -> __m256i {
    let pair = |a, b| _mm512_add_epi64(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    // In each quarter of a register the sums of two rows; the two shuffles bring the quarters of two
    // registers together.
    let fold = |a, b| {
        _mm512_add_epi64(
            _mm512_shuffle_i64x2::<0b10_00_10_00>(a, b),
            _mm512_shuffle_i64x2::<0b11_01_11_01>(a, b),
        )
    };
    let (abcd, efgh) = (fold(pair(a, b), pair(c, d)), fold(pair(e, f), pair(g, h)));
    _mm512_cvtepi64_epi32(fold(abcd, efgh))
}
