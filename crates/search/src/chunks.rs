//! Where the vectors of the rows are: runs of rows whose vectors are adjacent in memory.

use arrow_buffer::{Buffer, ScalarBuffer};
use half::f16;
use lanewise_vectors::Precision;

/// The precisions, in the order in which one is chosen to be searched; the index in
/// [`Chunk::vectors`].
pub const PRECISIONS: [Precision; 4] = [
    Precision::I8,
    Precision::F32,
    Precision::F16,
    Precision::Binary,
];

/// The place of a precision in [`PRECISIONS`].
pub fn slot(precision: Precision) -> usize {
    match precision {
        Precision::I8 => 0,
        Precision::F32 => 1,
        Precision::F16 => 2,
        Precision::Binary => 3,
    }
}

/// Bytes of a file or column, as numbers of every kind.
#[derive(Clone, Debug)]
pub struct Data {
    bytes: Buffer,
    i8s: ScalarBuffer<i8>,
    f16s: ScalarBuffer<f16>,
    f32s: ScalarBuffer<f32>,
}

impl Data {
    /// `None` if the bytes do not begin at a multiple of 4 in memory.
    pub fn new(bytes: Buffer) -> Option<Self> {
        if !bytes.as_ptr().addr().is_multiple_of(align_of::<f32>()) {
            return None;
        }
        Some(Self {
            i8s: ScalarBuffer::new(bytes.clone(), 0, bytes.len()),
            f16s: ScalarBuffer::new(bytes.clone(), 0, bytes.len() / 2),
            f32s: ScalarBuffer::new(bytes.clone(), 0, bytes.len() / 4),
            bytes,
        })
    }

    pub fn bytes(&self, offset: usize, count: usize) -> &[u8] {
        &self.bytes[offset..][..count]
    }

    pub fn i8s(&self, offset: usize, count: usize) -> &[i8] {
        &self.i8s[offset..][..count]
    }

    /// `offset` in bytes, a multiple of 2.
    pub fn f16s(&self, offset: usize, count: usize) -> &[f16] {
        &self.f16s[offset / 2..][..count]
    }

    /// `offset` in bytes, a multiple of 4.
    pub fn f32s(&self, offset: usize, count: usize) -> &[f32] {
        &self.f32s[offset / 4..][..count]
    }
}

/// Rows of one file whose vectors are adjacent.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The first row, counted over all files.
    pub first_row: u64,
    /// The first block of rows, counted over all files.
    pub first_block: u64,
    pub rows: u32,
    pub file: u32,
    /// Which record batch of the file.
    pub batch: u32,
    /// Where the vectors in each of [`PRECISIONS`] begin, in bytes. Of those that the file does not
    /// have, 0.
    pub vectors: [usize; PRECISIONS.len()],
    /// Where the scales of `i8` begin, in bytes.
    pub scales: usize,
}

/// Rows of a block: what one thread scans before it looks for the next one. A block of `i8` vectors of
/// 768 values takes 20 µs at the bandwidth of one core; a query needs some hundred times as many as
/// there are threads to share them well.
pub const BLOCK_ROWS: u64 = 1024;

impl Chunk {
    pub fn blocks(&self) -> u64 {
        u64::from(self.rows).div_ceil(BLOCK_ROWS)
    }
}

/// The chunk with a row; `None` if there is no such row.
pub fn chunk_of_row(chunks: &[Chunk], row: u64) -> Option<(&Chunk, usize)> {
    let after = chunks.partition_point(|chunk| chunk.first_row <= row);
    let chunk = &chunks[after.checked_sub(1)?];
    let at = row - chunk.first_row;
    (at < u64::from(chunk.rows)).then_some((chunk, at as usize))
}

/// The chunk with a block that exists, and the block's rows in it.
pub fn rows_of_block(chunks: &[Chunk], block: u64) -> (&Chunk, std::ops::Range<usize>) {
    let after = chunks.partition_point(|chunk| chunk.first_block <= block);
    let chunk = &chunks[after - 1];
    let start = (block - chunk.first_block) * BLOCK_ROWS;
    let end = (start + BLOCK_ROWS).min(chunk.rows.into());
    (chunk, start as usize..end as usize)
}
