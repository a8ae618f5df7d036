//! Blocks of 32 integers of 4 or 5 bits.

use super::{Format, Values, quantize_row, store};
use crate::layout::{BLOCK, Q8_0_BYTES};
use crate::simd::{LANES, Simd};

/// The low halves of 16 bytes, then the high ones.
///
/// # Safety
///
/// `bytes` is valid for reading 16 bytes. The CPU supports the instruction set of `S`.
#[inline(always)]
unsafe fn nibbles<S: Simd>(bytes: *const u8) -> [S::Int; 2] {
    // SAFETY: the caller guarantees the 16 bytes and the instruction set.
    unsafe {
        let bytes = S::load_u8(bytes);
        let low = S::and_int(bytes, S::splat_int(15));
        [low, S::shift_right_int(bytes, 4)]
    }
}

/// Nibbles after four bytes of a fifth bit each, as integers from 0 to 31.
///
/// # Safety
///
/// `bytes` is valid for reading 20 bytes. The CPU supports the instruction set of `S`.
#[inline(always)]
unsafe fn five_bits<S: Simd>(bytes: *const u8) -> [S::Int; 2] {
    // SAFETY: the caller guarantees the four bytes, the 16 after them and the instruction set.
    unsafe {
        let fifth = u32::from_le_bytes(bytes.cast::<[u8; 4]>().read());
        let [low, high] = nibbles::<S>(bytes.add(4));
        [
            S::add_int(low, S::splat_where(fifth as u16, 16)),
            S::add_int(high, S::splat_where((fifth >> LANES) as u16, 16)),
        ]
    }
}

/// What a format has after the numbers of a block.
trait Integers: Format {
    /// The integers of a block.
    ///
    /// # Safety
    ///
    /// `block` is valid for reading `BYTES` bytes. The CPU supports the instruction set of `S`.
    unsafe fn integers<S: Simd>(block: *const u8) -> [S::Int; 2];
}

/// Writes blocks of integers less `zero`, times the scale that a block begins with.
///
/// # Safety
///
/// As for [`unpack`](super::unpack).
#[inline(always)]
unsafe fn unpack_exact<S: Simd, F: Integers>(
    row: *const u8,
    blocks: usize,
    zero: i32,
    out: *mut u8,
) {
    // SAFETY: `block < blocks`, so each block and the one made of it are those that the caller guarantees.
    unsafe {
        let offset = S::splat_int(-zero);
        for block in 0..blocks {
            let (block, out) = (row.add(block * F::BYTES), out.add(block * Q8_0_BYTES));
            let [low, high] = F::integers::<S>(block);
            let integers = [S::add_int(low, offset), S::add_int(high, offset)];
            store::<S>(block.cast::<[u8; 2]>().read(), integers, out);
        }
    }
}

/// Writes the values of blocks of integers times the scale, plus the minimum, that a block begins with.
///
/// # Safety
///
/// As for [`Values::values`].
#[inline(always)]
unsafe fn scaled<S: Simd, F: Integers>(row: *const u8, blocks: usize, to: *mut f32) {
    let (mut scales, mut minima) = ([0; LANES], [0; LANES]);
    let (mut scale, mut minimum) = ([0.0; LANES], [0.0; LANES]);
    // SAFETY: there are at most `LANES` blocks, each of which begins with two numbers; the arrays hold the
    // values of a vector, and each block has room for its values.
    unsafe {
        for (block, (scale, minimum)) in scales.iter_mut().zip(&mut minima).enumerate().take(blocks)
        {
            let numbers = row.add(block * F::BYTES).cast::<[[u8; 2]; 2]>().read();
            [*scale, *minimum] = numbers.map(u16::from_le_bytes);
        }
        S::from_halves(scales).store(scale.as_mut_ptr());
        S::from_halves(minima).store(minimum.as_mut_ptr());
        for block in 0..blocks {
            let [low, high] = F::integers::<S>(row.add(block * F::BYTES));
            let (scale, minimum) = (S::splat(scale[block]), S::splat(minimum[block]));
            let to = to.add(block * BLOCK);
            S::from_int(low).mul(scale).add(minimum).store(to);
            S::from_int(high)
                .mul(scale)
                .add(minimum)
                .store(to.add(LANES));
        }
    }
}

/// Integers of 4 bits from −8 on.
pub struct Q4_0;

impl Integers for Q4_0 {
    #[inline(always)]
    unsafe fn integers<S: Simd>(block: *const u8) -> [S::Int; 2] {
        // SAFETY: a block is a scale and 16 bytes; the caller guarantees both.
        unsafe { nibbles::<S>(block.add(2)) }
    }
}

impl Format for Q4_0 {
    const VALUES: usize = BLOCK;
    const BYTES: usize = 18;

    #[inline(always)]
    unsafe fn unpack<S: Simd>(row: *const u8, blocks: usize, out: *mut u8) {
        // SAFETY: the caller guarantees the same.
        unsafe { unpack_exact::<S, Self>(row, blocks, 8, out) }
    }
}

/// Integers of 5 bits from −16 on.
pub struct Q5_0;

impl Integers for Q5_0 {
    #[inline(always)]
    unsafe fn integers<S: Simd>(block: *const u8) -> [S::Int; 2] {
        // SAFETY: a block is a scale and 20 bytes; the caller guarantees both.
        unsafe { five_bits::<S>(block.add(2)) }
    }
}

impl Format for Q5_0 {
    const VALUES: usize = BLOCK;
    const BYTES: usize = 22;

    #[inline(always)]
    unsafe fn unpack<S: Simd>(row: *const u8, blocks: usize, out: *mut u8) {
        // SAFETY: the caller guarantees the same.
        unsafe { unpack_exact::<S, Self>(row, blocks, 16, out) }
    }
}

/// Places in a table, of 4 bits.
pub struct Iq4Nl;

impl Integers for Iq4Nl {
    #[inline(always)]
    unsafe fn integers<S: Simd>(block: *const u8) -> [S::Int; 2] {
        const TABLE: [i8; 16] = [
            -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
        ];
        // SAFETY: a block is a scale and 16 bytes; the caller guarantees both.
        unsafe {
            let [low, high] = nibbles::<S>(block.add(2));
            [S::look_up(&TABLE, low), S::look_up(&TABLE, high)]
        }
    }
}

impl Format for Iq4Nl {
    const VALUES: usize = BLOCK;
    const BYTES: usize = 18;

    #[inline(always)]
    unsafe fn unpack<S: Simd>(row: *const u8, blocks: usize, out: *mut u8) {
        // SAFETY: the caller guarantees the same.
        unsafe { unpack_exact::<S, Self>(row, blocks, 0, out) }
    }
}

/// Integers of 4 bits and a minimum.
pub struct Q4_1;

impl Integers for Q4_1 {
    #[inline(always)]
    unsafe fn integers<S: Simd>(block: *const u8) -> [S::Int; 2] {
        // SAFETY: a block is two numbers and 16 bytes; the caller guarantees both.
        unsafe { nibbles::<S>(block.add(4)) }
    }
}

impl Format for Q4_1 {
    const VALUES: usize = BLOCK;
    const BYTES: usize = 20;

    #[inline(always)]
    unsafe fn unpack<S: Simd>(row: *const u8, blocks: usize, out: *mut u8) {
        // SAFETY: the caller guarantees the same.
        unsafe { quantize_row::<S, Self>(row, blocks, out) }
    }
}

impl Values for Q4_1 {
    #[inline(always)]
    unsafe fn values<S: Simd>(row: *const u8, blocks: usize, to: *mut f32) {
        // SAFETY: the caller guarantees the same.
        unsafe { scaled::<S, Self>(row, blocks, to) }
    }
}

/// Integers of 5 bits and a minimum.
pub struct Q5_1;

impl Integers for Q5_1 {
    #[inline(always)]
    unsafe fn integers<S: Simd>(block: *const u8) -> [S::Int; 2] {
        // SAFETY: a block is two numbers and 20 bytes; the caller guarantees both.
        unsafe { five_bits::<S>(block.add(4)) }
    }
}

impl Format for Q5_1 {
    const VALUES: usize = BLOCK;
    const BYTES: usize = 24;

    #[inline(always)]
    unsafe fn unpack<S: Simd>(row: *const u8, blocks: usize, out: *mut u8) {
        // SAFETY: the caller guarantees the same.
        unsafe { quantize_row::<S, Self>(row, blocks, out) }
    }
}

impl Values for Q5_1 {
    #[inline(always)]
    unsafe fn values<S: Simd>(row: *const u8, blocks: usize, to: *mut f32) {
        // SAFETY: the caller guarantees the same.
        unsafe { scaled::<S, Self>(row, blocks, to) }
    }
}
