//! INT8 queries times rows: the specification.

use crate::layout::Line;
use crate::queries::{QUERY_GROUP, QueryLayout, STEP};

/// How queries are packed.
pub const QUERIES: QueryLayout = QueryLayout::Bytes;

/// `out[row][query] = Σ_i rows[row][i] × query[i]` for all queries of `groups` groups; see
/// [`crate::Kernels::gemm_i8`].
///
/// # Safety
///
/// - `rows` is valid for reading `count * dims` values.
/// - `packed` is valid for reading `groups` groups of queries of `dims` values as [`QUERIES`] packs
///   them.
/// - `out` is valid for writing `count * groups * QUERY_GROUP` values.
pub unsafe fn gemm_i8(
    rows: *const i8,
    dims: usize,
    count: usize,
    packed: *const Line,
    groups: usize,
    out: *mut i32,
) {
    let steps = dims.div_ceil(STEP);
    // SAFETY: `row < count`, `group < groups`, and the steps of `dims` values are those of a packed group,
    // so each access lies within the lengths that the caller guarantees.
    unsafe {
        for row in 0..count {
            let values = std::slice::from_raw_parts(rows.add(row * dims), dims);
            for group in 0..groups {
                let packed = packed
                    .add(group * steps)
                    .cast::<[[i8; STEP]; QUERY_GROUP]>();
                let mut sums = [0i32; QUERY_GROUP];
                for (step, values) in values.chunks(STEP).enumerate() {
                    let queries = &*packed.add(step);
                    for (sum, query) in sums.iter_mut().zip(queries) {
                        for (value, query) in values.iter().zip(query) {
                            *sum += i32::from(*value) * i32::from(*query);
                        }
                    }
                }
                out.add((row * groups + group) * QUERY_GROUP)
                    .cast::<[i32; QUERY_GROUP]>()
                    .write_unaligned(sums);
            }
        }
    }
}
