//! Progress reports of a run.

use crate::message::Message;

/// Receives the progress of a run. `()` ignores it.
pub trait Progress {
    /// Something that a user should know, though the run goes on.
    fn notice(&mut self, _: &Message) {}

    /// Embedding begins: there are `total` rows, if that is known, of which earlier runs did
    /// `before`.
    fn begin(&mut self, total: Option<u64>, before: u64);

    /// A batch has been embedded.
    fn advance(&mut self, step: Step);

    /// Embedding ends: `complete` if all rows are in the spool, false if it was cancelled or
    /// failed. Writing the output follows.
    fn end(&mut self, complete: bool);
}

/// What one batch adds to a run's progress.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Rows, the rejected ones included.
    pub rows: u64,
    /// Tokens that the model read.
    pub tokens: u64,
    /// How many rows there are in all, as the bytes of the rows so far suggest; `None` where the
    /// input has no size, or too little of it was read to tell.
    pub expected_rows: Option<u64>,
}

impl Progress for () {
    fn begin(&mut self, _: Option<u64>, _: u64) {}

    fn advance(&mut self, _: Step) {}

    fn end(&mut self, _: bool) {}
}
