//! Vectors that need not be computed, because the same tokens were embedded before: in this run, or
//! in one whose output is reused.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::digest::TextDigest;

/// The memory of a text in [`Known`], and of the place of its vector, at most: 21 bytes in each slot of
/// a table of which 7/16 are in use at least, half as much again while it grows, and 8 bytes in a
/// list that may have doubled.
pub const BYTES_PER_TEXT: u64 = 96;

/// Where the vector of a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is the n-th of the reused vectors.
    Reused(u32),
    /// It is the n-th vector of this run of those that are remembered.
    Run(u32),
}

/// The bit of a number in the table that tells the two kinds of [`Place`] apart.
const RUN: u32 = 1 << 31;

/// The texts whose vectors are known.
#[derive(Default)]
pub struct Known {
    places: HashMap<TextDigest, u32>,
    /// How many there may be.
    most: usize,
    reused: u32,
    run: u32,
}

impl Known {
    /// An empty table that takes `most` texts.
    pub fn new(most: u64) -> Self {
        Self {
            most: most.min(RUN.into()) as usize,
            ..Self::default()
        }
    }

    /// Where the vector of a text is, if it is known.
    pub fn find(&self, digest: TextDigest) -> Option<Place> {
        let place = *self.places.get(&digest)?;
        Some(match place & RUN {
            0 => Place::Reused(place),
            _ => Place::Run(place & !RUN),
        })
    }

    /// Remembers a text whose vector is the next of this run; false if it is known already or there
    /// is no room for it.
    pub fn remember(&mut self, digest: TextDigest) -> bool {
        let added = self.add(digest, RUN | self.run);
        self.run += u32::from(added);
        added
    }

    /// Remembers a text whose vector is the next of the reused ones; false as above.
    pub fn reuse(&mut self, digest: TextDigest) -> bool {
        let added = self.add(digest, self.reused);
        self.reused += u32::from(added);
        added
    }

    fn add(&mut self, digest: TextDigest, place: u32) -> bool {
        if self.places.len() >= self.most {
            return false;
        }
        match self.places.entry(digest) {
            Entry::Occupied(_) => false,
            Entry::Vacant(slot) => {
                slot.insert(place);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_texts_is_found_and_none_beyond_the_room() {
        let digest = |number| TextDigest([number; 16]);
        let mut known = Known::new(3);
        assert!(known.reuse(digest(1)));
        assert!(known.remember(digest(2)));
        assert!(!known.remember(digest(1)), "it is known");
        assert!(known.remember(digest(3)));
        assert!(!known.remember(digest(4)), "there is no room");
        assert_eq!(known.find(digest(1)), Some(Place::Reused(0)));
        assert_eq!(known.find(digest(2)), Some(Place::Run(0)));
        assert_eq!(known.find(digest(3)), Some(Place::Run(1)));
        assert_eq!(known.find(digest(4)), None);
    }
}
