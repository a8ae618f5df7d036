//! Activation functions of feed-forward layers.

/// The function that a feed-forward layer applies to its gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// GELU in its exact form: `x Φ(x)`, with Φ the cumulative distribution function of the normal
    /// distribution.
    Gelu,
    /// GELU in its tanh form: `x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))`.
    GeluTanh,
    /// SiLU, also known as swish: `x / (1 + e⁻ˣ)`.
    Silu,
}

impl Activation {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Gelu, Self::GeluTanh, Self::Silu];
}
