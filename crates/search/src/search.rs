//! Searches: one scan, or a scan and more exact scores of its best rows.

use lanewise_pool::CachePadded;
use lanewise_pool::partition::chunks;
use lanewise_vectors::Precision;

use crate::chunks::{chunk_of_row, slot};
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::index::Index;
use crate::open::SCALES;
use crate::query::Query;
use crate::scan::Scan;
use crate::tile::{Candidate, MOST_QUERIES, Queries, Scratch};
use crate::top_k::{Hit, TopK};

/// How many times `k` rows are scored again by [`Search::rescore`]: the order of the exact scores
/// differs from that of `i8` among near neighbors only.
const RESCORED: usize = 4;

/// What [`Search::approximate`] is where a user does not say it: 0.9997 and 0.994 of the ten best rows of two corpora
/// are found (docs/PERFORMANCE.md), where 16 would leave 0.02 of the larger one's out.
pub const CANDIDATES: usize = 32;

/// The settings of a search.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// How many rows are to be found, at least 1. If there are fewer, all are found.
    pub k: usize,
    /// Two stages: binary codes are scanned for this many times `k` rows, whose scores are then those of
    /// the precision that is searched otherwise. The scores are exact, and some rows may be missed;
    /// [`Index::recall`] says how many. In the first stage the query has three bits a value.
    pub approximate: Option<usize>,
    /// Whether the best 4 × `k` rows get the scores of their vectors in `f32`.
    pub rescore: bool,
    /// Which rows may be found.
    pub filter: Filter<'a>,
}

impl Search<'_> {
    /// The exact `k` best of all rows.
    pub fn exact(k: usize) -> Self {
        Self {
            k,
            approximate: None,
            rescore: false,
            filter: Filter::All,
        }
    }
}

impl Index {
    /// The `k` rows that are most similar to a vector, best first.
    ///
    /// # Errors
    /// If `k` is 0; if the vector is not as long as those of the index or has values that are no
    /// numbers; if a file turns out to be damaged, or was written to since it was opened.
    pub fn search(&self, vector: &[f32], k: usize) -> Result<Vec<Hit>> {
        let mut hits = self.search_batch(&[vector], &Search::exact(k))?;
        Ok(hits.pop().unwrap_or_default())
    }

    /// The same for several vectors, which takes little longer than for one, with all settings.
    ///
    /// # Errors
    /// As [`search`](Self::search); and if files do not have what the settings ask for.
    pub fn search_batch(
        &self,
        vectors: &[impl AsRef<[f32]>],
        search: &Search<'_>,
    ) -> Result<Vec<Vec<Hit>>> {
        let queries = vectors.iter().enumerate();
        let queries = queries.map(|(at, vector)| Query::of(vector.as_ref(), self.dims(), at));
        self.run(&queries.collect::<Result<Vec<_>>>()?, search, None)
    }

    /// The rows that are most similar to a row, without itself.
    ///
    /// # Errors
    /// As [`search_batch`](Self::search_batch), and if there is no such row.
    pub fn similar(&self, row: u64, search: &Search<'_>) -> Result<Vec<Hit>> {
        let query = self.query_of_row(row)?;
        let mut hits = self.run(&[query], search, Some(row))?;
        Ok(hits.pop().unwrap_or_default())
    }

    /// The stored vectors of a row, in the precisions that all files have.
    pub(crate) fn query_of_row(&self, row: u64) -> Result<Query> {
        let (chunk, at) = chunk_of_row(&self.chunks, row).ok_or_else(|| self.no_row(row))?;
        let data = &self.files[chunk.file as usize].data;
        let dims = self.dims();
        let mut query = Query::default();
        for &precision in &self.precisions {
            let start = chunk.vectors[slot(precision)] + at * precision.bytes(dims);
            let data = &data[slot(precision)];
            match precision {
                Precision::I8 => query.i8s = data.i8s(start, dims).to_vec(),
                Precision::Binary => {
                    query.bits = data.bytes(start, precision.bytes(dims)).to_vec();
                }
                Precision::F32 => query.f32s = data.f32s(start, dims).to_vec(),
                Precision::F16 if query.f32s.is_empty() => {
                    let values = data.f16s(start, dims).iter();
                    query.f32s = values.map(|value| value.to_f32()).collect();
                }
                Precision::F16 => {}
            }
        }
        if self.precisions.contains(&Precision::I8) {
            // The scan refuses a scale that is no number above 0.
            query.scale = data[SCALES].f32s(chunk.scales + at * 4, 1)[0];
        }
        Ok(query)
    }

    fn run(
        &self,
        queries: &[Query],
        search: &Search<'_>,
        without: Option<u64>,
    ) -> Result<Vec<Vec<Hit>>> {
        let stages = self.stages(search)?;
        if let Filter::Where(conditions) = search.filter {
            self.check_conditions(conditions)?;
        }
        let mut found = Vec::with_capacity(queries.len());
        for group in queries.chunks(MOST_QUERIES) {
            let (precision, k) = stages[0];
            let packed = match precision == Precision::Binary && stages.len() > 1 {
                true => Queries::in_planes(self.dims(), group),
                false => Queries::new(self.kernels, precision, self.dims(), group),
            };
            let scan = Scan {
                index: self,
                queries: &packed,
                k,
                filter: search.filter,
                without,
            };
            let mut hits = scan.run()?;
            for &(precision, k) in &stages[1..] {
                self.rescore(group, precision, k, &mut hits)?;
            }
            found.extend(hits);
        }
        self.check_unchanged()?;
        Ok(found)
    }

    /// The precisions that rows are scored in, one after the other, and how many rows each leaves.
    fn stages(&self, search: &Search<'_>) -> Result<Vec<(Precision, usize)>> {
        let has = |precision| self.precisions.contains(&precision);
        let own = self.precisions.iter().map(|precision| precision.name());
        let own = own.collect::<Vec<_>>().join(", ");
        if search.k == 0 {
            return Err(Error::argument(
                "k",
                "0 rows are asked for",
                "give at least 1",
            ));
        }
        let rows = usize::try_from(self.rows).unwrap_or(usize::MAX).max(1);
        let k = search.k.min(rows);
        let times = |factor: usize| k.saturating_mul(factor).min(rows);
        let main = self.precisions[0];
        let mut stages = Vec::new();
        if let Some(factor) = search.approximate {
            if factor == 0 {
                let problem = "0 times k rows would be scored again";
                return Err(Error::argument("approximate", problem, "give at least 1"));
            }
            if !has(Precision::Binary) || main == Precision::Binary {
                return Err(Error::argument(
                    "approximate",
                    format!(
                        "it needs binary codes and another precision, and the files have {own}"
                    ),
                    "embed the texts in both, such as i8+binary, or search without it",
                ));
            }
            let rescored = if search.rescore { RESCORED } else { 1 };
            stages.push((Precision::Binary, times(factor.max(rescored))));
        }
        if !search.rescore || main == Precision::F32 {
            stages.push((main, k));
        } else if has(Precision::F32) {
            stages.extend([(main, times(RESCORED)), (Precision::F32, k)]);
        } else {
            return Err(Error::argument(
                "rescore",
                format!("it needs vectors in f32, and the files have {own}"),
                "embed the texts in both, such as i8+f32, or search without it",
            ));
        }
        Ok(stages)
    }

    /// Leaves the `k` best by their scores in a precision.
    fn rescore(
        &self,
        queries: &[Query],
        precision: Precision,
        k: usize,
        hits: &mut [Vec<Hit>],
    ) -> Result<()> {
        let mut failed: Vec<Option<Error>> = hits.iter().map(|_| None).collect();
        let mut pool = self.pool();
        let mut scratch: Vec<_> = (0..pool.threads())
            .map(|_| CachePadded(Scratch::default()))
            .collect();
        let parts = (chunks(hits, 1), chunks(&mut failed, 1));
        pool.for_each_part(parts, &mut scratch, |query, (hits, failed), scratch| {
            let query = &queries[query..=query];
            match self.rescored(query, precision, k, &hits[0], &mut scratch.0) {
                Ok(best) => hits[0] = best,
                Err(error) => failed[0] = Some(error),
            }
        });
        drop(pool);
        match failed.into_iter().flatten().next() {
            None => Ok(()),
            Some(error) => {
                self.check_unchanged()?;
                Err(error)
            }
        }
    }

    fn rescored(
        &self,
        query: &[Query],
        precision: Precision,
        k: usize,
        hits: &[Hit],
        scratch: &mut Scratch,
    ) -> Result<Vec<Hit>> {
        let query = Queries::new(self.kernels, precision, self.dims(), query);
        let thresholds = query.thresholds(f32::NEG_INFINITY);
        let mut best = TopK::new(k);
        // In the order of the file, as its disk reads them fastest.
        let mut rows: Vec<u64> = hits.iter().map(|hit| hit.row).collect();
        rows.sort_unstable();
        for row in rows {
            let (chunk, at) = chunk_of_row(&self.chunks, row).ok_or_else(|| self.no_row(row))?;
            let file = &self.files[chunk.file as usize];
            let kernels = self.kernels;
            let scored = query.candidates(kernels, file, chunk, at..at + 1, &thresholds, scratch);
            scored.map_err(|unusable| self.unusable(chunk, &unusable).1)?;
            for &Candidate { score, .. } in &scratch.candidates {
                best.push(Hit { row, score });
            }
        }
        Ok(best.into_hits())
    }
}
