//! Reading rows and making tokens of them.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use super::Task;
use crate::batch::{Batch, Origin};
use crate::digest::DigestBuilder;
use crate::embed::Embed;
use crate::error::{Error, Result};
use crate::identity::InputWatch;
use crate::input::Rows;
use crate::known::Known;
use crate::message::{Setting, message};
use crate::row::{Cell, Reading, Row};
use crate::windows::{OverflowPolicy, Window, Windows};

/// A row with more bytes to carry along is rejected: up to five batches of such rows are in memory
/// at a time.
const MAX_KEPT_BYTES: usize = 16 << 20;

/// How many times the model's context the windows of a text may have and still wait until all of them
/// are there, to be looked up: a longer text is always computed.
const HELD_CONTEXTS: usize = 64;

/// The first thread of the pipeline.
pub struct Reader<E: Embed> {
    embedder: Arc<E>,
    task: Task,
    rows: Rows,
    known: Known,
    batches: SyncSender<Batch<E>>,
    batch: Batch<E>,
    watch: Option<InputWatch>,
    expectation: Expectation,
}

/// Why reading ends before the input does.
enum Stop {
    /// The other threads have ended.
    Closed,
    /// An input cannot be read, or is not what it was.
    Failed(Error),
}

impl<E: Embed> Reader<E> {
    /// A reader of one shard of the rows, to which the vectors of some texts are known.
    pub fn new(
        embedder: Arc<E>,
        task: Task,
        rows: Rows,
        known: Known,
        batches: SyncSender<Batch<E>>,
    ) -> Self {
        Self {
            embedder,
            task,
            rows,
            known,
            batches,
            batch: Batch::default(),
            watch: None,
            expectation: Expectation::default(),
        }
    }

    /// The same reader; it passes nothing on that was read of a file that is not what it was.
    pub fn watching(self, watch: InputWatch) -> Self {
        let watch = Some(watch);
        Self { watch, ..self }
    }

    /// Reads from row `first` to the end. Returns the number of rows of the input, or `None` if the
    /// other threads have ended.
    pub fn run(mut self, first: u64) -> Result<Option<u64>> {
        match self.read(first) {
            Ok(total) => Ok(Some(total)),
            Err(Stop::Closed) => Ok(None),
            // What seems damaged may be in the middle of being written.
            Err(Stop::Failed(error)) => Err(self.check_inputs().err().unwrap_or(error)),
        }
    }

    fn check_inputs(&self) -> Result<()> {
        self.watch.as_ref().map_or(Ok(()), InputWatch::check)
    }

    fn read(&mut self, first: u64) -> Result<u64, Stop> {
        let shard = self.task.shard;
        let skipped = self.rows.skip_rows(first)?;
        let last_done = first.saturating_sub(shard.of - 1);
        if skipped < first {
            if first >= shard.of && skipped < last_done {
                return Err(Stop::Failed(Error::Input(message![
                    format!(
                        "the input has {skipped} rows, fewer than were embedded before; give the same input, or start over with "
                    ),
                    Setting::Force,
                ])));
            }
            self.check_inputs()?;
            return Ok(skipped);
        }
        while let Some(row) = self.rows.next().transpose()? {
            self.expectation.see(row.index, self.rows.bytes_read());
            self.pack(row)?;
            if self.rows.skip_rows(shard.of - 1)? < shard.of - 1 {
                break;
            }
        }
        let total = self.rows.next_index();
        self.send()?;
        self.check_inputs()?;
        Ok(total)
    }

    /// Adds a row to the batch.
    fn pack(&mut self, mut row: Row) -> Result<(), Stop> {
        let kept_bytes: usize = row.kept.iter().map(Cell::bytes).sum();
        let text = std::mem::replace(&mut row.outcome, Ok(String::new()));
        let read = match text {
            Err(reason) => Err(reason),
            Ok(_) if kept_bytes > MAX_KEPT_BYTES => Err(format!(
                "its columns carried along have {kept_bytes} bytes, more than the limit of {MAX_KEPT_BYTES}"
            )),
            Ok(text) => self.pack_text(&text)?,
        };
        let (reading, origin) = match read {
            Ok((reading, origin)) => (Ok(reading), origin),
            Err(reason) => (Err(reason), Origin::Computed { remembered: false }),
        };
        self.batch.push_row(row.and_then(|_| reading), origin);
        if self.batch.is_full() {
            self.send()?;
        }
        Ok(())
    }

    /// Adds the windows of a text to the batch, unless its vector is known; the inner error is why
    /// the text is rejected.
    fn pack_text(&mut self, text: &str) -> Result<Result<(Reading, Origin), String>, Stop> {
        let embedder = Arc::clone(&self.embedder);
        let most_held = HELD_CONTEXTS.saturating_mul(embedder.context()) as u64;
        let mut reading = Reading::default();
        let mut digest = DigestBuilder::default();
        let mut held = Vec::new();
        for window in Windows::new(&*embedder, self.task.overflow, text) {
            let window = match window {
                Ok(window) => window,
                Err(error) => return Ok(Err(error.to_string())),
            };
            if window.more && self.task.overflow == OverflowPolicy::Error {
                return Ok(Err(format!("the text {}", embedder.overflow_problem())));
            }
            reading.truncated = window.more;
            reading.tokens += window.usage.tokens as u64;
            reading.windows += 1;
            digest.add(E::ids(&window.encoded));
            held.push(window);
            if reading.tokens > most_held {
                self.push_windows(&mut held)?;
            }
        }
        reading.digest = digest.finish();
        let all_held = reading.tokens <= most_held;
        if let Some(place) = self.known.find(reading.digest).filter(|_| all_held) {
            return Ok(Ok((reading, Origin::Known(place))));
        }
        self.push_windows(&mut held)?;
        let remembered = self.known.remember(reading.digest);
        Ok(Ok((reading, Origin::Computed { remembered })))
    }

    /// Adds windows to the batch, and to the next ones if it is full.
    fn push_windows(&mut self, windows: &mut Vec<Window<E::Encoded>>) -> Result<(), Stop> {
        for window in windows.drain(..) {
            if self.batch.is_full_for(window.usage, self.task.batch_tokens) {
                self.send()?;
            }
            self.batch.push_window(window);
        }
        Ok(())
    }

    /// Sends the batch to the next thread.
    fn send(&mut self) -> Result<(), Stop> {
        let mut batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        self.check_inputs()?;
        let rows = self.expectation.rows(self.rows.bytes_total());
        let rows = rows.map(|rows| self.task.shard.rows(rows.max(self.rows.next_index())));
        batch.expected_rows = rows;
        self.batches.send(batch).map_err(|_| Stop::Closed)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// How many rows an input has, by the bytes of those that were read.
///
/// A file is read in pieces of many rows. When a piece is fetched, all that was read before has
/// become rows; in between, it is not known how much of it has.
#[derive(Debug, Default)]
struct Expectation {
    /// Bytes read and rows then, when the last piece was fetched.
    before: (u64, u64),
    /// The bytes with that piece.
    bytes: u64,
}

impl Expectation {
    /// There are `rows` rows now, for which `bytes` bytes were read.
    fn see(&mut self, rows: u64, bytes: u64) {
        if bytes != self.bytes {
            self.before = (self.bytes, rows);
            self.bytes = bytes;
        }
    }

    /// The rows of `total` bytes.
    fn rows(&self, total: Option<u64>) -> Option<u64> {
        let (bytes, rows) = self.before;
        let total = total.filter(|_| bytes > 0 && rows > 0)?;
        Some((rows as f64 * total as f64 / bytes as f64).round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_expected_by_bytes_that_have_become_rows() {
        let mut expectation = Expectation::default();
        for row in 0..1000 {
            // Rows of 10 bytes, read 640 at a time.
            expectation.see(row, (row * 10 / 640 + 1) * 640);
            let expected = expectation.rows(Some(10_000));
            match row {
                0..64 => assert_eq!(expected, None),
                _ => assert!((990..=1010).contains(&expected.unwrap()), "{expected:?}"),
            }
        }
        assert_eq!(expectation.rows(None), None);
    }
}
