//! How numbers lie in memory: Q8_0 rows of the file, quantised activations, packed panels.

/// Values that share one scale, in the weights (Q8_0) and in the activations.
pub const BLOCK: usize = 32;

/// Bytes of a Q8_0 block in the file: an f16 scale, then 32 signed bytes.
pub const Q8_0_BYTES: usize = 2 + BLOCK;

/// Weight rows (outputs) of a packed panel: two 512-bit registers of 32-bit sums.
///
/// It equals [`BLOCK`], so that the outputs of one panel are one block of the next product's input.
pub const PANEL: usize = 32;

/// Largest magnitude of a query or key value as INT16.
///
/// A dot product of [`MAX_HEAD_DIM`] such values stays below 2³¹, so that 32-bit sums are exact.
pub const HEAD_MAX: i32 = 2047;

/// Largest head dimension for which INT16 dot products are exact.
pub const MAX_HEAD_DIM: usize = 512;

const _: () = assert!((HEAD_MAX as i64 * HEAD_MAX as i64) * (MAX_HEAD_DIM as i64) < 1 << 31);

/// Largest softmax weight as INT16. With 8 bits the worst golden text falls to 0.9978, with these 12 it keeps what the rest
/// of the path allows.
pub const WEIGHT_MAX: i32 = 4095;

/// Most keys of one text: weights up to [`WEIGHT_MAX`] times values up to 127, summed over them, fit 32 bits.
pub const MAX_KEYS: usize = 4096;

const _: () = assert!(WEIGHT_MAX as i64 * 127 * (MAX_KEYS as i64) < 1 << 31);

/// 32 activations of one token as INT8.
///
/// Value `i` is `scale * values[i]`. A block of the *second term* refines the block before it: its values count
/// 1/256 of the first's, and the first's scale is then stated for the sum `256 * first + second`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct ActivationBlock {
    /// Factor of the integers.
    pub scale: f32,
    /// −128 × the sum of the values: takes back the +128 that makes packed weights unsigned for `vpdpbusd`.
    pub correction: i32,
    /// The integers, −127 to 127 (−128 only in a second term).
    pub values: [i8; BLOCK],
}

/// A cache line, the unit of every packed buffer: kernels load whole aligned lines.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Line(pub [u8; 64]);

impl Line {
    /// A line of zeros.
    pub const ZERO: Line = Line([0; 64]);
}

/// Quantised activations of several tokens: block `b` of token `t` is `blocks[(b * tokens + t) * terms ..][..terms]`.
///
/// Tokens lie next to each other within a block, so that a tile of tokens reads one run of memory a block.
#[derive(Clone, Copy, Debug)]
pub struct Activations<'a> {
    /// `columns / 32 * tokens * terms` blocks.
    pub blocks: &'a [ActivationBlock],
    /// Number of tokens.
    pub tokens: usize,
    /// INT8 terms a value: 1, or 2 where 8 bits are not enough.
    pub terms: usize,
}

impl Activations<'_> {
    /// Blocks of 32 columns in a row.
    pub fn row_blocks(&self) -> usize {
        self.blocks.len() / self.tokens.saturating_mul(self.terms).max(1)
    }
}

/// Weight rows of a matrix as they lie in the file.
#[derive(Clone, Copy, Debug)]
pub struct Q8Rows<'a> {
    /// Whole rows, one after the other, each `columns / 32` blocks of [`Q8_0_BYTES`].
    pub bytes: &'a [u8],
    /// Bytes of one row.
    pub row_bytes: usize,
}

impl Q8Rows<'_> {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.bytes.len() / self.row_bytes.max(1)
    }
}
