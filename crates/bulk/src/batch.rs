//! Tokens of rows on their way to the model.

use crate::embed::{Embed, Usage};
use crate::known::Place;
use crate::progress::Step;
use crate::row::{Cell, Reading, Row};
use crate::windows::Window;

/// A batch is also full at this size, because of rejected rows and long columns carried along.
const BATCH_BYTES: usize = 4 << 20;

/// Tokens of some rows, in the order of the rows.
pub struct Batch<E: Embed> {
    /// Windows of texts; those of one row follow each other and may begin in an earlier batch.
    pub windows: Vec<E::Encoded>,
    /// The rows whose last window is in this batch, or that need none.
    pub rows: Vec<BatchRow>,
    /// How many rows there seem to be in all, if that can be told.
    pub expected_rows: Option<u64>,
    tokens: usize,
    bytes: usize,
}

/// A row in a [`Batch`].
pub struct BatchRow {
    /// The row.
    pub row: Row<Reading>,
    /// How many of the batch's windows come before the row's end.
    pub end: usize,
    /// Where its vector comes from.
    pub origin: Origin,
}

/// Where the vector of a row comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It is computed from the windows. Whether its place is remembered, for texts of the same
    /// tokens.
    Computed { remembered: bool },
    /// Another text of the same tokens has it.
    Known(Place),
}

impl<E: Embed> Default for Batch<E> {
    fn default() -> Self {
        Self {
            windows: Vec::new(),
            rows: Vec::new(),
            expected_rows: None,
            tokens: 0,
            bytes: 0,
        }
    }
}

impl<E: Embed> Batch<E> {
    /// Whether a window must go into the next batch.
    pub fn is_full_for(&self, usage: Usage, most_tokens: usize) -> bool {
        !self.windows.is_empty() && self.tokens + usage.tokens > most_tokens
    }

    /// Whether the batch must be sent now.
    pub fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES
    }

    /// Whether it has neither rows nor windows.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty() && self.rows.is_empty()
    }

    /// Adds a window of the next row.
    pub fn push_window(&mut self, window: Window<E::Encoded>) {
        self.tokens += window.usage.tokens;
        self.windows.push(window.encoded);
    }

    /// Adds a row after all its windows.
    pub fn push_row(&mut self, row: Row<Reading>, origin: Origin) {
        let id = row.id.as_ref().map_or(0, Cell::bytes);
        let kept: usize = row.kept.iter().map(Cell::bytes).sum();
        let reason = row.outcome.as_ref().err().map_or(0, String::len);
        self.bytes += size_of::<BatchRow>() + id + kept + reason;
        self.rows.push(BatchRow {
            row,
            end: self.windows.len(),
            origin,
        });
    }

    /// Leaves the first `windows` windows, and the rows that end with them or before.
    pub fn truncate(&mut self, windows: usize) {
        self.windows.truncate(windows);
        self.rows.retain(|row| row.end <= windows);
    }

    /// What the batch adds to the progress of the run.
    pub fn step(&self) -> Step {
        Step {
            rows: self.rows.len() as u64,
            tokens: self.tokens as u64,
            expected_rows: self.expected_rows,
        }
    }
}
