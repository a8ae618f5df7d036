//! The names of columns, and what is said about one that is not there.

use super::records::Records;
use crate::dialect::Rules;
use crate::error::{Error, Result};
use crate::message::{Message, Setting, message};

/// The names of the columns: those in the record that was read last, or numbers from 1.
pub fn names(records: &Records, rules: &Rules, columns: usize) -> Vec<String> {
    let name = |index| match rules.header {
        true => {
            let name = records.field(index).ok().flatten().unwrap_or_default();
            String::from_utf8_lossy(&name).into_owned()
        }
        false => (index + 1).to_string(),
    };
    (0..columns).map(name).collect()
}

/// The place of the column `wanted` in the file `name`.
pub fn find(name: &str, rules: &Rules, names: &[String], wanted: &str) -> Result<usize> {
    let mut places = (0..names.len()).filter(|&index| names[index] == wanted);
    match (places.next(), places.next()) {
        (Some(place), None) => Ok(place),
        (Some(_), Some(_)) => {
            let problem = format!("more than one column \"{wanted}\"");
            Err(Error::bad_column(name, &problem, names))
        }
        (None, _) => {
            let error = Error::no_column(name, wanted, names);
            Err(match hint(rules, names, wanted) {
                Some(hint) => error.and(hint),
                None => error,
            })
        }
    }
}

/// What about the header, or the dialect, hides the column.
fn hint(rules: &Rules, names: &[String], wanted: &str) -> Option<Message> {
    if !rules.header {
        let columns = names.len();
        return Some(message![
            "with ",
            Setting::NoHeader,
            format!(" they are called by their numbers, 1 to {columns}"),
        ]);
    }
    let line = names.join(char::from(rules.delimiter).encode_utf8(&mut [0; 4]));
    let plain = |name: &str| {
        name.trim_matches([' ', '"', '\'', '\u{feff}'])
            .to_lowercase()
    };
    let other = [';', ',', '\t', '|'].into_iter().find(|&delimiter| {
        delimiter != char::from(rules.delimiter)
            && line.contains(delimiter)
            && line
                .split(delimiter)
                .any(|name| plain(name) == plain(wanted))
    });
    if line.starts_with("sep=") {
        let delimiter = line.chars().nth(4).unwrap_or(';');
        return Some(message![
            "the first line is an instruction for Excel: remove it, and give ",
            Setting::Delimiter,
            format!(" '{delimiter}'"),
        ]);
    }
    if let Some(delimiter) = other {
        return Some(message![
            format!(
                "the header looks as if \"{}\" were between its names: give ",
                delimiter.escape_default()
            ),
            Setting::Delimiter,
            format!(" '{}'", delimiter.escape_default()),
        ]);
    }
    if rules.quote.is_none()
        && names
            .iter()
            .any(|name| name.starts_with('"') && plain(name) == plain(wanted))
    {
        return Some(message![
            "give ",
            Setting::Quote,
            " '\"' to read quoted fields"
        ]);
    }
    let is_number = wanted.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| {
        message![
            "columns are called by their numbers with ",
            Setting::NoHeader,
            " only"
        ]
    })
}
