//! INT8 queries times rows, with `vpdpbusd` on 512-bit registers.
//!
//! A quarter of a register holds sixteen values of a query, so four registers hold those of a group, and
//! sixteen values of a row are broadcast to the quarters of one. Six rows then take 10 loads for 24
//! `vpdpbusd`; with four values of all queries in a register they would take 17 for 16, and loads would be
//! the limit. What is left to sum at the end is four lanes, for all queries of a row at once.
//!
//! Queries, packed with 128 added, are the unsigned operand and rows the signed one: −128 × the row's sum takes
//! the addition back. The rows are summed block by block, in order, which brings them into the first level of the
//! cache; each two steps of a product prefetch their share of what a later block reads.

use std::arch::x86_64::*;

use super::reduce::{sums_of_4, sums_of_quarters};
use crate::layout::Line;
use crate::prefetch::{BLOCK_AHEAD, prefetch_outer};
use crate::queries::{MAX_ROW_BLOCK, QUARTER, QUERY_GROUP, QueryLayout, row_block};

/// How queries are packed.
pub const QUERIES: QueryLayout = QueryLayout::UnsignedQuarters;

/// Rows of a tile: 24 sums, the four registers of a group and a row are 29 of the 32 registers.
const TILE: usize = 6;

/// Computes what `gemm_i8` in `arch::scalar::gemm_i8` does.
///
/// # Safety
///
/// - `rows` is valid for reading `count * dims` values.
/// - `packed` is valid for reading `groups` groups of queries of `dims` values as [`QUERIES`] packs
///   them.
/// - `out` is valid for writing `count * groups * QUERY_GROUP` values.
/// - The CPU supports AVX-512 F, BW, DQ, VL and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
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
    let block_rows = row_block(dims, groups, TILE);
    // The rows of a tile are 192 bytes for two steps.
    let whole: Tile = match groups {
        1 => tile::<TILE, 3>,
        2 => tile::<TILE, 2>,
        _ => tile::<TILE, 1>,
    };
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
                    let (tile, size): (Tile, usize) = match block - row {
                        1 => (tile::<1, 1>, 1),
                        2..TILE => (tile::<2, 1>, 2),
                        _ => (whole, TILE),
                    };
                    // As many rows of a later block, of which each group prefetches its part.
                    let later = rows.wrapping_add(BLOCK_AHEAD + (block_rows + row) * dims);
                    tile(
                        rows.add(row * dims),
                        dims,
                        corrections.as_ptr().add(row),
                        packed,
                        out.add(row * stride),
                        stride,
                        later.wrapping_add(group * size * dims / groups),
                        size * QUARTER / groups,
                    );
                    row += size;
                }
            }
        }
    }
}

/// The signature of [`tile`].
type Tile = unsafe fn(*const i8, usize, *const i32, *const Line, *mut i32, usize, *const i8, usize);

/// −128 × the sum of each row.
///
/// # Safety
///
/// `rows` is valid for reading `dims` values for each of `corrections`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn correct(rows: *const i8, dims: usize, corrections: &mut [i32]) {
    for (index, corrections) in corrections.chunks_mut(4).enumerate() {
        // SAFETY: the rows of a chunk are among those that the caller guarantees.
        let sums = unsafe {
            let rows = rows.add(4 * index * dims);
            match corrections.len() {
                1 => row_sums::<1>(rows, dims),
                2 => row_sums::<2>(rows, dims),
                3 => row_sums::<3>(rows, dims),
                _ => row_sums::<4>(rows, dims),
            }
        };
        for (correction, sum) in corrections.iter_mut().zip(sums) {
            *correction = -128 * sum;
        }
    }
}

/// The sums of up to four adjacent rows.
///
/// # Safety
///
/// `rows` is valid for reading `ROWS * dims` values.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn row_sums<const ROWS: usize>(rows: *const i8, dims: usize) -> [i32; 4] {
    // SAFETY: whole registers end at or before `dims`, and the mask of the last ones leaves out what lies past
    // it, so each access lies within the rows that the caller guarantees. The store fills the array.
    unsafe {
        let ones = _mm512_set1_epi8(1);
        let mut sums = [_mm512_setzero_si512(); 4];
        let whole = dims / 64 * 64;
        for at in (0..whole).step_by(64) {
            for (row, sum) in sums.iter_mut().take(ROWS).enumerate() {
                let values = _mm512_loadu_si512(rows.add(row * dims + at).cast());
                *sum = _mm512_dpbusd_epi32(*sum, ones, values);
            }
        }
        if whole < dims {
            let mask = !0 >> (64 - (dims - whole));
            for (row, sum) in sums.iter_mut().take(ROWS).enumerate() {
                let values = _mm512_maskz_loadu_epi8(mask, rows.add(row * dims + whole));
                *sum = _mm512_dpbusd_epi32(*sum, ones, values);
            }
        }
        let mut out = [0; 4];
        _mm_storeu_si128(out.as_mut_ptr().cast(), sums_of_4(sums));
        out
    }
}

/// The product of `ROWS` rows and one group. Two steps at a time, which prefetch `LINES` lines at `ahead`; it then
/// advances by twice `ahead_step` bytes.
///
/// # Safety
///
/// - `rows` is valid for reading `ROWS * dims` values, `corrections` for reading `ROWS`.
/// - `packed` is valid for reading a group of queries.
/// - `out + row * stride` is valid for writing `QUERY_GROUP` values for each `row` below `ROWS`.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tile<const ROWS: usize, const LINES: usize>(
    rows: *const i8,
    dims: usize,
    corrections: *const i32,
    packed: *const Line,
    out: *mut i32,
    stride: usize,
    ahead: *const i8,
    ahead_step: usize,
) {
    // SAFETY: `row < ROWS`, whole quarters end at or before `dims`, and the mask of the last one leaves out what lies
    // past it, so each access lies within the lengths that the caller guarantees. Lines are
    // aligned.
    unsafe {
        let mut sums = [[_mm512_setzero_si512(); 4]; ROWS];
        let queries = |step: usize, register: usize| {
            _mm512_load_si512(packed.add(4 * step + register).cast())
        };
        let whole = dims / QUARTER;
        let (mut from, mut with, mut ahead) = (rows, packed, ahead);
        let add = |sums: &mut [[__m512i; 4]; ROWS], from: *const i8, with: *const Line| {
            let queries: [__m512i; 4] =
                std::array::from_fn(|register| _mm512_load_si512(with.add(register).cast()));
            for (row, sums) in sums.iter_mut().enumerate() {
                let values = _mm_loadu_si128(from.add(row * dims).cast());
                let values = _mm512_broadcast_i32x4(values);
                for (sum, queries) in sums.iter_mut().zip(queries) {
                    *sum = _mm512_dpbusd_epi32(*sum, queries, values);
                }
            }
        };
        for _ in 0..whole / 2 {
            for line in 0..LINES {
                prefetch_outer(ahead.wrapping_add(line * size_of::<Line>()).cast());
            }
            add(&mut sums, from, with);
            add(&mut sums, from.add(QUARTER), with.add(4));
            from = from.add(2 * QUARTER);
            with = with.add(8);
            ahead = ahead.wrapping_add(2 * ahead_step);
        }
        if whole % 2 == 1 {
            add(&mut sums, from, with);
        }
        let left = dims % QUARTER;
        if left > 0 {
            let mask = !0 >> (QUARTER - left);
            let queries: [__m512i; 4] = std::array::from_fn(|register| queries(whole, register));
            for (row, sums) in sums.iter_mut().enumerate() {
                let values = _mm_maskz_loadu_epi8(mask, rows.add(row * dims + QUARTER * whole));
                let values = _mm512_broadcast_i32x4(values);
                for (sum, queries) in sums.iter_mut().zip(queries) {
                    *sum = _mm512_dpbusd_epi32(*sum, queries, values);
                }
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            let correction = _mm512_set1_epi32(*corrections.add(row));
            let sums = _mm512_add_epi32(sums_of_quarters(sums), correction);
            _mm512_storeu_si512(out.add(row * stride).cast(), sums);
        }
    }
}
