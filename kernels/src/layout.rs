//! Memory layouts: Q8_0 rows of a file, quantized activations, packed panels.

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

/// The scale of an [`ActivationBlock`], as a float and as two shifts, additions and a power of two:
/// `q * factor` is `(q + (q << shifts[0]) + (q << shifts[1])) * 2^exponent`.
///
/// The integer in parentheses is exact, so both give the same bits: that of the exact product,
/// rounded once.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct ActivationScale {
    factor: f32,
    shifts: [u32; 2],
    exponent: f32,
}

/// The most that an [`ActivationScale`] shifts: an integer of 20 bits, as the sum of a block is,
/// still fits 32.
const MAX_SHIFT: u32 = 10;

/// A shift by as many bits as a lane has gives 0.
const NO_SHIFT: u32 = 32;

const _: () =
    assert!((BLOCK as i64 * 128 * 128) * (1 + (1 << MAX_SHIFT) + (1 << (MAX_SHIFT - 1))) < 1 << 31);

/// Bits of the mantissa of an `f32` after its leading 1.
const MANTISSA_BITS: u32 = f32::MANTISSA_DIGITS - 1;

/// Those bits, all set.
const MANTISSA: u32 = (1 << MANTISSA_BITS) - 1;

impl ActivationScale {
    /// The smallest scale that is at least `least`, which is not negative: 0 below 1e-32, which no
    /// later sum can tell from 0, and infinite from 1e38 on. A NaN stays one.
    ///
    /// In between it is at most 8/7 of `least`. The steps raise the energy of rounding errors by
    /// 8 % on average (docs/LOG.md).
    #[inline(always)]
    pub fn at_least(least: f32) -> Self {
        // NaN is in neither range.
        if !(1e-32..1e38).contains(&least) {
            let factor = if least < 1e-32 {
                0.0
            } else {
                least + f32::INFINITY
            };
            return Self {
                factor,
                shifts: [NO_SHIFT; 2],
                exponent: factor,
            };
        }
        // Of the mantissa the highest bit stays, and the rest is rounded up to a single bit, which
        // may carry into the highest one and from there into the exponent.
        let bits = least.to_bits();
        let mantissa = bits & MANTISSA;
        let highest = if mantissa == 0 {
            0
        } else {
            1 << mantissa.ilog2()
        };
        let rest = mantissa - highest;
        let smallest = 1 << (MANTISSA_BITS - MAX_SHIFT);
        let rest = if rest == 0 {
            0
        } else {
            rest.next_power_of_two()
        };
        let bits = (bits - mantissa + highest + rest).next_multiple_of(smallest);
        let mantissa = bits & MANTISSA;
        // The lowest bit of the scale is that of the unshifted integer.
        let lowest = mantissa.trailing_zeros().min(MANTISSA_BITS);
        let top = MANTISSA_BITS - lowest;
        let middle = match mantissa {
            0 => 0,
            mantissa => mantissa.ilog2() - lowest,
        };
        let or_none = |shift| if shift == 0 { NO_SHIFT } else { shift };
        let exponent = (bits >> MANTISSA_BITS) as i32 - 127 - top as i32;
        Self {
            factor: f32::from_bits(bits),
            shifts: [or_none(top), or_none(middle)],
            exponent: exponent as f32,
        }
    }

    /// What values are multiplied by to become integers: 1 / scale, 0 of a scale of 0.
    #[inline(always)]
    pub(crate) fn inverse(self) -> f32 {
        if self.factor > 0.0 {
            1.0 / self.factor
        } else {
            0.0
        }
    }

    /// The scale as a float.
    #[inline(always)]
    pub fn factor(self) -> f32 {
        self.factor
    }

    /// Bits by which a sum is shifted before it is added to itself; as many as it has if nothing is
    /// to be added.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn shifts(self) -> [u32; 2] {
        self.shifts
    }

    /// The power of two that is left, as an integer; or the scale where that is infinite or NaN.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn exponent(self) -> f32 {
        self.exponent
    }

    /// The scale times 256.
    #[must_use]
    pub fn times_256(self) -> Self {
        Self::at_least(self.factor * 256.0)
    }

    /// The scale / 256, or 0 where that is below 1e-32.
    #[inline(always)]
    pub(crate) fn divided_by_256(self) -> Self {
        Self::at_least(self.factor * (1.0 / 256.0))
    }
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
    fn both_forms_of_an_activation_scale_are_the_same_number() {
        let mut least = 1e-32f32;
        while least < 7e37 {
            let scale = ActivationScale::at_least(least);
            assert!(scale.factor >= least && f64::from(scale.factor) < f64::from(least) * 1.143);
            let shifted = |shift: u32| match shift {
                NO_SHIFT => 0.0,
                shift => {
                    assert!(shift <= MAX_SHIFT);
                    f64::from(shift).exp2()
                }
            };
            let [first, second] = scale.shifts.map(shifted);
            let shifted = (1.0 + first + second) * f64::from(scale.exponent).exp2();
            assert_eq!(shifted, f64::from(scale.factor));
            assert_eq!(ActivationScale::at_least(scale.factor), scale);
            least *= 1.000_731;
        }
    }

    #[test]
    fn extreme_activation_scales_are_zero_infinite_or_nan() {
        for (least, factor) in [(0.0, 0.0), (9e-33, 0.0), (1e38, f32::INFINITY)] {
            assert_eq!(ActivationScale::at_least(least).factor, factor);
        }
        assert!(ActivationScale::at_least(f32::NAN).factor.is_nan());
        assert!(ActivationScale::at_least(f32::NAN).exponent.is_nan());
    }

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
