//! What attention does to heads before it multiplies them.

use lanewise_kernels::{Kernels, Pieces};

use super::rope::Rope;

/// What becomes of each head of queries and keys.
#[derive(Clone, Copy)]
pub enum Heads<'a> {
    /// RMSNorm with `head_dim` weights, then RoPE.
    NormRope {
        /// The weights for queries.
        query_norm: &'a [f32],
        /// The weights for keys.
        key_norm: &'a [f32],
        /// What RMSNorm adds to the mean of squares.
        eps: f32,
        /// The angles of positions.
        rope: &'a Rope,
    },
    /// RoPE alone.
    Rope(&'a Rope),
    /// A bias on queries, of `heads * head_dim` values.
    ///
    /// Without RoPE there is nothing to do for one on keys: it adds the same to all scores of a query,
    /// which softmax takes away.
    QueryBias(&'a [f32]),
}

impl Heads<'_> {
    /// Head number `head` of the queries of a token at `position`, as INT16. Returns the scale.
    #[inline]
    pub(super) fn query(
        self,
        kernels: Kernels,
        x: Pieces<'_>,
        head: usize,
        position: usize,
        out: &mut [i16],
    ) -> f32 {
        match self {
            Heads::NormRope {
                query_norm,
                eps,
                rope,
                ..
            } => kernels.head_norm_rope(x, query_norm, rope.position(position), eps, out),
            Heads::Rope(rope) => kernels.head_rope(x, rope.position(position), out),
            Heads::QueryBias(bias) => {
                let dim = out.len();
                kernels.head_bias(x, Some(&bias[head * dim..][..dim]), out)
            }
        }
    }

    /// A key head of a token at `position`, as INT16. Returns the scale.
    #[inline]
    pub(super) fn key(
        self,
        kernels: Kernels,
        x: Pieces<'_>,
        position: usize,
        out: &mut [i16],
    ) -> f32 {
        match self {
            Heads::NormRope {
                key_norm,
                eps,
                rope,
                ..
            } => kernels.head_norm_rope(x, key_norm, rope.position(position), eps, out),
            Heads::Rope(rope) => kernels.head_rope(x, rope.position(position), out),
            Heads::QueryBias(_) => kernels.head_bias(x, None, out),
        }
    }
}
