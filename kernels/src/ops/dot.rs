//! Dot products of f32 rows.

use crate::prefetch::prefetch_scan;
use crate::simd::{LANES, Simd};

/// Rows that are multiplied side by side: they share the query, and their sums hide each other's latency.
const TILE: usize = 4;

/// `out[row] = Σ_i rows[row][i] × query[i]`: value `i` is added to partial sum `i % 16`, in order and each
/// product rounded; the sums are then reduced as [`Simd::reduce_add`] does.
///
/// # Safety
///
/// - `rows` is valid for reading `count * dims` values.
/// - `query` is valid for reading `dims` values.
/// - `out` is valid for writing `count` values.
/// - The CPU supports the instruction set of `S`.
#[inline(always)]
pub unsafe fn dot_f32<S: Simd>(
    rows: *const f32,
    dims: usize,
    count: usize,
    query: *const f32,
    out: *mut f32,
) {
    // SAFETY: `row < count`, so each row and each output is one that the caller guarantees.
    unsafe {
        let mut row = 0;
        while row + TILE <= count {
            let sums = sums::<S, TILE>(rows.add(row * dims), dims, query);
            out.add(row).cast::<[f32; TILE]>().write_unaligned(sums);
            row += TILE;
        }
        while row < count {
            let [sum] = sums::<S, 1>(rows.add(row * dims), dims, query);
            *out.add(row) = sum;
            row += 1;
        }
    }
}

/// The dot products of `ROWS` adjacent rows.
///
/// # Safety
///
/// - `rows` is valid for reading `ROWS * dims` values.
/// - `query` is valid for reading `dims` values.
/// - The CPU supports the instruction set of `S`.
#[inline(always)]
unsafe fn sums<S: Simd, const ROWS: usize>(
    rows: *const f32,
    dims: usize,
    query: *const f32,
) -> [f32; ROWS] {
    // SAFETY: whole lanes end at or before `dims`, and `last` copies the values after them, so each access
    // lies within the rows and the query that the caller guarantees.
    unsafe {
        let mut sums = [S::splat(0.0); ROWS];
        let whole = dims / LANES * LANES;
        for at in (0..whole).step_by(LANES) {
            let query = S::load(query.add(at));
            for (row, sum) in sums.iter_mut().enumerate() {
                prefetch_scan(rows.cast(), (ROWS * at + LANES * row) * size_of::<f32>());
                *sum = sum.add(S::load(rows.add(row * dims + at)).mul(query));
            }
        }
        if whole < dims {
            // A sum that starts with 0.0 is never −0.0, so adding the zeros past the end changes none.
            let query = last::<S>(query.add(whole), dims - whole);
            for (row, sum) in sums.iter_mut().enumerate() {
                let row = last::<S>(rows.add(row * dims + whole), dims - whole);
                *sum = sum.add(row.mul(query));
            }
        }
        sums.map(|sum| sum.reduce_add())
    }
}

/// The first `count` lanes from memory, zeros in the others.
///
/// # Safety
///
/// `from` is valid for reading `count` values, fewer than 16. The CPU supports the instruction set of `S`.
#[inline(always)]
unsafe fn last<S: Simd>(from: *const f32, count: usize) -> S {
    let mut lanes = [0.0; LANES];
    // SAFETY: the caller guarantees `count` readable values, which are fewer than the array has.
    unsafe {
        from.copy_to_nonoverlapping(lanes.as_mut_ptr(), count);
        S::load(lanes.as_ptr())
    }
}
