//! Storing vectors in the spool.

use std::sync::mpsc::Receiver;

use lanewise_vectors::Precisions;

use super::Computed;
use crate::batch::Origin;
use crate::embed::Embed;
use crate::error::Result;
use crate::known::Place;
use crate::reuse::ReusedVectors;
use crate::row::{Embedded, Reading, Row};
use crate::settings::Settings;
use crate::shard::Shard;
use crate::spool::{Block, SpoolWriter, VectorPlace};
use crate::windows::WindowMean;

/// The last thread of the pipeline.
pub struct Writer {
    shard: Shard,
    precision: Precisions,
    kept: usize,
    dims: usize,
    mean: WindowMean,
    spool: SpoolWriter,
    known: KnownVectors,
}

/// The vectors that a [`Place`](crate::known::Place) stands for.
pub struct KnownVectors {
    /// Those of other outputs.
    pub reused: ReusedVectors,
    /// Where those of this run are in the spool.
    pub places: Vec<VectorPlace>,
}

impl Writer {
    /// A writer of vectors of `dims` values.
    pub fn new(settings: &Settings, dims: usize, spool: SpoolWriter, known: KnownVectors) -> Self {
        Self {
            shard: settings.shard,
            precision: settings.space.precision,
            kept: settings.keep.len(),
            dims,
            mean: WindowMean::new(dims),
            spool,
            known,
        }
    }

    /// Writes all batches; returns the spool.
    pub fn run<E: Embed>(mut self, batches: Receiver<Computed<E>>) -> Result<SpoolWriter> {
        for computed in batches {
            let mut block = self.spool.block(self.kept);
            let mut windows = computed.batch.windows.iter();
            let mut vectors = computed.vectors.chunks_exact(self.dims);
            let mut taken = 0;
            for row in computed.batch.rows {
                let count = row.end - taken;
                taken = row.end;
                let own = vectors
                    .by_ref()
                    .take(count)
                    .zip(windows.by_ref().take(count));
                let alone =
                    count == 1 && matches!(&row.row.outcome, Ok(reading) if reading.windows == 1);
                let mut whole = None;
                for (vector, window) in own {
                    if alone {
                        whole = Some(vector);
                    } else {
                        self.mean.add(vector, E::usage(window).tokens);
                    }
                }
                let index = row.row.index;
                let embedded = match (row.origin, whole) {
                    (Origin::Known(place), _) => self.copy(row.row, place, &block)?,
                    (_, Some(vector)) => self.store(row.row, vector),
                    (_, None) => {
                        let mean = self.mean.take();
                        self.store(row.row, &mean)
                    }
                };
                let place = block.push(&embedded, self.shard.next(index));
                if row.origin == (Origin::Computed { remembered: true }) {
                    self.known.places.push(place);
                }
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

    /// The row with the vector of another text of the same tokens.
    fn copy(&mut self, row: Row<Reading>, place: Place, block: &Block) -> Result<Row<Embedded>> {
        let mut vector = vec![0; self.precision.bytes(self.dims)];
        let scale = match place {
            Place::Reused(number) => self.known.reused.read(number, &mut vector)?,
            Place::Run(number) => {
                let place = self.known.places[number as usize];
                self.spool.vector(block, place, &mut vector)?
            }
        };
        Ok(row.and_then(|reading| {
            Ok(Embedded {
                reading,
                scale,
                vector,
            })
        }))
    }
}
