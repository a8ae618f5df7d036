//! Which tokens merge, and in what order.

use std::sync::{Arc, OnceLock};

use super::super::followers::{self, Followers};
use super::super::word::{NO_MERGE, NONE, Pairs};
use crate::gguf::Gguf;
use crate::{Error, Result};

const MERGES: &str = "tokenizer.ggml.merges";

/// More merges than any vocabulary has: each makes a token.
const MAX_MERGES: usize = 1 << 24;
/// A free slot of the table; no rank is as high.
const FREE: u32 = u32::MAX;

/// The merges of a vocabulary and a hash table over their pairs, open addressing with linear probing, at
/// most half full.
pub(in crate::tokenizer) struct Merges {
    /// By rank: the lowest merges first.
    merges: Vec<Merge>,
    /// Ranks.
    slots: Vec<u32>,
    /// Secret, so that no file can be made whose pairs all fall into one slot.
    seed: u64,
    /// Made with the first word of a length that needs them.
    followers: OnceLock<Followers>,
}

/// Two tokens, and the one that they make.
#[derive(Clone, Copy)]
struct Merge {
    left: u32,
    right: u32,
    joined: u32,
}

impl Merges {
    /// Reads the merges of a file, `left right` each. `find` gives the token of a part, or of both parts
    /// together.
    ///
    /// # Errors
    /// If the array is missing or no array of strings, a merge is not two tokens that make a third, or is
    /// there twice, or there is no memory for the index.
    pub fn read(gguf: &Arc<Gguf>, seed: u64, find: impl Fn(&[u8]) -> Option<u32>) -> Result<Self> {
        let damaged = |problem: String| gguf.file_error(MERGES, problem, "convert the model again");
        let array = gguf.required_array(MERGES)?;
        let strings = gguf.strings(array).ok_or_else(|| {
            damaged(format!(
                "is an array of {}, not of strings",
                array.element()
            ))
        })?;
        let count = array.len();
        if count > MAX_MERGES {
            let problem = format!("holds {count} merges, more than {MAX_MERGES}");
            return Err(damaged(problem));
        }
        let mut merges = Self {
            merges: Vec::new(),
            slots: Vec::new(),
            seed,
            followers: OnceLock::new(),
        };
        merges.reserve(count).map_err(|_| no_memory(gguf))?;
        let mut joined = Vec::new();
        for (rank, text) in (0..).zip(strings) {
            let wrong = |what: &str| {
                let shown = text.escape_ascii().to_string();
                let shown: String = shown.chars().take(100).collect();
                damaged(format!("merge {rank}, \"{shown}\", {what}"))
            };
            // A part is never empty, and may be a space.
            let space = text.iter().skip(1).position(|&byte| byte == b' ');
            let (left, right) = match space {
                Some(before) => (&text[..=before], &text[before + 2..]),
                None => return Err(wrong("is not two parts with a space between")),
            };
            joined.clear();
            joined.extend_from_slice(left);
            joined.extend_from_slice(right);
            let merge = match [left, right, &joined].map(&find) {
                [Some(left), Some(right), Some(joined)] => Merge {
                    left,
                    right,
                    joined,
                },
                [None, ..] | [_, None, _] => return Err(wrong("has a part that is no token")),
                _ => return Err(wrong("makes no token")),
            };
            if !merges.insert(rank, merge) {
                return Err(wrong("is there twice"));
            }
        }
        Ok(merges)
    }

    fn reserve(&mut self, count: usize) -> Result<(), std::collections::TryReserveError> {
        let slots = (2 * count).next_power_of_two().max(2);
        self.merges.try_reserve_exact(count)?;
        self.slots.try_reserve_exact(slots)?;
        self.slots.resize(slots, FREE);
        Ok(())
    }

    /// Adds the merge of the next rank, unless its pair is there.
    fn insert(&mut self, rank: u32, merge: Merge) -> bool {
        match self.probe(merge.left, merge.right) {
            Ok(_) => false,
            Err(slot) => {
                self.slots[slot] = rank;
                self.merges.push(merge);
                true
            }
        }
    }

    /// The rank of a pair and the token that it makes. Pairs of low rank merge first.
    #[inline]
    fn find(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        let rank = self.probe(left, right).ok()?;
        Some((rank, self.merges[rank as usize].joined))
    }

    /// The rank of a pair, or the free slot where it would be inserted.
    #[inline]
    fn probe(&self, left: u32, right: u32) -> std::result::Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut slot = hash(left, right, self.seed) as usize & mask;
        loop {
            let rank = self.slots[slot];
            if rank == FREE {
                return Err(slot);
            }
            let merge = &self.merges[rank as usize];
            if (merge.left, merge.right) == (left, right) {
                return Ok(rank);
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Bytes of heap that the index takes.
    pub fn heap_size(&self) -> usize {
        let followers = self.followers.get().map_or(0, Followers::heap_size);
        let index = size_of::<u32>() * self.slots.capacity() + followers;
        size_of::<Merge>() * self.merges.capacity() + index
    }
}

impl Pairs for Merges {
    #[inline]
    fn find<'a>(&self, left: u32, right: u32, _: impl FnOnce() -> &'a [u8]) -> (u32, u32) {
        self.find(left, right).unwrap_or((NO_MERGE, NONE))
    }

    #[inline]
    fn push_tokens<'a>(&self, id: u32, _: impl FnOnce() -> &'a [u8], ids: &mut Vec<u32>) {
        ids.push(id);
    }

    fn followers(&self) -> &Followers {
        self.followers.get_or_init(|| {
            let tokens = self.merges.iter();
            let tokens = tokens.map(|merge| merge.joined.max(merge.left).max(merge.right));
            let tokens = tokens.max().map_or(0, |last| last as usize + 1);
            let merges = (0..).zip(&self.merges);
            let merges = merges.map(|(rank, merge)| followers::Merge {
                left: merge.left,
                right: merge.right,
                joined: merge.joined,
                key: rank,
            });
            Followers::new(tokens, merges)
        })
    }
}

fn no_memory(gguf: &Gguf) -> Error {
    let problem = "there is no memory for their index";
    gguf.file_error(MERGES, problem, "raise the limit on this process's memory")
}

#[inline]
fn hash(left: u32, right: u32, seed: u64) -> u64 {
    // An odd constant without a pattern, from the fraction of the square root of 2.
    const STEP: u64 = 0x6a09_e667_f3bc_c909;
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    let pair = u64::from(left) << 32 | u64::from(right);
    fold(fold(pair ^ seed, STEP) ^ seed.rotate_left(32), STEP)
}
