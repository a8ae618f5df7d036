//! Softmax weights times values: the specification.

use crate::layout::{BLOCK, Line, PANEL, SoftmaxBlock};

/// Lines of the packed values of [`BLOCK`] tokens: steps of four bytes a channel.
pub const VALUE_LINES: usize = PANEL * BLOCK / size_of::<Line>();

/// `out[r][c] = (Σ_b f32(Σ_k weights[r][b][k] values[b][k][c]) × weight scale) × channel scale ×
/// factor[r]`: exact integers in a block (with two terms `256 × first + second`), then one fused
/// multiply-add, the blocks in order; see
/// [`crate::Kernels::attention_weighted_sum`]. `packed` is the output of `pack_values`.
///
/// # Safety
///
/// - `weights + r * weight_stride` is valid for reading `blocks * TERMS` blocks for each `r` below
///   `count`.
/// - `factors` is valid for reading `count` values.
/// - `packed` is valid for reading `blocks * VALUE_LINES` lines.
/// - `channel_scales` is valid for reading `PANEL` values.
/// - `out + r * out_stride` is valid for writing `PANEL` values for each `r` below `count`.
#[allow(clippy::too_many_arguments)]
pub unsafe fn weighted_sum<const TERMS: usize>(
    weights: *const SoftmaxBlock,
    weight_stride: usize,
    factors: *const f32,
    count: usize,
    packed: *const Line,
    channel_scales: *const f32,
    blocks: usize,
    out: *mut f32,
    out_stride: usize,
) {
    // SAFETY: `row < count`, `block < blocks`, `step` is below the `BLOCK / 4` steps of a block and
    // `channel < PANEL`, so each access lies within the lengths that the caller guarantees.
    unsafe {
        for row in 0..count {
            let mut sums = [0.0f32; PANEL];
            for block in 0..blocks {
                let terms = weights.add(row * weight_stride + block * TERMS);
                let values = packed.add(block * VALUE_LINES).cast::<[[i8; 4]; PANEL]>();
                let mut products = [0i32; PANEL];
                for term in 0..TERMS {
                    products.iter_mut().for_each(|product| *product <<= 8);
                    let weights = &(*terms.add(term)).values;
                    for (step, four) in weights.chunks_exact(4).enumerate() {
                        let values = &*values.add(step);
                        for (product, values) in products.iter_mut().zip(values) {
                            for (weight, value) in four.iter().zip(values) {
                                *product += i32::from(*weight) * i32::from(*value);
                            }
                        }
                    }
                }
                for (sum, product) in sums.iter_mut().zip(products) {
                    *sum = (product as f32).mul_add((*terms).scale, *sum);
                }
            }
            for (channel, sum) in sums.iter().enumerate() {
                *out.add(row * out_stride + channel) =
                    sum * *channel_scales.add(channel) * *factors.add(row);
            }
        }
    }
}
