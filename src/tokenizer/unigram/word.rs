//! A word, and the pieces of the highest sum of scores that it is made of.

use super::super::SPACE;
use super::Pieces;
use super::prefixes::Prefix;

/// No piece: a character without one.
const UNKNOWN: u32 = u32::MAX;
/// A longer word is cut here, so that places fit 32 bits.
const MAX_CHARACTERS: usize = 1 << 29;
/// What a thread keeps for its next text, in characters (40 bytes each); more is freed.
const KEPT: usize = 1 << 14;

/// A word as it is being read, and working space that is used again and again.
#[derive(Default)]
pub(super) struct Word {
    text: Vec<u8>,
    characters: Vec<Character>,
    /// For each place between characters, the best way to reach it.
    places: Vec<Place>,
    /// Where each token ends in the text that is encoded, the last one first.
    ends: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Character {
    character: char,
    /// Where it ends in the word's text.
    end: u32,
    /// Bytes of the text that is encoded, up to it.
    read: usize,
}

#[derive(Clone, Copy)]
struct Place {
    /// The sum of the scores up to it.
    score: f64,
    /// Where the last piece begins, or `UNKNOWN` as long as there is none.
    start: u32,
    id: u32,
}

impl Word {
    /// Whether it has no characters.
    pub(super) fn is_empty(&self) -> bool {
        self.characters.is_empty()
    }

    /// Whether it must be ended here for its size.
    pub(super) fn is_full(&self) -> bool {
        self.characters.len() >= MAX_CHARACTERS
    }

    /// Bytes of the text that is encoded, up to its end.
    pub(super) fn read(&self) -> usize {
        self.characters.last().map_or(0, |last| last.read)
    }

    /// Adds a character, before the first one U+2581 unless it is that; `before` is what has been read
    /// before it.
    pub(super) fn push(&mut self, character: char, before: usize, read: usize) {
        if self.is_empty() && character != SPACE {
            self.append(SPACE, before);
        }
        self.append(character, read);
    }

    fn append(&mut self, character: char, read: usize) {
        let mut buffer = [0; 4];
        self.text
            .extend(character.encode_utf8(&mut buffer).as_bytes());
        self.characters.push(Character {
            character,
            end: self.text.len() as u32, // at most four times `MAX_CHARACTERS`
            read,
        });
    }

    /// Appends its tokens. Neighboring characters that are no piece become one unknown token.
    pub(super) fn encode(&mut self, pieces: &Pieces, ids: &mut Vec<u32>) {
        self.find_best(pieces);
        self.ends.clear();
        let before = ids.len();
        let mut place = self.places.len() - 1;
        let mut after = None;
        while let Some(last) = place.checked_sub(1) {
            let Place { start, id, .. } = self.places[place];
            let id = if id == UNKNOWN { pieces.unknown } else { id };
            if id != pieces.unknown || after != Some(id) {
                ids.push(id);
                self.ends.push(self.characters[last].read);
            }
            after = Some(id);
            place = start as usize;
        }
        ids[before..].reverse();
    }

    /// Bytes of the text that is encoded, up to the end of the first `count` of its tokens.
    pub(super) fn read_by_tokens(&self, count: usize) -> usize {
        let last = self.ends.len().checked_sub(count);
        last.and_then(|last| self.ends.get(last))
            .copied()
            .unwrap_or(0)
    }

    /// From each place on, in order, tries each piece that is next, in the order of their lengths.
    fn find_best(&mut self, pieces: &Pieces) {
        let none = Place {
            score: 0.0,
            start: UNKNOWN,
            id: UNKNOWN,
        };
        self.places.clear();
        self.places.resize(self.characters.len() + 1, none);
        for start in 0..self.characters.len() {
            let first = if start == 0 {
                0
            } else {
                self.characters[start - 1].end as usize
            };
            let text = &self.text[first..];
            let sum = self.places[start].score;
            let mut is_known = false;
            let mut visit = |length: usize, id: u32, score: f64| {
                let place = &mut self.places[start + length];
                let score = sum + score;
                if place.start == UNKNOWN || score > place.score {
                    *place = Place {
                        score,
                        start: start as u32,
                        id,
                    };
                }
            };
            let mut prefix = Prefix::default();
            for (length, next) in (1..).zip(&self.characters[start..]) {
                let piece = &text[..next.end as usize - first];
                if let Some(id) = pieces.vocabulary.find(piece) {
                    let score = pieces.vocabulary.score(id).unwrap_or(0.0);
                    is_known |= length == 1;
                    visit(length, id, score.into());
                }
                prefix = prefix.followed_by(next.character);
                if !pieces.prefixes.contains(prefix) {
                    break;
                }
            }
            for (length, id) in pieces.specials.at(text) {
                // They begin and end between characters.
                let begins = |byte: &&u8| **byte & 0xC0 != 0x80;
                let length = text[..length].iter().filter(begins).count();
                is_known |= length == 1;
                visit(length, id, 0.0);
            }
            if !is_known {
                visit(1, UNKNOWN, pieces.unknown_score);
            }
        }
    }

    /// Empties the word.
    pub(super) fn clear(&mut self) {
        if self.characters.capacity() > KEPT {
            *self = Self::default();
        }
        self.text.clear();
        self.characters.clear();
    }
}
