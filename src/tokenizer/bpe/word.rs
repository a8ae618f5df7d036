//! Merging the symbols of a word.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::merges::Merges;

/// No symbol, no token.
const NONE: u32 = u32::MAX;
/// The key of a pair that does not merge; every rank is less.
const NO_MERGE: u32 = u32::MAX;
/// Up to this many symbols, looking at every pair for the best is faster than a heap. Words of most
/// languages are shorter.
const SCAN: usize = 32;
/// A longer word is cut here, so that positions fit 32 bits.
const MAX_SYMBOLS: usize = 1 << 30;
/// What a thread keeps for its next text, in symbols (28 bytes each); more is freed.
const KEPT: usize = 1 << 14;

/// A word whose symbols merge among themselves, and working space that is used again and again.
///
/// The symbols form a list. A merge changes the left symbol of the pair and takes the right one out of the
/// list, but leaves its place in the vector, so positions never change.
#[derive(Default)]
pub(in crate::tokenizer) struct Word {
    symbols: Vec<Symbol>,
    /// For each symbol, the rank of its pair with the next; the smallest merges first.
    keys: Vec<u32>,
    /// Key and position of pairs, some of them outdated.
    heap: BinaryHeap<Reverse<u64>>,
}

struct Symbol {
    previous: u32,
    next: u32,
    /// The token.
    id: u32,
    /// The token that its pair with the next symbol makes.
    joined: u32,
}

impl Word {
    /// Adds a symbol.
    #[inline]
    pub fn push(&mut self, id: u32) {
        let position = self.symbols.len() as u32;
        self.symbols.push(Symbol {
            previous: position.wrapping_sub(1), // `NONE` for the first
            next: position + 1,
            id,
            joined: NONE,
        });
    }

    /// Whether the word must be ended here for its size.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.symbols.len() >= MAX_SYMBOLS
    }

    /// Merges pairs until none is left, appends the tokens to `ids`, and empties the word.
    ///
    /// Always the pair of the lowest rank is merged, the leftmost of those that have it.
    pub fn finish(&mut self, merges: &Merges, ids: &mut Vec<u32>) {
        let Some(last) = self.symbols.last_mut() else {
            return;
        };
        last.next = NONE;
        self.keys.resize(self.symbols.len(), NO_MERGE);
        for position in 0..self.symbols.len() as u32 {
            self.rate(merges, position);
        }
        if self.symbols.len() <= SCAN {
            self.merge_by_scan(merges);
        } else {
            self.merge_by_heap(merges);
        }
        let mut position = 0;
        while let Some(symbol) = self.symbols.get(position as usize) {
            ids.push(symbol.id);
            position = symbol.next;
        }
        self.clear();
    }

    fn merge_by_scan(&mut self, merges: &Merges) {
        loop {
            let best = self.keys.iter().copied().min().unwrap_or(NO_MERGE);
            if best == NO_MERGE {
                return;
            }
            let leftmost = self.keys.iter().position(|&key| key == best);
            self.join(merges, leftmost.unwrap_or_default() as u32);
        }
    }

    fn merge_by_heap(&mut self, merges: &Merges) {
        let entry = |key: u32, position: u32| Reverse(u64::from(key) << 32 | u64::from(position));
        let mut entries = std::mem::take(&mut self.heap).into_vec();
        let pairs = (0..).zip(&self.keys).filter(|&(_, &key)| key != NO_MERGE);
        entries.extend(pairs.map(|(position, &key)| entry(key, position)));
        self.heap = entries.into();
        while let Some(Reverse(best)) = self.heap.pop() {
            let (key, position) = ((best >> 32) as u32, best as u32);
            // A different key: the pair has merged or changed since, and has another entry.
            if self.keys[position as usize] != key {
                continue;
            }
            self.join(merges, position);
            let previous = self.symbols[position as usize].previous;
            for changed in [previous, position] {
                if let Some(&key) = self.keys.get(changed as usize)
                    && key != NO_MERGE
                {
                    self.heap.push(entry(key, changed));
                }
            }
        }
    }

    /// Merges a symbol with the next one.
    fn join(&mut self, merges: &Merges, position: u32) {
        let symbol = &self.symbols[position as usize];
        let (previous, gone) = (symbol.previous, symbol.next);
        let next = self.symbols[gone as usize].next;
        let symbol = &mut self.symbols[position as usize];
        symbol.id = symbol.joined;
        symbol.next = next;
        self.keys[gone as usize] = NO_MERGE;
        if next != NONE {
            self.symbols[next as usize].previous = position;
        }
        if previous != NONE {
            self.rate(merges, previous);
        }
        self.rate(merges, position);
    }

    /// Looks up what a symbol and the next one make.
    #[inline]
    fn rate(&mut self, merges: &Merges, position: u32) {
        let symbol = &self.symbols[position as usize];
        let next = self.symbols.get(symbol.next as usize);
        let merge = next.and_then(|next| merges.find(symbol.id, next.id));
        let (key, joined) = merge.unwrap_or((NO_MERGE, NONE));
        self.symbols[position as usize].joined = joined;
        self.keys[position as usize] = key;
    }

    /// Empties the word.
    pub fn clear(&mut self) {
        if self.symbols.capacity() > KEPT {
            *self = Self::default();
        }
        self.symbols.clear();
        self.keys.clear();
        self.heap.clear();
    }
}
