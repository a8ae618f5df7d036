//! Keeps a damaged file from ending the process: the arrow and parquet crates panic on some.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

use crate::error::{Error, Result};
use crate::message::{Setting, message};

thread_local! {
    /// Whether a panic of this thread becomes an error.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread would be caught and become an [`Error`] of the file that it
/// decodes.
///
/// A program that installs a panic hook asks this, since such a panic needs no report of its own.
pub fn panics_are_caught() -> bool {
    GUARDED.get()
}

/// Runs `decode` on the file `name`; a panic in it, like an error, becomes an error of the file,
/// after which the state that it worked on must not be used again.
pub(crate) fn guarded<T, E: std::fmt::Display>(
    name: &str,
    kind: &str,
    decode: impl FnOnce() -> Result<T, E>,
) -> Result<T> {
    let before = GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(decode));
    GUARDED.set(before);
    let problem = match result {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic_message(panic.as_ref()).to_owned(),
    };
    let problem = problem.trim_end();
    let not_read = NOT_READ
        .iter()
        .find_map(|start| problem.strip_prefix(start));
    Err(match not_read {
        Some(feature) => unsupported(
            name,
            &format!("has something of {kind} that is not read: {feature}"),
            "write it again without that",
        ),
        None => damaged(name, kind, problem),
    })
}

/// How messages of the arrow and parquet crates begin if they cannot read what is no damage.
const NOT_READ: [&str; 3] = ["NYI: ", "Not yet implemented: ", "not yet implemented: "];

/// The error of a damaged file.
pub(crate) fn damaged(name: &str, kind: &str, problem: &str) -> Error {
    Error::named_file(
        name,
        format!("cannot be read as {kind}: {problem}"),
        message![
            "it is damaged, cut short or of another format: write it again, or give its format with ",
            Setting::InputFormat,
        ],
    )
}

/// The error of a file that is sound, but of a kind that is not read.
pub(crate) fn unsupported(name: &str, problem: &str, remedy: &str) -> Error {
    Error::named_file(name, problem.to_owned(), remedy.to_owned())
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("its decoder stopped")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_that_names_the_file() {
        let values: [u8; 0] = [];
        let result = guarded("a.parquet", "Parquet", || {
            assert!(panics_are_caught());
            Ok::<_, String>(values[std::hint::black_box(3)])
        });
        let message = result.unwrap_err().to_string();
        assert!(message.starts_with("a.parquet: cannot be read as Parquet: index out of bounds"));
        assert!(!panics_are_caught());
    }
}
