//! Hamming distances with `vpopcntq` on 512-bit registers, where the CPU has it; otherwise those of AVX2.

use std::arch::x86_64::*;

use super::reduce::sums_of_8_words;
use crate::arch::avx2;
use crate::layout::Line;
use crate::prefetch::prefetch_scan;
use crate::queries::{QUERY_GROUP, QUERY_PLANES, WORD, WORD_LINES, word_of};

/// Rows of a tile for one query: their sums are reduced together.
const TILE: usize = 8;

/// Rows of a tile for a group of queries: what is kept of them fills half of the registers.
const GROUP_TILE: usize = 4;

/// Computes what `hamming` in `arch::scalar::hamming` does.
///
/// # Safety
///
/// - `rows` is valid for reading `count * bytes` bytes.
/// - `query` is valid for reading `bytes` bytes.
/// - `out` is valid for writing `count` values.
/// - The CPU supports AVX-512 F, BW and VL, and AVX2.
pub unsafe fn hamming(
    rows: *const u8,
    bytes: usize,
    count: usize,
    query: *const u8,
    out: *mut u32,
) {
    // SAFETY: the caller guarantees what either function requires, and the CPU supports AVX-512
    // VPOPCNTDQ where that is called for.
    unsafe {
        if is_x86_feature_detected!("avx512vpopcntdq") {
            hamming_vpopcntq::<1>(rows, bytes, count, query, out);
        } else {
            avx2::hamming::hamming(rows, bytes, count, query, out);
        }
    }
}

/// Computes what `hamming_planes` in `arch::scalar::hamming` does.
///
/// # Safety
///
/// - `rows` is valid for reading `count * bytes` bytes.
/// - `planes` is valid for reading `QUERY_PLANES * bytes` bytes.
/// - `out` is valid for writing `count` values.
/// - The CPU supports AVX-512 F, BW and VL, and AVX2.
pub unsafe fn hamming_planes(
    rows: *const u8,
    bytes: usize,
    count: usize,
    planes: *const u8,
    out: *mut u32,
) {
    // SAFETY: as in `hamming`.
    unsafe {
        if is_x86_feature_detected!("avx512vpopcntdq") {
            hamming_vpopcntq::<QUERY_PLANES>(rows, bytes, count, planes, out);
        } else {
            avx2::hamming::hamming_planes(rows, bytes, count, planes, out);
        }
    }
}

/// Computes what `hamming_many` in `arch::scalar::hamming` does.
///
/// # Safety
///
/// - `rows` is valid for reading `count * bytes` bytes.
/// - `packed` is valid for reading `groups` groups of packed queries of `bytes` bytes.
/// - `out` is valid for writing `count * groups * QUERY_GROUP` values.
/// - The CPU supports AVX-512 F, BW and VL, and AVX2.
pub unsafe fn hamming_many(
    rows: *const u8,
    bytes: usize,
    count: usize,
    packed: *const Line,
    groups: usize,
    out: *mut u32,
) {
    // SAFETY: as in `hamming`.
    unsafe {
        if is_x86_feature_detected!("avx512vpopcntdq") {
            hamming_many_vpopcntq(rows, bytes, count, packed, groups, out);
        } else {
            avx2::hamming::hamming_many(rows, bytes, count, packed, groups, out);
        }
    }
}

/// Weighted distances from `PLANES` planes of a query.
///
/// # Safety
///
/// As for [`hamming`], and the CPU supports AVX-512 VPOPCNTDQ; `query` is valid for reading `PLANES * bytes` bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vpopcntdq,avx2")]
unsafe fn hamming_vpopcntq<const PLANES: usize>(
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
            _mm256_storeu_si256(out.add(row).cast(), sums);
            row += TILE;
        }
        while row < count {
            let sums = tile::<1, PLANES>(rows.add(row * bytes), bytes, query);
            *out.add(row) = _mm256_cvtsi256_si32(sums) as u32;
            row += 1;
        }
    }
}

/// The distances of `ROWS` adjacent rows, up to eight, in the first lanes.
///
/// # Safety
///
/// `rows` is valid for reading `ROWS * bytes` bytes, `query` for reading `PLANES * bytes` bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vpopcntdq,avx2")]
unsafe fn tile<const ROWS: usize, const PLANES: usize>(
    rows: *const u8,
    bytes: usize,
    query: *const u8,
) -> __m256i {
    // SAFETY: whole registers end at or before `bytes`, and the masks of the last ones leave out what lies
    // past it, so each access lies within the rows and the planes that the caller guarantees.
    unsafe {
        let mut sums = [_mm512_setzero_si512(); TILE];
        let whole = bytes / 64 * 64;
        for at in (0..whole).step_by(64) {
            let planes: [__m512i; PLANES] = std::array::from_fn(|plane| {
                _mm512_loadu_si512(query.add(plane * bytes + at).cast())
            });
            for (row, sum) in sums.iter_mut().take(ROWS).enumerate() {
                prefetch_scan(rows, ROWS * at + 64 * row);
                let values = _mm512_loadu_si512(rows.add(row * bytes + at).cast());
                *sum = _mm512_add_epi64(*sum, differing(values, planes));
            }
        }
        if whole < bytes {
            let mask = !0 >> (64 - (bytes - whole));
            let planes: [__m512i; PLANES] = std::array::from_fn(|plane| {
                _mm512_maskz_loadu_epi8(mask, query.add(plane * bytes + whole).cast())
            });
            for (row, sum) in sums.iter_mut().take(ROWS).enumerate() {
                prefetch_scan(rows, ROWS * whole + (bytes - whole) * row);
                let values = _mm512_maskz_loadu_epi8(mask, rows.add(row * bytes + whole).cast());
                *sum = _mm512_add_epi64(*sum, differing(values, planes));
            }
        }
        sums_of_8_words(sums)
    }
}

/// The bits of each word that differ, those of plane `p` counted `2^p` times.
#[inline]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn differing<const PLANES: usize>(values: __m512i, planes: [__m512i; PLANES]) -> __m512i {
    let bits = |plane| _mm512_popcnt_epi64(_mm512_xor_si512(values, plane));
    let mut weighted = bits(planes[PLANES - 1]);
    for plane in (0..PLANES - 1).rev() {
        weighted = _mm512_add_epi64(weighted, weighted);
        weighted = _mm512_add_epi64(weighted, bits(planes[plane]));
    }
    weighted
}

/// # Safety
///
/// As for [`hamming_many`], and the CPU supports AVX-512 VPOPCNTDQ.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vpopcntdq,avx2")]
unsafe fn hamming_many_vpopcntq(
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

/// The distances of `ROWS` adjacent rows and one group of queries: a lane is a query, and a word of a row is
/// broadcast to all lanes.
///
/// Two words at a time are added bit by bit to `ones`, and only what is carried is counted: five instructions
/// for two words, where counting each takes six.
///
/// # Safety
///
/// - `rows` is valid for reading `ROWS * bytes` bytes.
/// - `packed` is valid for reading a group of packed queries of `bytes` bytes.
/// - `out + row * stride` is valid for writing `QUERY_GROUP` values for each `row` below `ROWS`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vpopcntdq,avx2")]
unsafe fn tile_of_group<const ROWS: usize>(
    rows: *const u8,
    bytes: usize,
    packed: *const Line,
    out: *mut u32,
    stride: usize,
) {
    // SAFETY: `row < ROWS`, whole words end at or before `bytes`, and `word_of` reads what is left, so each
    // access lies within the lengths that the caller guarantees. Lines are aligned.
    unsafe {
        let mut ones = [[_mm512_setzero_si512(); 2]; ROWS];
        let mut sums = ones;
        let queries = |step: usize, half: usize| {
            _mm512_load_si512(packed.add(WORD_LINES * step + half).cast())
        };
        let whole = bytes / WORD;
        let word = |row: usize, step: usize| {
            let word = rows.add(row * bytes + WORD * step).cast::<u64>();
            _mm512_set1_epi64(word.read_unaligned() as i64)
        };
        let pairs = whole / 2;
        for step in (0..2 * pairs).step_by(2) {
            // As many bytes as the tile's rows advance by.
            prefetch_scan(rows, ROWS * WORD * step);
            let first: [__m512i; 2] = std::array::from_fn(|half| queries(step, half));
            let second: [__m512i; 2] = std::array::from_fn(|half| queries(step + 1, half));
            for row in 0..ROWS {
                let words = [word(row, step), word(row, step + 1)];
                for half in 0..2 {
                    let before = ones[row][half];
                    let middle = _mm512_ternarylogic_epi64::<XOR>(before, first[half], words[0]);
                    let after = _mm512_ternarylogic_epi64::<XOR>(middle, second[half], words[1]);
                    let carry = _mm512_ternarylogic_epi64::<CARRY>(middle, after, before);
                    ones[row][half] = after;
                    sums[row][half] = _mm512_add_epi64(sums[row][half], _mm512_popcnt_epi64(carry));
                }
            }
        }
        for row in 0..ROWS {
            for half in 0..2 {
                // A carry is two ones.
                let twos = _mm512_add_epi64(sums[row][half], sums[row][half]);
                sums[row][half] = _mm512_add_epi64(twos, _mm512_popcnt_epi64(ones[row][half]));
            }
        }
        let mut add = |step: usize, row: usize, word: __m512i| {
            for (half, sum) in sums[row].iter_mut().enumerate() {
                let differing = _mm512_xor_si512(queries(step, half), word);
                *sum = _mm512_add_epi64(*sum, _mm512_popcnt_epi64(differing));
            }
        };
        if 2 * pairs < whole {
            for row in 0..ROWS {
                add(2 * pairs, row, word(row, 2 * pairs));
            }
        }
        if WORD * whole < bytes {
            for row in 0..ROWS {
                let last = word_of(rows.add(row * bytes + WORD * whole), bytes - WORD * whole);
                add(whole, row, _mm512_set1_epi64(last as i64));
            }
        }
        // The low half of each lane.
        let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        for (row, [low, high]) in sums.into_iter().enumerate() {
            let distances = _mm512_permutex2var_epi32(low, even, high);
            _mm512_storeu_si512(out.add(row * stride).cast(), distances);
        }
    }
}

/// The sum of three bits without its carry.
const XOR: i32 = 0x96;

/// The carry of adding two bits to `before`, from the sums after the first (`middle`) and after both
/// (`after`): `middle ? !after : before`.
const CARRY: i32 = 0x3a;

#[cfg(test)]
mod tests {
    // The tests of the package run one of the two.
    #[test]
    fn both_ways_of_counting_bits_agree() {
        if !std::arch::is_x86_feature_detected!("avx512vpopcntdq") {
            eprintln!("SKIPPED: this CPU has no vpopcntq");
            return;
        }
        let rows: Vec<u8> = (0..19 * 100).map(|i| (i * i % 251) as u8).collect();
        let [mut with, mut without] = [[[0; 19]; 2]; 2];
        // SAFETY: the CPU supports VPOPCNTDQ and so what the AVX-512 kernels and AVX2 need, and there are
        // 19 rows of 100 bytes, more than three planes, and as many outputs.
        unsafe {
            let (rows, [one, planes]) = (rows.as_ptr(), &mut with);
            super::hamming_vpopcntq::<1>(rows, 100, 19, rows, one.as_mut_ptr());
            super::hamming_vpopcntq::<3>(rows, 100, 19, rows, planes.as_mut_ptr());
            let [one, planes] = &mut without;
            super::avx2::hamming::hamming(rows, 100, 19, rows, one.as_mut_ptr());
            super::avx2::hamming::hamming_planes(rows, 100, 19, rows, planes.as_mut_ptr());
        }
        assert_eq!(with, without);
    }
}
