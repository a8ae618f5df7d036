//! Scores of some rows and queries at a time.

use std::ops::Range;

use half::slice::HalfFloatSliceExt;
use lanewise_kernels::{Kernels, Line, score_stride};
use lanewise_vectors::Precision;

use crate::chunks::{Chunk, slot};
use crate::open::{File, SCALES};
use crate::query::Query;

/// Most queries that are scored side by side: packed, those of `i8` with 768 values stay in a cache of
/// 512 KB beside a tile.
pub const MOST_QUERIES: usize = 256;

/// Bytes of the rows of a tile: their scores are looked at before they leave the caches.
const TILE_BYTES: usize = 48 << 10;

/// Queries as the kernels take them.
pub struct Queries {
    precision: Precision,
    dims: usize,
    count: usize,
    /// Scores of a row.
    stride: usize,
    i8s: Vec<i8>,
    bits: Vec<u8>,
    f32s: Vec<f32>,
    packed: Vec<Line>,
    /// The scales of `i8`, as many as there are scores of a row.
    scales: Vec<f32>,
}

/// A thread's memory for scoring.
#[derive(Default)]
pub struct Scratch {
    sums: Vec<i32>,
    distances: Vec<u32>,
    values: Vec<f32>,
    products: Vec<f32>,
    /// The scores of each row, [`Queries::stride`] of them; those beyond the queries are unspecified.
    pub scores: Vec<f32>,
}

/// A row of a chunk that has no score.
pub struct Unusable {
    pub row: usize,
    pub problem: &'static str,
}

impl Queries {
    /// 1 to [`MOST_QUERIES`] queries against vectors of `dims` values.
    pub fn new(kernels: Kernels, precision: Precision, dims: usize, queries: &[Query]) -> Self {
        let count = queries.len();
        let stride = if count == 1 { 1 } else { score_stride(count) };
        let mut own = Self {
            precision,
            dims,
            count,
            stride,
            i8s: Vec::new(),
            bits: Vec::new(),
            f32s: Vec::new(),
            packed: Vec::new(),
            scales: Vec::new(),
        };
        match precision {
            Precision::I8 => {
                own.i8s = queries
                    .iter()
                    .flat_map(|query| &query.i8s)
                    .copied()
                    .collect();
                own.scales = queries.iter().map(|query| query.scale).collect();
                own.scales.resize(stride, 0.0);
                if count > 1 {
                    let lines = kernels.query_lines(dims, count);
                    own.packed = vec![Line::ZERO; lines];
                    kernels.pack_queries(&own.i8s, dims, &mut own.packed);
                }
            }
            Precision::Binary => {
                own.bits = queries
                    .iter()
                    .flat_map(|query| &query.bits)
                    .copied()
                    .collect();
                if count > 1 {
                    let bytes = precision.bytes(dims);
                    let lines = kernels.binary_query_lines(bytes, count);
                    own.packed = vec![Line::ZERO; lines];
                    kernels.pack_binary_queries(&own.bits, bytes, &mut own.packed);
                }
            }
            Precision::F32 | Precision::F16 => {
                own.f32s = queries
                    .iter()
                    .flat_map(|query| &query.f32s)
                    .copied()
                    .collect();
            }
        }
        own
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many scores a row has in [`Scratch::scores`].
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Rows that are scored at a time.
    pub fn tile_rows(&self) -> usize {
        let rows = TILE_BYTES / self.precision.bytes(self.dims).max(1);
        rows.min((TILE_BYTES / 4).div_ceil(self.stride))
            .clamp(16, 1024)
    }

    /// Scores rows of a chunk into [`Scratch::scores`].
    pub fn score(
        &self,
        kernels: Kernels,
        file: &File,
        chunk: &Chunk,
        rows: Range<usize>,
        scratch: &mut Scratch,
    ) -> Result<(), Unusable> {
        let (count, stride, dims) = (rows.len(), self.stride, self.dims);
        let data = &file.data[slot(self.precision)];
        let start = chunk.vectors[slot(self.precision)];
        let at = start + rows.start * self.precision.bytes(dims);
        scratch.scores.resize(count * stride, 0.0);
        match self.precision {
            Precision::I8 => {
                let vectors = data.i8s(at, count * dims);
                scratch.sums.resize(count * stride, 0);
                let sums = &mut scratch.sums[..];
                match self.count {
                    1 => kernels.dot_i8(vectors, &self.i8s, sums),
                    queries => kernels.gemm_i8(vectors, dims, &self.packed, queries, sums),
                }
                let scales = file.data[SCALES].f32s(chunk.scales + rows.start * 4, count);
                self.scale(scales, &scratch.sums, &mut scratch.scores)
            }
            Precision::Binary => {
                let bytes = self.precision.bytes(dims);
                let vectors = data.bytes(at, count * bytes);
                scratch.distances.resize(count * stride, 0);
                let distances = &mut scratch.distances[..];
                match self.count {
                    1 => kernels.hamming(vectors, &self.bits, distances),
                    queries => {
                        kernels.hamming_many(vectors, bytes, &self.packed, queries, distances)
                    }
                }
                let dims = dims as f32;
                for (score, &distance) in scratch.scores.iter_mut().zip(&*distances) {
                    *score = 1.0 - 2.0 * distance as f32 / dims;
                }
                Ok(())
            }
            Precision::F32 => {
                let vectors = data.f32s(at, count * dims);
                self.products(kernels, vectors, &mut scratch.products, &mut scratch.scores)
            }
            Precision::F16 => {
                let Scratch {
                    values,
                    products,
                    scores,
                    ..
                } = scratch;
                values.resize(count * dims, 0.0);
                data.f16s(at, count * dims).convert_to_f32_slice(values);
                self.products(kernels, values, products, scores)
            }
        }
        .map_err(|unusable| Unusable {
            row: rows.start + unusable.row,
            ..unusable
        })
    }

    /// Scores of integer dot products.
    fn scale(&self, rows: &[f32], sums: &[i32], scores: &mut [f32]) -> Result<(), Unusable> {
        let usable = |scale: f32| scale > 0.0 && scale < f32::INFINITY;
        // Without a branch, so that the compiler makes vectors of it.
        if !rows.iter().fold(true, |all, &scale| all & usable(scale)) {
            let row = rows.iter().position(|&scale| !usable(scale));
            return Err(Unusable {
                row: row.unwrap_or(0),
                problem: "has a scale that is no number above 0",
            });
        }
        if self.count == 1 {
            let query = self.scales[0];
            for ((score, &sum), &row) in scores.iter_mut().zip(sums).zip(rows) {
                *score = sum as f32 * row * query;
            }
            return Ok(());
        }
        let of_rows = scores.chunks_exact_mut(self.stride);
        for ((scores, sums), &row) in of_rows.zip(sums.chunks_exact(self.stride)).zip(rows) {
            for ((score, &sum), &query) in scores.iter_mut().zip(sums).zip(&self.scales) {
                *score = sum as f32 * row * query;
            }
        }
        Ok(())
    }

    /// Scores of rows of f32.
    fn products(
        &self,
        kernels: Kernels,
        rows: &[f32],
        products: &mut Vec<f32>,
        scores: &mut [f32],
    ) -> Result<(), Unusable> {
        products.resize(rows.len() / self.dims, 0.0);
        for (number, query) in self.f32s.chunks_exact(self.dims).enumerate() {
            kernels.dot_f32(rows, query, products);
            if let Some(row) = products.iter().position(|product| !product.is_finite()) {
                let problem = "has values that are no numbers, or too large ones";
                return Err(Unusable { row, problem });
            }
            for (row, &product) in products.iter().enumerate() {
                scores[row * self.stride + number] = product;
            }
        }
        Ok(())
    }
}
