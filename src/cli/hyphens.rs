//! Reading the arguments, with advice on those that begin with a hyphen and are no options.

use std::env;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Error, Parser};

/// Reads the arguments of this process; if they cannot be used, ends it with a message.
pub fn parse<T: Parser>() -> T {
    T::try_parse().unwrap_or_else(|error| {
        let arguments = env::args_os().map(|argument| argument.to_string_lossy().into_owned());
        let arguments: Vec<String> = arguments.collect();
        let mut command = T::command();
        command.build();
        advise(error, &command, &arguments).exit()
    })
}

/// Replaces the tip on an argument that begins with a hyphen: clap knows neither that a file may be
/// meant by it, nor that it may be a text.
fn advise(mut error: Error, command: &Command, arguments: &[String]) -> Error {
    let kinds = [
        ErrorKind::UnknownArgument,
        ErrorKind::InvalidValue,
        ErrorKind::ValueValidation,
    ];
    if !kinds.contains(&error.kind()) || error.get(ContextKind::SuggestedArg).is_some() {
        return error;
    }
    let is_unknown = error.kind() == ErrorKind::UnknownArgument;
    let Some(ContextValue::String(unknown)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let Some(subcommand) = arguments
        .get(1)
        .and_then(|name| command.find_subcommand(name))
    else {
        return error;
    };
    let places = 2..arguments.len();
    let found = match is_unknown {
        true => places
            .into_iter()
            .find(|&place| is_part(unknown, &arguments[place])),
        // clap has taken the beginning of a text for an option with its value.
        false => places.into_iter().find(|&place| {
            let argument = &arguments[place];
            let is_short = argument.starts_with('-') && !argument.starts_with("--");
            is_short && argument.contains(char::is_whitespace)
        }),
    };
    let Some(place) = found else {
        return error;
    };
    let argument = &arguments[place];
    let option = option_before(subcommand, &arguments[..place]).filter(|_| is_unknown);
    let has_texts = subcommand
        .get_positionals()
        .any(|arg| arg.get_id() == "texts");
    let quoted = format!("'{argument}'");
    let tip = match option {
        Some(option) => format!("to give {option} the value {quoted}, write '{option}={argument}'"),
        None if has_texts => {
            let name = subcommand.get_name();
            format!("to use {quoted} as a text, write it after --: lanewise {name} -- {quoted}")
        }
        None => return error,
    };
    if is_unknown {
        let argument = ContextValue::String(argument.clone());
        error.insert(ContextKind::InvalidArg, argument);
    }
    let tip = ContextValue::StyledStrs(vec![StyledStr::from(tip)]);
    error.insert(ContextKind::Suggested, tip);
    error
}

/// Whether the argument is what clap calls `unknown`: an option, or the letter of one among several.
fn is_part(unknown: &str, argument: &str) -> bool {
    if argument.starts_with(unknown) {
        return true;
    }
    let letter = unknown
        .strip_prefix('-')
        .filter(|letter| !letter.starts_with('-'));
    let letters = argument
        .strip_prefix('-')
        .filter(|letters| !letters.starts_with('-'));
    letter
        .zip(letters)
        .is_some_and(|(letter, letters)| letters.contains(letter))
}

/// The option that an argument after these would be a value of, if it did not begin with a hyphen.
fn option_before(command: &Command, before: &[String]) -> Option<String> {
    let (last, values) = before
        .iter()
        .rev()
        .zip(0..)
        .find(|(argument, _)| argument.starts_with('-'))?;
    let name = last.strip_prefix("--");
    let letter = last
        .strip_prefix('-')
        .and_then(|letters| letters.chars().next_back());
    let is_named = |arg: &&Arg| match name {
        Some(name) => arg.get_long() == Some(name),
        None => arg.get_short().is_some() && arg.get_short() == letter,
    };
    let option = command.get_arguments().find(is_named)?;
    let most = option.get_num_args().map_or(0, |range| range.max_values());
    let takes = option.get_action().takes_values() && values < most;
    takes.then(|| last.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(line: &[&str]) -> String {
        let mut command = crate::cli::command();
        command.build();
        let arguments: Vec<String> = line.iter().map(|argument| argument.to_string()).collect();
        let error = command
            .clone()
            .try_get_matches_from(&arguments)
            .unwrap_err();
        advise(error, &command, &arguments).to_string()
    }

    #[test]
    fn what_begins_with_a_hyphen_gets_the_right_advice() {
        for (line, advice) in [
            (
                &["lanewise", "tokenize", "-1 degrees"][..],
                "lanewise tokenize -- '-1 degrees'",
            ),
            (
                &["lanewise", "embed", "-fish and chips"],
                "lanewise embed -- '-fish and chips'",
            ),
            (
                &["lanewise", "embed", "-test of a text"],
                "lanewise embed -- '-test of a text'",
            ),
            (
                &["lanewise", "similarity", "a", "--no way"],
                "lanewise similarity -- '--no way'",
            ),
            (
                &["lanewise", "embed", "--title", "-x", "a"],
                "write '--title=-x'",
            ),
            #[cfg(feature = "bulk")]
            (
                &[
                    "lanewise",
                    "embed",
                    "--input",
                    "a",
                    "-in.jsonl",
                    "--output",
                    "v",
                ],
                "write '--input=-in.jsonl'",
            ),
            #[cfg(feature = "bulk")]
            (
                &["lanewise", "embed", "--input", "a", "--output", "-v.csv"],
                "write '--output=-v.csv'",
            ),
        ] {
            let message = message(line);
            assert!(message.contains(advice), "{line:?}: {message}");
            assert!(!message.contains("use '-- "), "{message}");
        }
    }

    #[test]
    fn other_advice_stays() {
        let similar = message(&["lanewise", "embed", "--promt", "query", "a"]);
        assert!(
            similar.contains("a similar argument exists: '--prompt'"),
            "{similar}"
        );
        let dims = message(&["lanewise", "embed", "--dims", "-1", "a"]);
        assert!(
            dims.contains("'-1' for '--dims <N>'") && !dims.contains("tip"),
            "{dims}"
        );
    }
}
