//! One INT8 query times rows, with `vpdpbusd` on 256-bit registers, as on 512-bit ones.

use std::arch::x86_64::*;

use crate::arch::x86::{last_bytes, padded, sums_of_4};
use crate::prefetch::prefetch_scan;

/// Rows of a tile: their sums are reduced together.
const TILE: usize = 4;

/// Computes what `dot_i8` in `arch::scalar::dot_i8` does.
///
/// # Safety
///
/// - `rows` is valid for reading `count * dims` values.
/// - `query` is valid for reading `dims` values.
/// - `out` is valid for writing `count` values.
/// - The CPU supports AVX-VNNI and AVX2.
#[target_feature(enable = "avxvnni,avx2")]
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
#[target_feature(enable = "avxvnni,avx2")]
unsafe fn tile<const ROWS: usize>(rows: *const i8, dims: usize, query: *const i8) -> __m128i {
    const WIDTH: usize = size_of::<__m256i>();
    // SAFETY: whole registers end at or before `dims`, and so do the last ones, which begin `WIDTH` before
    // it where the row is so long; a shorter one is copied. So each access lies within the rows and
    // the query that the caller guarantees, or in a copy.
    unsafe {
        let sign = _mm256_set1_epi8(-128);
        let mut sums = [_mm256_setzero_si256(); TILE];
        let whole = dims / WIDTH * WIDTH;
        for at in (0..whole).step_by(WIDTH) {
            let query = _mm256_loadu_si256(query.add(at).cast());
            for (row, sum) in sums.iter_mut().take(ROWS).enumerate() {
                prefetch_scan(rows.cast(), ROWS * at + WIDTH * row);
                let values = _mm256_loadu_si256(rows.add(row * dims + at).cast());
                *sum = _mm256_dpbusd_avx_epi32(*sum, _mm256_xor_si256(values, sign), query);
            }
        }
        let left = dims - whole;
        if left > 0 && whole > 0 {
            // What was multiplied already meets zeros.
            let query = _mm256_loadu_si256(query.add(dims - WIDTH).cast());
            let query = _mm256_and_si256(query, last_bytes(left));
            for (row, sum) in sums.iter_mut().take(ROWS).enumerate() {
                let values = _mm256_loadu_si256(rows.add((row + 1) * dims - WIDTH).cast());
                *sum = _mm256_dpbusd_avx_epi32(*sum, _mm256_xor_si256(values, sign), query);
            }
        } else if left > 0 {
            let query = padded(query.cast(), left);
            for (row, sum) in sums.iter_mut().take(ROWS).enumerate() {
                let values = padded(rows.add(row * dims).cast(), left);
                *sum = _mm256_dpbusd_avx_epi32(*sum, _mm256_xor_si256(values, sign), query);
            }
        }
        sums_of_4(sums)
    }
}
