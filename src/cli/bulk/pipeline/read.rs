//! Reading rows and making tokens of them.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use lanewise::{Embedder, Input};

use super::Task;
use crate::cli::bulk::batch::{Batch, Reading, cell_bytes};
use crate::cli::bulk::input::Rows;
use crate::cli::bulk::overflow::Windows;
use crate::cli::bulk::row::Row;
use crate::cli::bulk::settings::Shard;
use crate::cli::failure::{self, Failure};
use crate::cli::options::OverflowPolicy;

/// A row with more to carry along is rejected: five batches of such rows are under way at a time, and in memory.
const MAX_KEPT_BYTES: usize = 16 << 20;

/// The first thread of the pipeline.
pub struct Reader {
    embedder: Arc<Embedder>,
    task: Task,
    rows: Rows,
    shard: Shard,
    batches: SyncSender<Batch>,
    batch: Batch,
}

/// The other threads have ended.
struct Closed;

impl Reader {
    /// A reader of one shard of the rows.
    pub fn new(
        embedder: Arc<Embedder>,
        task: Task,
        rows: Rows,
        shard: Shard,
        batches: SyncSender<Batch>,
    ) -> Self {
        Self {
            embedder,
            task,
            rows,
            shard,
            batches,
            batch: Batch::default(),
        }
    }

    /// Reads from row `first` to the end; the number of rows of the input, or `None` if nobody takes them any more.
    pub fn run(mut self, first: u64) -> Result<Option<u64>, Failure> {
        let skipped = self.rows.skip_rows(first)?;
        let last_done = first.saturating_sub(self.shard.of - 1);
        if skipped < first {
            if first >= self.shard.of && skipped < last_done {
                return Err(Failure::Stopped {
                    code: failure::PARTIAL,
                    message: format!(
                        "the input has {skipped} rows, fewer than were embedded before; give the same input, or start over with --force"
                    ),
                });
            }
            return Ok(Some(skipped));
        }
        let mut index = first;
        loop {
            let Some(row) = self.rows.next().transpose()? else {
                return Ok(self.send().ok().map(|()| index));
            };
            if self.pack(row, index).is_err() {
                return Ok(None);
            }
            let skipped = self.rows.skip_rows(self.shard.of - 1)?;
            index += 1 + skipped;
            if skipped + 1 < self.shard.of {
                return Ok(self.send().ok().map(|()| index));
            }
        }
    }

    /// Adds a row to the batch.
    fn pack(&mut self, mut row: Row, index: u64) -> Result<(), Closed> {
        let text = std::mem::replace(&mut row.text, Ok(String::new()));
        let kept = std::mem::take(&mut row.kept);
        let kept_bytes: usize = kept.iter().map(cell_bytes).sum();
        let reading = match text {
            Err(reject) => Err(reject.to_string()),
            Ok(_) if kept_bytes > MAX_KEPT_BYTES => Err(format!(
                "its columns carried along have {kept_bytes} bytes, more than the limit of {MAX_KEPT_BYTES}"
            )),
            Ok(text) => self
                .pack_text(&text)?
                .map(|reading| Reading { kept, ..reading }),
        };
        self.batch.push_row(row, index, reading);
        if self.batch.is_full() {
            self.send()?;
        }
        Ok(())
    }

    /// Adds the windows of a text to the batch.
    fn pack_text(&mut self, text: &str) -> Result<Result<Reading, String>, Closed> {
        let embedder = Arc::clone(&self.embedder);
        let title = self.task.title.clone();
        let input = Input {
            title: title.as_deref(),
            ..Input::new(self.task.prompt, text)
        };
        let mut reading = Reading {
            tokens: 0,
            truncated: false,
            windows: 0,
            kept: Vec::new(),
        };
        for window in Windows::new(&embedder, self.task.overflow, input) {
            let window = match window {
                Ok(window) => window,
                Err(error) => return Ok(Err(error.to_string())),
            };
            if window.more && self.task.overflow == OverflowPolicy::Error {
                let context = embedder.model().config().context;
                return Ok(Err(format!(
                    "the text has more than the {context} tokens that the model reads"
                )));
            }
            reading.truncated = window.more;
            reading.tokens += window.encoded.usage().tokens as u64;
            reading.windows += 1;
            if self.batch.is_full_for(&window, self.task.batch_tokens) {
                self.send()?;
            }
            self.batch.push_window(window);
        }
        Ok(Ok(reading))
    }

    /// Hands the batch over.
    fn send(&mut self) -> Result<(), Closed> {
        let mut batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        let bytes = self.rows.bytes_total().filter(|&total| total > 0);
        batch.progress = bytes.map(|total| self.rows.bytes_read() as f64 / total as f64);
        self.batches.send(batch).map_err(|_| Closed)
    }
}
