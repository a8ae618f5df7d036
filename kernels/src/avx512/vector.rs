//! Sixteen lanes in one 512-bit register.

use crate::avx2::{max_bits_4, max_bits_8, reduce_8};
use crate::vector::Vector;
use std::arch::x86_64::*;

/// Sixteen f32 in a 512-bit register.
#[derive(Clone, Copy)]
pub struct Lanes(__m512);

/// Lanes 0 to 7, and 8 to 15.
#[inline(always)]
unsafe fn halves(lanes: __m512) -> (__m256, __m256) {
    // SAFETY: the caller vouches for AVX-512 DQ.
    unsafe {
        (
            _mm512_castps512_ps256(lanes),
            _mm512_extractf32x8_ps::<1>(lanes),
        )
    }
}

// SAFETY (whole impl): the caller vouches for AVX-512 F and for the pointers, as the trait demands; each function
// body is one or a few intrinsics with no precondition but these.
#[allow(clippy::undocumented_unsafe_blocks)]
unsafe impl Vector for Lanes {
    type Int = __m512i;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Lanes(unsafe { _mm512_set1_ps(value) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Lanes(unsafe { _mm512_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Lanes(unsafe { _mm512_add_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Lanes(unsafe { _mm512_sub_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Lanes(unsafe { _mm512_mul_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Lanes(unsafe { _mm512_div_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Lanes(unsafe { _mm512_max_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        Lanes(unsafe { _mm512_min_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        Lanes(unsafe { _mm512_abs_ps(self.0) })
    }
    #[inline(always)]
    unsafe fn round(self) -> Self::Int {
        unsafe { _mm512_cvtps_epi32(self.0) }
    }
    #[inline(always)]
    unsafe fn from_int(value: Self::Int) -> Self {
        Lanes(unsafe { _mm512_cvtepi32_ps(value) })
    }
    #[inline(always)]
    unsafe fn exp2_int(power: Self::Int) -> Self {
        Lanes(unsafe {
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_add_epi32(
                power,
                _mm512_set1_epi32(127),
            )))
        })
    }
    #[inline(always)]
    unsafe fn store_int(value: Self::Int, to: *mut i32) {
        unsafe { _mm512_storeu_si512(to.cast(), value) }
    }
    #[inline(always)]
    unsafe fn join_int<const SHIFT: u32>(low: Self::Int, high: Self::Int) -> Self::Int {
        unsafe {
            let mask = _mm512_set1_epi32((1 << SHIFT) - 1);
            _mm512_or_si512(
                _mm512_and_si512(low, mask),
                _mm512_slli_epi32::<SHIFT>(high),
            )
        }
    }
    #[inline(always)]
    unsafe fn store_i8(value: Self::Int, to: *mut i8) {
        unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(value)) }
    }
    #[inline(always)]
    unsafe fn store_i16(value: Self::Int, to: *mut i16) {
        unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(value)) }
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self::Int {
        unsafe { _mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast())) }
    }
    #[inline(always)]
    unsafe fn reduce_int(value: Self::Int) -> i32 {
        unsafe { _mm512_reduce_add_epi32(value) }
    }
    #[inline(always)]
    unsafe fn add_int(left: Self::Int, right: Self::Int) -> Self::Int {
        unsafe { _mm512_add_epi32(left, right) }
    }
    #[inline(always)]
    unsafe fn reduce_add(self) -> f32 {
        unsafe {
            let (low, high) = halves(self.0);
            reduce_8(_mm256_add_ps(low, high), |a, b| _mm_add_ps(a, b))
        }
    }
    #[inline(always)]
    unsafe fn reduce_max(self) -> f32 {
        unsafe {
            let (low, high) = halves(self.0);
            reduce_8(_mm256_max_ps(high, low), |a, b| _mm_max_ps(b, a))
        }
    }
    #[inline(always)]
    unsafe fn max_magnitude(self, other: Self) -> Self {
        Lanes(unsafe {
            _mm512_castsi512_ps(_mm512_max_epi32(
                _mm512_castps_si512(self.0),
                _mm512_castps_si512(other.0),
            ))
        })
    }
    #[inline(always)]
    unsafe fn reduce_max_magnitude(self) -> f32 {
        unsafe {
            let (low, high) = halves(self.0);
            reduce_8(max_bits_8(low, high), |a, b| max_bits_4(a, b))
        }
    }
}
