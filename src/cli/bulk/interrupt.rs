//! Ctrl-C and SIGTERM: the first one asks the run to end, the second one ends it.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::failure::{Failure, INTERRUPTED, report};

static ASKED: AtomicBool = AtomicBool::new(false);

/// From now on the signals are taken.
pub fn listen() {
    let handler = || {
        if ASKED.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        // Then a signal kills the run, which the spool outlives as well.
        report(format_args!("cannot catch Ctrl-C: {error}"));
    }
}

/// Whether the run is to end.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// The end of an interrupted run, which `command` continues.
pub fn failure(command: &str) -> Failure {
    Failure::Stopped {
        code: INTERRUPTED,
        message: format!("interrupted; nothing is lost, continue with:\n  {command}"),
    }
}

/// Passes items on until the run is to end.
pub fn until_asked<T>(
    items: impl Iterator<Item = Result<T, Failure>>,
    command: String,
) -> impl Iterator<Item = Result<T, Failure>> {
    items.map(move |item| match asked() {
        true => Err(failure(&command)),
        false => item,
    })
}

/// The command of this process, as a shell reads it.
pub fn command() -> String {
    join(env::args_os().map(|argument| argument.to_string_lossy().into_owned()))
}

/// The command that continues this process's run.
pub fn resume_command() -> String {
    let arguments = env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    let mut arguments: Vec<String> = arguments
        .filter(|argument| argument != "--force" && argument != "--resume")
        .collect();
    arguments.push("--resume".into());
    join(arguments.into_iter())
}

fn join(arguments: impl Iterator<Item = String>) -> String {
    arguments.map(quoted).collect::<Vec<_>>().join(" ")
}

fn quoted(argument: String) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:@%+".contains(c);
    match !argument.is_empty() && argument.chars().all(plain) {
        true => argument,
        false => format!("'{}'", argument.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_is_quoted() {
        for (argument, text) in [
            ("--keep=a,b", "--keep=a,b"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
        ] {
            assert_eq!(quoted(argument.into()), text);
        }
    }
}
