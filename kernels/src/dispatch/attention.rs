//! Attention: heads, scores, softmax, weighted sums.

use std::ops::Range;

use super::Kernels;
use crate::layout::{MAX_HEAD_DIM, MAX_KEYS, PANEL};
use crate::pieces::{Pieces, fit, pieces_of};
use crate::simd::LANES;

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
            (self.0.gemm_i16)(
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

    /// Softmax over `scores[range]` as integer weights, [`WEIGHT_MAX`](crate::WEIGHT_MAX) for the
    /// largest and 0 outside the range. Returns their sum. Scores outside the range are
    /// overwritten.
    ///
    /// # Panics
    ///
    /// If the lengths differ, are not multiples of 16 or exceed [`MAX_KEYS`], or the range is empty
    /// or not inside `scores`.
    #[inline(always)]
    pub fn softmax(&self, scores: &mut [f32], range: Range<usize>, out: &mut [i16]) -> i32 {
        assert!(
            scores.len() == out.len() && out.len().is_multiple_of(LANES) && out.len() <= MAX_KEYS
        );
        assert!(range.start < range.end && range.end <= scores.len());
        scores[..range.start].fill(f32::NEG_INFINITY);
        scores[range.end..].fill(f32::NEG_INFINITY);
        // SAFETY: `self` exists, so the CPU supports the instruction set. The lengths are
        // equal and a multiple of `LANES`.
        unsafe { (self.0.softmax)(scores.as_ptr(), scores.len(), out.as_mut_ptr()) }
    }

    /// Packs the values of one panel of [`PANEL`] channels for
    /// [`Kernels::attention_weighted_sum`].
    ///
    /// `values` holds [`PANEL`] values a token. `packed` receives `ceil(tokens / 2) * PANEL` lanes,
    /// `scales` the [`PANEL`] scales, then the [`PANEL`] means of the channels: the packed integers
    /// are the values less the mean of their channel.
    ///
    /// # Panics
    ///
    /// If the lengths do not fit each other.
    #[inline]
    pub fn pack_values(&self, values: &[f32], packed: &mut [i32], scales: &mut [f32]) {
        let tokens = values.len() / PANEL;
        assert_eq!(values.len(), tokens * PANEL);
        assert!(packed.len() >= tokens.div_ceil(2) * PANEL && scales.len() == 2 * PANEL);
        // SAFETY: `self` exists, so the CPU supports the instruction set. There are
        // `tokens` rows of `PANEL` values, and room for their packed lanes and for the scales and
        // means.
        unsafe {
            (self.0.pack_values)(
                values.as_ptr(),
                tokens,
                packed.as_mut_ptr(),
                scales.as_mut_ptr(),
            )
        }
    }

    /// Softmax weights times values for one panel of [`PANEL`] channels, as differences from the
    /// mean: `out[r][c] = f32(Σ_key weights[r][key] values[key][c]) × scales[c] × factors[r]`.
    ///
    /// Row `r` of the weights starts at `r * weight_stride` and has two weights for each of the
    /// `packed.len() / PANEL` steps; its [`PANEL`] outputs start at `r * out_stride`.
    ///
    /// # Panics
    ///
    /// If the lengths do not fit each other.
    #[allow(clippy::too_many_arguments)]
    #[inline]
    pub fn attention_weighted_sum(
        &self,
        weights: &[i16],
        weight_stride: usize,
        factors: &[f32],
        packed: &[i32],
        scales: &[f32],
        out: &mut [f32],
        out_stride: usize,
    ) {
        let count = factors.len();
        let steps = packed.len() / PANEL;
        let keys = 2 * steps;
        assert!(packed.len() == steps * PANEL && scales.len() == PANEL && keys <= MAX_KEYS);
        assert!(count == 0 || weight_stride >= keys);
        assert!(fit(count, weight_stride, keys, weights.len()));
        assert!(out_stride >= PANEL && fit(count, out_stride, PANEL, out.len()));
        // SAFETY: `self` exists, so the CPU supports the instruction set. There are
        // `count` rows of `2 * steps` weights with a factor each, `steps` steps of packed values,
        // `PANEL` scales, and room in `out` for `count` rows of `PANEL` sums.
        unsafe {
            (self.0.gemm_i16)(
                weights.as_ptr(),
                weight_stride,
                factors.as_ptr(),
                count,
                packed.as_ptr(),
                scales.as_ptr(),
                steps,
                out.as_mut_ptr(),
                out_stride,
            )
        }
    }
}
