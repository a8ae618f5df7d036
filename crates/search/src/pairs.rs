//! All pairs of similar rows.

use std::ops::{ControlFlow, Range};

use lanewise_bulk::CancelToken;
use lanewise_pool::CachePadded;
use lanewise_pool::partition::chunks;

use crate::chunks::{BLOCK_ROWS, Chunk, rows_of_block};
use crate::error::{Error, Result};
use crate::index::Index;
use crate::threshold::Thresholds;
use crate::tile::{MOST_QUERIES, Queries, Scratch};

/// Two rows and how similar they are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// The row with the lower number.
    pub first: u64,
    /// The row with the higher number.
    pub second: u64,
    /// The score of the second row, with the first one as the query.
    pub score: f32,
}

/// Blocks of rows that are compared before pairs are handed out: with [`MOST_QUERIES`] rows they are up
/// to 4 million pairs of 12 bytes, and enough for many threads.
const BLOCKS: u64 = 16;

/// Tasks of a block, enough that no thread waits long for another.
const TASKS: u64 = 4;

/// A pair of a [`Side`], by the numbers in it.
struct Found {
    first: u32,
    second: u32,
    score: f32,
}

impl Index {
    /// All pairs of rows with a score of at least `above`, each once, handed to `found`.
    ///
    /// Pairs come in a fixed order: groups of 256 first rows after each other, in each of them up to
    /// 16,384 second rows after each other, and in those by the first row and then the second.
    /// `progress` is told how many pairs of rows have been compared, and of how many. `found` ends the
    /// search by [`ControlFlow::Break`].
    ///
    /// # Errors
    /// If `above` is no number; [`Error::Cancelled`]; as [`search`](Self::search).
    pub fn duplicates(
        &self,
        above: f32,
        cancel: &CancelToken,
        mut progress: impl FnMut(u64, u64),
        mut found: impl FnMut(Pair) -> ControlFlow<()>,
    ) -> Result<()> {
        if !above.is_finite() {
            let problem = format!("{above} is no score");
            return Err(Error::argument("above", problem, "give one from -1 to 1"));
        }
        let rows = self.rows;
        let total = pairs(rows);
        let mut first = 0;
        while first < rows {
            let firsts = first..(first + MOST_QUERIES as u64).min(rows);
            let queries = firsts.clone().map(|row| self.query_of_row(row));
            let queries = queries.collect::<Result<Vec<_>>>()?;
            let queries = Queries::new(self.kernels, self.precisions[0], self.dims(), &queries);
            let thresholds = queries.thresholds(above);
            let mut block = self.block_of(first);
            while block < self.blocks {
                if cancel.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                let blocks = block..(block + BLOCKS).min(self.blocks);
                block = blocks.end;
                let flow = self.compare(&queries, &thresholds, &firsts, blocks, &mut found)?;
                if flow.is_break() {
                    return Ok(());
                }
            }
            first = firsts.end;
            progress(total - pairs(rows - first), total);
        }
        self.check_unchanged()
    }

    fn block_of(&self, row: u64) -> u64 {
        let after = self.chunks.partition_point(|chunk| chunk.first_row <= row);
        let chunk = &self.chunks[after - 1];
        chunk.first_block + (row - chunk.first_row) / BLOCK_ROWS
    }

    /// Hands out the pairs of a group of first rows and the rows of some blocks.
    fn compare(
        &self,
        queries: &Queries,
        thresholds: &Thresholds,
        firsts: &Range<u64>,
        blocks: Range<u64>,
        found: &mut impl FnMut(Pair) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let seconds: Vec<_> = blocks.flat_map(|block| self.seconds(block)).collect();
        let mut compared: Vec<Result<Vec<Found>, Error>> =
            seconds.iter().map(|_| Ok(Vec::new())).collect();
        let mut pool = self.pool();
        let mut scratch: Vec<_> = (0..pool.threads())
            .map(|_| CachePadded(Scratch::default()))
            .collect();
        pool.for_each_part(
            chunks(&mut compared, 1),
            &mut scratch,
            |task, found, scratch| {
                let (chunk, rows) = seconds[task].clone();
                let scratch = &mut scratch.0;
                found[0] = self.compare_rows(queries, thresholds, firsts, chunk, rows, scratch);
            },
        );
        drop(pool);
        let compared: Vec<Vec<Found>> = match compared.into_iter().collect() {
            Ok(compared) => compared,
            Err(error) => {
                self.check_unchanged()?;
                return Err(error);
            }
        };
        let mut rest: Vec<&[Found]> = compared.iter().map(|found| &found[..]).collect();
        for first in 0..queries.count() as u32 {
            for (rest, (chunk, rows)) in rest.iter_mut().zip(&seconds) {
                let start = chunk.first_row + rows.start as u64;
                while let Some(next) = rest.first().filter(|next| next.first == first) {
                    *rest = &rest[1..];
                    let pair = Pair {
                        first: firsts.start + u64::from(first),
                        second: start + u64::from(next.second),
                        score: next.score,
                    };
                    if found(pair).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The rows of a block in their chunk, cut into tasks.
    fn seconds(&self, block: u64) -> impl Iterator<Item = (&Chunk, Range<usize>)> {
        const STEP: usize = (BLOCK_ROWS / TASKS) as usize;
        let (chunk, rows) = rows_of_block(&self.chunks, block);
        let starts = rows.clone().step_by(STEP);
        starts.map(move |start| (chunk, start..(start + STEP).min(rows.end)))
    }

    /// The pairs with some rows of a chunk, by their first and then their second row.
    fn compare_rows(
        &self,
        queries: &Queries,
        thresholds: &Thresholds,
        firsts: &Range<u64>,
        chunk: &Chunk,
        rows: Range<usize>,
        scratch: &mut Scratch,
    ) -> Result<Vec<Found>> {
        let file = &self.files[chunk.file as usize];
        let mut found = Vec::new();
        let mut start = rows.start;
        while start < rows.end {
            let tile = start..(start + queries.tile_rows()).min(rows.end);
            start = tile.end;
            if chunk.first_row + tile.end as u64 <= firsts.start + 1 {
                continue;
            }
            let scored = queries.candidates(self.kernels, file, chunk, tile, thresholds, scratch);
            scored.map_err(|unusable| self.unusable(chunk, &unusable).1)?;
            for candidate in &scratch.candidates {
                let first = firsts.start + candidate.query as u64;
                if first < chunk.first_row + candidate.row as u64 {
                    found.push(Found {
                        first: candidate.query as u32,
                        second: (candidate.row - rows.start) as u32,
                        score: candidate.score,
                    });
                }
            }
        }
        found.sort_unstable_by_key(|found| (found.first, found.second));
        Ok(found)
    }
}

/// The number of pairs of `rows` rows.
fn pairs(rows: u64) -> u64 {
    let pairs = u128::from(rows) * u128::from(rows.saturating_sub(1)) / 2;
    u64::try_from(pairs).unwrap_or(u64::MAX)
}
