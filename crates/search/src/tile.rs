//! Scores of some rows and queries at a time.

use std::ops::Range;

use half::slice::HalfFloatSliceExt;
use lanewise_kernels::{Kernels, Line, QUERY_GROUP, QUERY_PLANES, score_stride};
use lanewise_vectors::Precision;

use crate::chunks::{Chunk, slot};
use crate::open::{File, SCALES};
use crate::planes::{WEIGHT, planes};
use crate::query::Query;
use crate::threshold::{Thresholds, binary_score};

/// Most queries that are scored side by side: packed, those of `i8` with 768 values stay in a cache of
/// 512 KB beside a tile.
pub const MOST_QUERIES: usize = 256;

/// Bytes of the rows of a tile, and of its scores: they are looked at before they leave the first level of the
/// cache.
const TILE_BYTES: usize = 48 << 10;
const SCORE_BYTES: usize = 8 << 10;

/// Queries as the kernels take them.
pub struct Queries {
    precision: Precision,
    dims: usize,
    count: usize,
    /// Scores of a row.
    stride: usize,
    i8s: Vec<i8>,
    bits: Vec<u8>,
    /// The planes of each query, in place of its bits.
    planes: Vec<u8>,
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
    scores: Vec<f32>,
    masks: Vec<u16>,
    /// What [`Queries::candidates`] has found, by query in ascending order of rows.
    pub candidates: Vec<Candidate>,
}

/// A score that reaches the threshold of its query.
pub struct Candidate {
    /// The row in its chunk.
    pub row: usize,
    pub query: usize,
    pub score: f32,
}

/// A row of a chunk that has no score.
pub struct Unusable {
    pub row: usize,
    pub problem: &'static str,
}

impl Queries {
    /// 1 to [`MOST_QUERIES`] queries against vectors of `dims` values.
    pub fn new(kernels: Kernels, precision: Precision, dims: usize, queries: &[Query]) -> Self {
        let mut own = Self::none(precision, dims, queries.len());
        let count = own.count;
        match precision {
            Precision::I8 => {
                own.i8s = queries
                    .iter()
                    .flat_map(|query| &query.i8s)
                    .copied()
                    .collect();
                own.scales = queries.iter().map(|query| query.scale).collect();
                own.scales.resize(own.stride, 0.0);
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

    /// The same against binary codes, in finer steps than one bit: for candidates whose scores in another
    /// precision follow.
    pub fn in_planes(dims: usize, queries: &[Query]) -> Self {
        Self {
            planes: queries.iter().flat_map(planes).collect(),
            ..Self::none(Precision::Binary, dims, queries.len())
        }
    }

    fn none(precision: Precision, dims: usize, count: usize) -> Self {
        Self {
            precision,
            dims,
            count,
            stride: if count == 1 { 1 } else { score_stride(count) },
            i8s: Vec::new(),
            bits: Vec::new(),
            planes: Vec::new(),
            f32s: Vec::new(),
            packed: Vec::new(),
            scales: Vec::new(),
        }
    }

    /// The largest distance of two binary codes; 0 in other precisions.
    fn most_distant(&self) -> usize {
        match self.precision {
            Precision::Binary if self.planes.is_empty() => self.dims,
            Precision::Binary => WEIGHT * self.dims,
            _ => 0,
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The same threshold for each.
    pub fn thresholds(&self, score: f32) -> Thresholds {
        Thresholds::new(self.most_distant(), self.count, self.stride, score)
    }

    /// Rows that are scored at a time.
    pub fn tile_rows(&self) -> usize {
        let rows = TILE_BYTES / self.precision.bytes(self.dims).max(1);
        rows.min((SCORE_BYTES / 4).div_ceil(self.stride))
            .clamp(24, 1024)
    }

    /// The scores of some rows of a chunk that reach their thresholds, into [`Scratch::candidates`].
    pub fn candidates(
        &self,
        kernels: Kernels,
        file: &File,
        chunk: &Chunk,
        rows: Range<usize>,
        thresholds: &Thresholds,
        scratch: &mut Scratch,
    ) -> Result<(), Unusable> {
        let first = rows.start;
        let found = self.find(kernels, file, chunk, rows, thresholds, scratch);
        found.map_err(|unusable| Unusable {
            row: first + unusable.row,
            ..unusable
        })
    }

    /// The same, with errors that count rows from the first of these.
    fn find(
        &self,
        kernels: Kernels,
        file: &File,
        chunk: &Chunk,
        rows: Range<usize>,
        thresholds: &Thresholds,
        scratch: &mut Scratch,
    ) -> Result<(), Unusable> {
        let (count, stride, dims) = (rows.len(), self.stride, self.dims);
        let data = &file.data[slot(self.precision)];
        let start = chunk.vectors[slot(self.precision)];
        let at = start + rows.start * self.precision.bytes(dims);
        scratch.candidates.clear();
        match self.precision {
            Precision::I8 => {
                let vectors = data.i8s(at, count * dims);
                scratch.sums.resize(count * stride, 0);
                let sums = &mut scratch.sums[..];
                let scales = file.data[SCALES].f32s(chunk.scales + rows.start * 4, count);
                match self.count {
                    1 => {
                        kernels.dot_i8(vectors, &self.i8s, sums);
                        usable(scales)?;
                        scratch.scores.resize(count, 0.0);
                        let scores = scratch.scores.iter_mut().zip(sums).zip(scales);
                        for ((score, &mut sum), &row) in scores {
                            *score = scaled(sum, row, self.scales[0]);
                        }
                        scratch.reaching(thresholds, rows.start);
                    }
                    queries => {
                        kernels.gemm_i8(vectors, dims, &self.packed, queries, sums);
                        usable(scales)?;
                        scratch.masks.resize(count * stride / QUERY_GROUP, 0);
                        let (thresholds, masks) = (thresholds.scores(), &mut scratch.masks[..]);
                        if kernels.at_least(sums, scales, &self.scales, thresholds, masks) {
                            let score = |row: usize, query: usize| {
                                let sum = scratch.sums[row * stride + query];
                                scaled(sum, scales[row], self.scales[query])
                            };
                            let found = &mut scratch.candidates;
                            marked(&scratch.masks, stride, rows.start, score, found);
                        }
                    }
                }
            }
            Precision::Binary => {
                let bytes = self.precision.bytes(dims);
                let vectors = data.bytes(at, count * bytes);
                let most = self.most_distant();
                if self.planes.is_empty() && self.count > 1 {
                    scratch.distances.resize(count * stride, 0);
                    let distances = &mut scratch.distances[..];
                    kernels.hamming_many(vectors, bytes, &self.packed, self.count, distances);
                    scratch.masks.resize(count * stride / QUERY_GROUP, 0);
                    if kernels.at_most(distances, thresholds.limits(), &mut scratch.masks) {
                        let score = |row: usize, query: usize| {
                            binary_score(scratch.distances[row * stride + query], most)
                        };
                        let found = &mut scratch.candidates;
                        marked(&scratch.masks, stride, rows.start, score, found);
                    }
                    return Ok(());
                }
                scratch.distances.resize(count, 0);
                if self.planes.is_empty() {
                    kernels.hamming(vectors, &self.bits, &mut scratch.distances);
                    scratch.within(thresholds, 0, rows.start, most);
                }
                let planes = self.planes.chunks_exact(QUERY_PLANES * bytes);
                for (query, planes) in planes.enumerate() {
                    kernels.hamming_planes(vectors, planes, &mut scratch.distances);
                    scratch.within(thresholds, query, rows.start, most);
                }
            }
            Precision::F32 => {
                let vectors = data.f32s(at, count * dims);
                self.products(kernels, vectors, thresholds, rows.start, scratch)?;
            }
            Precision::F16 => {
                let mut values = std::mem::take(&mut scratch.values);
                values.resize(count * dims, 0.0);
                data.f16s(at, count * dims)
                    .convert_to_f32_slice(&mut values);
                let scored = self.products(kernels, &values, thresholds, rows.start, scratch);
                scratch.values = values;
                scored?;
            }
        }
        Ok(())
    }

    /// Scores of rows of f32, of which the first is `first`.
    fn products(
        &self,
        kernels: Kernels,
        rows: &[f32],
        thresholds: &Thresholds,
        first: usize,
        scratch: &mut Scratch,
    ) -> Result<(), Unusable> {
        let Scratch {
            scores, candidates, ..
        } = scratch;
        scores.resize(rows.len() / self.dims, 0.0);
        for (query, vector) in self.f32s.chunks_exact(self.dims).enumerate() {
            kernels.dot_f32(rows, vector, scores);
            if let Some(row) = scores.iter().position(|score| !score.is_finite()) {
                let problem = "has values that are no numbers, or too large ones";
                return Err(Unusable { row, problem });
            }
            let threshold = thresholds.scores()[query];
            for (row, &score) in (first..).zip(&*scores) {
                if score >= threshold {
                    candidates.push(Candidate { row, query, score });
                }
            }
        }
        Ok(())
    }
}

impl Scratch {
    /// The scores of the only query, the first of the row `first`, that reach its threshold.
    fn reaching(&mut self, thresholds: &Thresholds, first: usize) {
        let threshold = thresholds.scores()[0];
        // Without a branch, so that the compiler makes vectors of it.
        let scores = self.scores.iter();
        if !scores.fold(false, |any, &score| any | (score >= threshold)) {
            return;
        }
        let scores = (first..).zip(&self.scores);
        let scores = scores.filter(|(_, score)| **score >= threshold);
        self.candidates
            .extend(scores.map(|(row, &score)| Candidate {
                row,
                query: 0,
                score,
            }));
    }

    /// The same of distances of one query, of `most` at most.
    fn within(&mut self, thresholds: &Thresholds, query: usize, first: usize, most: usize) {
        // A whole number from −1 to the largest distance.
        let limit = thresholds.limits()[query] as i32;
        let is_within = |distance: u32| distance.cast_signed() <= limit;
        let distances = self.distances.iter();
        if !distances.fold(false, |any, &distance| any | is_within(distance)) {
            return;
        }
        let distances = (first..).zip(&self.distances);
        let distances = distances.filter(|(_, distance)| is_within(**distance));
        self.candidates
            .extend(distances.map(|(row, &distance)| Candidate {
                row,
                query,
                score: binary_score(distance, most),
            }));
    }
}

/// The score of an integer dot product.
fn scaled(sum: i32, row: f32, query: f32) -> f32 {
    sum as f32 * row * query
}

/// Checks the scales of rows.
fn usable(scales: &[f32]) -> Result<(), Unusable> {
    let usable = |scale: f32| scale > 0.0 && scale < f32::INFINITY;
    // Without a branch, so that the compiler makes vectors of it.
    if scales.iter().fold(true, |all, &scale| all & usable(scale)) {
        return Ok(());
    }
    let row = scales.iter().position(|&scale| !usable(scale));
    Err(Unusable {
        row: row.unwrap_or(0),
        problem: "has a scale that is no number above 0",
    })
}

/// The scores whose bits are set.
fn marked(
    masks: &[u16],
    stride: usize,
    first: usize,
    score: impl Fn(usize, usize) -> f32,
    found: &mut Vec<Candidate>,
) {
    for (row, masks) in masks.chunks_exact(stride / QUERY_GROUP).enumerate() {
        for (group, &mask) in masks.iter().enumerate() {
            let mut left = mask;
            while left != 0 {
                let query = group * QUERY_GROUP + left.trailing_zeros() as usize;
                left &= left - 1;
                found.push(Candidate {
                    row: first + row,
                    query,
                    score: score(row, query),
                });
            }
        }
    }
}
