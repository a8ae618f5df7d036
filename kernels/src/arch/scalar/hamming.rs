//! Hamming distances of binary vectors: the specification.

use crate::layout::Line;
use crate::queries::{QUERY_GROUP, QUERY_PLANES, WORD};

/// `out[row]` = number of bits in which `rows[row]` and `query` differ; see [`crate::Kernels::hamming`].
///
/// # Safety
///
/// - `rows` is valid for reading `count * bytes` bytes.
/// - `query` is valid for reading `bytes` bytes.
/// - `out` is valid for writing `count` values.
pub unsafe fn hamming(
    rows: *const u8,
    bytes: usize,
    count: usize,
    query: *const u8,
    out: *mut u32,
) {
    // SAFETY: `row < count`, so each row and each output is one that the caller guarantees.
    unsafe {
        let query = std::slice::from_raw_parts(query, bytes);
        for row in 0..count {
            let row_bytes = std::slice::from_raw_parts(rows.add(row * bytes), bytes);
            let words = row_bytes.chunks(WORD).zip(query.chunks(WORD));
            *out.add(row) = words
                .map(|(row, query)| (word(row) ^ word(query)).count_ones())
                .sum();
        }
    }
}

/// `out[row]` = Σ over the planes `p` of `2^p` times the number of bits in which `rows[row]` and plane `p` differ; see
/// [`crate::Kernels::hamming_planes`].
///
/// # Safety
///
/// - `rows` is valid for reading `count * bytes` bytes.
/// - `planes` is valid for reading `QUERY_PLANES * bytes` bytes.
/// - `out` is valid for writing `count` values.
pub unsafe fn hamming_planes(
    rows: *const u8,
    bytes: usize,
    count: usize,
    planes: *const u8,
    out: *mut u32,
) {
    // SAFETY: `row < count` and `plane < QUERY_PLANES`, so each row, plane and output is one that the caller
    // guarantees.
    unsafe {
        for row in 0..count {
            let mut weighted = 0;
            for plane in 0..QUERY_PLANES {
                let mut distance = 0;
                let code = planes.add(plane * bytes);
                hamming(rows.add(row * bytes), bytes, 1, code, &mut distance);
                weighted += distance << plane;
            }
            *out.add(row) = weighted;
        }
    }
}

/// `out[row][query]` = number of differing bits, for all queries of `groups` groups; see
/// [`crate::Kernels::hamming_many`].
///
/// # Safety
///
/// - `rows` is valid for reading `count * bytes` bytes.
/// - `packed` is valid for reading `groups` groups of packed queries of `bytes` bytes.
/// - `out` is valid for writing `count * groups * QUERY_GROUP` values.
pub unsafe fn hamming_many(
    rows: *const u8,
    bytes: usize,
    count: usize,
    packed: *const Line,
    groups: usize,
    out: *mut u32,
) {
    let steps = bytes.div_ceil(WORD);
    // SAFETY: `row < count`, `group < groups`, and the steps of `bytes` bytes are those of a packed group,
    // so each access lies within the lengths that the caller guarantees. Lines are aligned.
    unsafe {
        let packed = packed.cast::<[u64; QUERY_GROUP]>();
        for row in 0..count {
            let row_bytes = std::slice::from_raw_parts(rows.add(row * bytes), bytes);
            for group in 0..groups {
                let mut sums = [0u32; QUERY_GROUP];
                for (step, part) in row_bytes.chunks(WORD).enumerate() {
                    let (part, queries) = (word(part), &*packed.add(group * steps + step));
                    for (sum, query) in sums.iter_mut().zip(queries) {
                        *sum += (part ^ query).count_ones();
                    }
                }
                out.add((row * groups + group) * QUERY_GROUP)
                    .cast::<[u32; QUERY_GROUP]>()
                    .write_unaligned(sums);
            }
        }
    }
}

/// Up to [`WORD`] bytes, and zeros for what is missing.
#[inline(always)]
pub(crate) fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; WORD];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}
