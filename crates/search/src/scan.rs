//! All rows against some queries, on all threads.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use arrow_array::ArrayRef;
use lanewise_pool::CachePadded;
use lanewise_pool::partition::chunks;

use crate::chunks::{Chunk, rows_of_block};
use crate::error::{EMBED_AGAIN, Error, Result};
use crate::filter::{Filter, Where};
use crate::index::Index;
use crate::threshold::Thresholds;
use crate::tile::{Candidate, Queries, Scratch, Unusable};
use crate::top_k::{Hit, TopK};

/// What a thread has found so far.
struct Worker {
    best: Vec<TopK>,
    thresholds: Thresholds,
    scratch: Scratch,
    /// The columns of the conditions in the batch that was looked at last.
    columns: Option<((u32, u32), Vec<ArrayRef>)>,
    /// What is wrong, and the row.
    failed: Option<(u64, Error)>,
}

/// A scan of all rows.
pub struct Scan<'a> {
    pub index: &'a Index,
    pub queries: &'a Queries,
    pub k: usize,
    pub filter: Filter<'a>,
    /// A row that is not to be found.
    pub without: Option<u64>,
}

impl Scan<'_> {
    /// The best hits of each query.
    pub fn run(&self) -> Result<Vec<Vec<Hit>>> {
        let mut pool = self.index.pool();
        let count = self.queries.count();
        let mut workers: Vec<_> = (0..pool.threads())
            .map(|_| CachePadded(Worker::new(self.k, self.queries)))
            .collect();
        let blocks = usize::try_from(self.index.blocks).unwrap_or(usize::MAX);
        let mut tasks = vec![(); blocks];
        let failed = AtomicBool::new(false);
        pool.for_each_part(chunks(&mut tasks, 1), &mut workers, |block, _, worker| {
            if failed.load(Relaxed) {
                return;
            }
            let worker = &mut worker.0;
            if let Err((row, error)) = self.block(block as u64, worker) {
                failed.store(true, Relaxed);
                let is_first = worker.failed.as_ref().is_none_or(|(first, _)| row < *first);
                if is_first {
                    worker.failed = Some((row, error));
                }
            }
        });
        drop(pool);
        let failures = workers
            .iter_mut()
            .filter_map(|worker| worker.0.failed.take());
        if let Some((_, error)) = failures.min_by_key(|(row, _)| *row) {
            // What was read of a file that is being changed is no damage.
            self.index.check_unchanged()?;
            return Err(error);
        }
        let mut best: Vec<TopK> = (0..count).map(|_| TopK::new(self.k)).collect();
        for worker in workers {
            for (best, own) in best.iter_mut().zip(worker.0.best) {
                best.merge(own);
            }
        }
        Ok(best.into_iter().map(TopK::into_hits).collect())
    }

    fn block(&self, block: u64, worker: &mut Worker) -> Result<(), (u64, Error)> {
        let index = self.index;
        let (chunk, rows) = rows_of_block(&index.chunks, block);
        let file = &index.files[chunk.file as usize];
        let mut start = rows.start;
        while start < rows.end {
            let tile = start..(start + self.queries.tile_rows()).min(rows.end);
            start = tile.end;
            let (thresholds, scratch) = (&worker.thresholds, &mut worker.scratch);
            let kernels = index.kernels;
            let scored = self
                .queries
                .candidates(kernels, file, chunk, tile, thresholds, scratch);
            scored.map_err(|unusable| index.unusable(chunk, &unusable))?;
            let candidates = std::mem::take(&mut worker.scratch.candidates);
            for found in &candidates {
                self.candidate(chunk, found, worker)?;
            }
            worker.scratch.candidates = candidates;
        }
        Ok(())
    }

    fn candidate(
        &self,
        chunk: &Chunk,
        found: &Candidate,
        worker: &mut Worker,
    ) -> Result<(), (u64, Error)> {
        let Candidate {
            row: at,
            query,
            score,
        } = *found;
        let row = chunk.first_row + at as u64;
        let hit = Hit { row, score };
        let excluded = Some(row) == self.without || !worker.best[query].takes(hit);
        if excluded
            || !self
                .passes(chunk, at, worker)
                .map_err(|error| (row, error))?
        {
            return Ok(());
        }
        worker.best[query].push(hit);
        let threshold = worker.best[query].threshold();
        worker.thresholds.set(query, threshold);
        Ok(())
    }

    fn passes(&self, chunk: &Chunk, at: usize, worker: &mut Worker) -> Result<bool> {
        let conditions: &[Where] = match self.filter {
            Filter::All => return Ok(true),
            Filter::Rows(rows) => return Ok(rows.contains(chunk.first_row + at as u64)),
            Filter::Where(conditions) => conditions,
        };
        let columns = &self.index.files[chunk.file as usize].columns;
        let batch = (chunk.file, chunk.batch);
        if worker
            .columns
            .as_ref()
            .is_none_or(|(known, _)| *known != batch)
        {
            let arrays = columns.of_conditions(conditions, chunk.batch)?;
            worker.columns = Some((batch, arrays));
        }
        let arrays = worker.columns.as_ref().map(|(_, arrays)| &arrays[..]);
        Ok(columns.hold(conditions, arrays.unwrap_or_default(), at))
    }
}

impl Worker {
    fn new(k: usize, queries: &Queries) -> Self {
        Self {
            best: (0..queries.count()).map(|_| TopK::new(k)).collect(),
            thresholds: queries.thresholds(f32::NEG_INFINITY),
            scratch: Scratch::default(),
            columns: None,
            failed: None,
        }
    }
}

impl Index {
    /// The error of a row without a score.
    pub(crate) fn unusable(&self, chunk: &Chunk, unusable: &Unusable) -> (u64, Error) {
        let file = &self.files[chunk.file as usize];
        let row = chunk.first_row + unusable.row as u64;
        let problem = format!("row {} {}", row - file.first_row, unusable.problem);
        (row, Error::file(&file.path, problem, EMBED_AGAIN))
    }
}
