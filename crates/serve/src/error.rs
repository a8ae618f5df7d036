//! Why a request gets no result.

use std::time::Duration;

/// The result of everything here that can fail.
pub type Result<T, E = Refusal> = std::result::Result<T, E>;

/// Why a request gets no result. Messages name the field, the problem and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A field that cannot be used.
    #[error("{field}: {problem}; {remedy}")]
    Field {
        /// The name of the field.
        field: String,
        /// What is wrong with it.
        problem: String,
        /// What to do next.
        remedy: String,
    },
    /// A body or batch that is too large.
    #[error("{what}: {problem}; {remedy}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// How large it may be.
        problem: String,
        /// What to do next.
        remedy: String,
    },
    /// More is waiting than may wait.
    #[error("the server is busy: {waiting} tokens wait; try again in {} s", retry_after.as_secs())]
    Busy {
        /// Tokens that wait.
        waiting: usize,
        /// When there will be room.
        retry_after: Duration,
    },
    /// The server is being stopped.
    #[error("the server is being stopped; send the request to another one, or again later")]
    Stopping,
    /// The model failed, through no fault of the request.
    #[error("{0}")]
    Model(String),
}

impl Refusal {
    /// A field that cannot be used.
    pub fn field(
        field: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Field {
            field: field.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    /// Something that is too large.
    pub fn too_large(
        what: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::TooLarge {
            what: what.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}
