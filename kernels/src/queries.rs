//! Queries of a vector search, packed in groups so that a lane of a register is a query.

use crate::layout::Line;

/// Queries that the search kernels compute side by side: the scores of a group are one cache line.
pub const QUERY_GROUP: usize = 16;

/// Binary codes of a query for [`Kernels::hamming_planes`](crate::Kernels::hamming_planes): a value has eight levels.
pub const QUERY_PLANES: usize = 3;

/// Values of one step of packed INT8 queries: the bytes of a lane of `vpdpbusd`.
pub(crate) const STEP: usize = 4;

/// Values of one step of packed INT8 queries in quarters of 512-bit registers.
pub(crate) const QUARTER: usize = 16;

/// Bytes of one step of packed binary queries: the bits of a lane of `vpopcntq`.
pub(crate) const WORD: usize = size_of::<u64>();

/// Lines of one step of a group of binary queries.
pub(crate) const WORD_LINES: usize = QUERY_GROUP * WORD / size_of::<Line>();

/// Most values of an INT8 vector, and most bytes of a binary one, that are searched: a dot product
/// of 2¹⁶ values of −128 is 2³⁰, so sums of 32 bits are exact.
pub const MAX_SEARCH_DIMS: usize = 1 << 16;

/// Scores that [`Kernels::gemm_i8`](crate::Kernels::gemm_i8) and
/// [`Kernels::hamming_many`](crate::Kernels::hamming_many) write for each row: `queries` rounded up
/// to whole groups of [`QUERY_GROUP`]. What they write past the last query is unspecified.
#[inline]
pub const fn score_stride(queries: usize) -> usize {
    queries.next_multiple_of(QUERY_GROUP)
}

/// How an instruction set keeps the values of packed INT8 queries. What is missing to whole groups and steps is as
/// if it were zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueryLayout {
    /// Steps of [`STEP`] signed bytes of each query.
    Bytes,
    /// The same with 128 added: the unsigned operand of `vpdpbusd`, with a query in each lane.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code))]
    UnsignedBytes,
    /// Steps of [`QUARTER`] bytes of each query with 128 added: lines of four queries, whose numbers lie four
    /// apart.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code))]
    UnsignedQuarters,
    /// Signed words, for `vpmaddwd`: steps of two values of each query.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code))]
    Words,
}

impl QueryLayout {
    /// Lines of a group of queries of `dims` values.
    #[inline]
    pub(crate) const fn group_lines(self, dims: usize) -> usize {
        match self {
            QueryLayout::Bytes | QueryLayout::UnsignedBytes => dims.div_ceil(STEP),
            QueryLayout::UnsignedQuarters => dims.div_ceil(QUARTER) * (QUARTER / STEP),
            QueryLayout::Words => dims.div_ceil(2),
        }
    }

    /// Packs INT8 queries of `dims` values, one after the other.
    ///
    /// # Panics
    ///
    /// If `packed` is shorter than the groups.
    pub(crate) fn pack(self, queries: &[i8], dims: usize, packed: &mut [Line]) {
        let group_lines = self.group_lines(dims);
        let zero = match self {
            QueryLayout::Bytes | QueryLayout::Words => 0,
            QueryLayout::UnsignedBytes | QueryLayout::UnsignedQuarters => 128,
        };
        let groups = queries.chunks(QUERY_GROUP * dims);
        for (group, queries) in groups.enumerate() {
            let packed = &mut packed[group * group_lines..][..group_lines];
            packed.fill(Line([zero; size_of::<Line>()]));
            for (lane, query) in queries.chunks_exact(dims).enumerate() {
                for (at, &value) in query.iter().enumerate() {
                    let byte = value as u8 ^ zero;
                    match self {
                        QueryLayout::Bytes | QueryLayout::UnsignedBytes => {
                            packed[at / STEP].0[lane * STEP + at % STEP] = byte;
                        }
                        QueryLayout::UnsignedQuarters => {
                            let line = at / QUARTER * (QUARTER / STEP) + lane % 4;
                            packed[line].0[lane / 4 * QUARTER + at % QUARTER] = byte;
                        }
                        QueryLayout::Words => {
                            let word = lane * 4 + at % 2 * 2;
                            packed[at / 2].0[word..word + 2]
                                .copy_from_slice(&i16::from(value).to_ne_bytes());
                        }
                    }
                }
            }
        }
    }
}

/// Packs binary queries of `bytes` bytes, one after the other: a step is [`WORD`] bytes of each query
/// of a group. What is missing to whole groups and steps is zeros.
///
/// # Panics
///
/// If `packed` is shorter than the groups.
pub(crate) fn pack_binary(queries: &[u8], bytes: usize, packed: &mut [Line]) {
    let group_lines = bytes.div_ceil(WORD) * WORD_LINES;
    for (group, queries) in queries.chunks(QUERY_GROUP * bytes).enumerate() {
        let packed = &mut packed[group * group_lines..][..group_lines];
        packed.fill(Line::ZERO);
        for (lane, query) in queries.chunks_exact(bytes).enumerate() {
            for (step, word) in query.chunks(WORD).enumerate() {
                let at = step * QUERY_GROUP * WORD + lane * WORD;
                let line = &mut packed[at / size_of::<Line>()].0;
                line[at % size_of::<Line>()..][..word.len()].copy_from_slice(word);
            }
        }
    }
}

/// Most rows that [`row_block`] returns.
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code))]
pub(crate) const MAX_ROW_BLOCK: usize = 24;

/// Rows that are multiplied by all queries before the next ones.
///
/// Of few queries, one tile: its rows are still in the first level of the cache after they were summed. Of
/// more, several tiles, so that a group of queries that was read from the second level is used for all of
/// them; they stay there beside as many rows that are prefetched.
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code))]
#[inline]
pub(crate) const fn row_block(dims: usize, groups: usize, tile: usize) -> usize {
    if groups <= 2 || dims > 4096 {
        tile
    } else {
        MAX_ROW_BLOCK / tile * tile
    }
}

/// The last step of a row, of which `count` values are left; the others are zeros.
///
/// # Safety
///
/// `from` is valid for reading `count` values, fewer than [`STEP`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) unsafe fn step_of(from: *const i8, count: usize) -> i32 {
    // SAFETY: the caller guarantees the values.
    unsafe { word_of(from.cast(), count) as i32 }
}

/// The last word of a row, of which `count` bytes are left; the others are zeros. Read in powers of two: a copy of
/// any length would be a call.
///
/// # Safety
///
/// `from` is valid for reading `count` bytes, fewer than [`WORD`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) unsafe fn word_of(from: *const u8, count: usize) -> u64 {
    let (mut word, mut at) = (0, 0);
    // SAFETY: the parts that are read are adjacent, and `count` bytes together.
    unsafe {
        if count & 4 != 0 {
            word = u64::from(from.cast::<u32>().read_unaligned());
            at = 4;
        }
        if count & 2 != 0 {
            word |= u64::from(from.add(at).cast::<u16>().read_unaligned()) << (8 * at);
            at += 2;
        }
        if count & 1 != 0 {
            word |= u64::from(*from.add(at)) << (8 * at);
        }
    }
    word
}
