//! Ctrl-C and SIGTERM: the first one asks the run to end, the second one ends it.

use std::env;

use lanewise_bulk::CancelToken;

use super::failure::{Failure, INTERRUPTED, report};

/// From now on the signals are taken; the token is what they cancel.
pub fn listen() -> CancelToken {
    let cancel = CancelToken::new();
    let token = cancel.clone();
    let handler = move || {
        if token.cancel() {
            std::process::exit(INTERRUPTED.into());
        }
        // On a thread of its own, so that nothing which the run waits for delays it.
        report(format_args!(
            "finishing the batch; press Ctrl-C again to stop at once"
        ));
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        // Then a signal kills the run, which the spool outlives as well.
        report(format_args!("cannot catch Ctrl-C: {error}"));
    }
    cancel
}

/// The end of an interrupted run, which `command` continues.
pub fn failure(command: &str) -> Failure {
    Failure::Stopped {
        code: INTERRUPTED,
        message: format!("interrupted; nothing is lost, continue with:\n  {command}"),
    }
}

/// The end of an interrupted command that begins anew when it is run again.
pub fn ended() -> Failure {
    Failure::Stopped {
        code: INTERRUPTED,
        message: "interrupted: what was printed is not all, and no file was written; run the command again".into(),
    }
}

/// The command of this process, as a shell reads it.
pub fn command() -> String {
    join(env::args_os().map(|argument| argument.to_string_lossy().into_owned()))
}

/// The command that continues this process's run.
pub fn resume_command() -> String {
    let arguments = env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    let mut arguments: Vec<String> = arguments
        .filter(|argument| argument != "--force" && !is_resume(argument))
        .collect();
    arguments.push("--resume".into());
    join(arguments.into_iter())
}

fn is_resume(argument: &str) -> bool {
    argument == "--resume" || argument.starts_with("--resume=")
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
