//! Sixteen lanes in two 256-bit registers.

use crate::vector::Vector;
use std::arch::x86_64::*;

/// Sixteen f32 in two 256-bit registers.
#[derive(Clone, Copy)]
pub struct Lanes(__m256, __m256);

/// Sixteen i32 in two 256-bit registers.
type Ints = (__m256i, __m256i);

/// The same 256-bit intrinsic on both halves.
macro_rules! both {
    ($intrinsic:ident($left:expr, $right:expr)) => {
        unsafe { Lanes($intrinsic($left.0, $right.0), $intrinsic($left.1, $right.1)) }
    };
}

/// `operation` over the eight lanes: `i` and `i + 4`, then `+ 2`, `+ 1`, the end of the tree that [`Vector`] fixes.
///
/// # Safety
///
/// AVX.
#[inline(always)]
pub(crate) unsafe fn reduce_8(lanes: __m256, operation: impl Fn(__m128, __m128) -> __m128) -> f32 {
    // SAFETY: register arithmetic; the caller vouches for AVX, which the operation is part of.
    unsafe {
        let four = operation(
            _mm256_castps256_ps128(lanes),
            _mm256_extractf128_ps::<1>(lanes),
        );
        let two = operation(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(operation(two, _mm_movehdup_ps(two)))
    }
}

/// [`Vector::max_magnitude`] on eight lanes.
///
/// # Safety
///
/// AVX2.
#[inline(always)]
pub(crate) unsafe fn max_bits_8(left: __m256, right: __m256) -> __m256 {
    // SAFETY: register arithmetic; the caller vouches for AVX2.
    unsafe {
        _mm256_castsi256_ps(_mm256_max_epi32(
            _mm256_castps_si256(left),
            _mm256_castps_si256(right),
        ))
    }
}

/// [`Vector::max_magnitude`] on four lanes.
///
/// # Safety
///
/// SSE4.1.
#[inline(always)]
pub(crate) unsafe fn max_bits_4(left: __m128, right: __m128) -> __m128 {
    // SAFETY: register arithmetic; the caller vouches for SSE4.1.
    unsafe {
        _mm_castsi128_ps(_mm_max_epi32(
            _mm_castps_si128(left),
            _mm_castps_si128(right),
        ))
    }
}

// SAFETY (whole impl): the caller vouches for AVX2 and for the pointers, as the trait demands; each function body is
// one or a few intrinsics with no precondition but these.
#[allow(clippy::undocumented_unsafe_blocks)]
unsafe impl Vector for Lanes {
    type Int = Ints;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        let half = unsafe { _mm256_set1_ps(value) };
        Lanes(half, half)
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { Lanes(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe {
            _mm256_storeu_ps(to, self.0);
            _mm256_storeu_ps(to.add(8), self.1);
        }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        both!(_mm256_add_ps(self, other))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        both!(_mm256_sub_ps(self, other))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        both!(_mm256_mul_ps(self, other))
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        both!(_mm256_div_ps(self, other))
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        both!(_mm256_max_ps(self, other))
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        both!(_mm256_min_ps(self, other))
    }
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        let sign = unsafe { Self::splat(-0.0) };
        both!(_mm256_andnot_ps(sign, self))
    }
    #[inline(always)]
    unsafe fn round(self) -> Ints {
        unsafe { (_mm256_cvtps_epi32(self.0), _mm256_cvtps_epi32(self.1)) }
    }
    #[inline(always)]
    unsafe fn from_int(value: Ints) -> Self {
        unsafe { Lanes(_mm256_cvtepi32_ps(value.0), _mm256_cvtepi32_ps(value.1)) }
    }
    #[inline(always)]
    unsafe fn exp2_int(power: Ints) -> Self {
        unsafe {
            let bias = _mm256_set1_epi32(127);
            let half = |power| _mm256_slli_epi32::<23>(_mm256_add_epi32(power, bias));
            Lanes(
                _mm256_castsi256_ps(half(power.0)),
                _mm256_castsi256_ps(half(power.1)),
            )
        }
    }
    #[inline(always)]
    unsafe fn store_int(value: Ints, to: *mut i32) {
        unsafe {
            _mm256_storeu_si256(to.cast(), value.0);
            _mm256_storeu_si256(to.add(8).cast(), value.1);
        }
    }
    #[inline(always)]
    unsafe fn join_int<const SHIFT: u32>(low: Ints, high: Ints) -> Ints {
        unsafe {
            let mask = _mm256_set1_epi32((1 << SHIFT) - 1);
            let shift = _mm_cvtsi32_si128(SHIFT as i32);
            let half = |low, high| {
                _mm256_or_si256(_mm256_and_si256(low, mask), _mm256_sll_epi32(high, shift))
            };
            (half(low.0, high.0), half(low.1, high.1))
        }
    }
    #[inline(always)]
    unsafe fn store_i8(value: Ints, to: *mut i8) {
        unsafe {
            // The packs work within 128-bit lanes: the words come out as 0-3, 8-11, 4-7, 12-15, and the permute of
            // quadwords puts them in order.
            let words =
                _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(value.0, value.1));
            let bytes = _mm_packs_epi16(
                _mm256_castsi256_si128(words),
                _mm256_extracti128_si256::<1>(words),
            );
            _mm_storeu_si128(to.cast(), bytes);
        }
    }
    #[inline(always)]
    unsafe fn store_i16(value: Ints, to: *mut i16) {
        unsafe {
            let words =
                _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(value.0, value.1));
            _mm256_storeu_si256(to.cast(), words);
        }
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Ints {
        unsafe {
            let bytes = _mm_loadu_si128(from.cast());
            (
                _mm256_cvtepi8_epi32(bytes),
                _mm256_cvtepi8_epi32(_mm_srli_si128::<8>(bytes)),
            )
        }
    }
    #[inline(always)]
    unsafe fn reduce_int(value: Ints) -> i32 {
        unsafe {
            let mut lanes = [0i32; 8];
            _mm256_storeu_si256(
                lanes.as_mut_ptr().cast(),
                _mm256_add_epi32(value.0, value.1),
            );
            lanes.iter().fold(0i32, |sum, lane| sum.wrapping_add(*lane))
        }
    }
    #[inline(always)]
    unsafe fn add_int(left: Ints, right: Ints) -> Ints {
        unsafe {
            (
                _mm256_add_epi32(left.0, right.0),
                _mm256_add_epi32(left.1, right.1),
            )
        }
    }
    #[inline(always)]
    unsafe fn reduce_add(self) -> f32 {
        unsafe {
            let lanes = _mm256_add_ps(self.0, self.1);
            reduce_8(lanes, |a, b| _mm_add_ps(a, b))
        }
    }
    #[inline(always)]
    unsafe fn reduce_max(self) -> f32 {
        unsafe {
            let lanes = _mm256_max_ps(self.1, self.0);
            reduce_8(lanes, |a, b| _mm_max_ps(b, a))
        }
    }
    #[inline(always)]
    unsafe fn max_magnitude(self, other: Self) -> Self {
        both!(max_bits_8(self, other))
    }
    #[inline(always)]
    unsafe fn reduce_max_magnitude(self) -> f32 {
        unsafe { reduce_8(max_bits_8(self.0, self.1), |a, b| max_bits_4(a, b)) }
    }
}
