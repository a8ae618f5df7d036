//! Attention of a short text: one task a head.
//!
//! Attention takes four jobs one after the other, and in a pass over one short text the threads spend
//! more time on meeting after each of them than on their work. Heads do not depend on each other: here
//! a thread takes all steps of a head by itself, in one job.

use std::collections::TryReserveError;

use lanewise_kernels::{Kernels, PANEL, Pieces};
use lanewise_pool::partition::{Partition, for_each_in_order};

use super::attention::{Attention, Parameters};
use super::batch::Batch;
use super::buffers::{Activations, PanelBuffer};
use super::executor::Executor;
use super::heads::Heads;
use super::scratch::Worker;
use super::shape::HeadShape;

/// What runs the parts of a step of attention.
pub(super) trait RunParts {
    /// The kernels of the instruction set chosen.
    fn kernels(&self) -> Kernels;

    /// Runs `body(index, part, worker)` once for each part.
    fn for_each_part<P: Partition>(
        &mut self,
        parts: P,
        body: impl Fn(usize, P::Part, &mut Worker) + Sync,
    );
}

impl RunParts for Executor {
    fn kernels(&self) -> Kernels {
        Executor::kernels(self)
    }

    fn for_each_part<P: Partition>(
        &mut self,
        parts: P,
        body: impl Fn(usize, P::Part, &mut Worker) + Sync,
    ) {
        Executor::for_each_part(self, parts, body);
    }
}

/// One thread within a task.
pub(super) struct OneThread<'a> {
    pub kernels: Kernels,
    pub worker: &'a mut Worker,
}

impl RunParts for OneThread<'_> {
    fn kernels(&self) -> Kernels {
        self.kernels
    }

    fn for_each_part<P: Partition>(
        &mut self,
        parts: P,
        body: impl Fn(usize, P::Part, &mut Worker) + Sync,
    ) {
        for_each_in_order(parts, |index, part| body(index, part, self.worker));
    }
}

/// Scratch for the attention of one key/value head and the query heads of its group.
#[derive(Default)]
pub(super) struct OneHead {
    pub attention: Attention,
    pub output: Activations,
}

impl OneHead {
    /// Makes room for a batch.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn reserve(&mut self, kernels: Kernels, batch: &Batch) -> Result<(), TryReserveError> {
        for shape in batch.shape().heads.map(HeadShape::of_one_head) {
            self.attention.reserve_shape(kernels, batch, shape)?;
            let output = Attention::output_shape(batch, shape);
            self.output.reserve(output.blocks())?;
        }
        Ok(())
    }
}

impl HeadShape {
    /// The shape of one key/value head and its query heads.
    pub(super) fn of_one_head(self) -> Self {
        Self {
            heads: self.group(),
            kv_heads: 1,
            ..self
        }
    }
}

impl<'a> Parameters<'a> {
    /// Those of one key/value head and its query heads.
    pub(super) fn of_head(self, kv_head: usize) -> Self {
        let (dim, group) = (self.shape.head_dim, self.shape.group());
        let queries = kv_head * group * dim..(kv_head + 1) * group * dim;
        Self {
            shape: self.shape.of_one_head(),
            heads: match self.heads {
                Heads::QueryBias(bias) => Heads::QueryBias(&bias[queries]),
                of_any_head => of_any_head,
            },
            value_bias: self.value_bias.map(|bias| &bias[kv_head * dim..][..dim]),
            ..self
        }
    }
}

/// The product that attention begins with, `[panel][token][32]`: queries, keys and values of each token.
#[derive(Clone, Copy)]
pub(super) struct Projected<'a> {
    product: &'a PanelBuffer,
    dim: usize,
    /// The columns at which they begin.
    queries: usize,
    keys: usize,
    values: usize,
}

impl<'a> Projected<'a> {
    /// Those of all heads.
    pub fn new(product: &'a PanelBuffer, shape: HeadShape) -> Self {
        Self {
            product,
            dim: shape.head_dim,
            queries: 0,
            keys: shape.query_width(),
            values: shape.query_width() + shape.key_width(),
        }
    }

    /// Those of one key/value head, and of as many query heads as its group has.
    pub fn of_head(self, kv_head: usize, group: usize) -> Self {
        Self {
            queries: self.queries + kv_head * group * self.dim,
            keys: self.keys + kv_head * self.dim,
            values: self.values + kv_head * self.dim,
            ..self
        }
    }

    /// A query head of a token.
    pub fn query(self, head: usize, token: usize) -> Pieces<'a> {
        let first = self.queries + head * self.dim;
        self.product.columns(token, first, self.dim)
    }

    /// A key head of a token.
    pub fn key(self, kv_head: usize, token: usize) -> Pieces<'a> {
        let first = self.keys + kv_head * self.dim;
        self.product.columns(token, first, self.dim)
    }

    /// Panel `index` of the values, `[token][32]`.
    pub fn values(self, index: usize) -> &'a [f32] {
        self.product.panel(self.values / PANEL + index)
    }
}
