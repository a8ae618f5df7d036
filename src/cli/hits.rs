//! How rows of an index are written.

use std::io::{self, BufWriter, IsTerminal, Write};

use clap::ValueEnum;
use lanewise_search::{Error, Hit, Index, Record};
use serde::Serialize;
use serde_json::{Map, Value};

use super::failure::{self, Failure};
use super::{bulk, interrupt};

/// Columns of a terminal whose width is unknown.
const WIDTH: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Rank, score, id or row, and text on one line, with tabs between them
    Text,
    /// One JSON array of objects
    Json,
    /// One such object a line, with query, rank, score, row, id, text and the columns kept
    Jsonl,
    /// A header, then query, rank, score, row, id and text on one line
    Csv,
}

/// One row found.
#[derive(Serialize)]
struct Found<'a> {
    /// The number of the query, from 0.
    query: usize,
    /// From 1.
    rank: usize,
    score: f32,
    /// Its number, counted through all files.
    row: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    columns: Map<String, Value>,
}

/// What ends a command if a search fails.
pub fn failed(error: Error) -> Failure {
    let code = match error {
        Error::Read(error) => return bulk::failure(error, interrupt::command),
        Error::Argument { .. } => failure::USAGE,
        _ => failure::PARTIAL,
    };
    Failure::Stopped {
        code,
        message: error.to_string(),
    }
}

/// Where results go.
pub struct Output {
    out: BufWriter<io::Stdout>,
    format: Format,
    /// The columns of the terminal, if it is one.
    width: Option<usize>,
    written: usize,
}

impl Output {
    /// Standard output.
    pub fn new(format: Format) -> Self {
        let stdout = io::stdout();
        let width = stdout.is_terminal().then(|| {
            let columns = std::env::var("COLUMNS").ok();
            columns
                .and_then(|columns| columns.parse().ok())
                .unwrap_or(WIDTH)
        });
        Self {
            out: BufWriter::new(stdout),
            format,
            width,
            written: 0,
        }
    }

    /// Writes what was found for a query.
    pub fn query(&mut self, index: &Index, query: usize, hits: &[Hit]) -> Result<(), Failure> {
        for (rank, hit) in (1..).zip(hits) {
            let record = index.record(hit.row).map_err(failed)?;
            self.row(query, rank, hit, record)
                .map_err(Failure::output)?;
        }
        self.out.flush().map_err(Failure::output)
    }

    fn row(&mut self, query: usize, rank: usize, hit: &Hit, record: Record) -> io::Result<()> {
        let Record { id, text, kept, .. } = record;
        let is_text = |value: &Value| value.as_str().is_some() && value.as_str() == text.as_deref();
        let found = Found {
            query,
            rank,
            score: hit.score,
            row: hit.row,
            id: id.as_ref(),
            text: text.as_deref(),
            columns: kept
                .into_iter()
                .filter(|(_, value)| !is_text(value))
                .collect(),
        };
        let first = self.written == 0;
        self.written += 1;
        let out = &mut self.out;
        match self.format {
            Format::Json => {
                out.write_all(if first { b"[\n" } else { b",\n" })?;
                serde_json::to_writer(out, &found)?;
                Ok(())
            }
            Format::Jsonl => {
                serde_json::to_writer(&mut *out, &found)?;
                writeln!(out)
            }
            Format::Csv => {
                if first {
                    writeln!(out, "query,rank,score,row,id,text")?;
                }
                let id = found.id.map(plain).unwrap_or_default();
                let (id, text) = (quoted(&id), quoted(found.text.unwrap_or_default()));
                writeln!(out, "{query},{rank},{},{},{id},{text}", hit.score, hit.row)
            }
            Format::Text => {
                let id = found.id.map_or_else(|| format!("row {}", hit.row), plain);
                let columns = found.columns.iter();
                let columns = columns.map(|(name, value)| {
                    let (name, value) = (printable(name), printable(&plain(value)));
                    format!("\t{name}={value}")
                });
                let line = format!(
                    "{rank}\t{:.4}\t{}{}\t{}",
                    hit.score,
                    printable(&id),
                    columns.collect::<String>(),
                    printable(found.text.unwrap_or_default())
                );
                if rank == 1 && !first {
                    writeln!(out)?;
                }
                match self.width {
                    Some(width) => writeln!(out, "{}", cut(&line, width)),
                    None => writeln!(out, "{line}"),
                }
            }
        }
    }

    /// The end of all results.
    pub fn finish(mut self) -> Result<(), Failure> {
        let end = match (self.format, self.written) {
            (Format::Json, 0) => "[]\n",
            (Format::Json, _) => "\n]\n",
            _ => "",
        };
        self.out
            .write_all(end.as_bytes())
            .map_err(Failure::output)?;
        self.out.flush().map_err(Failure::output)
    }
}

/// A value as a line of text has it: a string without quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A text on one line, and without the escape sequences that a terminal would obey.
fn printable(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// A field of CSV, as in RFC 4180.
fn quoted(field: &str) -> String {
    match field.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.into(),
    }
}

/// As much of a line as fits, tabs counted as eight columns.
fn cut(line: &str, width: usize) -> String {
    let mut column = 0;
    let fits = |character: &char| {
        column += match character {
            '\t' => 8 - column % 8,
            _ => 1,
        };
        column < width
    };
    let kept: String = line.chars().take_while(fits).collect();
    match kept.len() < line.len() {
        true => format!("{kept}…"),
        false => kept,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_to_the_terminal() {
        assert_eq!(cut("abc", 4), "abc");
        assert_eq!(cut("abcd", 4), "abc…");
        assert_eq!(cut("1\tä日", 12), "1\tä日");
        assert_eq!(cut("1\tabcd", 11), "1\tab…");
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        assert_eq!(printable("a\x1b[31m\nb\tc\u{9b}ä"), "a [31m b c ä");
    }

    #[test]
    fn fields_of_csv_are_quoted_where_they_must_be() {
        assert_eq!(quoted("a b"), "a b");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
