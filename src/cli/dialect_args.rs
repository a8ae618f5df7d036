//! Arguments that say how the fields of CSV and TSV files are told apart.

use clap::Args;
use lanewise_bulk::{Dialect, Quote};

/// The dialect of CSV and TSV.
#[derive(Debug, Args)]
pub struct DialectArgs {
    /// Character between the fields of CSV and TSV files, as in --delimiter ';' or '\t' [default: a
    /// comma in CSV, a tab in TSV]
    #[arg(long, value_name = "C", value_parser = parse_byte, allow_hyphen_values = true, requires = "input")]
    delimiter: Option<u8>,
    /// What fields may be enclosed in: a character, or `none` if quotes are text [default: " in
    /// CSV, none in TSV]
    #[arg(long, value_name = "C", value_parser = parse_quote, requires = "input")]
    quote: Option<Quote>,
    /// Character that makes text of a delimiter, quote or line end behind it, and a line end or tab
    /// of \n, \r and \t
    #[arg(long, value_name = "C", value_parser = parse_byte, requires = "input")]
    escape: Option<u8>,
    /// The first line of CSV and TSV files is a row: columns are called by their numbers, as in
    /// --field 2
    #[arg(long, requires = "input")]
    no_header: bool,
}

impl From<&DialectArgs> for Dialect {
    fn from(arguments: &DialectArgs) -> Self {
        Self {
            delimiter: arguments.delimiter,
            quote: arguments.quote,
            escape: arguments.escape,
            no_header: arguments.no_header,
        }
    }
}

/// One ASCII character, or `\t` for a tab.
fn parse_byte(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"\\t" => Ok(b'\t'),
        &[byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => Ok(byte),
        _ => Err("give one ASCII character, or \\t for a tab".into()),
    }
}

fn parse_quote(text: &str) -> Result<Quote, String> {
    match text {
        "none" => Ok(Quote::None),
        _ => match parse_byte(text) {
            Ok(byte) => Ok(Quote::Byte(byte)),
            Err(_) => Err("give none, or one ASCII character such as \"".into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_single_ascii_bytes() {
        assert_eq!(parse_byte(";"), Ok(b';'));
        assert_eq!(parse_byte("\\t"), Ok(b'\t'));
        assert_eq!(parse_byte("\t"), Ok(b'\t'));
        assert_eq!(parse_byte("\\"), Ok(b'\\'));
        assert_eq!(parse_quote("none"), Ok(Quote::None));
        assert_eq!(parse_quote("'"), Ok(Quote::Byte(b'\'')));
        for wrong in ["", ";;", "\n", "§", "\\x"] {
            assert!(
                parse_byte(wrong).is_err() && parse_quote(wrong).is_err(),
                "{wrong}"
            );
        }
    }
}
