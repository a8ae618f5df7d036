//! Memory that is taken before a pass and kept from pass to pass.

use std::collections::TryReserveError;
use std::ops::Range;

use lanewise_kernels::{BLOCK, Kernels, Line, PANEL, Q8_0_BYTES, SoftmaxBlock};

use super::batch::{Batch, QUERY_TOKENS};
use super::one_head::OneHead;
use super::profile::Stopwatch;

/// Scratch of one thread, on separate cache lines, because its stopwatch is written often.
#[derive(Default)]
#[repr(align(128))]
pub struct Worker {
    pub(crate) stopwatch: Stopwatch,
    pub(super) packing: Packing,
    pub(super) gate: Vec<f32>,
    pub(super) up: Vec<f32>,
    pub(super) scores: Vec<f32>,
    pub(super) weights: Vec<SoftmaxBlock>,
    pub(super) factors: Vec<f32>,
    pub(super) attended: Vec<f32>,
    pub(super) keys: Vec<i16>,
    /// Where heads are tasks.
    pub(super) head: OneHead,
    /// A row of the residual stream.
    pub(crate) row: Vec<f32>,
    /// Another, after a norm.
    pub(crate) normed: Vec<f32>,
}

/// What packing writes.
#[derive(Default)]
pub(super) struct Packing {
    /// A panel, or some blocks of it.
    pub panel: Vec<Line>,
    /// The rows of a panel as Q8_0, where the file has others.
    pub rows: Vec<u8>,
    /// Addresses of the weights that were prefetched while the panel before was used.
    pub requested: Range<usize>,
}

impl Worker {
    /// Makes room for a batch, `lines` being those of the longest panel, and `columns` those of its
    /// matrix. The same for each worker: tasks go to whichever thread is free.
    pub(super) fn reserve(
        &mut self,
        kernels: Kernels,
        batch: &Batch,
        lines: usize,
        columns: usize,
    ) -> Result<(), TryReserveError> {
        for shape in batch.shape().heads {
            let queries = QUERY_TOKENS * shape.group();
            let keys = queries * batch.longest.next_multiple_of(PANEL);
            reserve(&mut self.scores, keys)?;
            reserve(&mut self.weights, keys / BLOCK * 2)?;
            reserve(&mut self.factors, queries)?;
            reserve(&mut self.attended, queries * shape.head_dim)?;
            reserve(&mut self.keys, PANEL * shape.head_dim)?;
        }
        if batch.heads_are_tasks() {
            self.head.reserve(kernels, batch)?;
        }
        reserve(&mut self.packing.panel, lines)?;
        reserve(&mut self.packing.rows, PANEL * columns / BLOCK * Q8_0_BYTES)?;
        reserve(&mut self.gate, batch.tokens() * PANEL)?;
        reserve(&mut self.up, batch.tokens() * PANEL)?;
        reserve(&mut self.row, batch.shape().hidden)?;
        reserve(&mut self.normed, batch.shape().hidden)
    }
}

/// Makes room for `length` elements in all.
///
/// # Errors
/// If there is no memory.
pub(crate) fn reserve<T>(buffer: &mut Vec<T>, length: usize) -> Result<(), TryReserveError> {
    buffer.try_reserve(length.saturating_sub(buffer.len()))
}

/// The first `length` elements of a buffer, which grows if it must.
pub(crate) fn sized<T: Copy + Default>(buffer: &mut Vec<T>, length: usize) -> &mut [T] {
    if buffer.len() < length {
        buffer.resize(length, T::default());
    }
    &mut buffer[..length]
}
