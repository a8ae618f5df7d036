//! Hamming distances with `vpshufb`, which looks the bits of sixteen values of four bits up.

use std::arch::x86_64::*;

use crate::arch::x86::{last_bytes, padded};
use crate::layout::Line;
use crate::prefetch::prefetch_scan;
use crate::queries::{QUERY_GROUP, QUERY_PLANES, WORD, WORD_LINES, word_of};

/// Bytes of a register.
const WIDTH: usize = size_of::<__m256i>();

/// Rows of a tile for one query: their sums are reduced together.
const TILE: usize = 4;

/// Rows of a tile for a group: 8 sums.
const GROUP_TILE: usize = 2;

/// Bytes with up to eight bits each that are added before a byte could overflow.
const BYTE_SUMS: usize = 255 / 8;

/// Computes what `hamming` in `arch::scalar::hamming` does.
///
/// # Safety
///
/// - `rows` is valid for reading `count * bytes` bytes.
/// - `query` is valid for reading `bytes` bytes.
/// - `out` is valid for writing `count` values.
/// - The CPU supports AVX2.
#[target_feature(enable = "avx2")]
pub unsafe fn hamming(
    rows: *const u8,
    bytes: usize,
    count: usize,
    query: *const u8,
    out: *mut u32,
) {
    // SAFETY: the caller guarantees the same, with one plane.
    unsafe { distances::<1>(rows, bytes, count, query, out) }
}

/// Computes what `hamming_planes` in `arch::scalar::hamming` does.
///
/// # Safety
///
/// - `rows` is valid for reading `count * bytes` bytes.
/// - `planes` is valid for reading `QUERY_PLANES * bytes` bytes.
/// - `out` is valid for writing `count` values.
/// - The CPU supports AVX2.
#[target_feature(enable = "avx2")]
pub unsafe fn hamming_planes(
    rows: *const u8,
    bytes: usize,
    count: usize,
    planes: *const u8,
    out: *mut u32,
) {
    // SAFETY: the caller guarantees the same.
    unsafe { distances::<QUERY_PLANES>(rows, bytes, count, planes, out) }
}

/// Weighted distances from `PLANES` planes of a query.
///
/// # Safety
///
/// As for [`hamming`]; `query` is valid for reading `PLANES * bytes` bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn distances<const PLANES: usize>(
    rows: *const u8,
    bytes: usize,
    count: usize,
    query: *const u8,
    out: *mut u32,
) {
    // SAFETY: the rows of a tile are among the `count` that the caller guarantees, and so are their
    // outputs.
    unsafe {
        let mut row = 0;
        while row + TILE <= count {
            let sums = tile::<TILE, PLANES>(rows.add(row * bytes), bytes, query);
            _mm_storeu_si128(out.add(row).cast(), sums);
            row += TILE;
        }
        while row < count {
            let sums = tile::<1, PLANES>(rows.add(row * bytes), bytes, query);
            *out.add(row) = _mm_cvtsi128_si32(sums) as u32;
            row += 1;
        }
    }
}

/// The number of bits set in each byte.
#[inline]
#[target_feature(enable = "avx2")]
fn bits_of_bytes(bytes: __m256i) -> __m256i {
    let low = _mm256_set1_epi8(15);
    let table = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
    ));
    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low);
    _mm256_add_epi8(
        _mm256_shuffle_epi8(table, _mm256_and_si256(bytes, low)),
        _mm256_shuffle_epi8(table, high),
    )
}

/// The bits of each byte that differ, those of plane `p` counted `2^p` times: at most `8 * (2^PLANES − 1)`.
#[inline]
#[target_feature(enable = "avx2")]
fn differing<const PLANES: usize>(values: __m256i, planes: [__m256i; PLANES]) -> __m256i {
    let bits = |plane| bits_of_bytes(_mm256_xor_si256(values, plane));
    let mut weighted = bits(planes[PLANES - 1]);
    for plane in (0..PLANES - 1).rev() {
        weighted = _mm256_add_epi8(weighted, weighted);
        weighted = _mm256_add_epi8(weighted, bits(planes[plane]));
    }
    weighted
}

/// The distances of `ROWS` adjacent rows, up to four, in the first lanes.
///
/// # Safety
///
/// `rows` is valid for reading `ROWS * bytes` bytes, `query` for reading `PLANES * bytes` bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn tile<const ROWS: usize, const PLANES: usize>(
    rows: *const u8,
    bytes: usize,
    query: *const u8,
) -> __m128i {
    // SAFETY: whole registers end at or before `bytes`, and so do the last ones, which begin `WIDTH` before
    // it where the row is so long; a shorter one is copied. So each access lies within the rows and
    // the planes that the caller guarantees, or in a copy.
    unsafe {
        let zero = _mm256_setzero_si256();
        let mut sums = [zero; TILE];
        let whole = bytes / WIDTH * WIDTH;
        let byte_sums = BYTE_SUMS / ((1 << PLANES) - 1);
        for start in (0..whole).step_by(byte_sums * WIDTH) {
            let mut counts = [zero; ROWS];
            for at in (start..whole.min(start + byte_sums * WIDTH)).step_by(WIDTH) {
                let planes: [__m256i; PLANES] = std::array::from_fn(|plane| {
                    _mm256_loadu_si256(query.add(plane * bytes + at).cast())
                });
                for (row, count) in counts.iter_mut().enumerate() {
                    prefetch_scan(rows, ROWS * at + WIDTH * row);
                    let values = _mm256_loadu_si256(rows.add(row * bytes + at).cast());
                    *count = _mm256_add_epi8(*count, differing(values, planes));
                }
            }
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum = _mm256_add_epi64(*sum, _mm256_sad_epu8(count, zero));
            }
        }
        let left = bytes - whole;
        if left > 0 {
            // Of a long row, bytes that were counted already, which are left out.
            let last = |from: *const u8| match whole > 0 {
                true => {
                    let bytes = _mm256_loadu_si256(from.add(bytes).sub(WIDTH).cast());
                    _mm256_and_si256(bytes, last_bytes(left))
                }
                false => padded(from, left),
            };
            let planes: [__m256i; PLANES] =
                std::array::from_fn(|plane| last(query.add(plane * bytes)));
            for (row, sum) in sums.iter_mut().take(ROWS).enumerate() {
                let bits = differing(last(rows.add(row * bytes)), planes);
                *sum = _mm256_add_epi64(*sum, _mm256_sad_epu8(bits, zero));
            }
        }
        let [a, b, c, d] = sums;
        let ab = _mm256_add_epi64(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
        let cd = _mm256_add_epi64(_mm256_unpacklo_epi64(c, d), _mm256_unpackhi_epi64(c, d));
        let low = _mm256_permute2x128_si256::<0x20>(ab, cd);
        let high = _mm256_permute2x128_si256::<0x31>(ab, cd);
        narrow(_mm256_add_epi64(low, high))
    }
}

/// The low halves of four 64-bit lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn narrow(sums: __m256i) -> __m128i {
    let low = _mm256_setr_epi32(0, 2, 4, 6, 0, 0, 0, 0);
    _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(sums, low))
}

/// Computes what `hamming_many` in `arch::scalar::hamming` does.
///
/// # Safety
///
/// - `rows` is valid for reading `count * bytes` bytes.
/// - `packed` is valid for reading `groups` groups of packed queries of `bytes` bytes.
/// - `out` is valid for writing `count * groups * QUERY_GROUP` values.
/// - The CPU supports AVX2.
#[target_feature(enable = "avx2")]
pub unsafe fn hamming_many(
    rows: *const u8,
    bytes: usize,
    count: usize,
    packed: *const Line,
    groups: usize,
    out: *mut u32,
) {
    let stride = groups * QUERY_GROUP;
    let mut row = 0;
    while row < count {
        let size = if count - row >= GROUP_TILE {
            GROUP_TILE
        } else {
            1
        };
        // SAFETY: the rows of the tile are among the `count`, and `group < groups`, so each access lies within
        // the lengths that the caller guarantees.
        unsafe {
            let rows = rows.add(row * bytes);
            for group in 0..groups {
                let packed = packed.add(group * bytes.div_ceil(WORD) * WORD_LINES);
                let out = out.add(row * stride + group * QUERY_GROUP);
                if size == GROUP_TILE {
                    tile_of_group::<GROUP_TILE>(rows, bytes, packed, out, stride);
                } else {
                    tile_of_group::<1>(rows, bytes, packed, out, stride);
                }
            }
        }
        row += size;
    }
}

/// The distances of `ROWS` adjacent rows and one group of queries: a lane of 64 bits is a query, and a word
/// of a row is broadcast to all lanes.
///
/// # Safety
///
/// - `rows` is valid for reading `ROWS * bytes` bytes.
/// - `packed` is valid for reading a group of packed queries of `bytes` bytes.
/// - `out + row * stride` is valid for writing `QUERY_GROUP` values for each `row` below `ROWS`.
#[target_feature(enable = "avx2")]
unsafe fn tile_of_group<const ROWS: usize>(
    rows: *const u8,
    bytes: usize,
    packed: *const Line,
    out: *mut u32,
    stride: usize,
) {
    /// Registers of a step of a group.
    const QUARTERS: usize = QUERY_GROUP * WORD / WIDTH;
    // SAFETY: `row < ROWS`, whole words end at or before `bytes`, and `word_of` reads what is left, so each
    // access lies within the lengths that the caller guarantees. Lines are aligned.
    unsafe {
        let zero = _mm256_setzero_si256();
        let mut sums = [[zero; QUARTERS]; ROWS];
        let add = |counts: &mut [__m256i; QUARTERS], step: usize, word: u64| {
            let word = _mm256_set1_epi64x(word as i64);
            let queries = packed.add(WORD_LINES * step).cast::<__m256i>();
            for (quarter, count) in counts.iter_mut().enumerate() {
                let queries = _mm256_load_si256(queries.add(quarter));
                let bits = bits_of_bytes(_mm256_xor_si256(queries, word));
                *count = _mm256_add_epi8(*count, bits);
            }
        };
        let (steps, whole) = (bytes.div_ceil(WORD), bytes / WORD);
        for start in (0..steps).step_by(BYTE_SUMS) {
            let mut counts = [[zero; QUARTERS]; ROWS];
            for step in start..whole.min(start + BYTE_SUMS) {
                prefetch_scan(rows, ROWS * WORD * step);
                for (row, counts) in counts.iter_mut().enumerate() {
                    let word = rows.add(row * bytes + WORD * step).cast::<u64>();
                    add(counts, step, word.read_unaligned());
                }
            }
            if whole < steps && steps <= start + BYTE_SUMS {
                for (row, counts) in counts.iter_mut().enumerate() {
                    let last = word_of(rows.add(row * bytes + WORD * whole), bytes - WORD * whole);
                    add(counts, whole, last);
                }
            }
            for (sum, count) in sums
                .as_flattened_mut()
                .iter_mut()
                .zip(counts.as_flattened())
            {
                *sum = _mm256_add_epi64(*sum, _mm256_sad_epu8(*count, zero));
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            for (quarter, sum) in sums.into_iter().enumerate() {
                let out = out.add(row * stride + quarter * QUERY_GROUP / QUARTERS);
                _mm_storeu_si128(out.cast(), narrow(sum));
            }
        }
    }
}
