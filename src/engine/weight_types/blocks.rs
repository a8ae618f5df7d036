//! Blocks of integers of a few bits, as ggml has them.
//!
//! Products read them as Q8_0, which [`Kernels::unpack`](lanewise_kernels::Kernels::unpack) makes of them.
//! Where the values of a block are integers times one scale, that takes no rounding ([`Exact`]); others are
//! quantized anew ([`Requantized`]).

use std::fmt::Debug;

use half::f16;
use lanewise_kernels::{BLOCK, BlockFormat};

use super::{Panels, WeightType};
use crate::gguf::TensorType;

/// A type whose blocks are an f16 scale, then what stands for 32 integers of at most a byte.
pub trait Integers<const BYTES: usize>: Debug + Sync {
    /// The type as files name it.
    const TYPE: TensorType;
    /// The same as the kernels name it.
    const FORMAT: BlockFormat;

    /// The integers of a block: a value is the scale times one of them.
    fn integers(block: &[u8; BYTES]) -> [i8; BLOCK];
}

/// A type whose blocks become Q8_0 without rounding.
#[derive(Debug)]
pub struct Exact<T, const BYTES: usize>(pub T);

impl<T: Integers<BYTES>, const BYTES: usize> WeightType for Exact<T, BYTES> {
    fn tensor_type(&self) -> TensorType {
        T::TYPE
    }

    fn dequantize(&self, row: &[u8], out: &mut [f32]) {
        for (block, values) in row.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut().0) {
            let scale = float(block, 0);
            *values = each(T::integers(block), |integer| scale * f32::from(integer));
        }
    }

    fn non_finite(&self, row: &[u8]) -> Option<&'static str> {
        let mut blocks = row.as_chunks::<BYTES>().0.iter();
        (!blocks.all(|block| float(block, 0).is_finite())).then_some("scale")
    }

    fn panels(&self) -> Panels {
        Panels::Unpacked(T::FORMAT)
    }
}

/// A type of blocks of `VALUES` values, of which products need others.
pub trait Values<const BYTES: usize, const VALUES: usize>: Debug + Sync {
    /// The type as files name it.
    const TYPE: TensorType;
    /// The same as the kernels name it.
    const FORMAT: BlockFormat;
    /// Where a block has its f16 numbers.
    const FLOATS: &'static [usize];

    /// The values of a block.
    fn values(block: &[u8; BYTES]) -> [f32; VALUES];
}

/// A type whose blocks are quantized to Q8_0 for products.
#[derive(Debug)]
pub struct Requantized<T, const BYTES: usize, const VALUES: usize>(pub T);

impl<T: Values<BYTES, VALUES>, const BYTES: usize, const VALUES: usize> WeightType
    for Requantized<T, BYTES, VALUES>
{
    fn tensor_type(&self) -> TensorType {
        T::TYPE
    }

    fn dequantize(&self, row: &[u8], out: &mut [f32]) {
        for (block, values) in row.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut().0) {
            *values = T::values(block);
        }
    }

    fn non_finite(&self, row: &[u8]) -> Option<&'static str> {
        let mut blocks = row.as_chunks::<BYTES>().0.iter();
        let finite = |block: &[u8; BYTES]| T::FLOATS.iter().all(|&at| float(block, at).is_finite());
        (!blocks.all(finite)).then_some("scale")
    }

    fn panels(&self) -> Panels {
        Panels::Unpacked(T::FORMAT)
    }
}

/// The f16 number at a byte of a block.
#[inline(always)]
pub(super) fn float(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// What `of` makes of each: `array::map` is no loop that the compiler turns into vectors.
#[inline(always)]
fn each<A: Copy, B: Copy + Default>(from: [A; BLOCK], of: impl Fn(A) -> B) -> [B; BLOCK] {
    let mut out = [B::default(); BLOCK];
    for (out, from) in out.iter_mut().zip(from) {
        *out = of(from);
    }
    out
}

/// The low halves of 16 bytes, then the high ones.
#[inline(always)]
fn nibbles(bytes: &[u8; BLOCK / 2]) -> [u8; BLOCK] {
    let mut out = [0; BLOCK];
    for index in 0..BLOCK / 2 {
        out[index] = bytes[index] & 15;
        out[index + BLOCK / 2] = bytes[index] >> 4;
    }
    out
}

/// The same with a fifth bit each, of `high`.
#[inline(always)]
fn five_bits(high: &[u8; 4], bytes: &[u8; BLOCK / 2]) -> [u8; BLOCK] {
    let mut out = nibbles(bytes);
    for (index, out) in out.iter_mut().enumerate() {
        let bit = high[index / 8] & 1 << (index % 8);
        *out |= if bit == 0 { 0 } else { 16 };
    }
    out
}

/// Integers of 4 bits from −8 on.
#[derive(Debug)]
pub struct Q4_0;

impl Integers<18> for Q4_0 {
    const TYPE: TensorType = TensorType::Q4_0;
    const FORMAT: BlockFormat = BlockFormat::Q4_0;

    #[inline(always)]
    fn integers([_, _, bytes @ ..]: &[u8; 18]) -> [i8; BLOCK] {
        each(nibbles(bytes), |quant| quant.cast_signed() - 8)
    }
}

/// Integers of 5 bits from −16 on.
#[derive(Debug)]
pub struct Q5_0;

impl Integers<22> for Q5_0 {
    const TYPE: TensorType = TensorType::Q5_0;
    const FORMAT: BlockFormat = BlockFormat::Q5_0;

    #[inline(always)]
    fn integers([_, _, a, b, c, d, bytes @ ..]: &[u8; 22]) -> [i8; BLOCK] {
        let quants = five_bits(&[*a, *b, *c, *d], bytes);
        each(quants, |quant| quant.cast_signed() - 16)
    }
}

/// Places in a table.
#[derive(Debug)]
pub struct Iq4Nl;

impl Integers<18> for Iq4Nl {
    const TYPE: TensorType = TensorType::Iq4Nl;
    const FORMAT: BlockFormat = BlockFormat::Iq4Nl;

    #[inline(always)]
    fn integers([_, _, bytes @ ..]: &[u8; 18]) -> [i8; BLOCK] {
        const TABLE: [i8; 16] = [
            -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
        ];
        each(nibbles(bytes), |place| TABLE[usize::from(place & 15)])
    }
}

/// Integers of 4 bits and a minimum.
#[derive(Debug)]
pub struct Q4_1;

impl Values<20, BLOCK> for Q4_1 {
    const TYPE: TensorType = TensorType::Q4_1;
    const FORMAT: BlockFormat = BlockFormat::Q4_1;
    const FLOATS: &'static [usize] = &[0, 2];

    #[inline(always)]
    fn values(block: &[u8; 20]) -> [f32; BLOCK] {
        let [_, _, _, _, bytes @ ..] = block;
        let (scale, minimum) = (float(block, 0), float(block, 2));
        each(nibbles(bytes), |quant| scale * f32::from(quant) + minimum)
    }
}

/// Integers of 5 bits and a minimum.
#[derive(Debug)]
pub struct Q5_1;

impl Values<24, BLOCK> for Q5_1 {
    const TYPE: TensorType = TensorType::Q5_1;
    const FORMAT: BlockFormat = BlockFormat::Q5_1;
    const FLOATS: &'static [usize] = &[0, 2];

    #[inline(always)]
    fn values(block: &[u8; 24]) -> [f32; BLOCK] {
        let [_, _, _, _, a, b, c, d, bytes @ ..] = block;
        let (scale, minimum) = (float(block, 0), float(block, 2));
        let quants = five_bits(&[*a, *b, *c, *d], bytes);
        each(quants, |quant| scale * f32::from(quant) + minimum)
    }
}
