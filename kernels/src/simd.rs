//! Sixteen SIMD lanes, the interface in which row operations are written once for all instruction
//! sets.
//!
//! Each instruction set implements [`Simd`] with its own registers. Every operation is defined lane
//! by lane and correctly rounded, none is fused but [`mul_add`](Simd::mul_add), and reductions follow one fixed tree, so a row
//! operation gives the same bits on every instruction set.

/// Number of lanes.
pub const LANES: usize = 16;

/// Sixteen f32 lanes.
///
/// A value of an implementing type, or of its [`Int`](Simd::Int), exists only where the instruction
/// set of the type is available: the only functions that make one from nothing are unsafe, and
/// their callers guarantee it. Methods that take such a value are therefore safe unless they access
/// memory.
///
/// All methods are `inline(always)`. For vector code, call them from a function that enables the
/// instruction set.
///
/// # Safety
///
/// Implementations must compute what each method documents, access no memory but what its safety
/// section names, and offer no safe way to make a value without another one.
pub unsafe trait Simd: Copy {
    /// Sixteen i32 lanes.
    type Int: Copy;

    /// The same value in each lane.
    ///
    /// # Safety
    ///
    /// The CPU supports the instruction set.
    unsafe fn splat(value: f32) -> Self;

    /// Sixteen values from memory, with any alignment.
    ///
    /// # Safety
    ///
    /// The CPU supports the instruction set, and `from` is valid for reading 16 values.
    unsafe fn load(from: *const f32) -> Self;

    /// Stores the lanes, with any alignment.
    ///
    /// # Safety
    ///
    /// `to` is valid for writing 16 values.
    unsafe fn store(self, to: *mut f32);

    /// `self + other`, lane by lane.
    fn add(self, other: Self) -> Self;
    /// `self - other`, lane by lane.
    fn sub(self, other: Self) -> Self;
    /// `self * other`, lane by lane.
    fn mul(self, other: Self) -> Self;
    /// `self * factor + addend`, lane by lane, rounded once.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// `self / other`, lane by lane.
    fn div(self, other: Self) -> Self;
    /// `self > other ? self : other`, like `vmaxps`: `other` if either is NaN.
    fn max(self, other: Self) -> Self;
    /// `self < other ? self : other`, like `vminps`: `other` if either is NaN.
    fn min(self, other: Self) -> Self;
    /// Bit `i` is set if lane `i` is at least that of `other`; a NaN is not.
    fn at_least(self, other: Self) -> u16;
    /// Clears the sign bit.
    fn abs(self) -> Self;
    /// The larger of non-negative lanes, where NaN counts as larger than everything else, so that
    /// no NaN is lost.
    ///
    /// The bits of such floats are ordered like integers, with NaNs last.
    fn max_magnitude(self, other: Self) -> Self;
    /// The largest of 16 non-negative lanes, or NaN if there is one.
    fn reduce_max_magnitude(self) -> f32;
    /// Nearest integers, ties to even. Lanes outside the range of `i32` give unspecified integers.
    fn round(self) -> Self::Int;
    /// Exact for magnitudes up to 2²⁴, otherwise rounded to nearest even.
    fn from_int(value: Self::Int) -> Self;
    /// 2 to the power of each lane. Lanes outside −126..=127 give unspecified floats.
    fn exp2_int(power: Self::Int) -> Self;

    /// `left + right`, lane by lane, wrapping.
    fn add_int(left: Self::Int, right: Self::Int) -> Self::Int;
    /// `low & mask | high << SHIFT` with `mask = 2^SHIFT - 1`, lane by lane: two small integers in
    /// one lane.
    fn join_int<const SHIFT: u32>(low: Self::Int, high: Self::Int) -> Self::Int;
    /// The second lowest byte of each lane, with all above it, and the lowest byte.
    fn split_int(value: Self::Int) -> (Self::Int, Self::Int);
    /// Wrapping sum of the 16 lanes.
    fn reduce_int(value: Self::Int) -> i32;
    /// The same integer in each lane.
    ///
    /// # Safety
    ///
    /// The CPU supports the instruction set.
    unsafe fn splat_int(value: i32) -> Self::Int;
    /// `value` in each lane `i` for which bit `i` is set, 0 in the others.
    ///
    /// # Safety
    ///
    /// The CPU supports the instruction set.
    unsafe fn splat_where(bits: u16, value: i32) -> Self::Int;
    /// `left & right`, lane by lane.
    fn and_int(left: Self::Int, right: Self::Int) -> Self::Int;
    /// The lanes shifted right by up to 31 bits, zeros from the left.
    fn shift_right_int(value: Self::Int, by: u32) -> Self::Int;
    /// The entry of the table at each lane, of which 0 to 15 are places; others give unspecified
    /// integers.
    fn look_up(table: &[i8; LANES], place: Self::Int) -> Self::Int;

    /// Sixteen half-precision floats, given as their bits, exactly; every NaN becomes a NaN.
    ///
    /// # Safety
    ///
    /// The CPU supports the instruction set.
    unsafe fn from_halves(halves: [u16; LANES]) -> Self;

    /// The bits of the nearest half-precision floats, ties to even; every NaN becomes a NaN.
    fn to_halves(self) -> [u16; LANES];

    /// Loads 16 signed bytes and widens them.
    ///
    /// # Safety
    ///
    /// The CPU supports the instruction set, and `from` is valid for reading 16 bytes.
    unsafe fn load_i8(from: *const i8) -> Self::Int;

    /// Loads 16 unsigned bytes and widens them.
    ///
    /// # Safety
    ///
    /// The CPU supports the instruction set, and `from` is valid for reading 16 bytes.
    unsafe fn load_u8(from: *const u8) -> Self::Int;

    /// Sixteen integers from memory, with any alignment.
    ///
    /// # Safety
    ///
    /// The CPU supports the instruction set, and `from` is valid for reading 16 values.
    unsafe fn load_int(from: *const i32) -> Self::Int;

    /// Stores the lanes.
    ///
    /// # Safety
    ///
    /// `to` is valid for writing 16 values, with any alignment.
    unsafe fn store_int(value: Self::Int, to: *mut i32);

    /// Stores the low bytes of the lanes; lanes that do not fit a byte give unspecified bytes.
    ///
    /// # Safety
    ///
    /// `to` is valid for writing 16 bytes.
    unsafe fn store_i8(value: Self::Int, to: *mut i8);

    /// Stores lanes from 0 to 255 as bytes; others give unspecified bytes.
    ///
    /// # Safety
    ///
    /// `to` is valid for writing 16 bytes.
    unsafe fn store_u8(value: Self::Int, to: *mut u8);

    /// Stores the low halves of the lanes; lanes that do not fit 16 bits give unspecified values.
    ///
    /// # Safety
    ///
    /// `to` is valid for writing 16 values, with any alignment.
    unsafe fn store_i16(value: Self::Int, to: *mut i16);

    /// Sum of the 16 lanes: lanes `i` and `i + 8` are added first, then `+ 4`, `+ 2`, `+ 1`.
    #[inline(always)]
    fn reduce_add(self) -> f32 {
        let mut lanes = [0.0f32; LANES];
        // SAFETY: the array holds 16 values.
        unsafe { self.store(lanes.as_mut_ptr()) };
        for width in [8, 4, 2, 1] {
            for lane in 0..width {
                lanes[lane] += lanes[lane + width];
            }
        }
        lanes[0]
    }

    /// The largest lane, found in the order of [`reduce_add`](Simd::reduce_add).
    #[inline(always)]
    fn reduce_max(self) -> f32 {
        let mut lanes = [0.0f32; LANES];
        // SAFETY: the array holds 16 values.
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
