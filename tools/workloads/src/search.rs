//! Vector search: dot products and Hamming distances of queries and rows.

use lanewise_kernels::{Kernels, Line, score_stride};
use lanewise_testkit::random::Random;

use super::{Amount, Prepared, Work};

fn bytes(count: usize) -> Vec<u8> {
    let mut random = Random(1);
    (0..count).map(|_| random.bits() as u8).collect()
}

fn values(count: usize) -> Vec<i8> {
    bytes(count).into_iter().map(|byte| byte as i8).collect()
}

/// One INT8 query and rows.
pub fn dot_i8(kernels: Kernels, rows: usize, dims: usize) -> Work {
    Work::new(
        format!("dot_i8/i8/{rows}x{dims}"),
        Amount::Bytes((rows * dims) as u64),
        move || {
            let (matrix, query) = (values(rows * dims), values(dims));
            Prepared::new(vec![0i32; rows], move |out| {
                kernels.dot_i8(&matrix, &query, out);
            })
        },
    )
}

/// INT8 queries, whole groups of them, and rows.
pub fn gemm_i8(kernels: Kernels, rows: usize, dims: usize, queries: usize) -> Work {
    Work::new(
        format!("gemm_i8/i8/{rows}x{dims}x{queries}"),
        Amount::MultiplyAdds((rows * dims * queries) as u64),
        move || {
            let matrix = values(rows * dims);
            let mut packed = vec![Line::ZERO; kernels.query_lines(dims, queries)];
            kernels.pack_queries(&values(queries * dims), dims, &mut packed);
            let out = vec![0i32; rows * score_stride(queries)];
            Prepared::new(out, move |out| {
                kernels.gemm_i8(&matrix, dims, &packed, queries, out);
            })
        },
    )
}

/// One binary query and rows.
pub fn hamming(kernels: Kernels, rows: usize, row_bytes: usize) -> Work {
    Work::new(
        format!("hamming/bits/{rows}x{}", 8 * row_bytes),
        Amount::Bytes((rows * row_bytes) as u64),
        move || {
            let (matrix, query) = (bytes(rows * row_bytes), bytes(row_bytes));
            Prepared::new(vec![0u32; rows], move |out| {
                kernels.hamming(&matrix, &query, out);
            })
        },
    )
}

/// Binary queries, whole groups of them, and rows.
pub fn hamming_many(kernels: Kernels, rows: usize, row_bytes: usize, queries: usize) -> Work {
    Work::new(
        format!("hamming_many/bits/{rows}x{}x{queries}", 8 * row_bytes),
        Amount::Bytes((rows * row_bytes) as u64),
        move || {
            let matrix = bytes(rows * row_bytes);
            let mut packed = vec![Line::ZERO; kernels.binary_query_lines(row_bytes, queries)];
            kernels.pack_binary_queries(&bytes(queries * row_bytes), row_bytes, &mut packed);
            let out = vec![0u32; rows * score_stride(queries)];
            Prepared::new(out, move |out| {
                kernels.hamming_many(&matrix, row_bytes, &packed, queries, out);
            })
        },
    )
}

/// One query and rows of f32.
pub fn dot_f32(kernels: Kernels, rows: usize, dims: usize) -> Work {
    Work::new(
        format!("dot_f32/f32/{rows}x{dims}"),
        Amount::Bytes((rows * dims * size_of::<f32>()) as u64),
        move || {
            let matrix = Random(1).floats(rows * dims, 1.0);
            let query = Random(2).floats(dims, 1.0);
            Prepared::new(vec![0.0f32; rows], move |out| {
                kernels.dot_f32(&matrix, &query, out);
            })
        },
    )
}
