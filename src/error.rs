//! What can go wrong: each error names the thing, the problem and the remedy.

use std::path::PathBuf;

/// Every error of this crate.
///
/// The messages name the file, the field in it and the remedy, because most people meet them
/// without the source at hand.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file.
    #[error("{}: {action}: {source}; {remedy}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried, as in `cannot open`.
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
        /// What to do next.
        remedy: String,
    },
    /// A model file that is damaged, of another kind, or not supported.
    #[error("{}: {field}: {problem}; {remedy}", path.display())]
    File {
        /// The model file.
        path: PathBuf,
        /// The header field, metadata key or tensor.
        field: String,
        /// What is wrong with it.
        problem: String,
        /// What to do next.
        remedy: String,
    },
    /// A model file without the dense heads that the vectors are to pass.
    #[error(
        "{}: dense_2.weight: the file has no dense heads, without which vectors are in another space; use a file with the heads, or ask for vectors without them", path.display()
    )]
    MissingDenseHeads {
        /// The model file.
        path: PathBuf,
    },
    /// A model file that does not say how the vectors of tokens become one.
    #[error(
        "{}: {key}: is missing, so how vectors are pooled is not known; look it up in the model's card and say mean, cls or last", path.display()
    )]
    MissingPooling {
        /// The model file.
        path: PathBuf,
        /// The key that would say it.
        key: String,
    },
    /// An argument or setting that cannot be used.
    #[error("{name}: {problem}; {remedy}")]
    Argument {
        /// The option, environment variable or parameter.
        name: String,
        /// What is wrong with it.
        problem: String,
        /// What to do next.
        remedy: String,
    },
    /// The system gives no more memory.
    #[error(
        "memory: there is none for a pass over {tokens} tokens; embed fewer or shorter texts at once, or raise the limit"
    )]
    Memory {
        /// The tokens of all texts of the pass.
        tokens: usize,
    },
}

/// Keeps the message of the pool's error.
impl From<lanewise_pool::Error> for Error {
    fn from(error: lanewise_pool::Error) -> Self {
        Self::Argument {
            name: lanewise_pool::Error::ARGUMENT.into(),
            problem: error.problem(),
            remedy: error.remedy(),
        }
    }
}

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_pool_keeps_its_message() {
        let error = lanewise_pool::Error::ThreadCount { requested: 0 };
        let message = error.to_string();
        assert_eq!(Error::from(error).to_string(), message);
    }
}
