//! Attention products on 512-bit registers: `vpdpwssd` for query × key, `vpdpbusd` for weights × values.
//!
//! Softmax weights are never negative, so they are the unsigned operand as they are. Both kernels hold 12 rows × 32
//! lanes in 24 accumulators: two loads and twelve broadcasts feed 24 multiply-adds.

use crate::layout::PANEL;
use std::arch::x86_64::*;

/// Tokens in a lane of packed values.
pub const VALUE_GROUP: usize = 4;

/// Rows of a tile.
const TILE: usize = 12;

/// Calls `tile::<ROWS>` for as even tiles as come, at most [`TILE`] rows each.
macro_rules! tiles {
    ($count:expr, |$row:ident| $tile:ident($($argument:expr),*)) => {{
        let mut $row = 0;
        let tiles = $count.div_ceil(TILE);
        for index in 0..tiles {
            let size = ($count - $row).div_ceil(tiles - index);
            match size {
                1 => $tile::<1>($($argument),*),
                2 => $tile::<2>($($argument),*),
                3 => $tile::<3>($($argument),*),
                4 => $tile::<4>($($argument),*),
                5 => $tile::<5>($($argument),*),
                6 => $tile::<6>($($argument),*),
                7 => $tile::<7>($($argument),*),
                8 => $tile::<8>($($argument),*),
                9 => $tile::<9>($($argument),*),
                10 => $tile::<10>($($argument),*),
                11 => $tile::<11>($($argument),*),
                _ => $tile::<12>($($argument),*),
            }
            $row += size;
        }
    }};
}

/// See [`crate::Kernels::attention_scores`].
///
/// # Safety
///
/// As for the scalar one; AVX-512 F, BW and VNNI.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
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
    // SAFETY: tiles lie inside what the caller vouches for.
    unsafe {
        tiles!(count, |row| scores_tile(
            queries.add(row * query_stride),
            query_stride,
            query_scales.add(row),
            keys,
            key_scales,
            pairs,
            out.add(row * out_stride),
            out_stride
        ));
    }
}

#[allow(clippy::too_many_arguments)]
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn scores_tile<const ROWS: usize>(
    queries: *const i16,
    query_stride: usize,
    query_scales: *const f32,
    keys: *const i32,
    key_scales: *const f32,
    pairs: usize,
    out: *mut f32,
    out_stride: usize,
) {
    // SAFETY: as `scores`.
    unsafe {
        let mut sums = [[_mm512_setzero_si512(); 2]; ROWS];
        for pair in 0..pairs {
            let low = _mm512_loadu_si512(keys.add(pair * PANEL).cast());
            let high = _mm512_loadu_si512(keys.add(pair * PANEL + 16).cast());
            for (row, sum) in sums.iter_mut().enumerate() {
                let two = queries.add(row * query_stride + 2 * pair).cast::<i32>();
                let two = _mm512_set1_epi32(two.read_unaligned());
                sum[0] = _mm512_dpwssd_epi32(sum[0], low, two);
                sum[1] = _mm512_dpwssd_epi32(sum[1], high, two);
            }
        }
        store_scaled::<ROWS, false>(&sums, key_scales, query_scales, out, out_stride);
    }
}

/// See [`crate::Kernels::attention_weighted_sum`].
///
/// # Safety
///
/// As for the scalar one; AVX-512 F and VNNI.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
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
    // SAFETY: tiles lie inside what the caller vouches for.
    unsafe {
        tiles!(count, |row| weighted_tile(
            weights.add(row * weight_stride),
            weight_stride,
            factors.add(row),
            values,
            scales,
            groups,
            out.add(row * out_stride),
            out_stride
        ));
    }
}

#[allow(clippy::too_many_arguments)]
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn weighted_tile<const ROWS: usize>(
    weights: *const u8,
    weight_stride: usize,
    factors: *const f32,
    values: *const i32,
    scales: *const f32,
    groups: usize,
    out: *mut f32,
    out_stride: usize,
) {
    // SAFETY: as `weighted_sum`.
    unsafe {
        let mut sums = [[_mm512_setzero_si512(); 2]; ROWS];
        for group in 0..groups {
            let low = _mm512_loadu_si512(values.add(group * PANEL).cast());
            let high = _mm512_loadu_si512(values.add(group * PANEL + 16).cast());
            for (row, sum) in sums.iter_mut().enumerate() {
                let four = weights
                    .add(row * weight_stride + VALUE_GROUP * group)
                    .cast::<i32>();
                let four = _mm512_set1_epi32(four.read_unaligned());
                sum[0] = _mm512_dpbusd_epi32(sum[0], four, low);
                sum[1] = _mm512_dpbusd_epi32(sum[1], four, high);
            }
        }
        store_scaled::<ROWS, true>(&sums, scales, factors, out, out_stride);
    }
}

/// `out[row][lane] = sums[row][lane] × lane_scales[lane] × row_scales[row]`, plus the lane's offset, stored 32 values after
/// its scale, with `OFFSETS`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn store_scaled<const ROWS: usize, const OFFSETS: bool>(
    sums: &[[__m512i; 2]; ROWS],
    lane_scales: *const f32,
    row_scales: *const f32,
    out: *mut f32,
    out_stride: usize,
) {
    // SAFETY: 32 lane scales, ROWS row scales and ROWS rows of 32 values, as the callers vouch for.
    unsafe {
        for half in 0..2 {
            let lane_scales = lane_scales.add(16 * half);
            let offsets = if OFFSETS {
                _mm512_loadu_ps(lane_scales.add(PANEL))
            } else {
                _mm512_setzero_ps()
            };
            let lane_scales = _mm512_loadu_ps(lane_scales);
            for (row, sum) in sums.iter().enumerate() {
                let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[half]), lane_scales);
                let scaled = _mm512_mul_ps(scaled, _mm512_set1_ps(*row_scales.add(row)));
                let scaled = if OFFSETS {
                    _mm512_add_ps(scaled, offsets)
                } else {
                    scaled
                };
                _mm512_storeu_ps(out.add(row * out_stride + 16 * half), scaled);
            }
        }
    }
}
