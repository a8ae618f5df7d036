//! Attention: heads, scores, softmax, weighted sums.

use std::ops::Range;

use super::Kernels;
use crate::layout::{BLOCK, Line, MAX_HEAD_DIM, PANEL, SoftmaxBlock};
use crate::pieces::{Pieces, fit, pieces_of};

impl Kernels {
    /// One query or key head: `out = quantize(rope(rms_norm(x) * weight))` as INT16 up to
    /// ±[`HEAD_MAX`](crate::HEAD_MAX). Returns the scale.
    ///
    /// `rope` holds the cosines of the position's angles, then the sines.
    ///
    /// # Panics
    ///
    /// If the lengths differ, are not multiples of [`BLOCK`](crate::BLOCK) or exceed
    /// [`MAX_HEAD_DIM`].
    #[inline(always)]
    pub fn head_norm_rope(
        &self,
        x: Pieces<'_>,
        weight: &[f32],
        rope: &[f32],
        eps: f32,
        out: &mut [i16],
    ) -> f32 {
        let pieces = pieces_of(out.len());
        assert!(out.len() <= MAX_HEAD_DIM && x.count == pieces);
        assert!(weight.len() == out.len() && rope.len() == out.len());
        // SAFETY: `self` exists, so the CPU supports the instruction set. `x` has checked
        // its pieces, of which there are as many as of `weight`, `rope` and `out`, and they are at
        // most `MAX_HEAD_DIM` values.
        unsafe {
            (self.0.head_norm_rope)(
                x.values.as_ptr(),
                x.stride,
                weight.as_ptr(),
                rope.as_ptr(),
                pieces,
                eps,
                out.as_mut_ptr(),
            )
        }
    }

    /// One query or key head: `out = quantize(rope(x))` as INT16 up to
    /// ±[`HEAD_MAX`](crate::HEAD_MAX). Returns the scale.
    ///
    /// `rope` holds the cosines of the position's angles, then the sines.
    ///
    /// # Panics
    ///
    /// If the lengths differ, are not multiples of [`BLOCK`](crate::BLOCK) or exceed
    /// [`MAX_HEAD_DIM`].
    #[inline(always)]
    pub fn head_rope(&self, x: Pieces<'_>, rope: &[f32], out: &mut [i16]) -> f32 {
        let pieces = pieces_of(out.len());
        assert!(out.len() <= MAX_HEAD_DIM && x.count == pieces && rope.len() == out.len());
        // SAFETY: `self` exists, so the CPU supports the instruction set. `x` has checked
        // its pieces, of which there are as many as of `rope` and `out`, and they are at most
        // `MAX_HEAD_DIM` values.
        unsafe {
            (self.0.head_rope)(
                x.values.as_ptr(),
                x.stride,
                rope.as_ptr(),
                pieces,
                out.as_mut_ptr(),
            )
        }
    }

    /// One query or key head: `out = quantize(x + bias)`, or of `x` without a bias, as INT16 up to
    /// ±[`HEAD_MAX`](crate::HEAD_MAX). Returns the scale.
    ///
    /// # Panics
    ///
    /// If the lengths differ or are not multiples of [`BLOCK`](crate::BLOCK).
    #[inline(always)]
    pub fn head_bias(&self, x: Pieces<'_>, bias: Option<&[f32]>, out: &mut [i16]) -> f32 {
        let pieces = pieces_of(out.len());
        assert!(x.count == pieces && bias.is_none_or(|bias| bias.len() == out.len()));
        // SAFETY: `self` exists, so the CPU supports the instruction set. `x` has checked its
        // pieces, of which there are as many as of `out` and of the bias, where there is one.
        unsafe {
            (self.0.head_bias)(
                x.values.as_ptr(),
                x.stride,
                bias.map_or(std::ptr::null(), <[f32]>::as_ptr),
                pieces,
                out.as_mut_ptr(),
            )
        }
    }

    /// Query times key in INT16, for rows of queries and one panel of [`PANEL`] keys:
    /// `out[q][k] = f32(Σ query[q] key[k]) × key_scales[k] × query_scales[q]`.
    ///
    /// `keys` holds `dim / 2` steps of [`PANEL`] lanes, each lane two consecutive values of its
    /// key; see [`pack_keys`](crate::pack_keys()). Query `q` starts at `q * dim`, its [`PANEL`]
    /// scores at `q * out_stride`.
    ///
    /// # Panics
    ///
    /// If the lengths do not fit each other.
    #[inline]
    pub fn attention_scores(
        &self,
        queries: &[i16],
        query_scales: &[f32],
        keys: &[i32],
        key_scales: &[f32],
        out: &mut [f32],
        out_stride: usize,
    ) {
        let count = query_scales.len();
        let pairs = keys.len() / PANEL;
        assert!(2 * pairs <= MAX_HEAD_DIM && keys.len() == pairs * PANEL);
        assert!(queries.len() == count * 2 * pairs && key_scales.len() == PANEL);
        assert!(out_stride >= PANEL && fit(count, out_stride, PANEL, out.len()));
        // SAFETY: `self` exists, so the CPU supports the instruction set. There are
        // `count` queries of `2 * pairs` values with a scale each, `pairs` steps of packed keys,
        // `PANEL` key scales, and room in `out` for `count` rows of `PANEL` scores.
        unsafe {
            (self.0.scores)(
                queries.as_ptr(),
                2 * pairs,
                query_scales.as_ptr(),
                count,
                keys.as_ptr(),
                key_scales.as_ptr(),
                pairs,
                out.as_mut_ptr(),
                out_stride,
            )
        }
    }

    /// Softmax over scores as integer weights, not divided by their sum, which is returned. What is
    /// outside of `range` gets the weight 0; its scores are overwritten.
    ///
    /// `out` receives blocks of weights for each [`BLOCK`] scores: `terms` of them, 1 or 2. The
    /// blocks of scores start `stride` values apart.
    ///
    /// # Panics
    ///
    /// If the blocks do not fit `scores`, or the range is empty or not inside them.
    #[inline(always)]
    pub fn softmax(
        &self,
        scores: &mut [f32],
        stride: usize,
        range: Range<usize>,
        terms: usize,
        out: &mut [SoftmaxBlock],
    ) -> f32 {
        assert!((1..=2).contains(&terms), "one or two terms");
        let blocks = out.len() / terms;
        assert_eq!(out.len(), blocks * terms, "all terms of each block");
        assert!(stride >= BLOCK && fit(blocks, stride, BLOCK, scores.len()));
        assert!(range.start < range.end && range.end <= blocks * BLOCK);
        for block in 0..blocks {
            let first = block * BLOCK;
            let inside = |key: usize| key.saturating_sub(first).min(BLOCK);
            let scores = &mut scores[block * stride..][..BLOCK];
            scores[..inside(range.start)].fill(f32::NEG_INFINITY);
            scores[inside(range.end)..].fill(f32::NEG_INFINITY);
        }
        // SAFETY: `self` exists, so the CPU supports the instruction set. There are `blocks` blocks
        // of scores `stride` values apart, as asserted above, and `terms` times as many of weights.
        unsafe { (self.0.softmax)(scores.as_ptr(), stride, blocks, terms, out.as_mut_ptr()) }
    }

    /// Lines of the packed values of `tokens` tokens, [`PANEL`] channels of each.
    #[inline]
    pub fn value_lines(&self, tokens: usize) -> usize {
        tokens.div_ceil(BLOCK) * self.0.value_lines
    }

    /// Packs the values of one panel of [`PANEL`] channels for
    /// [`Kernels::attention_weighted_sum`].
    ///
    /// `values` holds [`PANEL`] values a token. `packed` receives the lines of the tokens,
    /// `scales` the [`PANEL`] scales, then the [`PANEL`] means of the channels: the packed integers
    /// are the values less the mean of their channel.
    ///
    /// # Panics
    ///
    /// If the lengths do not fit each other.
    #[inline]
    pub fn pack_values(&self, values: &[f32], packed: &mut [Line], scales: &mut [f32]) {
        let tokens = values.len() / PANEL;
        assert_eq!(values.len(), tokens * PANEL);
        assert!(packed.len() >= self.value_lines(tokens) && scales.len() == 2 * PANEL);
        // SAFETY: `self` exists, so the CPU supports the instruction set. There are
        // `tokens` rows of `PANEL` values, and room for their packed lanes and for the scales and
        // means.
        unsafe {
            (self.0.pack_values)(
                values.as_ptr(),
                tokens,
                packed.as_mut_ptr().cast(),
                scales.as_mut_ptr(),
            )
        }
    }

    /// Softmax weights times values for one panel of [`PANEL`] channels, as differences from the
    /// mean: `out[r][c] = Σ_key weights[r][key] values[key][c] × scales[c] × factors[r]`.
    ///
    /// The weights of row `r` are its share of the blocks, of one or two terms, the rows one after
    /// the other; its [`PANEL`] outputs start at `r * out_stride`. Sums within a block are exact integers, then follows one fused
    /// multiply-add a block, in order.
    ///
    /// # Panics
    ///
    /// If the lengths do not fit each other.
    #[inline]
    pub fn attention_weighted_sum(
        &self,
        weights: &[SoftmaxBlock],
        factors: &[f32],
        packed: &[Line],
        scales: &[f32],
        out: &mut [f32],
        out_stride: usize,
    ) {
        let count = factors.len();
        let blocks = packed.len() / self.0.value_lines;
        assert!(packed.len() == blocks * self.0.value_lines && scales.len() == PANEL);
        let stride = weights.len().checked_div(count).unwrap_or(0);
        assert_eq!(weights.len(), count * stride);
        if count == 0 {
            return;
        }
        assert!(blocks > 0, "no values to sum");
        let terms = stride / blocks;
        assert!((1..=2).contains(&terms) && stride == blocks * terms);
        assert!(out_stride >= PANEL && fit(count, out_stride, PANEL, out.len()));
        // SAFETY: `self` exists, so the CPU supports the instruction set. There are `count` rows of
        // `blocks * terms` blocks of weights with a factor each, the lines of `blocks` blocks of values,
        // `PANEL` scales, and room in `out` for `count` rows of `PANEL` sums.
        unsafe {
            (self.0.weighted_sum[terms - 1])(
                weights.as_ptr(),
                stride,
                factors.as_ptr(),
                count,
                packed.as_ptr(),
                scales.as_ptr(),
                blocks,
                out.as_mut_ptr(),
                out_stride,
            )
        }
    }
}
