//! Reading rows and making tokens of them.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use super::Task;
use crate::batch::Batch;
use crate::embed::Embed;
use crate::error::{Error, Result};
use crate::input::Rows;
use crate::message::{Setting, message};
use crate::row::{Cell, Reading, Row};
use crate::windows::{OverflowPolicy, Windows};

/// A row with more bytes to carry along is rejected: up to five batches of such rows are in memory
/// at a time.
const MAX_KEPT_BYTES: usize = 16 << 20;

/// The first thread of the pipeline.
pub struct Reader<E: Embed> {
    embedder: Arc<E>,
    task: Task,
    rows: Rows,
    batches: SyncSender<Batch<E>>,
    batch: Batch<E>,
}

/// The other threads have ended.
struct Closed;

impl<E: Embed> Reader<E> {
    /// A reader of one shard of the rows.
    pub fn new(embedder: Arc<E>, task: Task, rows: Rows, batches: SyncSender<Batch<E>>) -> Self {
        Self {
            embedder,
            task,
            rows,
            batches,
            batch: Batch::default(),
        }
    }

    /// Reads from row `first` to the end. Returns the number of rows of the input, or `None` if the
    /// other threads have ended.
    pub fn run(mut self, first: u64) -> Result<Option<u64>> {
        let shard = self.task.shard;
        let skipped = self.rows.skip_rows(first)?;
        let last_done = first.saturating_sub(shard.of - 1);
        if skipped < first {
            if first >= shard.of && skipped < last_done {
                return Err(Error::Input(message![
                    format!(
                        "the input has {skipped} rows, fewer than were embedded before; give the same input, or start over with "
                    ),
                    Setting::Force,
                ]));
            }
            return Ok(Some(skipped));
        }
        while let Some(row) = self.rows.next().transpose()? {
            if self.pack(row).is_err() {
                return Ok(None);
            }
            if self.rows.skip_rows(shard.of - 1)? < shard.of - 1 {
                break;
            }
        }
        let total = self.rows.next_index();
        Ok(self.send().ok().map(|()| total))
    }

    /// Adds a row to the batch.
    fn pack(&mut self, mut row: Row) -> Result<(), Closed> {
        let kept_bytes: usize = row.kept.iter().map(Cell::bytes).sum();
        let text = std::mem::replace(&mut row.outcome, Ok(String::new()));
        let reading = match text {
            Err(reason) => Err(reason),
            Ok(_) if kept_bytes > MAX_KEPT_BYTES => Err(format!(
                "its columns carried along have {kept_bytes} bytes, more than the limit of {MAX_KEPT_BYTES}"
            )),
            Ok(text) => self.pack_text(&text)?,
        };
        self.batch.push_row(row.and_then(|_| reading));
        if self.batch.is_full() {
            self.send()?;
        }
        Ok(())
    }

    /// Adds the windows of a text to the batch; the inner error is why the text is rejected.
    fn pack_text(&mut self, text: &str) -> Result<Result<Reading, String>, Closed> {
        let embedder = Arc::clone(&self.embedder);
        let mut reading = Reading::default();
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
            if self.batch.is_full_for(window.usage, self.task.batch_tokens) {
                self.send()?;
            }
            self.batch.push_window(window);
        }
        Ok(Ok(reading))
    }

    /// Sends the batch to the next thread.
    fn send(&mut self) -> Result<(), Closed> {
        let mut batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        let bytes = self.rows.bytes_total().filter(|&total| total > 0);
        batch.input_read = bytes.map(|total| self.rows.bytes_read() as f64 / total as f64);
        self.batches.send(batch).map_err(|_| Closed)
    }
}
