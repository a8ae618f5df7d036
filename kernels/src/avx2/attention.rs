//! Attention products on 256-bit registers, both with `vpmaddwd`.

use crate::layout::PANEL;
use std::arch::x86_64::*;

/// Tokens in a lane of packed values: two 16-bit words, for `vpmaddubsw` would saturate.
pub const VALUE_GROUP: usize = 2;

/// Rows of a tile: 8 accumulators, as in the matrix product.
const TILE: usize = 2;

/// See [`crate::Kernels::attention_scores`].
///
/// # Safety
///
/// As for the scalar one; AVX2.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn scores(
    queries: *const i16,
    query_stride: usize,
    query_scales: *const f32,
    count: usize,
    keys: *const i32,
    key_scales: *const f32,
    pairs: usize,
    out: *mut f32,
    out_stride: usize,
) {
    // SAFETY: the offsets stay inside what the caller vouches for; `pair` reads two query values of one row.
    unsafe {
        let pair = |row: usize, pair: usize| {
            queries
                .add(row * query_stride + 2 * pair)
                .cast::<i32>()
                .read_unaligned()
        };
        products(
            count,
            pair,
            keys,
            pairs,
            key_scales,
            query_scales,
            out,
            out_stride,
        );
    }
}

/// See [`crate::Kernels::attention_weighted_sum`].
///
/// # Safety
///
/// As for the scalar one; AVX2.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn weighted_sum(
    weights: *const u8,
    weight_stride: usize,
    factors: *const f32,
    count: usize,
    values: *const i32,
    scales: *const f32,
    groups: usize,
    out: *mut f32,
    out_stride: usize,
) {
    // SAFETY: the offsets stay inside what the caller vouches for; `pair` reads two weights of one row.
    unsafe {
        let pair = |row: usize, group: usize| {
            let two = weights.add(row * weight_stride + VALUE_GROUP * group);
            i32::from(*two) | i32::from(*two.add(1)) << 16
        };
        products(
            count, pair, values, groups, scales, factors, out, out_stride,
        );
        for row in 0..count {
            for lane in (0..PANEL).step_by(8) {
                let out = out.add(row * out_stride + lane);
                let mean = _mm256_loadu_ps(scales.add(PANEL + lane));
                _mm256_storeu_ps(out, _mm256_add_ps(_mm256_loadu_ps(out), mean));
            }
        }
    }
}

/// `out[row][lane] = Σ_step pair(row, step) · packed[step][lane] × lane_scales[lane] × row_scales[row]`.
#[allow(clippy::too_many_arguments)]
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn products(
    count: usize,
    pair: impl Fn(usize, usize) -> i32 + Copy,
    packed: *const i32,
    steps: usize,
    lane_scales: *const f32,
    row_scales: *const f32,
    out: *mut f32,
    out_stride: usize,
) {
    for row in (0..count).step_by(TILE) {
        // SAFETY: rows `row..row + size` lie inside what the caller vouches for.
        unsafe {
            let (row_scales, out) = (row_scales.add(row), out.add(row * out_stride));
            let pair = move |offset: usize, step: usize| pair(row + offset, step);
            match count - row {
                1 => tile::<1>(
                    pair,
                    packed,
                    steps,
                    lane_scales,
                    row_scales,
                    out,
                    out_stride,
                ),
                _ => tile::<TILE>(
                    pair,
                    packed,
                    steps,
                    lane_scales,
                    row_scales,
                    out,
                    out_stride,
                ),
            }
        }
    }
}

#[allow(clippy::too_many_arguments)]
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile<const ROWS: usize>(
    pair: impl Fn(usize, usize) -> i32,
    packed: *const i32,
    steps: usize,
    lane_scales: *const f32,
    row_scales: *const f32,
    out: *mut f32,
    out_stride: usize,
) {
    // SAFETY: as `products`.
    unsafe {
        let mut sums = [[_mm256_setzero_si256(); 4]; ROWS];
        for step in 0..steps {
            for (row, sum) in sums.iter_mut().enumerate() {
                let two = _mm256_set1_epi32(pair(row, step));
                for (quarter, sum) in sum.iter_mut().enumerate() {
                    let lanes = _mm256_loadu_si256(packed.add(step * PANEL + 8 * quarter).cast());
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(lanes, two));
                }
            }
        }
        for (row, sum) in sums.iter().enumerate() {
            let row_scale = _mm256_set1_ps(*row_scales.add(row));
            for (quarter, sum) in sum.iter().enumerate() {
                let scaled = _mm256_mul_ps(
                    _mm256_cvtepi32_ps(*sum),
                    _mm256_loadu_ps(lane_scales.add(8 * quarter)),
                );
                _mm256_storeu_ps(
                    out.add(row * out_stride + 8 * quarter),
                    _mm256_mul_ps(scaled, row_scale),
                );
            }
        }
    }
}
