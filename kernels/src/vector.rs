//! Sixteen f32 lanes: the vocabulary in which the row operations are written once for every instruction set.
//!
//! Each instruction set implements [`Vector`] with its own registers. Every operation is defined lane by lane and
//! correctly rounded, none is fused, and reductions follow one fixed tree, so a row operation has the same bits on
//! every instruction set.

/// Number of lanes.
pub const LANES: usize = 16;

/// Sixteen f32 lanes.
///
/// # Safety
///
/// The functions need the instruction set that the type belongs to; pointers must be valid for what is read or
/// written. All are `inline(always)`, to be called from a function that enables the instruction set.
pub unsafe trait Vector: Copy {
    /// Sixteen i32 lanes.
    type Int: Copy;

    /// The same value in each lane.
    unsafe fn splat(value: f32) -> Self;
    /// Sixteen values from memory, any alignment.
    unsafe fn load(from: *const f32) -> Self;
    /// Sixteen values to memory, any alignment.
    unsafe fn store(self, to: *mut f32);
    /// Lane by lane.
    unsafe fn add(self, other: Self) -> Self;
    /// Lane by lane.
    unsafe fn sub(self, other: Self) -> Self;
    /// Lane by lane.
    unsafe fn mul(self, other: Self) -> Self;
    /// Lane by lane.
    unsafe fn div(self, other: Self) -> Self;
    /// `self > other ? self : other`, as `vmaxps` does: `other` where one is NaN.
    unsafe fn max(self, other: Self) -> Self;
    /// `self < other ? self : other`.
    unsafe fn min(self, other: Self) -> Self;
    /// Sign bit cleared.
    unsafe fn abs(self) -> Self;
    /// The larger of lanes that are not negative, where NaN is larger than all: a maximum that loses no NaN.
    ///
    /// Bits of such floats order as integers do, those of NaN last.
    unsafe fn max_magnitude(self, other: Self) -> Self;
    /// Largest of lanes that are not negative, NaN if there is one.
    unsafe fn reduce_max_magnitude(self) -> f32;
    /// To the nearest integer, ties to even. The caller keeps values inside the range of i32.
    unsafe fn round(self) -> Self::Int;
    /// Exact for magnitudes up to 2²⁴, else rounded to nearest even.
    unsafe fn from_int(value: Self::Int) -> Self;
    /// 2 to the power of each lane, which must lie in −126..=127.
    unsafe fn exp2_int(power: Self::Int) -> Self;
    /// Sixteen i32 to memory.
    unsafe fn store_int(value: Self::Int, to: *mut i32);
    /// Lane by lane: `low & mask | high << shift`, with `mask = 2^shift - 1`: two small integers in one lane.
    unsafe fn join_int<const SHIFT: u32>(low: Self::Int, high: Self::Int) -> Self::Int;
    /// Low bytes of the lanes, which must fit, to memory.
    unsafe fn store_i8(value: Self::Int, to: *mut i8);
    /// Low halves of the lanes, which must fit, to memory.
    unsafe fn store_i16(value: Self::Int, to: *mut i16);
    /// Sixteen signed bytes, widened.
    unsafe fn load_i8(from: *const i8) -> Self::Int;
    /// Sum of the lanes, wrapping.
    unsafe fn reduce_int(value: Self::Int) -> i32;
    /// Lane by lane, wrapping.
    unsafe fn add_int(left: Self::Int, right: Self::Int) -> Self::Int;

    /// Sum of the lanes: `i` and `i + 8`, then `+ 4`, `+ 2`, `+ 1`.
    #[inline(always)]
    unsafe fn reduce_add(self) -> f32 {
        let mut lanes = [0.0f32; LANES];
        // SAFETY: the array holds sixteen values; the caller vouches for the instruction set.
        unsafe { self.store(lanes.as_mut_ptr()) };
        for width in [8, 4, 2, 1] {
            for lane in 0..width {
                lanes[lane] += lanes[lane + width];
            }
        }
        lanes[0]
    }

    /// Largest lane.
    #[inline(always)]
    unsafe fn reduce_max(self) -> f32 {
        let mut lanes = [0.0f32; LANES];
        // SAFETY: as in `reduce_add`.
        unsafe { self.store(lanes.as_mut_ptr()) };
        for width in [8, 4, 2, 1] {
            for lane in 0..width {
                if lanes[lane + width] > lanes[lane] {
                    lanes[lane] = lanes[lane + width];
                }
            }
        }
        lanes[0]
    }
}
