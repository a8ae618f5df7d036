//! Errors of runs and merges.

use std::error::Error as StdError;
use std::path::Path;

use crate::message::{Message, Setting};
use crate::names;

/// Why a run or a merge did not complete.
///
/// The variants are the kinds of causes that a program treats differently; messages name the file
/// or setting, the problem and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Settings that cannot be used, or do not go together or with the input.
    #[error("{0}")]
    Argument(Message),
    /// A file that cannot be read or written.
    #[error("{file}: {problem}; {remedy}")]
    File {
        /// The file's name in messages.
        file: String,
        /// What is wrong with it.
        problem: Message,
        /// What to do next.
        remedy: Message,
    },
    /// The input is not the one that an earlier run read.
    #[error("{0}")]
    Input(Message),
    /// The [`Embed`](crate::Embed) implementation failed; this is its error.
    #[error(transparent)]
    Embed(Box<dyn StdError + Send + Sync>),
    /// The run was [cancelled](crate::CancelToken). What had been computed is in the spool.
    #[error("the run was cancelled")]
    Cancelled,
}

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The message, with `name` naming the settings, such as `--max-memory`.
    pub fn message(&self, name: impl Fn(Setting) -> String) -> String {
        match self {
            Self::Argument(message) | Self::Input(message) => message.with_names(&name),
            Self::File {
                file,
                problem,
                remedy,
            } => format!(
                "{file}: {}; {}",
                problem.with_names(&name),
                remedy.with_names(&name)
            ),
            Self::Embed(_) | Self::Cancelled => self.to_string(),
        }
    }

    pub(crate) fn argument(message: impl Into<Message>) -> Self {
        Self::Argument(message.into())
    }

    /// A file that cannot be used, and what to do about it.
    pub(crate) fn file(
        path: &Path,
        problem: impl Into<Message>,
        remedy: impl Into<Message>,
    ) -> Self {
        Self::named_file(&path.display().to_string(), problem, remedy)
    }

    /// The same for a file that messages call `name`.
    pub(crate) fn named_file(
        name: &str,
        problem: impl Into<Message>,
        remedy: impl Into<Message>,
    ) -> Self {
        Self::File {
            file: name.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    /// A column that the file does not have, or not in a usable type.
    pub(crate) fn bad_column(name: &str, problem: &str, present: &[String]) -> Self {
        let columns = list(present);
        Self::argument(format!("{name}: {problem}; its columns are: {columns}"))
    }

    /// A column that the file does not have, and which one was meant perhaps.
    pub(crate) fn no_column(name: &str, wanted: &str, present: &[String]) -> Self {
        let error = Self::bad_column(name, &format!("no column \"{wanted}\""), present);
        match names::hint(wanted, present) {
            Some(hint) => error.and(hint.into()),
            None => error,
        }
    }

    /// The message with more at its end.
    pub(crate) fn and(self, more: Message) -> Self {
        match self {
            Self::Argument(message) => Self::Argument(message.join("; ", more)),
            other => other,
        }
    }
}

/// The names, in a message of bearable length.
pub(crate) fn list(names: &[String]) -> String {
    const SHOWN: usize = 40;
    let mut list = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN {
        list += &format!(" and {} more", names.len() - SHOWN);
    }
    list
}
