//! The dimensions of a model.

/// The dimensions of a model that decide how much its batches take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Values of the residual stream; a multiple of 32.
    pub hidden: usize,
    /// Values of a vector; a multiple of 32.
    pub width: usize,
    /// The heads of layers that see the whole text, and of those that see a window: the same in most
    /// models.
    pub heads: [HeadShape; 2],
    /// The most tokens of a text.
    pub context: usize,
    /// Tokens of the vocabulary: ids are below it.
    pub vocabulary: usize,
}

/// The heads of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadShape {
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Values of a head; a multiple of 32.
    pub head_dim: usize,
}

impl HeadShape {
    /// Values of all query heads of a token together.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Values of all key heads of a token together, and as many of its value heads.
    pub fn key_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Values of queries, keys and values of a token together.
    pub fn projected_width(&self) -> usize {
        self.query_width() + 2 * self.key_width()
    }

    /// Query heads that share a key/value head.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }
}
