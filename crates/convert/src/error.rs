//! What can go wrong: each error names the file, the field, the problem and the remedy.

use std::io;
use std::path::{Path, PathBuf};

/// Why a directory was not converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory that is damaged, of another kind, or not supported.
    #[error("{}: {field}: {problem}; {remedy}", path.display())]
    Input {
        /// The file or directory.
        path: PathBuf,
        /// The field, key or tensor in it.
        field: String,
        /// What is wrong with it.
        problem: String,
        /// What to do next.
        remedy: String,
    },
    /// The operating system refused to read a file.
    #[error("{}: cannot read: {source}; {remedy}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
        /// What to do next.
        remedy: String,
    },
    /// The directory does not say how the vectors of tokens become one.
    #[error(
        "{}: modules.json: names no pooling module, without which it is unknown whether a text's vector is the mean of its tokens, the first or the last; say which, as the model's page has it", path.display()
    )]
    UnknownPooling {
        /// The directory.
        path: PathBuf,
    },
    /// An EmbeddingGemma directory without its dense heads.
    #[error(
        "{}: modules.json: names no Dense modules, without which vectors are in another space; fetch 2_Dense and 3_Dense with the model, or ask for a file without them", path.display()
    )]
    MissingDenseHeads {
        /// The directory.
        path: PathBuf,
    },
    /// There is something at the output's path.
    #[error("{}: exists already; choose another name, or ask for it to be replaced", path.display())]
    OutputExists {
        /// The output's path.
        path: PathBuf,
    },
    /// The caller ended the conversion.
    #[error("stopped before the end; nothing was written")]
    Stopped,
    /// The output cannot be written.
    #[error("{}: cannot write: {source}; check the directory and the space on the disk", path.display())]
    Write {
        /// The output's path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error in a file: the field, what is wrong with it, and what to do next.
pub(crate) fn input(
    path: &Path,
    field: impl Into<String>,
    problem: impl Into<String>,
    remedy: impl Into<String>,
) -> Error {
    Error::Input {
        path: path.to_path_buf(),
        field: field.into(),
        problem: problem.into(),
        remedy: remedy.into(),
    }
}

/// Turns the system's reason for not reading a file into an error.
pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Read {
        remedy: match source.kind() {
            io::ErrorKind::NotFound => "fetch the whole directory of the model".into(),
            io::ErrorKind::PermissionDenied => "check who may read it".into(),
            _ => "check the path and the disk".into(),
        },
        path: path.to_path_buf(),
        source,
    }
}

pub(crate) const FETCH_AGAIN: &str = "the file is damaged or not complete: fetch it again";
