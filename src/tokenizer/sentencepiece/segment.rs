//! Merging the symbols of a segment of text.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::super::SPACE_BYTES;
use super::super::vocabulary::Vocabulary;

/// No symbol, no piece.
const NONE: u32 = u32::MAX;
/// The key of a pair that does not merge; the key of every score is less.
const NO_MERGE: u32 = u32::MAX;
/// Up to this many symbols, looking at every pair for the best is faster than a heap. Words of most
/// languages are shorter.
const SCAN: usize = 32;
/// A longer segment is cut here, so that positions fit 32 bits.
const MAX_BYTES: usize = 1 << 30;
/// What a thread keeps for its next text, in symbols (24 bytes each); more is freed.
const KEPT: usize = 1 << 14;

/// Text whose symbols merge among themselves, and working space that is used again and again.
///
/// The symbols form a list. A merge lengthens the left symbol of the pair and takes the right one
/// out of the list, but leaves its place in the vector, so positions never change.
#[derive(Default)]
pub(super) struct Segment {
    text: Vec<u8>,
    symbols: Vec<Symbol>,
    /// For each symbol, the key of its pair with the next; the smallest merges first.
    keys: Vec<u32>,
    /// Key and position of pairs, some of them outdated.
    heap: BinaryHeap<Reverse<u64>>,
}

struct Symbol {
    /// Where its text begins; it ends where the next symbol begins.
    start: u32,
    previous: u32,
    next: u32,
    /// The token, or `NONE` for a character that is no piece.
    id: u32,
    /// The token that its pair with the next symbol makes.
    joined: u32,
}

impl Segment {
    /// Adds a symbol: a character, or a run of U+2581 that is a token.
    #[inline]
    pub(super) fn push(&mut self, text: &[u8], id: Option<u32>) {
        let position = self.symbols.len() as u32;
        self.symbols.push(Symbol {
            start: self.text.len() as u32,
            previous: position.wrapping_sub(1), // `NONE` for the first
            next: position + 1,
            id: id.unwrap_or(NONE),
            joined: NONE,
        });
        self.text.extend_from_slice(text);
    }

    /// Adds a run of `count` U+2581.
    pub(super) fn push_spaces(&mut self, count: usize, id: Option<u32>) {
        self.push(&SPACE_BYTES, id);
        for _ in 1..count {
            self.text.extend_from_slice(&SPACE_BYTES);
        }
    }

    /// The last byte of the text.
    pub(super) fn last_byte(&self) -> Option<u8> {
        self.text.last().copied()
    }

    /// Whether the segment must be ended here for its size.
    pub(super) fn is_full(&self) -> bool {
        self.text.len() >= MAX_BYTES
    }

    /// Merges pairs until none is left, appends the tokens to `ids`, and empties the segment.
    ///
    /// Always the pair whose joined piece has the highest score is merged, the leftmost on a tie.
    /// A character that is no piece becomes the tokens of its bytes.
    pub(super) fn finish(
        &mut self,
        vocabulary: &Vocabulary,
        byte_tokens: &[u32; 256],
        ids: &mut Vec<u32>,
    ) {
        let Some(last) = self.symbols.last_mut() else {
            return;
        };
        last.next = NONE;
        self.keys.resize(self.symbols.len(), NO_MERGE);
        for position in 0..self.symbols.len() as u32 {
            self.rate(vocabulary, position);
        }
        if self.symbols.len() <= SCAN {
            self.merge_by_scan(vocabulary);
        } else {
            self.merge_by_heap(vocabulary);
        }
        let mut position = 0;
        while let Some(symbol) = self.symbols.get(position as usize) {
            match symbol.id {
                NONE => ids.extend(self.text(symbol).iter().map(|&b| byte_tokens[b as usize])),
                id => ids.push(id),
            }
            position = symbol.next;
        }
        self.clear();
    }

    fn merge_by_scan(&mut self, vocabulary: &Vocabulary) {
        loop {
            let best = self.keys.iter().copied().min().unwrap_or(NO_MERGE);
            if best == NO_MERGE {
                return;
            }
            let leftmost = self.keys.iter().position(|&key| key == best);
            self.join(vocabulary, leftmost.unwrap_or_default() as u32);
        }
    }

    fn merge_by_heap(&mut self, vocabulary: &Vocabulary) {
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
            self.join(vocabulary, position);
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
    fn join(&mut self, vocabulary: &Vocabulary, position: u32) {
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
            self.rate(vocabulary, previous);
        }
        self.rate(vocabulary, position);
    }

    /// Looks up what a symbol and the next one make.
    #[inline]
    fn rate(&mut self, vocabulary: &Vocabulary, position: u32) {
        let symbol = &self.symbols[position as usize];
        let mut joined = None;
        if let Some(next) = self.symbols.get(symbol.next as usize)
            && symbol.id != NONE
            && next.id != NONE
        {
            joined = vocabulary.find(&self.text[symbol.start as usize..self.end(next)]);
        }
        self.symbols[position as usize].joined = joined.unwrap_or(NONE);
        self.keys[position as usize] = joined
            .and_then(|id| vocabulary.score(id))
            .map_or(NO_MERGE, key);
    }

    fn text(&self, symbol: &Symbol) -> &[u8] {
        &self.text[symbol.start as usize..self.end(symbol)]
    }

    fn end(&self, symbol: &Symbol) -> usize {
        match self.symbols.get(symbol.next as usize) {
            Some(next) => next.start as usize,
            None => self.text.len(),
        }
    }

    /// Empties the segment.
    pub(super) fn clear(&mut self) {
        if self.symbols.capacity() > KEPT {
            *self = Self::default();
        }
        self.text.clear();
        self.symbols.clear();
        self.keys.clear();
        self.heap.clear();
    }
}

/// Turns a score into a number that is the smaller, the higher the score. No number gives
/// `NO_MERGE`.
fn key(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits(); // one zero, not two
    let ascending = if bits >> 31 == 0 {
        bits | 1 << 31
    } else {
        !bits
    };
    !ascending
}
