//! One INT8 query times rows, with `vpdpbusd` on 512-bit registers.
//!
//! The rows, with 128 added, are the unsigned operand; −128 × the sum of the query takes that back.
//! Four rows are multiplied side by side, so that their sums hide the latency of the additions and are
//! reduced together. A line of rows takes two instructions of arithmetic, far fewer than it takes to
//! arrive from memory.

use std::arch::x86_64::*;

use super::reduce::sums_of_4;
use crate::prefetch::prefetch_scan;

/// Rows of a tile: as many sums as one register of results has after two steps of the reduction.
const TILE: usize = 4;

/// Computes what `dot_i8` in `arch::scalar::dot_i8` does.
///
/// # Safety
///
/// - `rows` is valid for reading `count * dims` values.
/// - `query` is valid for reading `dims` values.
/// - `out` is valid for writing `count` values.
/// - The CPU supports AVX-512 F, BW, DQ, VL and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe fn dot_i8(rows: *const i8, dims: usize, count: usize, query: *const i8, out: *mut i32) {
    // SAFETY: the rows of a tile are among the `count` that the caller guarantees, and so are their
    // outputs.
    unsafe {
        let query_sum: i32 = std::slice::from_raw_parts(query, dims)
            .iter()
            .map(|value| i32::from(*value))
            .sum();
        let correction = _mm_set1_epi32(-128 * query_sum);
        let mut row = 0;
        while row + TILE <= count {
            let sums = tile::<TILE>(rows.add(row * dims), dims, query);
            _mm_storeu_si128(out.add(row).cast(), _mm_add_epi32(sums, correction));
            row += TILE;
        }
        while row < count {
            let sums = tile::<1>(rows.add(row * dims), dims, query);
            *out.add(row) = _mm_cvtsi128_si32(_mm_add_epi32(sums, correction));
            row += 1;
        }
    }
}

/// `Σ_i (row[i] + 128) × query[i]` of `ROWS` adjacent rows, up to four, in the first lanes.
///
/// # Safety
///
/// - `rows` is valid for reading `ROWS * dims` values.
/// - `query` is valid for reading `dims` values.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tile<const ROWS: usize>(rows: *const i8, dims: usize, query: *const i8) -> __m128i {
    // SAFETY: whole registers end at or before `dims`, and the masks of the last ones leave out what lies
    // past it, so each access lies within the rows and the query that the caller guarantees.
    unsafe {
        let sign = _mm512_set1_epi8(-128);
        let mut sums = [_mm512_setzero_si512(); TILE];
        let whole = dims / 64 * 64;
        for at in (0..whole).step_by(64) {
            let query = _mm512_loadu_si512(query.add(at).cast());
            for (row, sum) in sums.iter_mut().take(ROWS).enumerate() {
                prefetch_scan(rows.cast(), ROWS * at + 64 * row);
                let values = _mm512_loadu_si512(rows.add(row * dims + at).cast());
                *sum = _mm512_dpbusd_epi32(*sum, _mm512_xor_si512(values, sign), query);
            }
        }
        if whole < dims {
            let mask = !0 >> (64 - (dims - whole));
            let query = _mm512_maskz_loadu_epi8(mask, query.add(whole));
            for (row, sum) in sums.iter_mut().take(ROWS).enumerate() {
                prefetch_scan(rows.cast(), ROWS * whole + 64 * row);
                let values = _mm512_maskz_loadu_epi8(mask, rows.add(row * dims + whole));
                *sum = _mm512_dpbusd_epi32(*sum, _mm512_xor_si512(values, sign), query);
            }
        }
        sums_of_4(sums)
    }
}
