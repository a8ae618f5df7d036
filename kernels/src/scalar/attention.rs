//! The product of attention, as the specification states it.

use crate::layout::PANEL;

/// Rows of INT16 times packed lanes, exact in integers, scaled; see [`crate::Kernels::attention_scores`].
///
/// # Safety
///
/// `count` rows of `2 * steps` values, `row_stride` values apart, and one scale each; `packed` holds `steps * 32` lanes of
/// two values, `lane_scales` 32 scales; rows of 32 results go to `out`,
/// `out_stride` values apart.
#[allow(clippy::too_many_arguments)]
pub unsafe fn product(
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
    // SAFETY: the offsets stay inside what the caller vouches for.
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
