//! How the fields of a CSV or TSV file are told apart, where it is not as usual.

use std::fmt;

use crate::error::{Error, Result};
use crate::format::InputFormat;
use crate::message::{Setting, message};

/// How rows of delimited fields are written, where they differ from RFC 4180 (CSV) or plain
/// tab-separated values (TSV).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dialect {
    /// The byte between fields; `None` is a comma in CSV and a tab in TSV.
    pub delimiter: Option<u8>,
    /// What fields may be enclosed in; `None` is `"` in CSV and nothing in TSV.
    pub quote: Option<Quote>,
    /// The byte that takes its meaning from a delimiter, quote or line end after it, and makes line
    /// feed, carriage return and tab of `n`, `r` and `t`; `None` is none.
    pub escape: Option<u8>,
    /// Whether the first line is a row. The columns are then called by their numbers, from 1.
    pub no_header: bool,
}

/// What fields may be enclosed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quote {
    /// Nothing: every byte of a field is part of it.
    None,
    /// This byte, doubled inside of them.
    Byte(u8),
}

/// A dialect with nothing left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The byte between fields.
    pub delimiter: u8,
    /// What fields may be enclosed in.
    pub quote: Option<u8>,
    /// What the next byte is escaped by.
    pub escape: Option<u8>,
    /// Whether the first line names the columns.
    pub header: bool,
}

impl Dialect {
    /// The first setting that is not left open.
    fn given(&self) -> Option<Setting> {
        [
            (self.delimiter.is_some(), Setting::Delimiter),
            (self.quote.is_some(), Setting::Quote),
            (self.escape.is_some(), Setting::Escape),
            (self.no_header, Setting::NoHeader),
        ]
        .into_iter()
        .find_map(|(given, setting)| given.then_some(setting))
    }

    /// Checks that the settings mean something for a file `name` of this format, and go together.
    ///
    /// # Errors
    /// If they do not.
    pub(crate) fn check(&self, name: &str, format: InputFormat) -> Result<()> {
        if matches!(format, InputFormat::Csv | InputFormat::Tsv) {
            return self.rules(name, format).map(drop);
        }
        self.given().map_or(Ok(()), |setting| {
            Err(Error::argument(message![
                format!("{name}: "),
                setting,
                " is for CSV and TSV only; leave it out, or give ",
                Setting::InputFormat,
                " csv",
            ]))
        })
    }

    /// The rules for the file `name` of comma- or tab-separated values.
    ///
    /// # Errors
    /// If two settings have the same byte.
    pub(crate) fn rules(&self, name: &str, format: InputFormat) -> Result<Rules> {
        let (delimiter, quote) = match format {
            InputFormat::Tsv => (b'\t', Quote::None),
            _ => (b',', Quote::Byte(b'"')),
        };
        let rules = Rules {
            delimiter: self.delimiter.unwrap_or(delimiter),
            quote: match self.quote.unwrap_or(quote) {
                Quote::None => None,
                Quote::Byte(byte) => Some(byte),
            },
            escape: self.escape,
            header: !self.no_header,
        };
        let used = [
            (Some(rules.delimiter), Setting::Delimiter),
            (rules.quote, Setting::Quote),
            (rules.escape, Setting::Escape),
        ];
        for (place, &(byte, setting)) in used.iter().enumerate() {
            let Some(byte) = byte else { continue };
            if !byte.is_ascii() || matches!(byte, b'\n' | b'\r' | 0) {
                return Err(Error::argument(message![
                    setting,
                    ": has to be an ASCII character other than a line end",
                ]));
            }
            let same = used[..place].iter().find(|(other, _)| *other == Some(byte));
            if let Some(&(_, other)) = same {
                return Err(Error::argument(message![
                    format!("{name}: "),
                    other,
                    " and ",
                    setting,
                    " are the same character; give another one",
                ]));
            }
        }
        Ok(rules)
    }
}

/// What differs from the usual, as a run's settings have it; nothing if nothing does.
impl fmt::Display for Dialect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |byte: u8| char::from(byte).escape_default().to_string();
        let mut parts = Vec::new();
        parts.extend(
            self.delimiter
                .map(|byte| format!("delimiter {}", shown(byte))),
        );
        parts.extend(self.quote.map(|quote| match quote {
            Quote::None => "no quotes".into(),
            Quote::Byte(byte) => format!("quote {}", shown(byte)),
        }));
        parts.extend(self.escape.map(|byte| format!("escape {}", shown(byte))));
        parts.extend(self.no_header.then(|| "no header".into()));
        formatter.write_str(&parts.join(", "))
    }
}
