//! Which scores of a search reach the thresholds of their queries.

use crate::simd::{LANES, Simd};

/// Sets bit `lane` of `masks[row * groups + group]` where
/// `sums[…] as f32 × row_scales[row] × query_scales[16 * group + lane]`, each product rounded, is at least
/// `thresholds[16 * group + lane]`. Returns whether any bit is set.
///
/// # Safety
///
/// - `sums` is valid for reading `rows * groups * 16` values, `row_scales` for `rows`, `query_scales` and
///   `thresholds` for `groups * 16`.
/// - `masks` is valid for writing `rows * groups` values.
/// - The CPU supports the instruction set of `S`.
#[inline(always)]
pub unsafe fn at_least<S: Simd>(
    sums: *const i32,
    rows: usize,
    groups: usize,
    row_scales: *const f32,
    query_scales: *const f32,
    thresholds: *const f32,
    masks: *mut u16,
) -> bool {
    let mut any = 0;
    for row in 0..rows {
        // SAFETY: `row < rows` and `group < groups`, so each access is one that the caller guarantees.
        unsafe {
            let row_scale = S::splat(*row_scales.add(row));
            for group in 0..groups {
                let at = row * groups + group;
                let sums = S::from_int(S::load_int(sums.add(at * LANES)));
                let scores = sums.mul(row_scale);
                let scores = scores.mul(S::load(query_scales.add(group * LANES)));
                let mask = scores.at_least(S::load(thresholds.add(group * LANES)));
                *masks.add(at) = mask;
                any |= mask;
            }
        }
    }
    any != 0
}

/// Sets bit `lane` of `masks[row * groups + group]` where `distances[…]` is at most
/// `limits[16 * group + lane]`. Returns whether any bit is set.
///
/// # Safety
///
/// - `distances` is valid for reading `rows * groups * 16` values, `limits` for `groups * 16`.
/// - `masks` is valid for writing `rows * groups` values.
/// - The CPU supports the instruction set of `S`.
#[inline(always)]
pub unsafe fn at_most<S: Simd>(
    distances: *const u32,
    rows: usize,
    groups: usize,
    limits: *const f32,
    masks: *mut u16,
) -> bool {
    let mut any = 0;
    for row in 0..rows {
        for group in 0..groups {
            // SAFETY: `row < rows` and `group < groups`, so each access is one that the caller guarantees.
            unsafe {
                let at = row * groups + group;
                // Distances are below 2²⁴, so they are exact in f32.
                let distances = S::from_int(S::load_int(distances.add(at * LANES).cast()));
                let mask = S::load(limits.add(group * LANES)).at_least(distances);
                *masks.add(at) = mask;
                any |= mask;
            }
        }
    }
    any != 0
}
