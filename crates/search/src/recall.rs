//! How much two stages find of the exact result.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::index::Index;
use crate::search::Search;

/// What [`Search::approximate`] finds at one setting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recall {
    /// The setting.
    pub approximate: usize,
    /// The part of the exact hits that was found, over all queries: 0 to 1.
    pub recall: f64,
    /// The time of all searches in two stages, one query after the other.
    pub time: Duration,
    /// The time of the exact ones.
    pub exact_time: Duration,
}

impl Index {
    /// Searches for the `k` best rows of each vector exactly, and in two stages at each of the settings.
    ///
    /// # Errors
    /// As [`search_batch`](Self::search_batch), and if there are no vectors.
    pub fn recall(
        &self,
        vectors: &[impl AsRef<[f32]>],
        k: usize,
        settings: &[usize],
    ) -> Result<Vec<Recall>> {
        if vectors.is_empty() {
            let remedy = "give at least one, and better some hundred";
            return Err(Error::argument("queries", "there are none", remedy));
        }
        let timed = |search: &Search<'_>| {
            let start = Instant::now();
            let hits = vectors.iter().map(|vector| {
                let mut hits = self.search_batch(&[vector.as_ref()], search)?;
                let hits = hits.pop().unwrap_or_default();
                Ok(hits.into_iter().map(|hit| hit.row).collect())
            });
            let hits = hits.collect::<Result<Vec<HashSet<u64>>>>()?;
            Ok::<_, Error>((hits, start.elapsed()))
        };
        // The first search of a file maps its pages, and is no measure.
        let exact = Search::exact(k);
        self.search_batch(&[vectors[0].as_ref()], &exact)?;
        let (exact, exact_time) = timed(&exact)?;
        let of = exact.iter().map(HashSet::len).sum::<usize>().max(1);
        let measured = settings.iter().map(|&approximate| {
            let (hits, time) = timed(&Search {
                approximate: Some(approximate),
                ..Search::exact(k)
            })?;
            let both = exact.iter().zip(&hits);
            let both = both.map(|(exact, hits)| exact.intersection(hits).count());
            Ok(Recall {
                approximate,
                recall: both.sum::<usize>() as f64 / of as f64,
                time,
                exact_time,
            })
        });
        measured.collect()
    }
}
