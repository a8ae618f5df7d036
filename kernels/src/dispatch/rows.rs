//! Norms, quantization and sums of rows.

use super::Kernels;
use crate::activation::Activation;
use crate::block_format::BlockFormat;
use crate::layout::{ActivationBlock, BLOCK, Q8_0_BYTES};
use crate::pieces::{Pieces, assert_blocks, pieces_of};

impl Kernels {
    /// `x += rms_norm(y + base) * weight`, or `rms_norm(y)` without a base.
    ///
    /// # Panics
    ///
    /// If the lengths differ or are not multiples of [`BLOCK`].
    #[inline]
    pub fn add_rms_norm(
        &self,
        x: &mut [f32],
        y: Pieces<'_>,
        base: Option<&[f32]>,
        weight: &[f32],
        eps: f32,
    ) {
        let pieces = pieces_of(x.len());
        assert!(y.count == pieces && weight.len() == x.len());
        assert!(base.is_none_or(|base| base.len() == x.len()));
        // SAFETY: `self` exists, so the CPU supports the instruction set. `y` has checked
        // its pieces, of which there are as many as of `x`, `weight` and the base, where there is
        // one.
        unsafe {
            (self.0.add_rms_norm)(
                x.as_mut_ptr(),
                y.values.as_ptr(),
                y.stride,
                base.map_or(std::ptr::null(), <[f32]>::as_ptr),
                weight.as_ptr(),
                pieces,
                eps,
            )
        }
    }

    /// `out = quantize(rms_norm(x) * weight)`, one block a piece, `out_stride` blocks apart.
    ///
    /// # Panics
    ///
    /// If the lengths of `x` and `weight` differ or are not multiples of [`BLOCK`], or the blocks
    /// do not fit `out`.
    #[inline]
    pub fn rms_norm_quantize(
        &self,
        x: &[f32],
        weight: &[f32],
        eps: f32,
        out: &mut [ActivationBlock],
        out_stride: usize,
    ) {
        let pieces = pieces_of(x.len());
        assert_eq!(weight.len(), x.len());
        assert_blocks(out, pieces, out_stride, 1);
        // SAFETY: `self` exists, so the CPU supports the instruction set. `x` and
        // `weight` are `pieces` pieces, and `out` has a block for each of them.
        unsafe {
            (self.0.rms_norm_quantize)(
                x.as_ptr(),
                weight.as_ptr(),
                pieces,
                eps,
                out.as_mut_ptr(),
                out_stride,
            )
        }
    }

    /// `x = rms_norm(x) * weight`, in place.
    ///
    /// # Panics
    ///
    /// If the lengths differ or are not multiples of [`BLOCK`].
    #[inline]
    pub fn rms_norm(&self, x: &mut [f32], weight: &[f32], eps: f32) {
        assert_eq!(weight.len(), x.len());
        // SAFETY: `self` exists, so the CPU supports the instruction set. `x` and
        // `weight` are as many pieces.
        unsafe { (self.0.rms_norm)(x.as_mut_ptr(), weight.as_ptr(), pieces_of(x.len()), eps) }
    }

    /// `x = layer_norm(x + (y + base)) * weight + bias`, or of `x + y` without a base. `eps` is added to
    /// the biased variance.
    ///
    /// # Panics
    ///
    /// If the lengths differ or are not multiples of [`BLOCK`].
    #[inline]
    pub fn add_layer_norm(
        &self,
        x: &mut [f32],
        y: Pieces<'_>,
        base: Option<&[f32]>,
        [weight, bias]: [&[f32]; 2],
        eps: f32,
    ) {
        let pieces = pieces_of(x.len());
        assert!(y.count == pieces && weight.len() == x.len() && bias.len() == x.len());
        assert!(base.is_none_or(|base| base.len() == x.len()));
        // SAFETY: `self` exists, so the CPU supports the instruction set. `y` has checked
        // its pieces, of which there are as many as of `x`, `weight`, `bias` and the base, where there
        // is one.
        unsafe {
            (self.0.add_layer_norm)(
                x.as_mut_ptr(),
                y.values.as_ptr(),
                y.stride,
                base.map_or(std::ptr::null(), <[f32]>::as_ptr),
                weight.as_ptr(),
                bias.as_ptr(),
                pieces,
                eps,
            )
        }
    }

    /// `x = layer_norm(x) * weight`, in place. `eps` is added to the biased variance.
    ///
    /// # Panics
    ///
    /// If the lengths differ or are not multiples of [`BLOCK`].
    #[inline]
    pub fn layer_norm(&self, x: &mut [f32], weight: &[f32], eps: f32) {
        assert_eq!(weight.len(), x.len());
        // SAFETY: `self` exists, so the CPU supports the instruction set. `x` and
        // `weight` are as many pieces.
        unsafe { (self.0.layer_norm)(x.as_mut_ptr(), weight.as_ptr(), pieces_of(x.len()), eps) }
    }

    /// `out = quantize(layer_norm(x) * weight)`, one block a piece, `out_stride` blocks apart. `eps` is
    /// added to the biased variance.
    ///
    /// # Panics
    ///
    /// If the lengths of `x` and `weight` differ or are not multiples of [`BLOCK`], or the blocks
    /// do not fit `out`.
    #[inline]
    pub fn layer_norm_quantize(
        &self,
        x: &[f32],
        weight: &[f32],
        eps: f32,
        out: &mut [ActivationBlock],
        out_stride: usize,
    ) {
        let pieces = pieces_of(x.len());
        assert_eq!(weight.len(), x.len());
        assert_blocks(out, pieces, out_stride, 1);
        // SAFETY: `self` exists, so the CPU supports the instruction set. `x` and
        // `weight` are `pieces` pieces, and `out` has a block for each of them.
        unsafe {
            (self.0.layer_norm_quantize)(
                x.as_ptr(),
                weight.as_ptr(),
                pieces,
                eps,
                out.as_mut_ptr(),
                out_stride,
            )
        }
    }

    /// `out[t] = quantize(gelu(x[t] + bias))`, [`BLOCK`] values a token, with GELU in its exact form
    /// (the error function).
    ///
    /// # Panics
    ///
    /// If the lengths differ.
    #[inline]
    pub fn bias_gelu_quantize(&self, x: &[f32], bias: &[f32], out: &mut [ActivationBlock]) {
        assert!(x.len() == out.len() * BLOCK && bias.len() == BLOCK);
        // SAFETY: `self` exists, so the CPU supports the instruction set. `x` holds `BLOCK` values
        // for each block of `out`, and `bias` as many.
        unsafe {
            (self.0.bias_gelu_quantize)(x.as_ptr(), bias.as_ptr(), out.len(), out.as_mut_ptr())
        }
    }

    /// `out[t] = quantize(activation(gate[t]) * up[t])`, [`BLOCK`] values a token.
    ///
    /// # Panics
    ///
    /// If the lengths differ.
    #[inline]
    pub fn activate_multiply_quantize(
        &self,
        activation: Activation,
        gate: &[f32],
        up: &[f32],
        out: &mut [ActivationBlock],
    ) {
        assert!(gate.len() == out.len() * BLOCK && up.len() == gate.len());
        let function = match activation {
            Activation::Gelu => self.0.gelu_multiply_quantize,
            Activation::GeluTanh => self.0.gelu_tanh_multiply_quantize,
            Activation::Silu => self.0.silu_multiply_quantize,
        };
        // SAFETY: `self` exists, so the CPU supports the instruction set. `gate` and `up`
        // hold `BLOCK` values for each block of `out`.
        unsafe { function(gate.as_ptr(), up.as_ptr(), out.len(), out.as_mut_ptr()) }
    }

    /// Quantizes a plain row to INT8 with one or two terms, the blocks of different pieces
    /// `out_stride` blocks apart.
    ///
    /// # Panics
    ///
    /// If `x` is not a multiple of [`BLOCK`], `terms` is not 1 or 2, or the blocks do not fit
    /// `out`.
    #[inline]
    pub fn quantize(
        &self,
        x: &[f32],
        terms: usize,
        out: &mut [ActivationBlock],
        out_stride: usize,
    ) {
        let pieces = pieces_of(x.len());
        assert!((1..=2).contains(&terms), "one or two terms");
        assert_blocks(out, pieces, out_stride, terms);
        // SAFETY: `self` exists, so the CPU supports the instruction set. `x` is `pieces`
        // pieces, and `out` has `terms` blocks for each of them.
        unsafe { (self.0.quantize)(x.as_ptr(), pieces, terms, out.as_mut_ptr(), out_stride) }
    }

    /// Dequantizes a Q8_0 row and multiplies it by `factor`.
    ///
    /// # Panics
    ///
    /// If `out` is not a multiple of [`BLOCK`] or `row` does not hold as many values.
    #[inline]
    pub fn dequantize_q8_0(&self, row: &[u8], factor: f32, out: &mut [f32]) {
        let pieces = pieces_of(out.len());
        assert_eq!(row.len(), pieces * Q8_0_BYTES);
        // SAFETY: `self` exists, so the CPU supports the instruction set. `row` is
        // `pieces` Q8_0 blocks, and `out` has `BLOCK` values for each of them.
        unsafe { (self.0.dequantize_q8_0)(row.as_ptr(), pieces, factor, out.as_mut_ptr()) }
    }

    /// Writes a row of blocks of a format as one of Q8_0.
    ///
    /// Blocks of integers times one scale keep their values. Others are quantized: the scale is the
    /// largest magnitude of 32 values / 127, rounded to f16, and values are rounded to nearest even by it.
    /// What is infinite or not a number becomes the scale.
    ///
    /// # Panics
    ///
    /// If `row` is not whole blocks, or `out` not as many values in blocks of [`Q8_0_BYTES`].
    #[inline]
    pub fn unpack(&self, format: BlockFormat, row: &[u8], out: &mut [u8]) {
        assert_eq!(row.len() % format.bytes(), 0, "a row is whole blocks");
        let blocks = row.len() / format.bytes();
        assert_eq!(
            Some(out.len()),
            blocks.checked_mul(format.values() / BLOCK * Q8_0_BYTES)
        );
        // SAFETY: `self` exists, so the CPU supports the instruction set. `row` is `blocks` blocks of the
        // format whose function this is, and `out` has the bytes of their values in Q8_0.
        unsafe { (self.0.unpack[format as usize])(row.as_ptr(), blocks, out.as_mut_ptr()) }
    }

    /// `sum += x`.
    ///
    /// # Panics
    ///
    /// If the lengths differ or are not multiples of [`BLOCK`].
    #[inline]
    pub fn accumulate(&self, sum: &mut [f32], x: &[f32]) {
        assert_eq!(sum.len(), x.len());
        // SAFETY: `self` exists, so the CPU supports the instruction set. `sum` and `x`
        // are as many pieces.
        unsafe { (self.0.accumulate)(sum.as_mut_ptr(), x.as_ptr(), pieces_of(sum.len())) }
    }

    /// `x += y + base`, or `x += y` without a base.
    ///
    /// # Panics
    ///
    /// If the lengths differ or are not multiples of [`BLOCK`].
    #[inline]
    pub fn add(&self, x: &mut [f32], y: Pieces<'_>, base: Option<&[f32]>) {
        let pieces = pieces_of(x.len());
        assert!(y.count == pieces && base.is_none_or(|base| base.len() == x.len()));
        // SAFETY: `self` exists, so the CPU supports the instruction set. `y` has checked
        // its pieces, of which there are as many as of `x` and of the base, where there is one.
        unsafe {
            (self.0.add)(
                x.as_mut_ptr(),
                y.values.as_ptr(),
                y.stride,
                base.map_or(std::ptr::null(), <[f32]>::as_ptr),
                pieces,
            )
        }
    }
}
