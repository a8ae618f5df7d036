//! Queries times keys in INT16 on 256-bit registers, with `vpdpwssd`.

use std::arch::x86_64::*;

use super::multiply::dpwssd;
use crate::layout::PANEL;

/// Rows of a tile: 3 × 4 sums, as in the INT8 product, with three broadcasts and the lanes that
/// they are multiplied by take all 16 registers.
const TILE: usize = 3;

/// Computes what `scores` in `arch::scalar::scores` does.
///
/// # Safety
///
/// - `rows + r * row_stride` is valid for reading `2 * steps` values for each `r` below `count`.
/// - `row_scales` is valid for reading `count` values.
/// - `packed` is valid for reading `steps * PANEL` values.
/// - `lane_scales` is valid for reading `PANEL` values.
/// - `out + r * out_stride` is valid for writing `PANEL` values for each `r` below `count`.
/// - The CPU supports AVX-VNNI, AVX2, FMA and F16C.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avxvnni,avx2,fma,f16c")]
pub unsafe fn scores(
    rows: *const i16,
    row_stride: usize,
    row_scales: *const f32,
    count: usize,
    packed: *const i32,
    lane_scales: *const f32,
    steps: usize,
    out: *mut f32,
    out_stride: usize,
) {
    let mut row = 0;
    // Tiles are as even as possible, as in the INT8 product.
    let tiles = count.div_ceil(TILE);
    for index in 0..tiles {
        let size = (count - row).div_ceil(tiles - index);
        let tile = match size {
            1 => tile::<1>,
            2 => tile::<2>,
            _ => tile::<TILE>,
        };
        // SAFETY: the tile's rows are among the `count` that the caller guarantees.
        unsafe {
            tile(
                rows.add(row * row_stride),
                row_stride,
                row_scales.add(row),
                packed,
                lane_scales,
                steps,
                out.add(row * out_stride),
                out_stride,
            );
        }
        row += size;
    }
}

/// The product of one tile of `ROWS` rows.
///
/// # Safety
///
/// As for [`scores`] with `count = ROWS`.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avxvnni,avx2,fma,f16c")]
unsafe fn tile<const ROWS: usize>(
    rows: *const i16,
    row_stride: usize,
    row_scales: *const f32,
    packed: *const i32,
    lane_scales: *const f32,
    steps: usize,
    out: *mut f32,
    out_stride: usize,
) {
    // SAFETY: `row < ROWS` and `step < steps`, and the quarters of a row of lanes make up `PANEL`,
    // so each access lies within the lengths that the caller guarantees.
    unsafe {
        let mut sums = [[_mm256_setzero_si256(); 4]; ROWS];
        for step in 0..steps {
            let mut twos = [_mm256_setzero_si256(); ROWS];
            for (row, two) in twos.iter_mut().enumerate() {
                let values = rows.add(row * row_stride + 2 * step).cast::<i32>();
                *two = _mm256_set1_epi32(values.read_unaligned());
            }
            for quarter in 0..4 {
                let lanes = _mm256_loadu_si256(packed.add(step * PANEL + 8 * quarter).cast());
                for (sum, &two) in sums.iter_mut().zip(&twos) {
                    sum[quarter] = dpwssd(sum[quarter], lanes, two);
                }
            }
        }
        for (row, sum) in sums.iter().enumerate() {
            let row_scale = _mm256_set1_ps(*row_scales.add(row));
            for (quarter, sum) in sum.iter().enumerate() {
                let lane_scales = lane_scales.add(8 * quarter);
                let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(*sum), _mm256_loadu_ps(lane_scales));
                let scaled = _mm256_mul_ps(scaled, row_scale);
                _mm256_storeu_ps(out.add(row * out_stride + 8 * quarter), scaled);
            }
        }
    }
}
