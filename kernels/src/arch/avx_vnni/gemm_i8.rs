//! INT8 queries times rows, with `vpdpbusd` on 256-bit registers.
//!
//! Packed queries have the layout of the AVX-512 kernels, and the operands are the same: a lane is a
//! query with 128 added, four values of a row are broadcast, and −128 × the row's sum is where its
//! scores start.

use std::arch::x86_64::*;

use crate::arch::x86::{padded, sums_of_4};
use crate::layout::Line;
use crate::prefetch::{BLOCK_AHEAD, prefetch_outer};
use crate::queries::{MAX_ROW_BLOCK, QUERY_GROUP, QueryLayout, STEP, row_block, step_of};

/// How queries are packed.
pub const QUERIES: QueryLayout = QueryLayout::UnsignedBytes;

/// Rows of a tile: 12 sums, the two registers of a group and a broadcast are 15 of the 16 registers.
const TILE: usize = 6;

/// Computes what `gemm_i8` in `arch::scalar::gemm_i8` does.
///
/// # Safety
///
/// - `rows` is valid for reading `count * dims` values.
/// - `packed` is valid for reading `groups` groups of queries of `dims` values as [`QUERIES`] packs
///   them.
/// - `out` is valid for writing `count * groups * QUERY_GROUP` values.
/// - The CPU supports AVX-VNNI and AVX2.
#[target_feature(enable = "avxvnni,avx2")]
pub unsafe fn gemm_i8(
    rows: *const i8,
    dims: usize,
    count: usize,
    packed: *const Line,
    groups: usize,
    out: *mut i32,
) {
    let stride = groups * QUERY_GROUP;
    let mut corrections = [0; MAX_ROW_BLOCK];
    let block_rows = row_block(dims, groups, 2 * TILE);
    for first in (0..count).step_by(block_rows) {
        let block = block_rows.min(count - first);
        // SAFETY: the rows of a block are among the `count` that the caller guarantees, and at most
        // `MAX_ROW_BLOCK`; `group < groups`, and `row + size` is at most the rows of the block.
        unsafe {
            let rows = rows.add(first * dims);
            correct(rows, dims, &mut corrections[..block]);
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
                    let part = size * dims / groups;
                    tile(
                        rows.add(row * dims),
                        dims,
                        corrections.as_ptr().add(row),
                        packed,
                        out.add(row * stride),
                        stride,
                        rows.wrapping_add(BLOCK_AHEAD + (row + block_rows) * dims + group * part),
                        size * STEP / groups,
                    );
                    row += size;
                }
            }
        }
    }
}

/// −128 × the sum of each row.
///
/// # Safety
///
/// `rows` is valid for reading `dims` values for each of `corrections`.
#[target_feature(enable = "avxvnni,avx2")]
unsafe fn correct(rows: *const i8, dims: usize, corrections: &mut [i32]) {
    const WIDTH: usize = size_of::<__m256i>();
    for (row, correction) in corrections.iter_mut().enumerate() {
        // SAFETY: the row is one that the caller guarantees, whole registers end at or before `dims`, and
        // what is left is copied.
        unsafe {
            let row = rows.add(row * dims);
            let ones = _mm256_set1_epi8(1);
            let mut sums = [_mm256_setzero_si256(); 4];
            let whole = dims / WIDTH * WIDTH;
            for at in (0..whole).step_by(WIDTH) {
                let values = _mm256_loadu_si256(row.add(at).cast());
                sums[0] = _mm256_dpbusd_avx_epi32(sums[0], ones, values);
            }
            let values = padded(row.add(whole).cast(), dims - whole);
            sums[0] = _mm256_dpbusd_avx_epi32(sums[0], ones, values);
            *correction = -128 * _mm_cvtsi128_si32(sums_of_4(sums));
        }
    }
}

/// The product of `ROWS` rows and one group. Each step prefetches one of the lines at `ahead`, `ahead_step`
/// bytes after the last.
///
/// # Safety
///
/// - `rows` is valid for reading `ROWS * dims` values, `corrections` for reading `ROWS`.
/// - `packed` is valid for reading a group of queries.
/// - `out + row * stride` is valid for writing `QUERY_GROUP` values for each `row` below `ROWS`.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avxvnni,avx2")]
unsafe fn tile<const ROWS: usize>(
    rows: *const i8,
    dims: usize,
    corrections: *const i32,
    packed: *const Line,
    out: *mut i32,
    stride: usize,
    ahead: *const i8,
    ahead_step: usize,
) {
    // SAFETY: `row < ROWS`, whole steps end at or before `dims`, and `step_of` reads what is left, so each
    // access lies within the lengths that the caller guarantees. Lines are aligned.
    unsafe {
        let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
        for (row, sums) in sums.iter_mut().enumerate() {
            *sums = [_mm256_set1_epi32(*corrections.add(row)); 2];
        }
        let steps = dims.div_ceil(STEP);
        let whole = dims / STEP;
        let add = |sums: &mut [__m256i; 2], step: usize, four: i32| {
            let queries = packed.add(step).cast::<__m256i>();
            let four = _mm256_set1_epi32(four);
            for (half, sum) in sums.iter_mut().enumerate() {
                let queries = _mm256_load_si256(queries.add(half));
                *sum = _mm256_dpbusd_avx_epi32(*sum, queries, four);
            }
        };
        for step in 0..whole {
            prefetch_outer(ahead.wrapping_add(step * ahead_step).cast());
            for (row, sums) in sums.iter_mut().enumerate() {
                let four = rows.add(row * dims + STEP * step).cast::<i32>();
                add(sums, step, four.read_unaligned());
            }
        }
        if whole < steps {
            for (row, sums) in sums.iter_mut().enumerate() {
                let four = step_of(rows.add(row * dims + STEP * whole), dims - STEP * whole);
                add(sums, whole, four);
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            let out = out.add(row * stride).cast::<__m256i>();
            _mm256_storeu_si256(out, sums[0]);
            _mm256_storeu_si256(out.add(1), sums[1]);
        }
    }
}
