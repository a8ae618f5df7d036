//! Sixteen lanes in an array: what the lanes of every other instruction set must equal.

use crate::f16::{f16_to_f32, f32_to_f16};
use crate::simd::{LANES, Simd};

/// Sixteen f32 in an array.
#[derive(Clone, Copy)]
pub struct Lanes([f32; LANES]);

impl Lanes {
    #[inline(always)]
    fn zip(self, other: Self, operation: impl Fn(f32, f32) -> f32) -> Self {
        Lanes(std::array::from_fn(|lane| {
            operation(self.0[lane], other.0[lane])
        }))
    }
}

// SAFETY: each method does what the trait documents, and memory is accessed by the loads and stores
// alone. Arrays need no instruction set.
unsafe impl Simd for Lanes {
    type Int = [i32; LANES];

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Lanes([value; LANES])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller guarantees 16 readable values.
        Lanes(unsafe { from.cast::<[f32; LANES]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller guarantees 16 writable values.
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Lanes(std::array::from_fn(|lane| {
            self.0[lane].mul_add(factor.0[lane], addend.0[lane])
        }))
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip(other, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn at_least(self, other: Self) -> u16 {
        let lanes = self.0.iter().zip(other.0).enumerate();
        lanes.fold(0, |mask, (lane, (a, b))| mask | u16::from(*a >= b) << lane)
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Lanes(self.0.map(f32::abs))
    }
    #[inline(always)]
    fn max_magnitude(self, other: Self) -> Self {
        self.zip(other, |a, b| if a.to_bits() > b.to_bits() { a } else { b })
    }
    #[inline(always)]
    fn reduce_max_magnitude(self) -> f32 {
        f32::from_bits(self.0.iter().map(|lane| lane.to_bits()).fold(0, u32::max))
    }
    #[inline(always)]
    fn round(self) -> Self::Int {
        // Adding 1.5 × 2²³ leaves the integer, rounded to nearest even, in the low bits.
        // `round_ties_even` would be a call for each lane on the baseline instruction set. Exact
        // for |value| < 2²².
        const MAGIC: f32 = 12_582_912.0;
        self.0
            .map(|value| ((value + MAGIC).to_bits() as i32).wrapping_sub(MAGIC.to_bits() as i32))
    }
    #[inline(always)]
    fn from_int(value: Self::Int) -> Self {
        Lanes(value.map(|value| value as f32))
    }
    #[inline(always)]
    fn exp2_int(power: Self::Int) -> Self {
        Lanes(power.map(|power| f32::from_bits((power.wrapping_add(127) as u32) << 23)))
    }
    #[inline(always)]
    fn add_int(left: Self::Int, right: Self::Int) -> Self::Int {
        std::array::from_fn(|lane| left[lane].wrapping_add(right[lane]))
    }
    #[inline(always)]
    fn join_int<const SHIFT: u32>(low: Self::Int, high: Self::Int) -> Self::Int {
        std::array::from_fn(|lane| low[lane] & ((1 << SHIFT) - 1) | high[lane] << SHIFT)
    }
    #[inline(always)]
    fn split_int(value: Self::Int) -> (Self::Int, Self::Int) {
        (value.map(|lane| lane >> 8), value.map(|lane| lane & 255))
    }
    #[inline(always)]
    fn reduce_int(value: Self::Int) -> i32 {
        value.iter().fold(0, |sum, lane| sum.wrapping_add(*lane))
    }
    #[inline(always)]
    unsafe fn splat_int(value: i32) -> Self::Int {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn splat_where(bits: u16, value: i32) -> Self::Int {
        std::array::from_fn(|lane| if bits >> lane & 1 == 1 { value } else { 0 })
    }
    #[inline(always)]
    fn and_int(left: Self::Int, right: Self::Int) -> Self::Int {
        std::array::from_fn(|lane| left[lane] & right[lane])
    }
    #[inline(always)]
    fn shift_right_int(value: Self::Int, by: u32) -> Self::Int {
        value.map(|lane| (lane.cast_unsigned() >> by).cast_signed())
    }
    #[inline(always)]
    fn look_up(table: &[i8; LANES], place: Self::Int) -> Self::Int {
        place.map(|place| table[place.cast_unsigned() as usize % LANES].into())
    }
    #[inline(always)]
    unsafe fn from_halves(halves: [u16; LANES]) -> Self {
        Lanes(halves.map(f16_to_f32))
    }
    #[inline(always)]
    fn to_halves(self) -> [u16; LANES] {
        self.0.map(f32_to_f16)
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self::Int {
        // SAFETY: the caller guarantees 16 readable bytes.
        unsafe { from.cast::<[i8; LANES]>().read_unaligned() }.map(i32::from)
    }
    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Self::Int {
        // SAFETY: the caller guarantees 16 readable bytes.
        unsafe { from.cast::<[u8; LANES]>().read_unaligned() }.map(i32::from)
    }
    #[inline(always)]
    unsafe fn load_int(from: *const i32) -> Self::Int {
        // SAFETY: the caller guarantees 16 readable values.
        unsafe { from.cast::<[i32; LANES]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_int(value: Self::Int, to: *mut i32) {
        // SAFETY: the caller guarantees 16 writable values.
        unsafe { to.cast::<[i32; LANES]>().write_unaligned(value) }
    }
    #[inline(always)]
    unsafe fn store_i8(value: Self::Int, to: *mut i8) {
        // SAFETY: the caller guarantees 16 writable bytes.
        unsafe {
            to.cast::<[i8; LANES]>()
                .write_unaligned(value.map(|value| value as i8))
        }
    }
    #[inline(always)]
    unsafe fn store_i16(value: Self::Int, to: *mut i16) {
        // SAFETY: the caller guarantees 16 writable values.
        unsafe {
            to.cast::<[i16; LANES]>()
                .write_unaligned(value.map(|value| value as i16))
        }
    }
    #[inline(always)]
    unsafe fn store_u8(value: Self::Int, to: *mut u8) {
        // SAFETY: the caller guarantees 16 writable bytes.
        unsafe {
            to.cast::<[u8; LANES]>()
                .write_unaligned(value.map(|value| value as u8))
        }
    }
}
