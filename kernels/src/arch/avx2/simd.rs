//! Sixteen lanes in two 256-bit registers.

use std::arch::x86_64::*;

use crate::arch::x86::{max_magnitude_4, max_magnitude_8, reduce_8};
use crate::f16::f32_to_f16;
use crate::simd::{LANES, Simd};

/// Sixteen f32 in two 256-bit registers. Exists only where AVX2 is available, see [`Simd`].
#[derive(Clone, Copy)]
pub struct Lanes(__m256, __m256);

/// Sixteen i32 in two 256-bit registers. Exists only where AVX2 is available, see [`Simd`].
#[derive(Clone, Copy)]
pub struct Ints(__m256i, __m256i);

/// The same 256-bit intrinsic on both halves.
macro_rules! both {
    ($intrinsic:ident($left:expr, $right:expr)) => {
        Lanes($intrinsic($left.0, $right.0), $intrinsic($left.1, $right.1))
    };
}

// SAFETY: each method does what the trait documents, memory is accessed by the loads and stores
// alone, but for the table of `look_up`, and values are made from nothing only by the loads and by
// what begins with `splat`.
unsafe impl Simd for Lanes {
    type Int = Ints;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller guarantees AVX2.
        let half = unsafe { _mm256_set1_ps(value) };
        Lanes(half, half)
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller guarantees AVX2 and 16 readable values, of which each load reads 8.
        unsafe { Lanes(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller guarantees 16 writable values, of which each store writes 8.
        unsafe {
            _mm256_storeu_ps(to, self.0);
            _mm256_storeu_ps(to.add(8), self.1);
        }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: register arithmetic; lanes exist only where AVX2 is available.
        unsafe { both!(_mm256_add_ps(self, other)) }
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: register arithmetic; lanes exist only where AVX2 is available.
        unsafe { both!(_mm256_sub_ps(self, other)) }
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: register arithmetic; lanes exist only where AVX2 is available.
        unsafe { both!(_mm256_mul_ps(self, other)) }
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: register arithmetic; lanes exist only where AVX2 and, as `Isa` asks for both, FMA are
        // available.
        unsafe {
            Lanes(
                _mm256_fmadd_ps(self.0, factor.0, addend.0),
                _mm256_fmadd_ps(self.1, factor.1, addend.1),
            )
        }
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        // SAFETY: register arithmetic; lanes exist only where AVX2 is available.
        unsafe { both!(_mm256_div_ps(self, other)) }
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: register arithmetic; lanes exist only where AVX2 is available.
        unsafe { both!(_mm256_max_ps(self, other)) }
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: register arithmetic; lanes exist only where AVX2 is available.
        unsafe { both!(_mm256_min_ps(self, other)) }
    }
    #[inline(always)]
    fn at_least(self, other: Self) -> u16 {
        // SAFETY: register arithmetic; lanes exist only where AVX2 is available.
        unsafe {
            let half = |a, b| _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(a, b));
            (half(self.0, other.0) | half(self.1, other.1) << 8) as u16
        }
    }
    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: register arithmetic; lanes exist only where AVX2 is available.
        unsafe {
            let sign = Self::splat(-0.0);
            both!(_mm256_andnot_ps(sign, self))
        }
    }
    #[inline(always)]
    fn max_magnitude(self, other: Self) -> Self {
        // SAFETY: register arithmetic; lanes exist only where AVX2 is available.
        unsafe { both!(max_magnitude_8(self, other)) }
    }
    #[inline(always)]
    fn reduce_max_magnitude(self) -> f32 {
        // SAFETY: register arithmetic; lanes exist only where AVX2, and so SSE4.1, is available.
        unsafe {
            reduce_8(max_magnitude_8(self.0, self.1), |a, b| {
                max_magnitude_4(a, b)
            })
        }
    }
    #[inline(always)]
    fn round(self) -> Ints {
        // SAFETY: register arithmetic; lanes exist only where AVX2 is available.
        unsafe { Ints(_mm256_cvtps_epi32(self.0), _mm256_cvtps_epi32(self.1)) }
    }
    #[inline(always)]
    fn from_int(value: Ints) -> Self {
        // SAFETY: register arithmetic; lanes exist only where AVX2 is available.
        unsafe { Lanes(_mm256_cvtepi32_ps(value.0), _mm256_cvtepi32_ps(value.1)) }
    }
    #[inline(always)]
    fn exp2_int(power: Ints) -> Self {
        // SAFETY: register arithmetic; lanes exist only where AVX2 is available.
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
    fn add_int(left: Ints, right: Ints) -> Ints {
        // SAFETY: register arithmetic; lanes exist only where AVX2 is available.
        unsafe {
            Ints(
                _mm256_add_epi32(left.0, right.0),
                _mm256_add_epi32(left.1, right.1),
            )
        }
    }
    #[inline(always)]
    fn join_int<const SHIFT: u32>(low: Ints, high: Ints) -> Ints {
        // SAFETY: register arithmetic; lanes exist only where AVX2 is available.
        unsafe {
            let mask = _mm256_set1_epi32((1 << SHIFT) - 1);
            let shift = _mm_cvtsi32_si128(SHIFT as i32);
            let half = |low, high| {
                _mm256_or_si256(_mm256_and_si256(low, mask), _mm256_sll_epi32(high, shift))
            };
            Ints(half(low.0, high.0), half(low.1, high.1))
        }
    }
    #[inline(always)]
    fn split_int(value: Ints) -> (Ints, Ints) {
        // SAFETY: register arithmetic; lanes exist only where AVX2 is available.
        unsafe {
            let mask = _mm256_set1_epi32(255);
            let low = |half| _mm256_and_si256(half, mask);
            let high = |half| _mm256_srai_epi32::<8>(half);
            (
                Ints(high(value.0), high(value.1)),
                Ints(low(value.0), low(value.1)),
            )
        }
    }
    #[inline(always)]
    fn reduce_int(value: Ints) -> i32 {
        let mut lanes = [0i32; 8];
        // SAFETY: the array holds the 8 values of one store; lanes exist only where AVX2 is
        // available.
        unsafe {
            _mm256_storeu_si256(
                lanes.as_mut_ptr().cast(),
                _mm256_add_epi32(value.0, value.1),
            );
        }
        lanes.iter().fold(0i32, |sum, lane| sum.wrapping_add(*lane))
    }
    #[inline(always)]
    unsafe fn splat_int(value: i32) -> Ints {
        // SAFETY: the caller guarantees AVX2.
        let half = unsafe { _mm256_set1_epi32(value) };
        Ints(half, half)
    }
    #[inline(always)]
    unsafe fn splat_where(bits: u16, value: i32) -> Ints {
        // SAFETY: the caller guarantees AVX2, which is all that register arithmetic needs.
        unsafe {
            let (bits, value) = (_mm256_set1_epi32(i32::from(bits)), _mm256_set1_epi32(value));
            let half = |lane: __m256i| {
                let set = _mm256_cmpeq_epi32(_mm256_and_si256(bits, lane), lane);
                _mm256_and_si256(set, value)
            };
            let low = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
            Ints(half(low), half(_mm256_slli_epi32::<8>(low)))
        }
    }
    #[inline(always)]
    fn and_int(left: Ints, right: Ints) -> Ints {
        // SAFETY: register arithmetic; lanes exist only where AVX2 is available.
        unsafe {
            Ints(
                _mm256_and_si256(left.0, right.0),
                _mm256_and_si256(left.1, right.1),
            )
        }
    }
    #[inline(always)]
    fn shift_right_int(value: Ints, by: u32) -> Ints {
        // SAFETY: register arithmetic; lanes exist only where AVX2 is available.
        unsafe {
            let by = _mm_cvtsi32_si128(by.cast_signed());
            Ints(_mm256_srl_epi32(value.0, by), _mm256_srl_epi32(value.1, by))
        }
    }
    #[inline(always)]
    fn look_up(table: &[i8; LANES], place: Ints) -> Ints {
        // SAFETY: register arithmetic but for the load, which reads the 16 bytes of the table; lanes
        // exist only where AVX2 is available.
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            // Each byte of a lane is looked up; the lowest is the place, and is shifted up and down
            // to extend its sign over the others.
            let half = |place| {
                let entries = _mm256_shuffle_epi8(table, place);
                _mm256_srai_epi32::<24>(_mm256_slli_epi32::<24>(entries))
            };
            Ints(half(place.0), half(place.1))
        }
    }
    #[inline(always)]
    unsafe fn from_halves(halves: [u16; LANES]) -> Self {
        // SAFETY: the caller guarantees AVX2, with which F16C is detected; each load reads 8 of 16 values.
        unsafe {
            let from = halves.as_ptr().cast::<__m128i>();
            Lanes(
                _mm256_cvtph_ps(_mm_loadu_si128(from)),
                _mm256_cvtph_ps(_mm_loadu_si128(from.add(1))),
            )
        }
    }
    #[inline(always)]
    fn to_halves(self) -> [u16; LANES] {
        if cfg!(miri) {
            // Miri does not know the instruction.
            let mut lanes = [0.0; LANES];
            // SAFETY: the array holds the 16 values of the store.
            unsafe { self.store(lanes.as_mut_ptr()) };
            return lanes.map(f32_to_f16);
        }
        let mut halves = [0; LANES];
        // SAFETY: lanes exist only where AVX2 is available, with which F16C is detected; each store writes
        // 8 of 16 values.
        unsafe {
            let to = halves.as_mut_ptr().cast::<__m128i>();
            _mm_storeu_si128(to, _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0));
            _mm_storeu_si128(
                to.add(1),
                _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.1),
            );
        }
        halves
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Ints {
        // SAFETY: the caller guarantees AVX2 and the 16 readable bytes of this load.
        unsafe {
            let bytes = _mm_loadu_si128(from.cast());
            Ints(
                _mm256_cvtepi8_epi32(bytes),
                _mm256_cvtepi8_epi32(_mm_srli_si128::<8>(bytes)),
            )
        }
    }
    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Ints {
        // SAFETY: the caller guarantees AVX2 and the 16 readable bytes of this load.
        unsafe {
            let bytes = _mm_loadu_si128(from.cast());
            Ints(
                _mm256_cvtepu8_epi32(bytes),
                _mm256_cvtepu8_epi32(_mm_srli_si128::<8>(bytes)),
            )
        }
    }
    #[inline(always)]
    unsafe fn load_int(from: *const i32) -> Ints {
        // SAFETY: the caller guarantees AVX2 and the 16 readable values of these loads.
        unsafe {
            Ints(
                _mm256_loadu_si256(from.cast()),
                _mm256_loadu_si256(from.add(8).cast()),
            )
        }
    }
    #[inline(always)]
    unsafe fn store_int(value: Ints, to: *mut i32) {
        // SAFETY: the caller guarantees 16 writable values, of which each store writes 8.
        unsafe {
            _mm256_storeu_si256(to.cast(), value.0);
            _mm256_storeu_si256(to.add(8).cast(), value.1);
        }
    }
    #[inline(always)]
    unsafe fn store_i8(value: Ints, to: *mut i8) {
        // SAFETY: the caller guarantees the 16 writable bytes of this store.
        unsafe {
            // The packs work within 128-bit lanes: the words come out as 0-3, 8-11, 4-7, 12-15, and
            // the permutation of quadwords restores their order.
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
        // SAFETY: the caller guarantees the 16 writable values of this store.
        unsafe {
            let words =
                _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(value.0, value.1));
            _mm256_storeu_si256(to.cast(), words);
        }
    }
    #[inline(always)]
    unsafe fn store_u8(value: Ints, to: *mut u8) {
        // SAFETY: the caller guarantees the 16 writable bytes of this store.
        unsafe {
            // As in `store_i8`, but the last pack saturates at 255.
            let words =
                _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(value.0, value.1));
            let bytes = _mm_packus_epi16(
                _mm256_castsi256_si128(words),
                _mm256_extracti128_si256::<1>(words),
            );
            _mm_storeu_si128(to.cast(), bytes);
        }
    }
    #[inline(always)]
    fn reduce_add(self) -> f32 {
        // SAFETY: register arithmetic; lanes exist only where AVX2 is available.
        unsafe {
            let lanes = _mm256_add_ps(self.0, self.1);
            reduce_8(lanes, |a, b| _mm_add_ps(a, b))
        }
    }
    #[inline(always)]
    fn reduce_max(self) -> f32 {
        // SAFETY: register arithmetic; lanes exist only where AVX2 is available.
        unsafe {
            let lanes = _mm256_max_ps(self.1, self.0);
            reduce_8(lanes, |a, b| _mm_max_ps(b, a))
        }
    }
}
