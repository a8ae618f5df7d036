//! Rows on their way through the pipeline, packed by tokens.

use lanewise::Encoded;

use super::overflow::Window;
use super::row::{Cell, Row};
use super::settings::Shard;

/// Rows without tokens (rejected ones) or with much to carry along fill a batch as well.
const BATCH_BYTES: usize = 4 << 20;

/// Tokens of some rows, in the order of the rows.
#[derive(Default)]
pub struct Batch {
    /// Windows of texts; those of one row follow each other and may begin in an earlier batch.
    pub windows: Vec<Encoded>,
    /// The rows whose last window is in this batch.
    pub rows: Vec<PackedRow>,
    /// How much of the input had been read when the batch was filled, from 0 to 1, if that is known.
    pub progress: Option<f64>,
    tokens: usize,
    bytes: usize,
}

/// A row whose text is tokens now.
pub struct PackedRow {
    /// Its number in the whole input.
    pub index: u64,
    /// Which input file.
    pub file: u32,
    /// The line in it.
    pub line: u64,
    /// Its id.
    pub id: Option<String>,
    /// How much of its text was read, or why there is none.
    pub outcome: Result<Reading, String>,
    /// How many windows of its batch come before the end of the row.
    pub end: usize,
}

/// How a text was read.
pub struct Reading {
    /// Tokens in all windows.
    pub tokens: u64,
    /// Whether the text goes on after them.
    pub truncated: bool,
    /// The number of windows.
    pub windows: u32,
    /// The columns carried along.
    pub kept: Vec<Cell>,
}

impl Batch {
    /// Whether the window is to go into the next batch.
    pub fn is_full_for(&self, window: &Window, budget: usize) -> bool {
        !self.windows.is_empty() && self.tokens + window.encoded.usage().tokens > budget
    }

    /// Whether the batch is to be sent, whatever comes next.
    pub fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES
    }

    /// Whether there is anything in it.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty() && self.rows.is_empty()
    }

    /// Adds a window of the row that comes next.
    pub fn push_window(&mut self, window: Window) {
        self.tokens += window.encoded.usage().tokens;
        self.windows.push(window.encoded);
    }

    /// Adds a row after all its windows.
    pub fn push_row(&mut self, row: Row, index: u64, reading: Result<Reading, String>) {
        let id = row.id.as_ref().map_or(0, String::len);
        let rest = match &reading {
            Ok(reading) => reading.kept.iter().map(cell_bytes).sum(),
            Err(reason) => reason.len(),
        };
        self.bytes += size_of::<PackedRow>() + id + rest;
        self.rows.push(PackedRow {
            index,
            file: row.file,
            line: row.line,
            id: row.id,
            outcome: reading,
            end: self.windows.len(),
        });
    }
}

/// The memory of a cell.
pub fn cell_bytes(cell: &Cell) -> usize {
    size_of::<Cell>()
        + match cell {
            Cell::Text(text) => text.len(),
            _ => 0,
        }
}

/// The row to go on with after row `index` of a shard.
pub fn next_index(index: u64, shard: Shard) -> u64 {
    index + shard.of
}
