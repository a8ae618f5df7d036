//! The best rows so far.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A row that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Its number over all files.
    pub row: u64,
    /// How similar it is; see the [crate's documentation](crate).
    pub score: f32,
}

/// Ordered by rank: the better hit is less, so that a heap has the worst one on top.
#[derive(Clone, Copy)]
struct Ranked(Hit);

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        // Scores are numbers: scans refuse others. 0 and −0 are equal.
        let scores = other.0.score.partial_cmp(&self.0.score);
        scores
            .unwrap_or(Ordering::Equal)
            .then(self.0.row.cmp(&other.0.row))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

/// Up to `k` hits.
pub struct TopK {
    heap: BinaryHeap<Ranked>,
    k: usize,
}

impl TopK {
    /// `k` is above 0.
    pub fn new(k: usize) -> Self {
        Self {
            heap: BinaryHeap::new(),
            k,
        }
    }

    /// Hits below this score are none of the best.
    pub fn threshold(&self) -> f32 {
        match self.heap.peek() {
            Some(worst) if self.heap.len() == self.k => worst.0.score,
            _ => f32::NEG_INFINITY,
        }
    }

    /// Whether it would be among the best so far.
    pub fn takes(&self, hit: Hit) -> bool {
        let worst = self.heap.peek();
        self.heap.len() < self.k || worst.is_some_and(|worst| Ranked(hit) < *worst)
    }

    pub fn push(&mut self, hit: Hit) {
        if !self.takes(hit) {
            return;
        }
        if self.heap.len() == self.k {
            self.heap.pop();
        }
        self.heap.push(Ranked(hit));
    }

    pub fn merge(&mut self, other: Self) {
        other.heap.into_iter().for_each(|hit| self.push(hit.0));
    }

    /// The hits, best first.
    pub fn into_hits(self) -> Vec<Hit> {
        let hits = self.heap.into_sorted_vec();
        hits.into_iter().map(|ranked| ranked.0).collect()
    }
}
