//! Memory layouts: Q8_0 rows of a file, quantized activations, packed panels.

use crate::scale::ActivationScale;

/// Values that share one scale, in weights (Q8_0) and in activations.
pub const BLOCK: usize = 32;

/// Bytes of the f16 scale at the start of a Q8_0 block.
pub(crate) const Q8_0_SCALE_BYTES: usize = 2;

/// Bytes of a Q8_0 block in a file: an f16 scale, then [`BLOCK`] signed bytes.
pub const Q8_0_BYTES: usize = Q8_0_SCALE_BYTES + BLOCK;

/// Weight rows (outputs) of a packed panel: two 512-bit registers of 32-bit sums.
///
/// It equals [`BLOCK`], so that the outputs of one panel are one block of the next product's input.
pub const PANEL: usize = BLOCK;

/// Largest magnitude of a query or key value as INT16.
///
/// A dot product of [`MAX_HEAD_DIM`] such values stays below 2³¹, so that 32-bit sums are exact.
/// INT8 with a scale for 32 values loses rare texts, with or without a Hadamard transform
/// (docs/LOG.md).
pub const HEAD_MAX: i32 = 2047;

/// Largest head dimension for which INT16 dot products are exact.
pub const MAX_HEAD_DIM: usize = 512;

const _: () = assert!((HEAD_MAX as i64 * HEAD_MAX as i64) * (MAX_HEAD_DIM as i64) < 1 << 31);

/// [`BLOCK`] activations of one token as INT8.
///
/// Value `i` is `scale * values[i]`. A block of the *second term* refines the block before it: its
/// values are in units of 1/256 of the first's, and both scales are then those of the sum
/// `256 * first + second`.
///
/// Scales are sums of up to three powers of two, see [`ActivationScale`], so that a kernel may apply
/// them to integers, exactly, where multiplications are dear.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct ActivationBlock {
    /// Factor of the integers.
    pub scale: ActivationScale,
    /// −128 × the sum of the values: takes back the +128 that makes packed weights unsigned for
    /// `vpdpbusd`.
    pub correction: i32,
    /// The integers, −127 to 127 (−128 only in a second term).
    pub values: [i8; BLOCK],
}

/// The softmax weights of [`BLOCK`] keys as unsigned INT8: weight `i` is `scale * values[i]`.
///
/// A block of the *second term* refines the block before it: the weight is then
/// `scale * (256 * first + second)`, with the scale of either.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct SoftmaxBlock {
    /// Factor of the integers.
    pub scale: f32,
    /// The integers, up to 255.
    pub values: [u8; BLOCK],
}

/// A cache line, the unit of every packed buffer: kernels load whole aligned lines.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Line(pub [u8; 64]);

impl Line {
    /// A line of zeros.
    pub const ZERO: Line = Line([0; 64]);

    /// Bytes as lines, or `None` if they are not whole lines at an address of a line.
    #[inline]
    pub fn of_bytes(bytes: &[u8]) -> Option<&[Line]> {
        // SAFETY: a line is 64 bytes of any pattern, without padding.
        let (before, lines, after) = unsafe { bytes.align_to::<Line>() };
        (before.is_empty() && after.is_empty()).then_some(lines)
    }

    /// The bytes of lines.
    #[inline]
    pub fn bytes(lines: &[Line]) -> &[u8] {
        // SAFETY: a line is 64 initialized bytes without padding, so the slice is `size_of_val`
        // bytes, which need no alignment.
        unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), size_of_val(lines)) }
    }
}

/// How [`Kernels::pack_panel`](crate::Kernels::pack_panel) lays a panel out. Instruction sets of one
/// layout can read each other's panels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PanelLayout {
    /// Of the scalar kernels.
    Scalar,
    /// Of `vpmaddwd`: 16-bit weights.
    Avx2,
    /// Of `vpdpbusd`: steps of four bytes a row.
    Vnni,
}

impl PanelLayout {
    /// The version of all layouts. It goes up with any change of the bytes of a packed panel, so
    /// that panels kept in files by another version are told apart.
    pub const VERSION: u32 = 2;
}

/// Lines of one packed block of a panel: [`BLOCK`] weights a row, of `weight_bytes` each, then the
/// f16 scales of the rows. With weights of one byte it is as large as the blocks in the file.
#[inline]
pub(crate) const fn packed_block_lines(weight_bytes: usize) -> usize {
    PANEL * (BLOCK * weight_bytes + Q8_0_SCALE_BYTES) / size_of::<Line>()
}

/// Quantized activations of several tokens: block `b` of token `t` is
/// `blocks[(b * tokens + t) * terms..][..terms]`.
///
/// The blocks of all tokens for the same columns are adjacent, so that a tile of tokens reads
/// contiguous memory for each block.
#[derive(Clone, Copy, Debug)]
pub struct ActivationChunk<'a> {
    /// `columns / BLOCK * tokens * terms` blocks.
    pub blocks: &'a [ActivationBlock],
    /// Number of tokens.
    pub tokens: usize,
    /// INT8 terms a value: 1, or 2 where 8 bits are not enough.
    pub terms: usize,
}

impl ActivationChunk<'_> {
    /// Blocks of [`BLOCK`] columns in a row.
    #[inline]
    pub fn row_blocks(&self) -> usize {
        self.blocks.len() / self.tokens.saturating_mul(self.terms).max(1)
    }
}

/// Q8_0 weight rows of a matrix as they are stored in a file.
#[derive(Clone, Copy, Debug)]
pub struct Q8Rows<'a> {
    /// Whole rows, one after the other, each `columns / BLOCK` blocks of [`Q8_0_BYTES`].
    pub bytes: &'a [u8],
    /// Bytes of one row.
    pub row_bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_aligned_lines_are_lines() {
        let lines = [Line([1; 64]), Line([2; 64])];
        let bytes = Line::bytes(&lines);
        assert_eq!(bytes.len(), 128);
        assert_eq!(Line::of_bytes(bytes).unwrap()[1].0, [2; 64]);
        assert!(Line::of_bytes(&bytes[..127]).is_none());
        assert!(Line::of_bytes(&bytes[32..96]).is_none());
        assert_eq!(Line::of_bytes(&[]).map(<[Line]>::len), Some(0));
    }
}
