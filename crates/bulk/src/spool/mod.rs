//! The spool: the file that a run appends its rows to, and from which the output is made in the
//! end.
//!
//! It is a sequence of frames behind [`MAGIC`]. A frame is the length and CRC-32 of its payload
//! (two `u32`, little-endian) and the payload, whose first byte is its kind:
//! - [`SETTINGS`], the first frame: [`Settings`](crate::settings::Settings) as JSON;
//! - [`ROWS`]: a [`BlockHead`], then as many rows as it states;
//! - [`END`], the last frame: the number of rows of the whole input.
//!
//! A killed run leaves at most one incomplete frame, the last, which its length or checksum
//! reveals; to resume, the file is truncated before it. Since the output is made from the rows
//! alone, it has the same bytes however often the run was interrupted and however its rows were
//! divided into frames.

mod reader;
mod row;
mod seen;
mod wire;
mod writer;

pub use reader::{MAX_DIMS, SpoolReader, SpoolRows, Summary};
pub use seen::SeenTypes;
use wire::{Decoder, Encoder, Malformed};
pub use writer::{Block, SpoolWriter, VectorPlace, cannot_write};

use crate::row::{Embedded, Row};

pub const MAGIC: &[u8; 16] = b"lanewise spool 2";
const SETTINGS: u8 = b'S';
const ROWS: u8 = b'R';
const END: u8 = b'E';

/// Counts over rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// All rows, the rejected ones included.
    pub rows: u64,
    /// Rows without a vector.
    pub rejected: u64,
    /// Vectors of only the beginning of a text.
    pub truncated: u64,
    /// Vectors averaged from windows.
    pub split: u64,
    /// Tokens read by the model.
    pub tokens: u64,
}

impl Tally {
    /// Adds a row.
    pub(crate) fn count(&mut self, row: &Row<Embedded>) {
        self.rows += 1;
        match &row.outcome {
            Ok(Embedded { reading, .. }) => {
                self.tokens += reading.tokens;
                self.truncated += u64::from(reading.truncated);
                self.split += u64::from(reading.windows > 1);
            }
            Err(_) => self.rejected += 1,
        }
    }

    /// Adds other rows.
    pub(crate) fn add(&mut self, other: &Self) {
        self.rows = self.rows.saturating_add(other.rows);
        self.rejected = self.rejected.saturating_add(other.rejected);
        self.truncated = self.truncated.saturating_add(other.truncated);
        self.split = self.split.saturating_add(other.split);
        self.tokens = self.tokens.saturating_add(other.tokens);
    }
}

/// Precedes the rows of a frame, so that they need not be decoded to be counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct BlockHead {
    /// The index of the first row after the block, in the whole input.
    next_index: u64,
    tally: Tally,
    /// For each column carried along, and at last for the ids.
    seen: Vec<SeenTypes>,
}

impl BlockHead {
    /// Its bytes in the file, with `kept` columns.
    const fn bytes(kept: usize) -> usize {
        6 * 8 + 2 * (kept + 1)
    }

    fn encode(&self, payload: &mut Vec<u8>) {
        let mut out = Encoder(payload);
        let tally = &self.tally;
        out.u64(self.next_index);
        for count in [
            tally.rows,
            tally.rejected,
            tally.truncated,
            tally.split,
            tally.tokens,
        ] {
            out.u64(count);
        }
        self.seen.iter().for_each(|seen| seen.encode(&mut out));
    }

    fn decode(payload: &mut Decoder<'_>, kept: usize) -> Result<Self, Malformed> {
        Ok(Self {
            next_index: payload.u64()?,
            tally: Tally {
                rows: payload.u64()?,
                rejected: payload.u64()?,
                truncated: payload.u64()?,
                split: payload.u64()?,
                tokens: payload.u64()?,
            },
            seen: (0..=kept)
                .map(|_| SeenTypes::decode(payload))
                .collect::<Result<_, _>>()?,
        })
    }
}
