//! One INT8 query times rows: the specification.

/// `out[row] = Σ_i rows[row][i] × query[i]`; see [`crate::Kernels::dot_i8`].
///
/// # Safety
///
/// - `rows` is valid for reading `count * dims` values.
/// - `query` is valid for reading `dims` values.
/// - `out` is valid for writing `count` values.
pub unsafe fn dot_i8(rows: *const i8, dims: usize, count: usize, query: *const i8, out: *mut i32) {
    // SAFETY: `row < count`, so each row and each output is one that the caller guarantees.
    unsafe {
        let query = std::slice::from_raw_parts(query, dims);
        for row in 0..count {
            let values = std::slice::from_raw_parts(rows.add(row * dims), dims);
            *out.add(row) = dot(values, query);
        }
    }
}

/// `Σ row[i] query[i]`. Not inlined, so that the compiler vectorizes it, as in the matrix product.
#[inline(never)]
fn dot(row: &[i8], query: &[i8]) -> i32 {
    std::iter::zip(row, query)
        .map(|(row, query)| i32::from(*row) * i32::from(*query))
        .sum()
}
