//! One INT8 query times rows, with `vpmaddwd`: bytes are widened to words, so that no product saturates.

use std::arch::x86_64::*;

use crate::arch::x86::{last_bytes, padded, sums_of_4};
use crate::prefetch::prefetch_scan;

/// Rows of a tile: they share the widened query, and their sums are reduced together.
const TILE: usize = 4;

/// Computes what `dot_i8` in `arch::scalar::dot_i8` does.
///
/// # Safety
///
/// - `rows` is valid for reading `count * dims` values.
/// - `query` is valid for reading `dims` values.
/// - `out` is valid for writing `count` values.
/// - The CPU supports AVX2.
#[target_feature(enable = "avx2")]
pub unsafe fn dot_i8(rows: *const i8, dims: usize, count: usize, query: *const i8, out: *mut i32) {
    // SAFETY: the rows of a tile are among the `count` that the caller guarantees, and so are their
    // outputs.
    unsafe {
        let mut row = 0;
        while row + TILE <= count {
            let sums = tile::<TILE>(rows.add(row * dims), dims, query);
            _mm_storeu_si128(out.add(row).cast(), sums);
            row += TILE;
        }
        while row < count {
            let sums = tile::<1>(rows.add(row * dims), dims, query);
            *out.add(row) = _mm_cvtsi128_si32(sums);
            row += 1;
        }
    }
}

/// The dot products of `ROWS` adjacent rows, up to four, in the first lanes.
///
/// # Safety
///
/// - `rows` is valid for reading `ROWS * dims` values.
/// - `query` is valid for reading `dims` values.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn tile<const ROWS: usize>(rows: *const i8, dims: usize, query: *const i8) -> __m128i {
    const WIDTH: usize = size_of::<__m128i>();
    // SAFETY: whole registers end at or before `dims`, and so do the last ones, which begin `WIDTH` before
    // it where the row is so long; a shorter one is copied. So each access lies within the rows and
    // the query that the caller guarantees, or in a copy.
    unsafe {
        let mut sums = [_mm256_setzero_si256(); TILE];
        let whole = dims / WIDTH * WIDTH;
        for at in (0..whole).step_by(WIDTH) {
            let query = _mm256_cvtepi8_epi16(_mm_loadu_si128(query.add(at).cast()));
            for (row, sum) in sums.iter_mut().take(ROWS).enumerate() {
                prefetch_scan(rows.cast(), ROWS * at + WIDTH * row);
                let values = _mm_loadu_si128(rows.add(row * dims + at).cast());
                let products = _mm256_madd_epi16(_mm256_cvtepi8_epi16(values), query);
                *sum = _mm256_add_epi32(*sum, products);
            }
        }
        let left = dims - whole;
        if left > 0 && whole > 0 {
            // What was multiplied already meets zeros: the mask of 32 bytes ends as that of 16.
            let query = _mm_loadu_si128(query.add(dims - WIDTH).cast());
            let mask = _mm256_extracti128_si256::<1>(last_bytes(left));
            let query = _mm256_cvtepi8_epi16(_mm_and_si128(query, mask));
            for (row, sum) in sums.iter_mut().take(ROWS).enumerate() {
                let values = _mm_loadu_si128(rows.add((row + 1) * dims - WIDTH).cast());
                let products = _mm256_madd_epi16(_mm256_cvtepi8_epi16(values), query);
                *sum = _mm256_add_epi32(*sum, products);
            }
        } else if left > 0 {
            let words = |from: *const i8| {
                _mm256_cvtepi8_epi16(_mm256_castsi256_si128(padded(from.cast(), left)))
            };
            let query = words(query);
            for (row, sum) in sums.iter_mut().take(ROWS).enumerate() {
                let products = _mm256_madd_epi16(words(rows.add(row * dims)), query);
                *sum = _mm256_add_epi32(*sum, products);
            }
        }
        sums_of_4(sums)
    }
}
