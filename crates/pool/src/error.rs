//! Why there are no threads.

use std::io;

use crate::MAX_THREADS;

/// Every error of this crate.
///
/// A message consists of what is at fault, [`ARGUMENT`](Self::ARGUMENT), of the
/// [`problem`](Self::problem) and of the [`remedy`](Self::remedy).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[error("{}: {}; {}", Self::ARGUMENT, self.problem(), self.remedy())]
pub enum Error {
    /// A number of threads outside `1..=MAX_THREADS`.
    ThreadCount {
        /// The number that was asked for.
        requested: usize,
    },
    /// The operating system did not start a thread.
    Spawn {
        /// The number of the thread, counted from 1; the calling thread is the first.
        thread: usize,
        /// The system's reason.
        source: io::Error,
    },
}

impl Error {
    /// The argument that every error of this crate is about.
    pub const ARGUMENT: &str = "threads";

    /// What is wrong, as a part of a sentence.
    pub fn problem(&self) -> String {
        match self {
            Self::ThreadCount { requested } => format!("{requested} threads cannot be used"),
            Self::Spawn { thread, source } => {
                format!("the system refused thread {thread} ({source})")
            }
        }
    }

    /// What to do about it, as a part of a sentence.
    pub fn remedy(&self) -> String {
        match self {
            Self::ThreadCount { .. } => format!("give a number from 1 to {MAX_THREADS}, or none"),
            Self::Spawn { .. } => "use fewer threads, or raise the limit on processes".into(),
        }
    }
}

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_argument_the_problem_and_the_remedy() {
        let error = Error::ThreadCount { requested: 2000 };
        let expected =
            "threads: 2000 threads cannot be used; give a number from 1 to 1024, or none";
        assert_eq!(error.to_string(), expected);
        let source = io::Error::from(io::ErrorKind::WouldBlock);
        let expected = format!(
            "threads: the system refused thread 3 ({source}); use fewer threads, or raise the limit on processes"
        );
        assert_eq!(Error::Spawn { thread: 3, source }.to_string(), expected);
    }
}
