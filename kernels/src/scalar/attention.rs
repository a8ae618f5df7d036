//! Attention products, as the specification states them.

use crate::layout::PANEL;

/// Tokens in a lane of packed values.
pub const VALUE_GROUP: usize = 4;

/// Query times key, exact in INT16, scaled; see [`crate::Kernels::attention_scores`].
///
/// # Safety
///
/// `count` queries `query_stride` values apart with `2 * pairs` values each and one scale each; `keys` holds
/// `pairs * 32` packed pairs, `key_scales` 32 scales; rows of 32 scores go to `out`, `out_stride` values apart.
#[allow(clippy::too_many_arguments)]
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
    // SAFETY: the offsets stay inside what the caller vouches for.
    unsafe {
        for query in 0..count {
            let mut sums = [0i32; PANEL];
            for pair in 0..pairs {
                let two = queries.add(query * query_stride + 2 * pair);
                let (first, second) = (i32::from(*two), i32::from(*two.add(1)));
                for (key, sum) in sums.iter_mut().enumerate() {
                    let packed = *keys.add(pair * PANEL + key);
                    *sum += i32::from(packed as i16) * first + (packed >> 16) * second;
                }
            }
            for (key, sum) in sums.iter().enumerate() {
                *out.add(query * out_stride + key) =
                    *sum as f32 * *key_scales.add(key) * *query_scales.add(query);
            }
        }
    }
}

/// Softmax weights times values, exact in integers, scaled; see [`crate::Kernels::attention_weighted_sum`].
///
/// # Safety
///
/// `count` rows of at least `groups * VALUE_GROUP` weights, `weight_stride` apart; `values` holds `groups * 32` packed
/// lanes, `scales` 32 scales and 32 means, `factors` one factor a row; rows of 32 values go to `out`, `out_stride` apart.
#[allow(clippy::too_many_arguments)]
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
    // SAFETY: the offsets stay inside what the caller vouches for.
    unsafe {
        for row in 0..count {
            let mut sums = [0i32; PANEL];
            for group in 0..groups {
                let four = weights.add(row * weight_stride + VALUE_GROUP * group);
                let four = four.cast::<[u8; VALUE_GROUP]>().read();
                for (channel, sum) in sums.iter_mut().enumerate() {
                    let packed = (*values.add(group * PANEL + channel)).to_le_bytes();
                    for (weight, value) in std::iter::zip(four, packed) {
                        *sum += i32::from(weight) * i32::from(value as i8);
                    }
                }
            }
            for (channel, sum) in sums.iter().enumerate() {
                let scaled = *sum as f32 * *scales.add(channel) * *factors.add(row);
                *out.add(row * out_stride + channel) = scaled + *scales.add(PANEL + channel);
            }
        }
    }
}
