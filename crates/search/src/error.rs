//! Why there is no result.

use std::path::Path;

/// Every error of this crate. Messages name the file or argument, the problem and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument that cannot be used.
    #[error("{name}: {problem}; {remedy}")]
    Argument {
        /// The argument: `k`, `query`, `where`, `approximate`, `above`, `row`, `rescore`.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
        /// What to do next.
        remedy: String,
    },
    /// A file that cannot be searched.
    #[error("{file}: {problem}; {remedy}")]
    File {
        /// The file's name.
        file: String,
        /// What is wrong with it.
        problem: String,
        /// What to do next.
        remedy: String,
    },
    /// A file that cannot be read.
    #[error(transparent)]
    Read(#[from] lanewise_bulk::Error),
    /// There are no threads.
    #[error(transparent)]
    Threads(#[from] lanewise_pool::Error),
    /// The call was [cancelled](crate::CancelToken).
    #[error("the search was cancelled")]
    Cancelled,
}

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn argument(
        name: &'static str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Argument {
            name,
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    pub(crate) fn file(path: &Path, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::named(&path.display().to_string(), problem, remedy)
    }

    pub(crate) fn named(name: &str, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::File {
            file: name.to_owned(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

/// What to do with a file that is not as `embed` writes it.
pub(crate) const EMBED_AGAIN: &str = "it was changed or damaged: embed its texts again";
