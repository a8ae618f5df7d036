//! Attention values as packed integers.

use crate::layout::{BLOCK, PANEL};
use crate::simd::{LANES, Simd};

/// Quantizes the values of one panel of [`PANEL`] channels, less the mean of each channel, with one
/// scale a channel, and packs them for the weighted sum.
///
/// Softmax weights sum to one, so the weighted mean of the differences plus the mean is the
/// weighted mean of the values. Rounding a weight, or losing a small one, then costs only the
/// distance of its value from the mean. Users of the weighted sum add the mean.
///
/// Token `t` starts at `values + t * PANEL`. The result is `ceil(tokens / BLOCK)` blocks of steps
/// of [`PANEL`] lanes. A lane holds consecutive tokens of its channel, four bytes or, with `WORDS`,
/// two 16-bit words, with zeros after the last token. `scales` receives [`PANEL`] scales, then
/// [`PANEL`] means.
///
/// # Safety
///
/// - `values` is valid for reading `tokens * PANEL` values.
/// - `packed` is valid for writing `ceil(tokens / BLOCK) * BLOCK / n * PANEL` values, where `n` is
///   2 with `WORDS` and 4 without.
/// - `scales` is valid for writing `2 * PANEL` values.
/// - The CPU supports the instruction set of `S`.
#[inline(always)]
pub unsafe fn pack_values<S: Simd, const WORDS: bool>(
    values: *const f32,
    tokens: usize,
    packed: *mut i32,
    scales: *mut f32,
) {
    // SAFETY: `half + LANES` is at most `PANEL`; tokens stay below `tokens`, and steps below those
    // of its blocks. So every access lies within the lengths that the caller guarantees.
    unsafe {
        for half in [0, LANES] {
            let load = |token: usize| S::load(values.add(token * PANEL + half));
            let mut sum = S::splat(0.0);
            for token in 0..tokens {
                sum = sum.add(load(token));
            }
            let mean = sum.div(S::splat(tokens.max(1) as f32));
            let mut largest = S::splat(0.0);
            for token in 0..tokens {
                largest = largest.max(load(token).sub(mean).abs());
            }
            // For a channel of zeros 127 / 0 would be infinite.
            let inverse = S::splat(127.0).div(largest.max(S::splat(1e-30)));
            largest.div(S::splat(127.0)).store(scales.add(half));
            mean.store(scales.add(PANEL + half));
            let value = |token: usize| {
                if token < tokens {
                    load(token).sub(mean).mul(inverse).round()
                } else {
                    S::splat(0.0).round()
                }
            };
            let padded = tokens.next_multiple_of(BLOCK);
            let store = |step: usize, lanes| S::store_int(lanes, packed.add(step * PANEL + half));
            if WORDS {
                for step in 0..padded / 2 {
                    store(
                        step,
                        S::join_int::<16>(value(2 * step), value(2 * step + 1)),
                    );
                }
            } else {
                for step in 0..padded / 4 {
                    let pair = |token: usize| S::join_int::<8>(value(token), value(token + 1));
                    store(step, S::join_int::<16>(pair(4 * step), pair(4 * step + 2)));
                }
            }
        }
    }
}
