//! Queries times keys in INT16 on 256-bit registers, with `vpmaddwd`.

use std::arch::x86_64::*;

use crate::layout::PANEL;

/// Rows of a tile: 8 accumulators, as in the INT8 product.
const TILE: usize = 2;

/// Computes what `scores` in `arch::scalar::scores` does.
///
/// # Safety
///
/// - `rows + r * row_stride` is valid for reading `2 * steps` values for each `r` below `count`.
/// - `row_scales` is valid for reading `count` values.
/// - `packed` is valid for reading `steps * PANEL` values.
/// - `lane_scales` is valid for reading `PANEL` values.
/// - `out + r * out_stride` is valid for writing `PANEL` values for each `r` below `count`.
/// - The CPU supports AVX2, FMA and F16C.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avx2,fma,f16c")]
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
    for row in (0..count).step_by(TILE) {
        let tile = if count - row == 1 {
            tile::<1>
        } else {
            tile::<TILE>
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
    }
}

/// The product of one tile of `ROWS` rows.
///
/// # Safety
///
/// As for [`scores`] with `count = ROWS`.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avx2,fma,f16c")]
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
    // SAFETY: `row < ROWS` and `step < steps`, and the parts of a row of lanes make up `PANEL`, so
    // each access lies within the lengths that the caller guarantees.
    unsafe {
        let mut sums = [[_mm256_setzero_si256(); 4]; ROWS];
        for step in 0..steps {
            for (row, sum) in sums.iter_mut().enumerate() {
                let two = rows.add(row * row_stride + 2 * step).cast::<i32>();
                let two = _mm256_set1_epi32(two.read_unaligned());
                for (quarter, sum) in sum.iter_mut().enumerate() {
                    let lanes = _mm256_loadu_si256(packed.add(step * PANEL + 8 * quarter).cast());
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(lanes, two));
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
