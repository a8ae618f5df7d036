//! Vector search: dot products and Hamming distances of queries and rows.

use lanewise_kernels::{Kernels, Line, QUERY_GROUP, QUERY_PLANES, score_stride};
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

/// The planes of one query and binary rows.
pub fn hamming_planes(kernels: Kernels, rows: usize, row_bytes: usize) -> Work {
    Work::new(
        format!("hamming_planes/bits/{rows}x{}", 8 * row_bytes),
        Amount::Bytes((rows * row_bytes) as u64),
        move || {
            let (matrix, planes) = (bytes(rows * row_bytes), bytes(QUERY_PLANES * row_bytes));
            Prepared::new(vec![0u32; rows], move |out| {
                kernels.hamming_planes(&matrix, &planes, out);
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

/// Thresholds of queries, whole groups of them, and the scores of rows.
pub fn at_least(kernels: Kernels, rows: usize, queries: usize) -> Work {
    Work::new(
        format!("at_least/i32/{rows}x{queries}"),
        Amount::Bytes((rows * queries * size_of::<i32>()) as u64),
        move || {
            let sums: Vec<i32> = values(rows * queries).into_iter().map(i32::from).collect();
            let row_scales = Random(1).floats(rows, 1.0);
            let query_scales = Random(2).floats(queries, 1.0);
            let thresholds = Random(3).floats(queries, 64.0);
            Prepared::new(masks(rows, queries), move |out| {
                kernels.at_least(&sums, &row_scales, &query_scales, &thresholds, out);
            })
        },
    )
}

/// Limits of queries, whole groups of them, and the distances of rows.
pub fn at_most(kernels: Kernels, rows: usize, queries: usize) -> Work {
    Work::new(
        format!("at_most/u32/{rows}x{queries}"),
        Amount::Bytes((rows * queries * size_of::<u32>()) as u64),
        move || {
            let distances: Vec<u32> = bytes(rows * queries).into_iter().map(u32::from).collect();
            let limits = vec![64.0; queries];
            Prepared::new(masks(rows, queries), move |out| {
                kernels.at_most(&distances, &limits, out);
            })
        },
    )
}

fn masks(rows: usize, queries: usize) -> Vec<u16> {
    vec![0; rows * queries / QUERY_GROUP]
}
