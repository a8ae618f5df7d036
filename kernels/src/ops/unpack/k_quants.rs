//! Blocks of 256 integers in groups, each with a scale of its own in units of the block's.

use super::{Format, Values, quantize_row};
use crate::f16::f16_to_f32;
use crate::layout::BLOCK;
use crate::simd::{LANES, Simd};

/// Values of a block.
const VALUES: usize = 256;
/// Groups of 32 of a block.
const GROUPS: usize = VALUES / BLOCK;

/// The scale of each group of 32, then its minimum: six bits each, four at a time in the bytes of an
/// integer.
///
/// # Safety
///
/// `bytes` is valid for reading 12 bytes.
#[inline(always)]
unsafe fn scales_and_minima(bytes: *const u8) -> [[[u8; 4]; 2]; 2] {
    // SAFETY: the caller guarantees the bytes.
    let bytes = unsafe { bytes.cast::<[[u8; 4]; 3]>().read() };
    let [scales, minima, low] = bytes.map(u32::from_le_bytes);
    let six_bits = |four: u32| (four & 0x3f3f_3f3f).to_le_bytes();
    // The groups from the fifth on have their upper two bits above the six of the others.
    let joined =
        |low: u32, high: u32| (low & 0x0f0f_0f0f | (high >> 6 & 0x0303_0303) << 4).to_le_bytes();
    [
        [six_bits(scales), joined(low, scales)],
        [six_bits(minima), joined(low >> 4, minima)],
    ]
}

/// The f16 number at a byte of a block.
///
/// # Safety
///
/// `block + at` is valid for reading two bytes.
#[inline(always)]
unsafe fn number(block: *const u8, at: usize) -> f32 {
    // SAFETY: the caller guarantees the two bytes.
    f16_to_f32(u16::from_le_bytes(unsafe {
        block.add(at).cast::<[u8; 2]>().read()
    }))
}

/// A format of groups with minima: two numbers, the scales and minima of groups, then integers.
trait Groups: Format {
    /// The integers of a group.
    ///
    /// # Safety
    ///
    /// `block` is valid for reading `BYTES` bytes. The CPU supports the instruction set of `S`.
    unsafe fn quants<S: Simd>(block: *const u8, group: usize) -> [S::Int; 2];
}

/// Writes the values of blocks of such groups.
///
/// # Safety
///
/// As for [`Values::values`].
#[inline(always)]
unsafe fn values_of_groups<S: Simd, F: Groups>(row: *const u8, blocks: usize, to: *mut f32) {
    // SAFETY: `block < blocks`; a block begins with two numbers and the 12 bytes of scales and minima, and
    // has room for the values of `GROUPS` groups.
    unsafe {
        for block in 0..blocks {
            let (block, to) = (row.add(block * F::BYTES), to.add(block * VALUES));
            let (unit, unit_of_minima) = (number(block, 0), number(block, 2));
            let [scales, minima] = scales_and_minima(block.add(4));
            for group in 0..GROUPS {
                let (half, place) = (group / 4, group % 4);
                let scale = S::splat(unit * f32::from(scales[half][place]));
                let minimum = S::splat(unit_of_minima * f32::from(minima[half][place]));
                let [low, high] = F::quants::<S>(block, group);
                let to = to.add(group * BLOCK);
                S::from_int(low).mul(scale).sub(minimum).store(to);
                S::from_int(high)
                    .mul(scale)
                    .sub(minimum)
                    .store(to.add(LANES));
            }
        }
    }
}

/// The bytes at `from` shifted right, 32 of them.
///
/// # Safety
///
/// `from` is valid for reading 32 bytes. The CPU supports the instruction set of `S`.
#[inline(always)]
unsafe fn shifted<S: Simd>(from: *const u8, by: usize) -> [S::Int; 2] {
    // SAFETY: the caller guarantees the two times `LANES` bytes and the instruction set.
    unsafe {
        let (low, high) = (S::load_u8(from), S::load_u8(from.add(LANES)));
        let by = by as u32;
        [S::shift_right_int(low, by), S::shift_right_int(high, by)]
    }
}

/// The lowest four bits of `low`, with those of `high` that `mask` has above them.
///
/// # Safety
///
/// The CPU supports the instruction set of `S`.
#[inline(always)]
unsafe fn joined<S: Simd>(low: [S::Int; 2], high: [S::Int; 2], mask: i32) -> [S::Int; 2] {
    // SAFETY: the caller guarantees the instruction set.
    let mask = unsafe { S::splat_int(mask) };
    [
        S::join_int::<4>(low[0], S::and_int(high[0], mask)),
        S::join_int::<4>(low[1], S::and_int(high[1], mask)),
    ]
}

/// Groups of 32 integers of 4 bits with a scale and a minimum.
pub struct Q4K;

impl Groups for Q4K {
    #[inline(always)]
    unsafe fn quants<S: Simd>(block: *const u8, group: usize) -> [S::Int; 2] {
        // SAFETY: after 16 bytes a block has 32 for each pair of groups.
        unsafe {
            let bytes = shifted::<S>(block.add(16 + group / 2 * BLOCK), group % 2 * 4);
            let mask = S::splat_int(15);
            [S::and_int(bytes[0], mask), S::and_int(bytes[1], mask)]
        }
    }
}

impl Format for Q4K {
    const VALUES: usize = VALUES;
    const BYTES: usize = 144;

    #[inline(always)]
    unsafe fn unpack<S: Simd>(row: *const u8, blocks: usize, out: *mut u8) {
        // SAFETY: the caller guarantees the same.
        unsafe { quantize_row::<S, Self>(row, blocks, out) }
    }
}

impl Values for Q4K {
    #[inline(always)]
    unsafe fn values<S: Simd>(row: *const u8, blocks: usize, to: *mut f32) {
        // SAFETY: the caller guarantees the same.
        unsafe { values_of_groups::<S, Self>(row, blocks, to) }
    }
}

/// Groups of 32 integers of 5 bits with a scale and a minimum.
pub struct Q5K;

impl Groups for Q5K {
    #[inline(always)]
    unsafe fn quants<S: Simd>(block: *const u8, group: usize) -> [S::Int; 2] {
        // SAFETY: after 16 bytes a block has 32 of a bit for each group, then 32 for each pair of groups.
        unsafe {
            let low = shifted::<S>(block.add(48 + group / 2 * BLOCK), group % 2 * 4);
            joined::<S>(low, shifted::<S>(block.add(16), group), 1)
        }
    }
}

impl Format for Q5K {
    const VALUES: usize = VALUES;
    const BYTES: usize = 176;

    #[inline(always)]
    unsafe fn unpack<S: Simd>(row: *const u8, blocks: usize, out: *mut u8) {
        // SAFETY: the caller guarantees the same.
        unsafe { quantize_row::<S, Self>(row, blocks, out) }
    }
}

impl Values for Q5K {
    #[inline(always)]
    unsafe fn values<S: Simd>(row: *const u8, blocks: usize, to: *mut f32) {
        // SAFETY: the caller guarantees the same.
        unsafe { values_of_groups::<S, Self>(row, blocks, to) }
    }
}

/// Groups of 16 integers of 6 bits from −32 on, with a scale.
pub struct Q6K;

/// Values of a part of 16 of a block of `Q6K`: integers less 32, times its scale.
///
/// # Safety
///
/// `block` is valid for reading a block of `Q6K`, which has `part`. The CPU supports the instruction set of
/// `S`.
#[inline(always)]
unsafe fn scaled<S: Simd>(block: *const u8, part: usize, unit: f32, quants: S::Int) -> S {
    // SAFETY: after 192 bytes a block has a scale for each part.
    unsafe {
        let scale = block.add(192 + part).cast::<i8>().read();
        let integers = S::add_int(quants, S::splat_int(-32));
        S::from_int(integers).mul(S::splat(unit * f32::from(scale)))
    }
}

impl Format for Q6K {
    const VALUES: usize = VALUES;
    const BYTES: usize = 210;

    #[inline(always)]
    unsafe fn unpack<S: Simd>(row: *const u8, blocks: usize, out: *mut u8) {
        // SAFETY: the caller guarantees the same.
        unsafe { quantize_row::<S, Self>(row, blocks, out) }
    }
}

impl Values for Q6K {
    #[inline(always)]
    unsafe fn values<S: Simd>(row: *const u8, blocks: usize, to: *mut f32) {
        // SAFETY: `block < blocks`. A block is 128 bytes of four bits a value, 64 of two, 16 scales and a
        // number. Of the first two each half of four groups has a half, in which lies all that is read for
        // them; each group has room for its values.
        unsafe {
            for block in 0..blocks {
                let (block, to) = (row.add(block * Self::BYTES), to.add(block * VALUES));
                let unit = number(block, 208);
                for group in 0..GROUPS {
                    let (half, quarter) = (group / 4, group % 4);
                    // Each of a half's 64 bytes of low bits serves two groups, each of its 32 of high
                    // ones four.
                    let low = block.add(64 * half + BLOCK * (quarter % 2));
                    let low = shifted::<S>(low, quarter / 2 * 4);
                    let high = shifted::<S>(block.add(128 + BLOCK * half), 2 * quarter);
                    let [low, high] = joined::<S>(low, high, 3);
                    let to = to.add(group * BLOCK);
                    scaled::<S>(block, 2 * group, unit, low).store(to);
                    scaled::<S>(block, 2 * group + 1, unit, high).store(to.add(LANES));
                }
            }
        }
    }
}
