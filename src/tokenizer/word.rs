//! Symbols that merge pair by pair, which byte-pair encoding of every kind has in common.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::followers::Followers;

/// No symbol, no token.
pub(super) const NONE: u32 = u32::MAX;
/// The key of a pair that does not merge; every other key is less.
pub(super) const NO_MERGE: u32 = u32::MAX;
/// Up to this many symbols, looking at every pair for the best is faster than a heap. Words of most
/// languages are shorter.
const SCAN: usize = 32;
/// This many symbols are merged as far as they depend on no others, before there are more: a window of a model needs
/// no more of a long word than this.
pub(super) const SETTLED: usize = 1 << 16;
/// A longer word is cut here, so that positions and places in the text fit 32 bits.
const MAX_SYMBOLS: usize = 1 << 30;
const MAX_BYTES: usize = 1 << 30;
/// What a thread keeps for its next text, in symbols (32 bytes each); more is freed.
const KEPT: usize = 1 << 14;

/// Which pairs of tokens merge.
pub(super) trait Pairs {
    /// The key of a pair, and the token that it makes; the smallest key merges first, and [`NO_MERGE`] never. `text`
    /// gives the text of both together.
    fn find<'a>(&self, left: u32, right: u32, text: impl FnOnce() -> &'a [u8]) -> (u32, u32);

    /// Appends the tokens of a symbol; `text` gives its text.
    fn push_tokens<'a>(&self, id: u32, text: impl FnOnce() -> &'a [u8], ids: &mut Vec<u32>);

    /// What may still merge with the last of some symbols.
    fn followers(&self) -> &Followers;
}

/// A word whose symbols merge among themselves, and working space that is used again and again.
///
/// The symbols form a list. A merge changes the left symbol of the pair and takes the right one out of the
/// list, but leaves its place in the vector, so positions never change.
pub(super) struct Word {
    /// That of the symbols, if pairs are found by it.
    text: Vec<u8>,
    symbols: Vec<Symbol>,
    /// For each symbol, the key of its pair with the next; the smallest merges first.
    keys: Vec<u32>,
    /// Key and position of pairs, some of them outdated.
    heap: BinaryHeap<Reverse<u64>>,
    /// How many symbols it may have before some are to be settled.
    most: usize,
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

impl Default for Word {
    fn default() -> Self {
        Self {
            text: Vec::new(),
            symbols: Vec::new(),
            keys: Vec::new(),
            heap: BinaryHeap::new(),
            most: SETTLED,
        }
    }
}

impl Word {
    /// Adds a symbol without a text.
    #[inline]
    pub fn push(&mut self, id: u32) {
        let position = self.symbols.len() as u32;
        self.symbols.push(Symbol {
            start: self.text.len() as u32,
            previous: position.wrapping_sub(1), // `NONE` for the first
            next: position + 1,
            id,
            joined: NONE,
        });
    }

    /// Adds a symbol with its text, of which a part may follow by [`extend_text`](Self::extend_text).
    #[inline]
    pub fn push_text(&mut self, text: &[u8], id: u32) {
        self.push(id);
        self.text.extend_from_slice(text);
    }

    /// Adds to the text of the last symbol.
    pub fn extend_text(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }

    /// The last byte of the text.
    #[inline]
    pub fn last_byte(&self) -> Option<u8> {
        self.text.last().copied()
    }

    /// Whether [`settle`](Self::settle) must be called before the next symbol.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.symbols.len() >= self.most || self.text.len() >= MAX_BYTES
    }

    /// Merges pairs until none is left, appends the tokens to `ids`, and empties the word.
    ///
    /// Always the pair of the smallest key is merged, the leftmost of those that have it.
    pub fn finish(&mut self, pairs: &impl Pairs, ids: &mut Vec<u32>) {
        if self.symbols.is_empty() {
            return;
        }
        self.rate_all(pairs);
        if self.symbols.len() <= SCAN {
            self.merge_by_scan(pairs);
        } else {
            self.merge_by_heap(pairs);
        }
        self.push_tokens(pairs, ids);
        self.clear();
    }

    /// Appends the tokens of the beginning of the word that are the same whatever symbols follow, and takes these
    /// symbols out of the word.
    #[cold]
    #[inline(never)]
    pub fn settle(&mut self, pairs: &impl Pairs, ids: &mut Vec<u32>) {
        let count = self.symbols.len();
        if count >= MAX_SYMBOLS || self.text.len() >= MAX_BYTES {
            return self.finish(pairs, ids);
        }
        let symbols = self.symbols.iter();
        let before: Vec<(u32, u32)> = symbols.map(|symbol| (symbol.start, symbol.id)).collect();
        self.rate_all(pairs);
        let end = self.merge_beginning(pairs);
        let rest = &before[end..];
        let start = rest
            .first()
            .map_or(self.text.len(), |first| first.0 as usize);
        if end > 0 {
            // The symbols after it are no part of the list.
            let text = self.text.split_off(start);
            self.push_tokens(pairs, ids);
            self.text = text;
        }
        self.symbols.clear();
        self.keys.clear();
        self.heap.clear();
        for &(first, id) in rest {
            self.push(id);
            if let Some(symbol) = self.symbols.last_mut() {
                symbol.start = first - start as u32;
            }
        }
        // Enough of them next time, so that all takes no quadratic time; and many more, since letters that repeat
        // settle at their end only, so that what was in vain is a small part of it.
        if end < count / 2 {
            self.most = (8 * self.most).min(MAX_SYMBOLS);
        }
    }

    fn rate_all(&mut self, pairs: &impl Pairs) {
        if let Some(last) = self.symbols.last_mut() {
            last.next = NONE;
        }
        self.keys.resize(self.symbols.len(), NO_MERGE);
        for position in 0..self.symbols.len() as u32 {
            self.rate(pairs, position);
        }
    }

    #[inline(always)]
    fn push_tokens(&self, pairs: &impl Pairs, ids: &mut Vec<u32>) {
        let mut position = 0;
        while let Some(symbol) = self.symbols.get(position as usize) {
            let text = || &self.text[symbol.start as usize..self.end(symbol)];
            pairs.push_tokens(symbol.id, text, ids);
            position = symbol.next;
        }
    }

    fn merge_by_scan(&mut self, pairs: &impl Pairs) {
        loop {
            let best = self.keys.iter().copied().min().unwrap_or(NO_MERGE);
            if best == NO_MERGE {
                return;
            }
            let leftmost = self.keys.iter().position(|&key| key == best);
            self.join(pairs, leftmost.unwrap_or_default() as u32);
        }
    }

    fn merge_by_heap(&mut self, pairs: &impl Pairs) {
        self.fill_heap();
        while let Some(Reverse(best)) = self.heap.pop() {
            let (key, position) = ((best >> 32) as u32, best as u32);
            // A different key: the pair has merged or changed since, and has another entry.
            if self.keys[position as usize] != key {
                continue;
            }
            self.join_and_add(pairs, position);
        }
    }

    /// Merges pairs until none is left among the first symbols, as many as do not depend on what follows the word,
    /// and returns how many symbols before the merges these were. They alone stay in the list.
    ///
    /// All that can come between is that the last symbol merges with what follows it. Until then the other symbols
    /// merge as they would without it, and that merge is next only where its key is smaller than that of every pair
    /// of theirs. So where no merge of the last symbol has such a key, and could happen now that pairs of the
    /// keys up to now have merged, the best pair merges. Otherwise the last symbol is left to those that follow,
    /// and what is said of it holds for the one before it.
    fn merge_beginning(&mut self, pairs: &impl Pairs) -> usize {
        let followers = pairs.followers();
        self.fill_heap();
        let mut end = self.symbols.len();
        let mut last = end - 1;
        // The largest key of all merges up to now, and what followed the last symbol when that became the last.
        let (mut time, mut after) = (0, None);
        loop {
            let best = loop {
                match self.heap.peek() {
                    Some(&Reverse(best))
                        if self.keys[best as u32 as usize] != (best >> 32) as u32 =>
                    {
                        self.heap.pop();
                    }
                    best => break best.map(|&Reverse(best)| ((best >> 32) as u32, best as u32)),
                }
            };
            let key = best.map_or(NO_MERGE, |(key, _)| key);
            if followers.may_merge(self.symbols[last].id, time, key, after) {
                let Symbol { id, previous, .. } = self.symbols[last];
                (end, after) = (last, Some(id));
                if previous == NONE {
                    return end;
                }
                last = previous as usize;
                self.symbols[last].next = NONE;
                self.keys[last] = NO_MERGE;
                continue;
            }
            let Some((key, position)) = best else {
                return end;
            };
            self.heap.pop();
            time = time.max(key);
            self.join_and_add(pairs, position);
            if self.symbols[position as usize].next == NONE {
                last = position as usize;
            }
        }
    }

    fn fill_heap(&mut self) {
        let mut entries = std::mem::take(&mut self.heap).into_vec();
        let pairs = (0..).zip(&self.keys).filter(|&(_, &key)| key != NO_MERGE);
        entries.extend(pairs.map(|(position, &key)| entry(key, position)));
        self.heap = entries.into();
    }

    /// Merges a symbol with the next one, and adds the pairs that this makes to the heap.
    fn join_and_add(&mut self, pairs: &impl Pairs, position: u32) {
        self.join(pairs, position);
        let previous = self.symbols[position as usize].previous;
        for changed in [previous, position] {
            if let Some(&key) = self.keys.get(changed as usize)
                && key != NO_MERGE
            {
                self.heap.push(entry(key, changed));
            }
        }
    }

    /// Merges a symbol with the next one.
    fn join(&mut self, pairs: &impl Pairs, position: u32) {
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
            self.rate(pairs, previous);
        }
        self.rate(pairs, position);
    }

    /// Looks up what a symbol and the next one make.
    #[inline]
    fn rate(&mut self, pairs: &impl Pairs, position: u32) {
        let symbol = &self.symbols[position as usize];
        let (mut key, mut joined) = (NO_MERGE, NONE);
        if let Some(next) = self.symbols.get(symbol.next as usize) {
            let text = || &self.text[symbol.start as usize..self.end(next)];
            (key, joined) = pairs.find(symbol.id, next.id, text);
        }
        self.symbols[position as usize].joined = joined;
        self.keys[position as usize] = key;
    }

    /// Where the text of a symbol ends.
    fn end(&self, symbol: &Symbol) -> usize {
        match self.symbols.get(symbol.next as usize) {
            Some(next) => next.start as usize,
            None => self.text.len(),
        }
    }

    /// Empties the word.
    pub fn clear(&mut self) {
        // One that has been full has this capacity.
        if self.symbols.capacity() > KEPT {
            *self = Self::default();
        }
        self.text.clear();
        self.symbols.clear();
        self.keys.clear();
        self.heap.clear();
    }
}

/// An entry of the heap.
fn entry(key: u32, position: u32) -> Reverse<u64> {
    Reverse(u64::from(key) << 32 | u64::from(position))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::followers::Merge;
    use super::*;

    /// Merges of a vocabulary whose tokens are numbers.
    struct Table {
        merges: HashMap<(u32, u32), (u32, u32)>,
        followers: Followers,
    }

    impl Pairs for Table {
        fn find<'a>(&self, left: u32, right: u32, _: impl FnOnce() -> &'a [u8]) -> (u32, u32) {
            let merge = self.merges.get(&(left, right)).copied();
            merge.unwrap_or((NO_MERGE, NONE))
        }

        fn push_tokens<'a>(&self, id: u32, text: impl FnOnce() -> &'a [u8], ids: &mut Vec<u32>) {
            // Its text as well, of which the first byte is that of its first symbol.
            let text = text();
            ids.extend([id, text[0].into(), text.len() as u32]);
        }

        fn followers(&self) -> &Followers {
            &self.followers
        }
    }

    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: usize) -> usize {
            self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            (self.0 >> 33) as usize % limit
        }
    }

    /// Tokens are strings of `letters` letters. Keys rise as tokens become longer, as training makes them, or are
    /// in any order.
    fn table(random: &mut Random, letters: u8, count: usize, trained: bool) -> Table {
        let mut tokens: Vec<Vec<u8>> = (0..letters).map(|letter| vec![letter]).collect();
        let mut ids: HashMap<Vec<u8>, u32> =
            (0..).zip(&tokens).map(|(id, t)| (t.clone(), id)).collect();
        let mut pairs = Vec::new();
        while pairs.len() < count {
            let [left, right] = [(); 2].map(|()| random.below(tokens.len()) as u32);
            let joined = [&tokens[left as usize][..], &tokens[right as usize]].concat();
            if joined.len() > 12 || pairs.iter().any(|&(l, r, _)| (l, r) == (left, right)) {
                continue;
            }
            let id = *ids.entry(joined.clone()).or_insert_with(|| {
                tokens.push(joined);
                tokens.len() as u32 - 1
            });
            pairs.push((left, right, id));
        }
        if !trained {
            for at in (1..pairs.len()).rev() {
                pairs.swap(at, random.below(at + 1));
            }
        }
        // Some keys are those of several pairs.
        let key = |at: usize| if trained { at as u32 } else { at as u32 / 2 };
        let merges = pairs.iter().enumerate();
        let merges = merges.map(|(at, &(left, right, joined))| Merge {
            left,
            right,
            joined,
            key: key(at),
        });
        Table {
            followers: Followers::new(tokens.len(), merges.clone()),
            merges: merges
                .map(|m| ((m.left, m.right), (m.key, m.joined)))
                .collect(),
        }
    }

    fn tokens(table: &Table, text: &[u8], most: usize) -> (Vec<u32>, usize) {
        let mut word = Word {
            most,
            ..Word::default()
        };
        let (mut ids, mut settled) = (Vec::new(), 0);
        for &letter in text {
            if word.is_full() {
                let before = ids.len();
                word.settle(table, &mut ids);
                settled += usize::from(ids.len() > before);
            }
            // A letter that is no token: nothing merges with it.
            let id = if letter == 9 { NONE } else { letter.into() };
            word.push_text(&[letter], id);
        }
        word.finish(table, &mut ids);
        (ids, settled)
    }

    #[test]
    fn a_word_in_parts_has_the_tokens_of_the_whole() {
        let mut random = Random(7);
        let mut settled = 0;
        for round in 0..4000 {
            let letters = 1 + random.below(4) as u8;
            let most_merges = if letters == 1 { 8 } else { 40 };
            let count = 1 + random.below(most_merges);
            let table = table(&mut random, letters, count, round % 2 == 0);
            let length = random.below(200);
            let text: Vec<u8> = (0..length)
                .map(|_| match random.below(60) {
                    0 => 9,
                    _ => random.below(letters.into()) as u8,
                })
                .collect();
            let (whole, _) = tokens(&table, &text, usize::MAX);
            let most = 1 + random.below(40);
            let (parts, times) = tokens(&table, &text, most);
            assert_eq!(parts, whole, "{text:?}, {most} at a time");
            settled += times;
        }
        assert!(settled > 4000, "{settled}");
    }
}
