//! Parts of the input that are embedded by themselves.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Part `number` of `of`, counted from 1: the rows whose index, counted from 0, is `number - 1`
/// modulo `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Which.
    pub number: u64,
    /// Of how many.
    pub of: u64,
}

/// More parts than this are a slip.
const MAX_SHARDS: u64 = 100_000;

impl Shard {
    /// All rows.
    pub const WHOLE: Self = Self { number: 1, of: 1 };

    /// Whether there are no other parts.
    pub fn is_whole(self) -> bool {
        self.of == 1
    }

    /// The index of its first row.
    pub fn first(self) -> u64 {
        self.number - 1
    }

    /// Whether the numbers go together.
    pub fn is_valid(self) -> bool {
        (1..=MAX_SHARDS).contains(&self.of) && (1..=self.of).contains(&self.number)
    }

    /// How many of the input's rows it has.
    pub fn rows(self, all_rows: u64) -> u64 {
        all_rows.saturating_sub(self.first()).div_ceil(self.of)
    }

    /// The row that follows row `index`.
    pub fn next(self, index: u64) -> u64 {
        index + self.of
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (number, of) = text.split_once('/')?;
            let (number, of) = (number.parse().ok()?, of.parse().ok()?);
            Some(Self { number, of }).filter(|shard| shard.is_valid())
        };
        parse()
            .ok_or_else(|| format!("give i/n with i from 1 to n (at most {MAX_SHARDS}), as in 2/4"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_counted_from_one() {
        assert_eq!("2/4".parse(), Ok(Shard { number: 2, of: 4 }));
        assert_eq!("1/1".parse(), Ok(Shard::WHOLE));
        for wrong in ["", "0/4", "5/4", "1", "a/b", "1/0", "1/1000000", "-1/2"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn shards_have_every_row_once() {
        for rows in 0..20 {
            let of = 7;
            let all = (1..=of).map(|number| Shard { number, of }.rows(rows));
            assert_eq!(all.sum::<u64>(), rows);
        }
    }
}
