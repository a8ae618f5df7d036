//! Making records of vectors and writing them.

use std::sync::mpsc::Receiver;

use super::Computed;
use crate::cli::bulk::batch::{PackedRow, next_index};
use crate::cli::bulk::settings::Settings;
use crate::cli::bulk::settings::Shard;
use crate::cli::bulk::spool::{Block, Embedded, Record, SpoolWriter};
use crate::cli::bulk::vector::Precision;
use crate::cli::failure::Failure;

/// The last thread of the pipeline.
pub struct Writer {
    shard: Shard,
    precision: Precision,
    kept: usize,
    mean: WindowMean,
    spool: SpoolWriter,
}

impl Writer {
    /// A writer of vectors of `dims` values.
    pub fn new(settings: &Settings, dims: usize, spool: SpoolWriter) -> Self {
        Self {
            shard: settings.shard,
            precision: settings.space.precision,
            kept: settings.keep.len(),
            mean: WindowMean {
                sum: vec![0.0; dims],
            },
            spool,
        }
    }

    /// Writes until no more comes; returns the spool.
    pub fn run(mut self, batches: Receiver<Computed>) -> Result<SpoolWriter, Failure> {
        for computed in batches {
            let mut block = Block::new(self.kept);
            let dims = self.mean.sum.len();
            let mut windows = computed.batch.windows.iter();
            let mut vectors = computed.vectors.chunks_exact(dims);
            let mut taken = 0;
            for row in computed.batch.rows {
                let count = row.end - taken;
                taken = row.end;
                let own = vectors
                    .by_ref()
                    .take(count)
                    .zip(windows.by_ref().take(count));
                let alone =
                    count == 1 && matches!(&row.outcome, Ok(reading) if reading.windows == 1);
                let mut whole = None;
                for (vector, window) in own {
                    if alone {
                        whole = Some(vector);
                    } else {
                        self.mean.add(vector, window.usage().tokens);
                    }
                }
                let index = row.index;
                let record = match whole {
                    Some(vector) => self.record(row, vector),
                    None => {
                        let mean = self.mean.take();
                        self.record(row, &mean)
                    }
                };
                block.push(&record, next_index(index, self.shard));
            }
            for (vector, window) in vectors.zip(windows) {
                self.mean.add(vector, window.usage().tokens);
            }
            if block.tally().rows > 0 {
                self.spool.rows(&block)?;
            }
        }
        Ok(self.spool)
    }

    fn record(&self, row: PackedRow, vector: &[f32]) -> Record {
        Record {
            index: row.index,
            file: row.file,
            line: row.line,
            id: row.id,
            outcome: row.outcome.map(|reading| {
                let mut bytes = Vec::with_capacity(self.precision.bytes(vector.len()));
                let scale = self.precision.encode(vector, &mut bytes);
                Embedded {
                    tokens: reading.tokens,
                    truncated: reading.truncated,
                    windows: reading.windows,
                    scale,
                    vector: bytes,
                    kept: reading.kept,
                }
            }),
        }
    }
}

/// The mean of the vectors of a text's windows, weighted by their tokens, at unit length.
struct WindowMean {
    sum: Vec<f64>,
}

impl WindowMean {
    fn add(&mut self, vector: &[f32], tokens: usize) {
        for (sum, &value) in self.sum.iter_mut().zip(vector) {
            *sum += f64::from(value) * tokens as f64;
        }
    }

    /// The mean of what was added since the last call.
    fn take(&mut self) -> Vec<f32> {
        let norm = self
            .sum
            .iter()
            .map(|value| value * value)
            .sum::<f64>()
            .sqrt();
        let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
        let mean = self
            .sum
            .iter()
            .map(|value| (value * scale) as f32)
            .collect();
        self.sum.fill(0.0);
        mean
    }
}
