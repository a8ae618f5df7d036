//! Storing vectors in the spool.

use std::sync::mpsc::Receiver;

use lanewise_vectors::Precision;

use super::Computed;
use crate::embed::Embed;
use crate::error::Result;
use crate::row::{Embedded, Reading, Row};
use crate::settings::Settings;
use crate::shard::Shard;
use crate::spool::{Block, SpoolWriter};
use crate::windows::WindowMean;

/// The last thread of the pipeline.
pub struct Writer {
    shard: Shard,
    precision: Precision,
    kept: usize,
    dims: usize,
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
            dims,
            mean: WindowMean::new(dims),
            spool,
        }
    }

    /// Writes all batches; returns the spool.
    pub fn run<E: Embed>(mut self, batches: Receiver<Computed<E>>) -> Result<SpoolWriter> {
        for computed in batches {
            let mut block = Block::new(self.kept);
            let mut windows = computed.batch.windows.iter();
            let mut vectors = computed.vectors.chunks_exact(self.dims);
            let mut taken = 0;
            for (row, end) in computed.batch.rows {
                let count = end - taken;
                taken = end;
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
                        self.mean.add(vector, E::usage(window).tokens);
                    }
                }
                let index = row.index;
                let row = match whole {
                    Some(vector) => self.store(row, vector),
                    None => {
                        let mean = self.mean.take();
                        self.store(row, &mean)
                    }
                };
                block.push(&row, self.shard.next(index));
            }
            for (vector, window) in vectors.zip(windows) {
                self.mean.add(vector, E::usage(window).tokens);
            }
            if block.tally().rows > 0 {
                self.spool.rows(&block)?;
            }
        }
        Ok(self.spool)
    }

    fn store(&self, row: Row<Reading>, vector: &[f32]) -> Row<Embedded> {
        row.and_then(|reading| {
            let mut bytes = Vec::with_capacity(self.precision.bytes(vector.len()));
            let scale = self.precision.encode(vector, &mut bytes);
            Ok(Embedded {
                reading,
                scale,
                vector: bytes,
            })
        })
    }
}
