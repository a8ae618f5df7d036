//! What stops a command, and with which exit code.

use std::fmt;
use std::io::{self, Write};
#[cfg(feature = "bulk")]
use std::path::Path;

/// Some texts, the input or the output failed, or memory ran out.
pub const PARTIAL: u8 = 1;
/// An argument or environment variable cannot be used; also what clap exits with.
pub const USAGE: u8 = 2;
/// The model file cannot be used.
pub const MODEL: u8 = 3;
/// Ctrl-C ended it: 128 and the signal's number, as shells have it.
#[cfg(feature = "bulk")]
pub const INTERRUPTED: u8 = 130;

/// Why a command did not come to its end.
#[derive(Debug)]
pub enum Failure {
    /// Nobody reads the output any more, which is no failure to speak of.
    OutputClosed,
    /// Anything else.
    Stopped {
        /// The exit code.
        code: u8,
        /// What to tell the user.
        message: String,
    },
}

impl Failure {
    /// Arguments that do not go together.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Stopped {
            code: USAGE,
            message: message.into(),
        }
    }

    /// A file that cannot be used, and what to do about it.
    #[cfg(feature = "bulk")]
    pub fn file(path: &Path, problem: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self::Stopped {
            code: PARTIAL,
            message: format!("{}: {problem}; {remedy}", path.display()),
        }
    }

    /// An error while reading texts of the source of this name.
    pub fn input(source: &str, error: &io::Error) -> Self {
        Self::Stopped {
            code: PARTIAL,
            message: format!("{source}: cannot read: {error}"),
        }
    }

    /// An error while writing the output.
    pub fn output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::OutputClosed;
        }
        Self::Stopped {
            code: PARTIAL,
            message: format!("standard output: cannot write: {error}"),
        }
    }
}

impl From<lanewise::Error> for Failure {
    fn from(error: lanewise::Error) -> Self {
        let (code, hint) = match error {
            lanewise::Error::Argument { .. } => (USAGE, ""),
            lanewise::Error::Memory { .. } => (PARTIAL, ""),
            lanewise::Error::MissingDenseHeads { .. } => (MODEL, " (--no-dense-head)"),
            lanewise::Error::MissingPooling { .. } => (MODEL, " (--pooling)"),
            _ => (MODEL, ""),
        };
        Self::Stopped {
            code,
            message: format!("{error}{hint}"),
        }
    }
}

/// Writes a line to standard error; an error in doing so is ignored.
pub fn report(message: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "lanewise: {message}");
}
