//! What keeps a damaged file from taking the process with it: the arrow and parquet crates panic on some.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use super::unreadable;
use crate::cli::failure::Failure;

thread_local! {
    /// Whether a panic of this thread becomes an error, and so needs no report of its own.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs what decodes the file; its panics, like its errors, become a failure. What it worked on must not be used again
/// after one.
pub fn guarded<T, E: std::fmt::Display>(
    name: &str,
    kind: &str,
    decode: impl FnOnce() -> Result<T, E>,
) -> Result<T, Failure> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                report(info);
            }
        }));
    });
    let before = GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(decode));
    GUARDED.set(before);
    let problem = match result {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => message(panic.as_ref()).to_owned(),
    };
    Err(damaged(name, kind, problem.trim_end()))
}

/// The failure of a file that is not what it should be.
pub fn damaged(name: &str, kind: &str, problem: &str) -> Failure {
    unreadable(
        name,
        format!("cannot be read as {kind}: {problem}"),
        "it is damaged, cut short or of another format: write it again, or give its format with --input-format",
    )
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("its decoder stopped")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_failure_that_names_the_file() {
        let values: [u8; 0] = [];
        let result = guarded("a.parquet", "Parquet", || {
            Ok::<_, String>(values[std::hint::black_box(3)])
        });
        let Err(Failure::Stopped { message, .. }) = result else {
            panic!("no failure");
        };
        assert!(message.starts_with("a.parquet: cannot be read as Parquet: index out of bounds"));
    }
}
