//! Exact vector search: dot products and Hamming distances of queries and rows.

use super::Kernels;
use crate::layout::Line;
use crate::queries::{
    self, MAX_SEARCH_DIMS, QUERY_GROUP, QUERY_PLANES, WORD, WORD_LINES, score_stride,
};

impl Kernels {
    /// One INT8 query and rows: `out[row] = Σ_i rows[row][i] × query[i]`.
    ///
    /// # Panics
    ///
    /// If `rows` is not `out.len()` rows as long as `query`, or `query` is empty or longer than
    /// [`MAX_SEARCH_DIMS`].
    #[inline]
    pub fn dot_i8(&self, rows: &[i8], query: &[i8], out: &mut [i32]) {
        assert_rows(rows.len(), query.len(), out.len());
        // SAFETY: `self` exists, so the CPU supports the instruction set. `rows` is `out.len()`
        // rows of `query.len()` values.
        unsafe {
            (self.0.dot_i8)(
                rows.as_ptr(),
                query.len(),
                out.len(),
                query.as_ptr(),
                out.as_mut_ptr(),
            )
        }
    }

    /// One query and rows of f32: `out[row] = Σ_i rows[row][i] × query[i]`, with the same bits on
    /// every instruction set: value `i` is added to partial sum `i % 16`, and the sixteen are added by
    /// a fixed tree.
    ///
    /// # Panics
    ///
    /// If `rows` is not `out.len()` rows as long as `query`, or `query` is empty or longer than
    /// [`MAX_SEARCH_DIMS`].
    #[inline]
    pub fn dot_f32(&self, rows: &[f32], query: &[f32], out: &mut [f32]) {
        assert_rows(rows.len(), query.len(), out.len());
        // SAFETY: `self` exists, so the CPU supports the instruction set. `rows` is `out.len()`
        // rows of `query.len()` values.
        unsafe {
            (self.0.dot_f32)(
                rows.as_ptr(),
                query.len(),
                out.len(),
                query.as_ptr(),
                out.as_mut_ptr(),
            )
        }
    }

    /// Lines that `count` INT8 queries of `dims` values take once packed.
    #[inline]
    pub fn query_lines(&self, dims: usize, count: usize) -> usize {
        let group_lines = self.0.queries.group_lines(dims);
        // Saturated, a count that no slice holds is refused for its length.
        count.div_ceil(QUERY_GROUP).saturating_mul(group_lines)
    }

    /// Packs INT8 queries of `dims` values, one after the other, for [`Kernels::gemm_i8`] of this
    /// instruction set.
    ///
    /// # Panics
    ///
    /// If `queries` is not whole queries, `dims` is 0, or `packed` is shorter than
    /// [`Kernels::query_lines`].
    pub fn pack_queries(&self, queries: &[i8], dims: usize, packed: &mut [Line]) {
        let count = whole(queries.len(), dims);
        assert!(packed.len() >= self.query_lines(dims, count));
        self.0.queries.pack(queries, dims, packed);
    }

    /// INT8 queries and rows of `dims` values: `out[row * stride + query] = Σ_i rows[row][i] × query[i]`,
    /// with the stride of [`score_stride`], so that the scores of a row are adjacent.
    ///
    /// The rows are read from memory once if their scores are read before they leave the cache: call it
    /// with some tens of KB of rows at a time. It prefetches what follows `rows`.
    ///
    /// # Panics
    ///
    /// If `rows` is not whole rows, `dims` is 0 or above [`MAX_SEARCH_DIMS`], `packed` is shorter than
    /// [`Kernels::query_lines`], or `out` is not [`score_stride`] scores for each row.
    #[inline]
    pub fn gemm_i8(
        &self,
        rows: &[i8],
        dims: usize,
        packed: &[Line],
        count: usize,
        out: &mut [i32],
    ) {
        let row_count = whole(rows.len(), dims);
        assert_scores(out.len(), row_count, count);
        assert!(packed.len() >= self.query_lines(dims, count));
        // SAFETY: `self` exists, so the CPU supports the instruction set. `rows` is `row_count` rows
        // of `dims` values, the groups of `count` queries are in `packed`, and `out` has
        // `QUERY_GROUP` scores for each row and group.
        unsafe {
            (self.0.gemm_i8)(
                rows.as_ptr(),
                dims,
                row_count,
                packed.as_ptr(),
                count.div_ceil(QUERY_GROUP),
                out.as_mut_ptr(),
            )
        }
    }

    /// One binary query and rows: `out[row]` = number of bits in which `rows[row]` and `query` differ.
    ///
    /// # Panics
    ///
    /// If `rows` is not `out.len()` rows as long as `query`, or `query` is empty or longer than
    /// [`MAX_SEARCH_DIMS`] bytes.
    #[inline]
    pub fn hamming(&self, rows: &[u8], query: &[u8], out: &mut [u32]) {
        assert_rows(rows.len(), query.len(), out.len());
        // SAFETY: `self` exists, so the CPU supports the instruction set. `rows` is `out.len()`
        // rows of `query.len()` bytes.
        unsafe {
            (self.0.hamming)(
                rows.as_ptr(),
                query.len(),
                out.len(),
                query.as_ptr(),
                out.as_mut_ptr(),
            )
        }
    }

    /// One query of [`QUERY_PLANES`] binary codes, one after the other, and rows: `out[row]` = Σ over the planes `p`
    /// of `2^p` times the number of bits in which `rows[row]` and plane `p` differ.
    ///
    /// If the values of the query are sums of signs with the weights `2^p`, it is the largest such sum of all, less
    /// the dot product of these values with the signs of the row, over 2.
    ///
    /// # Panics
    ///
    /// If `planes` is not whole codes, `rows` is not `out.len()` rows as long as one, or that is 0 or longer than
    /// [`MAX_SEARCH_DIMS`] bytes.
    #[inline]
    pub fn hamming_planes(&self, rows: &[u8], planes: &[u8], out: &mut [u32]) {
        let bytes = planes.len() / QUERY_PLANES;
        assert_eq!(planes.len(), bytes * QUERY_PLANES, "whole planes");
        assert_rows(rows.len(), bytes, out.len());
        // SAFETY: `self` exists, so the CPU supports the instruction set. `rows` is `out.len()`
        // rows of `bytes` bytes, and `planes` is `QUERY_PLANES` codes.
        unsafe {
            (self.0.hamming_planes)(
                rows.as_ptr(),
                bytes,
                out.len(),
                planes.as_ptr(),
                out.as_mut_ptr(),
            )
        }
    }

    /// Lines that `count` binary queries of `bytes` bytes take once packed.
    #[inline]
    pub fn binary_query_lines(&self, bytes: usize, count: usize) -> usize {
        let group_lines = bytes.div_ceil(WORD) * WORD_LINES;
        count.div_ceil(QUERY_GROUP).saturating_mul(group_lines)
    }

    /// Packs binary queries of `bytes` bytes, one after the other, for [`Kernels::hamming_many`].
    ///
    /// # Panics
    ///
    /// If `queries` is not whole queries, `bytes` is 0, or `packed` is shorter than
    /// [`Kernels::binary_query_lines`].
    pub fn pack_binary_queries(&self, queries: &[u8], bytes: usize, packed: &mut [Line]) {
        let count = whole(queries.len(), bytes);
        assert!(packed.len() >= self.binary_query_lines(bytes, count));
        queries::pack_binary(queries, bytes, packed);
    }

    /// Binary queries and rows of `bytes` bytes: `out[row * stride + query]` = number of bits in which
    /// they differ, with the stride of [`score_stride`]. Rows as for [`Kernels::gemm_i8`].
    ///
    /// # Panics
    ///
    /// If `rows` is not whole rows, `bytes` is 0 or above [`MAX_SEARCH_DIMS`], `packed` is shorter than
    /// [`Kernels::binary_query_lines`], or `out` is not [`score_stride`] scores for each row.
    #[inline]
    pub fn hamming_many(
        &self,
        rows: &[u8],
        bytes: usize,
        packed: &[Line],
        count: usize,
        out: &mut [u32],
    ) {
        let row_count = whole(rows.len(), bytes);
        assert_scores(out.len(), row_count, count);
        assert!(packed.len() >= self.binary_query_lines(bytes, count));
        // SAFETY: `self` exists, so the CPU supports the instruction set. `rows` is `row_count` rows
        // of `bytes` bytes, the groups of `count` queries are in `packed`, and `out` has
        // `QUERY_GROUP` scores for each row and group.
        unsafe {
            (self.0.hamming_many)(
                rows.as_ptr(),
                bytes,
                row_count,
                packed.as_ptr(),
                count.div_ceil(QUERY_GROUP),
                out.as_mut_ptr(),
            )
        }
    }

    /// Which scores reach the threshold of their query: bit `query % 16` of
    /// `masks[row * groups + query / 16]`, where `groups` is that of [`score_stride`], is set if
    /// `sums[row * stride + query] as f32 × row_scales[row] × query_scales[query]`, each product rounded, is at
    /// least `thresholds[query]`. Returns whether any bit is set.
    ///
    /// # Panics
    ///
    /// If `thresholds` is not whole groups of [`QUERY_GROUP`], `query_scales` are not as many, or `sums` and
    /// `masks` are not those of as many rows as there are `row_scales`.
    #[inline]
    pub fn at_least(
        &self,
        sums: &[i32],
        row_scales: &[f32],
        query_scales: &[f32],
        thresholds: &[f32],
        masks: &mut [u16],
    ) -> bool {
        let rows = row_scales.len();
        let groups = assert_masks(sums.len(), thresholds.len(), masks.len());
        assert_eq!(query_scales.len(), thresholds.len(), "scales of queries");
        assert_eq!(masks.len(), rows * groups, "masks of {rows} rows");
        // SAFETY: `self` exists, so the CPU supports the instruction set. There are `rows` scales of rows,
        // `groups` groups of scales and thresholds, a mask for each row and group, and 16 sums for each mask.
        unsafe {
            (self.0.at_least)(
                sums.as_ptr(),
                rows,
                groups,
                row_scales.as_ptr(),
                query_scales.as_ptr(),
                thresholds.as_ptr(),
                masks.as_mut_ptr(),
            )
        }
    }

    /// Which distances are at most the limit of their query, as [`Kernels::at_least`] says it. Distances are
    /// those of [`Kernels::hamming_many`], below 2²⁴.
    ///
    /// # Panics
    ///
    /// If `limits` is not whole groups of [`QUERY_GROUP`], or `distances` and `masks` are not those of as many
    /// rows.
    #[inline]
    pub fn at_most(&self, distances: &[u32], limits: &[f32], masks: &mut [u16]) -> bool {
        let groups = assert_masks(distances.len(), limits.len(), masks.len());
        let rows = masks.len() / groups;
        // SAFETY: `self` exists, so the CPU supports the instruction set. There are `groups` groups of limits,
        // a mask for each row and group, and 16 distances for each mask.
        unsafe {
            (self.0.at_most)(
                distances.as_ptr(),
                rows,
                groups,
                limits.as_ptr(),
                masks.as_mut_ptr(),
            )
        }
    }
}

/// Checks that scores and masks are those of whole rows and as many queries. Returns the groups of queries.
#[track_caller]
fn assert_masks(scores: usize, queries: usize, masks: usize) -> usize {
    let groups = queries / QUERY_GROUP;
    assert!(
        groups > 0 && queries == groups * QUERY_GROUP,
        "{queries} thresholds, which are no groups of {QUERY_GROUP}"
    );
    assert_eq!(masks % groups, 0, "masks of {groups} groups");
    assert_eq!(
        Some(scores),
        masks.checked_mul(QUERY_GROUP),
        "scores of {masks} masks"
    );
    groups
}

/// Checks that `length` is `count` rows as long as the query.
#[track_caller]
fn assert_rows(length: usize, query: usize, count: usize) {
    assert_eq!(
        whole(length, query),
        count,
        "a score for each row of {query}"
    );
}

/// Checks that `length` scores are those of `rows` rows and `queries` queries.
#[track_caller]
fn assert_scores(length: usize, rows: usize, queries: usize) {
    // Rounding up more queries than that would overflow.
    assert!(queries <= isize::MAX as usize, "{queries} queries");
    assert_eq!(
        Some(length),
        rows.checked_mul(score_stride(queries)),
        "scores of {rows} rows and {queries} queries"
    );
}

/// Number of vectors of `dims` values, or bytes.
///
/// # Panics
///
/// If the last one is not whole, or `dims` is 0 or too large.
#[track_caller]
fn whole(length: usize, dims: usize) -> usize {
    assert!(
        (1..=MAX_SEARCH_DIMS).contains(&dims),
        "vectors of {dims}; 1 to {MAX_SEARCH_DIMS} can be searched"
    );
    assert_eq!(length % dims, 0, "vectors of {dims} in {length}");
    length / dims
}
