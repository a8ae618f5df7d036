//! INT8 queries times rows, with `vpmaddwd`.
//!
//! Queries are packed as words, two values of each a step, and a lane is a query. The rows of a tile are
//! widened to words piece by piece, and two of them at a time broadcast.

use std::arch::x86_64::*;

use crate::layout::Line;
use crate::prefetch::prefetch_scan;
use crate::queries::{QUERY_GROUP, QueryLayout, row_block};

/// How queries are packed.
pub const QUERIES: QueryLayout = QueryLayout::Words;

/// Rows of a tile: 8 sums, as in the matrix product; each of the two registers of a group is loaded for all
/// of them.
const TILE: usize = 4;

/// Values of a row that are widened at a time: the words of a tile stay in the first level of the cache.
const PIECE: usize = 128;

/// Computes what `gemm_i8` in `arch::scalar::gemm_i8` does.
///
/// # Safety
///
/// - `rows` is valid for reading `count * dims` values.
/// - `packed` is valid for reading `groups` groups of queries of `dims` values as [`QUERIES`] packs
///   them.
/// - `out` is valid for writing `count * groups * QUERY_GROUP` values.
/// - The CPU supports AVX2.
#[target_feature(enable = "avx2")]
pub unsafe fn gemm_i8(
    rows: *const i8,
    dims: usize,
    count: usize,
    packed: *const Line,
    groups: usize,
    out: *mut i32,
) {
    let stride = groups * QUERY_GROUP;
    let block_rows = row_block(dims, groups, 2 * TILE);
    for first in (0..count).step_by(block_rows) {
        let block = block_rows.min(count - first);
        // SAFETY: the rows of a block are among the `count` that the caller guarantees; `group < groups`, and
        // `row + size` is at most the rows of the block.
        unsafe {
            let rows = rows.add(first * dims);
            for group in 0..groups {
                let packed = packed.add(group * QUERIES.group_lines(dims));
                let out = out.add(first * stride + group * QUERY_GROUP);
                let mut row = 0;
                while row < block {
                    let size = if block - row >= TILE { TILE } else { 1 };
                    let tile = if size == TILE {
                        tile::<TILE>
                    } else {
                        tile::<1>
                    };
                    tile(
                        rows.add(row * dims),
                        dims,
                        packed,
                        out.add(row * stride),
                        stride,
                    );
                    row += size;
                }
            }
        }
    }
}

/// The product of `ROWS` adjacent rows and one group.
///
/// # Safety
///
/// - `rows` is valid for reading `ROWS * dims` values.
/// - `packed` is valid for reading a group of queries.
/// - `out + row * stride` is valid for writing `QUERY_GROUP` values for each `row` below `ROWS`.
#[target_feature(enable = "avx2")]
unsafe fn tile<const ROWS: usize>(
    rows: *const i8,
    dims: usize,
    packed: *const Line,
    out: *mut i32,
    stride: usize,
) {
    // SAFETY: `row < ROWS`, pieces end at or before `dims`, a step is two of the words of a piece, and the last
    // one is completed with a zero, so each access lies within the lengths that the caller
    // guarantees. Lines are aligned.
    unsafe {
        let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
        let mut words = [[0i16; PIECE]; ROWS];
        for at in (0..dims).step_by(PIECE) {
            let length = PIECE.min(dims - at);
            for (row, words) in words.iter_mut().enumerate() {
                prefetch_scan(rows.cast(), ROWS * at + PIECE * row);
                prefetch_scan(rows.cast(), ROWS * at + PIECE * row + size_of::<Line>());
                widen(rows.add(row * dims + at), length, words);
            }
            let packed = packed.add(at / 2);
            for step in 0..length.div_ceil(2) {
                let queries = packed.add(step).cast::<__m256i>();
                let queries = [
                    _mm256_load_si256(queries),
                    _mm256_load_si256(queries.add(1)),
                ];
                for (sums, words) in sums.iter_mut().zip(&words) {
                    let two = words.as_ptr().add(2 * step).cast::<i32>();
                    let two = _mm256_set1_epi32(two.read_unaligned());
                    for (sum, queries) in sums.iter_mut().zip(queries) {
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(queries, two));
                    }
                }
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            let out = out.add(row * stride).cast::<__m256i>();
            _mm256_storeu_si256(out, sums[0]);
            _mm256_storeu_si256(out.add(1), sums[1]);
        }
    }
}

/// Widens up to [`PIECE`] values, and sets the word after an odd number of them to zero.
///
/// # Safety
///
/// `from` is valid for reading `length` values.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn widen(from: *const i8, length: usize, words: &mut [i16; PIECE]) {
    // SAFETY: whole registers end at or before `length`, which the caller guarantees, and at or before the
    // end of the words.
    unsafe {
        let whole = length / 16 * 16;
        for at in (0..whole).step_by(16) {
            let values = _mm_loadu_si128(from.add(at).cast());
            let to = words.as_mut_ptr().add(at).cast();
            _mm256_storeu_si256(to, _mm256_cvtepi8_epi16(values));
        }
        for (at, word) in words.iter_mut().enumerate().take(length).skip(whole) {
            *word = i16::from(*from.add(at));
        }
        if let Some(word) = words.get_mut(length) {
            *word = 0;
        }
    }
}
