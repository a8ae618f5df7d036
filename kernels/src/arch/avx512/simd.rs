//! Sixteen lanes in one 512-bit register.

use std::arch::x86_64::*;

use crate::arch::x86::{max_magnitude_4, max_magnitude_8, reduce_8};
use crate::simd::{LANES, Simd};

/// Sixteen f32 in a 512-bit register. Exists only where AVX-512 F and DQ are available, see
/// [`Simd`].
#[derive(Clone, Copy)]
pub struct Lanes(__m512);

/// Sixteen i32 in a 512-bit register. Exists only where AVX-512 F and DQ are available, see
/// [`Simd`].
#[derive(Clone, Copy)]
pub struct Ints(__m512i);

impl Lanes {
    /// Lanes 0 to 7, and 8 to 15.
    #[inline(always)]
    fn halves(self) -> (__m256, __m256) {
        // SAFETY: register moves; lanes exist only where AVX-512 DQ is available.
        unsafe {
            (
                _mm512_castps512_ps256(self.0),
                _mm512_extractf32x8_ps::<1>(self.0),
            )
        }
    }
}

// SAFETY: each method does what the trait documents, memory is accessed by the loads and stores
// alone, but for the table of `look_up`, and values are made from nothing only by the loads and by
// what begins with `splat`.
unsafe impl Simd for Lanes {
    type Int = Ints;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller guarantees AVX-512.
        Lanes(unsafe { _mm512_set1_ps(value) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller guarantees AVX-512 and the 16 readable values of this load.
        Lanes(unsafe { _mm512_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller guarantees the 16 writable values of this store.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: register arithmetic; lanes exist only where AVX-512 is available.
        Lanes(unsafe { _mm512_add_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: register arithmetic; lanes exist only where AVX-512 is available.
        Lanes(unsafe { _mm512_sub_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: register arithmetic; lanes exist only where AVX-512 is available.
        Lanes(unsafe { _mm512_mul_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: register arithmetic; lanes exist only where AVX-512 is available.
        Lanes(unsafe { _mm512_fmadd_ps(self.0, factor.0, addend.0) })
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        // SAFETY: register arithmetic; lanes exist only where AVX-512 is available.
        Lanes(unsafe { _mm512_div_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: register arithmetic; lanes exist only where AVX-512 is available.
        Lanes(unsafe { _mm512_max_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: register arithmetic; lanes exist only where AVX-512 is available.
        Lanes(unsafe { _mm512_min_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn at_least(self, other: Self) -> u16 {
        // SAFETY: register arithmetic; lanes exist only where AVX-512 is available.
        unsafe { _mm512_cmp_ps_mask::<_CMP_GE_OQ>(self.0, other.0) }
    }
    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: register arithmetic; lanes exist only where AVX-512 is available.
        Lanes(unsafe { _mm512_abs_ps(self.0) })
    }
    #[inline(always)]
    fn max_magnitude(self, other: Self) -> Self {
        // SAFETY: register arithmetic; lanes exist only where AVX-512 is available.
        Lanes(unsafe {
            _mm512_castsi512_ps(_mm512_max_epi32(
                _mm512_castps_si512(self.0),
                _mm512_castps_si512(other.0),
            ))
        })
    }
    #[inline(always)]
    fn reduce_max_magnitude(self) -> f32 {
        let (low, high) = self.halves();
        // SAFETY: register arithmetic; lanes exist only where AVX-512, and so AVX2, is available.
        unsafe { reduce_8(max_magnitude_8(low, high), |a, b| max_magnitude_4(a, b)) }
    }
    #[inline(always)]
    fn round(self) -> Ints {
        // SAFETY: register arithmetic; lanes exist only where AVX-512 is available.
        Ints(unsafe { _mm512_cvtps_epi32(self.0) })
    }
    #[inline(always)]
    fn from_int(value: Ints) -> Self {
        // SAFETY: register arithmetic; lanes exist only where AVX-512 is available.
        Lanes(unsafe { _mm512_cvtepi32_ps(value.0) })
    }
    #[inline(always)]
    fn exp2_int(power: Ints) -> Self {
        // SAFETY: register arithmetic; lanes exist only where AVX-512 is available.
        Lanes(unsafe {
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_add_epi32(
                power.0,
                _mm512_set1_epi32(127),
            )))
        })
    }
    #[inline(always)]
    fn add_int(left: Ints, right: Ints) -> Ints {
        // SAFETY: register arithmetic; lanes exist only where AVX-512 is available.
        Ints(unsafe { _mm512_add_epi32(left.0, right.0) })
    }
    #[inline(always)]
    fn join_int<const SHIFT: u32>(low: Ints, high: Ints) -> Ints {
        // SAFETY: register arithmetic; lanes exist only where AVX-512 is available.
        Ints(unsafe {
            let mask = _mm512_set1_epi32((1 << SHIFT) - 1);
            _mm512_or_si512(
                _mm512_and_si512(low.0, mask),
                _mm512_slli_epi32::<SHIFT>(high.0),
            )
        })
    }
    #[inline(always)]
    fn split_int(value: Ints) -> (Ints, Ints) {
        // SAFETY: register arithmetic; lanes exist only where AVX-512 is available.
        unsafe {
            let low = _mm512_and_si512(value.0, _mm512_set1_epi32(255));
            (Ints(_mm512_srai_epi32::<8>(value.0)), Ints(low))
        }
    }
    #[inline(always)]
    fn reduce_int(value: Ints) -> i32 {
        // SAFETY: register arithmetic; lanes exist only where AVX-512 is available.
        unsafe { _mm512_reduce_add_epi32(value.0) }
    }
    #[inline(always)]
    unsafe fn splat_int(value: i32) -> Ints {
        // SAFETY: the caller guarantees AVX-512.
        Ints(unsafe { _mm512_set1_epi32(value) })
    }
    #[inline(always)]
    unsafe fn splat_where(bits: u16, value: i32) -> Ints {
        // SAFETY: the caller guarantees AVX-512.
        Ints(unsafe { _mm512_maskz_set1_epi32(bits, value) })
    }
    #[inline(always)]
    fn and_int(left: Ints, right: Ints) -> Ints {
        // SAFETY: register arithmetic; lanes exist only where AVX-512 is available.
        Ints(unsafe { _mm512_and_si512(left.0, right.0) })
    }
    #[inline(always)]
    fn shift_right_int(value: Ints, by: u32) -> Ints {
        // SAFETY: register arithmetic; lanes exist only where AVX-512 is available.
        Ints(unsafe { _mm512_srl_epi32(value.0, _mm_cvtsi32_si128(by.cast_signed())) })
    }
    #[inline(always)]
    fn look_up(table: &[i8; LANES], place: Ints) -> Ints {
        // SAFETY: register arithmetic but for the load, which reads the 16 bytes of the table; lanes
        // exist only where AVX-512 is available.
        Ints(unsafe {
            let table = _mm512_cvtepi8_epi32(_mm_loadu_si128(table.as_ptr().cast()));
            _mm512_permutexvar_epi32(place.0, table)
        })
    }
    #[inline(always)]
    unsafe fn from_halves(halves: [u16; LANES]) -> Self {
        // SAFETY: the caller guarantees AVX-512; the load reads 16 values.
        Lanes(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(halves.as_ptr().cast())) })
    }
    #[inline(always)]
    fn to_halves(self) -> [u16; LANES] {
        let mut halves = [0; LANES];
        // SAFETY: lanes exist only where AVX-512 is available; the store writes 16 values.
        unsafe {
            let rounded = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0);
            _mm256_storeu_si256(halves.as_mut_ptr().cast(), rounded);
        }
        halves
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Ints {
        // SAFETY: the caller guarantees AVX-512 and the 16 readable bytes of this load.
        Ints(unsafe { _mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast())) })
    }
    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Ints {
        // SAFETY: the caller guarantees AVX-512 and the 16 readable bytes of this load.
        Ints(unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast())) })
    }
    #[inline(always)]
    unsafe fn load_int(from: *const i32) -> Ints {
        // SAFETY: the caller guarantees AVX-512 and the 16 readable values of this load.
        Ints(unsafe { _mm512_loadu_si512(from.cast()) })
    }
    #[inline(always)]
    unsafe fn store_int(value: Ints, to: *mut i32) {
        // SAFETY: the caller guarantees the 16 writable values of this store.
        unsafe { _mm512_storeu_si512(to.cast(), value.0) }
    }
    #[inline(always)]
    unsafe fn store_i8(value: Ints, to: *mut i8) {
        // SAFETY: the caller guarantees the 16 writable bytes of this store.
        unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(value.0)) }
    }
    #[inline(always)]
    unsafe fn store_i16(value: Ints, to: *mut i16) {
        // SAFETY: the caller guarantees the 16 writable values of this store.
        unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(value.0)) }
    }
    #[inline(always)]
    unsafe fn store_u8(value: Ints, to: *mut u8) {
        // SAFETY: the caller guarantees the 16 writable bytes of this store.
        unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(value.0)) }
    }
    #[inline(always)]
    fn reduce_add(self) -> f32 {
        let (low, high) = self.halves();
        // SAFETY: register arithmetic; lanes exist only where AVX-512 is available.
        unsafe { reduce_8(_mm256_add_ps(low, high), |a, b| _mm_add_ps(a, b)) }
    }
    #[inline(always)]
    fn reduce_max(self) -> f32 {
        let (low, high) = self.halves();
        // SAFETY: register arithmetic; lanes exist only where AVX-512 is available.
        unsafe { reduce_8(_mm256_max_ps(high, low), |a, b| _mm_max_ps(b, a)) }
    }
}
