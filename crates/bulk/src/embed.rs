//! The model, as a run sees it.

use std::error::Error as StdError;

/// Turns texts into vectors, in two steps: tokens, then vectors of batches of them.
///
/// A prompt or title around a text is added by the implementor; the texts here are those of the
/// input. One thread encodes while another embeds.
pub trait Embed: Send + Sync + 'static {
    /// The tokens of a text, all that the model reads counted.
    type Encoded: Send + 'static;
    /// The error of encoding and embedding.
    type Error: StdError + Send + Sync + 'static;

    /// The length of the vectors.
    fn dims(&self) -> usize;

    /// How many tokens a text may have.
    fn context(&self) -> usize;

    /// Why a text with more than [`context`](Self::context) tokens is refused, to follow the words
    /// "the text".
    fn overflow_problem(&self) -> String;

    /// The memory that the model takes.
    fn memory(&self) -> ModelMemory;

    /// The tokens of a text, or of its beginning if it has more than [`context`](Self::context).
    ///
    /// # Errors
    /// If the text cannot be encoded; its row is rejected with the error.
    fn encode(&self, text: &str) -> Result<Self::Encoded, Self::Error>;

    /// How many tokens these are, and whether the text went on after them.
    fn usage(encoded: &Self::Encoded) -> Usage;

    /// The ids of the tokens: all that decides on the vector.
    fn ids(encoded: &Self::Encoded) -> &[u32];

    /// How many bytes of `text`, which is longer than the tokens, they stand for: on a character's
    /// boundary, and at least one character.
    fn bytes_read(&self, text: &str, encoded: &Self::Encoded) -> usize;

    /// Embeds a batch into a buffer of [`dims`](Self::dims) values for each text.
    ///
    /// # Errors
    /// If the model cannot be used any more; the run ends with the error.
    fn embed(&self, texts: &[Self::Encoded], vectors: &mut [f32]) -> Result<(), Self::Error>;
}

/// How much of a text was encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Tokens that the model reads.
    pub tokens: usize,
    /// Whether the text goes on after them.
    pub truncated: bool,
}

/// The memory that a model takes, by which batches are sized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelMemory {
    /// Bytes of the model itself, pages of its mapped file counted.
    pub model_bytes: u64,
    /// Bytes of scratch for each token of a pass.
    pub bytes_per_token: u64,
    /// Tokens of one pass through the model at most; a longer text is a pass of its own.
    pub tokens_per_pass: u64,
    /// Tokens of one call of [`Embed::embed`] beyond which a larger batch is not faster.
    pub tokens_per_call: u64,
}
