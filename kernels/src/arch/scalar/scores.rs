//! Queries times keys in INT16: the specification.

use crate::layout::PANEL;

/// `out[r][l] = f32(Σ_i rows[r][i] packed[l][i]) × lane_scales[l] × row_scales[r]`, exact in
/// integers: queries times keys, see [`crate::Kernels::attention_scores`], and softmax weights
/// times values, see [`crate::Kernels::attention_weighted_sum`].
///
/// `packed` is `steps` steps of [`PANEL`] lanes, each lane two consecutive 16-bit values.
///
/// # Safety
///
/// - `rows + r * row_stride` is valid for reading `2 * steps` values for each `r` below `count`.
/// - `row_scales` is valid for reading `count` values.
/// - `packed` is valid for reading `steps * PANEL` values.
/// - `lane_scales` is valid for reading `PANEL` values.
/// - `out + r * out_stride` is valid for writing `PANEL` values for each `r` below `count`.
#[allow(clippy::too_many_arguments)]
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
    // SAFETY: `row < count`, `step < steps` and `lane < PANEL`, so each access lies within the
    // lengths that the caller guarantees.
    unsafe {
        for row in 0..count {
            let mut sums = [0i32; PANEL];
            for step in 0..steps {
                let two = rows.add(row * row_stride + 2 * step);
                let (first, second) = (i32::from(*two), i32::from(*two.add(1)));
                for (lane, sum) in sums.iter_mut().enumerate() {
                    let packed = *packed.add(step * PANEL + lane);
                    *sum += i32::from(packed as i16) * first + (packed >> 16) * second;
                }
            }
            for (lane, sum) in sums.iter().enumerate() {
                *out.add(row * out_stride + lane) =
                    *sum as f32 * *lane_scales.add(lane) * *row_scales.add(row);
            }
        }
    }
}
