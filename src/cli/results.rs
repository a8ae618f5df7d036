//! Results of searches as text, JSON or CSV, on standard output or in a file.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use console::{Style, Term, truncate_str};
use serde::Serialize;

use super::failure::Failure;
use super::output_file::OutputFile;

/// Columns of a terminal whose width is unknown.
const WIDTH: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One line each, with tabs between the fields; on a terminal cut to its width
    Text,
    /// One JSON array of objects
    Json,
    /// One such object a line
    Jsonl,
    /// A header, then one line each
    Csv,
}

/// Where results go, and how.
#[derive(Debug, Args)]
pub struct ResultOptions {
    /// How results are written [default: what the name of the output ends with, else text]
    #[arg(short, long, value_enum)]
    format: Option<Format>,
    /// A file for the results, instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the output
    #[arg(long, requires = "output")]
    force: bool,
}

impl ResultOptions {
    /// Whether results go to a file.
    pub fn is_file(&self) -> bool {
        self.output.is_some()
    }

    /// The place for results of a command that reads the files `read`.
    pub fn open(&self, read: &[&Path]) -> Result<Results, Failure> {
        let format = match (self.format, &self.output) {
            (Some(format), _) => format,
            (None, None) => Format::Text,
            (None, Some(path)) => format_of(path)?,
        };
        let (sink, terminal) = match &self.output {
            Some(path) => {
                let file = OutputFile::create(path, self.force, read)?;
                (Sink::File(file), None)
            }
            None => {
                let terminal = Term::stdout();
                let width = terminal.size_checked();
                let width = width.map_or(WIDTH, |(_, columns)| columns.into());
                let terminal = terminal.is_term().then_some(Terminal { width });
                (Sink::Stdout(BufWriter::new(io::stdout())), terminal)
            }
        };
        Ok(Results {
            sink,
            format,
            terminal,
            written: 0,
        })
    }
}

/// The format that the name of a file says.
fn format_of(path: &Path) -> Result<Format, Failure> {
    let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
    match ending.to_str() {
        Some("" | "txt" | "tsv") => Ok(Format::Text),
        Some("json") => Ok(Format::Json),
        Some("jsonl") => Ok(Format::Jsonl),
        Some("csv") => Ok(Format::Csv),
        _ => Err(Failure::file(
            path,
            "its name ends with no format of results",
            "name it .jsonl, .json, .csv or .txt, or give --format",
        )),
    }
}

/// A terminal that results are shown on.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    /// Its columns.
    width: usize,
}

enum Sink {
    Stdout(BufWriter<io::Stdout>),
    File(OutputFile),
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(out) => out.write(bytes),
            Self::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::File(file) => file.flush(),
        }
    }
}

/// A field of a line, and the style that it has on a terminal.
pub struct Field {
    text: String,
    style: Style,
    /// The columns that it takes at least.
    width: usize,
}

impl Field {
    /// A field that is as others.
    pub fn plain(text: impl Into<String>) -> Self {
        Self::styled(text, Style::new())
    }

    /// A field in a style.
    pub fn styled(text: impl Into<String>, style: Style) -> Self {
        Self {
            text: printable(&text.into()),
            style,
            width: 0,
        }
    }

    /// The same, right-aligned in this number of columns of a terminal.
    pub fn at_least(self, width: usize) -> Self {
        Self { width, ..self }
    }
}

/// One result in all formats.
pub trait Item: Serialize {
    /// The cells of a line of CSV.
    fn cells(&self) -> Vec<String>;

    /// The fields of a line of text.
    fn fields(&self) -> Vec<Field>;
}

/// Where results go.
pub struct Results {
    sink: Sink,
    format: Format,
    terminal: Option<Terminal>,
    written: u64,
}

impl Results {
    /// Writes one result. `header` has the names of the cells.
    pub fn item(&mut self, item: &impl Item, header: &[&str]) -> Result<(), Failure> {
        let first = self.written == 0;
        self.written += 1;
        self.write(|format, terminal, out| match format {
            Format::Json => {
                out.write_all(if first { b"[\n" } else { b",\n" })?;
                serde_json::to_writer(out, item)?;
                Ok(())
            }
            Format::Jsonl => {
                serde_json::to_writer(&mut *out, item)?;
                writeln!(out)
            }
            Format::Csv => {
                if first {
                    writeln!(out, "{}", csv(header.iter().map(|&name| name.into())))?;
                }
                writeln!(out, "{}", csv(item.cells().into_iter()))
            }
            Format::Text => writeln!(out, "{}", line(&item.fields(), terminal)),
        })
    }

    /// Begins another group of results: an empty line between groups of text, and on a terminal the title if
    /// there is one.
    pub fn group(&mut self, title: Option<&str>) -> Result<(), Failure> {
        let first = self.written == 0;
        self.write(|format, terminal, out| {
            if format != Format::Text {
                return Ok(());
            }
            if !first {
                writeln!(out)?;
            }
            match title.filter(|_| terminal.is_some()) {
                Some(title) => {
                    let title = Field::styled(title, Style::new().bold());
                    writeln!(out, "{}", line(&[title], terminal))
                }
                None => Ok(()),
            }
        })
    }

    /// Lets what was written be seen.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.write(|_, _, out| out.flush())
    }

    /// The end of all results.
    pub fn finish(mut self) -> Result<(), Failure> {
        let end = match (self.format, self.written) {
            (Format::Json, 0) => "[]\n",
            (Format::Json, _) => "\n]\n",
            _ => "",
        };
        self.write(|_, _, out| out.write_all(end.as_bytes()))?;
        self.flush()?;
        match self.sink {
            Sink::Stdout(_) => Ok(()),
            Sink::File(file) => file.commit(),
        }
    }

    fn write(
        &mut self,
        write: impl FnOnce(Format, Option<Terminal>, &mut Sink) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let done = write(self.format, self.terminal, &mut self.sink);
        done.map_err(|error| match &self.sink {
            Sink::Stdout(_) => Failure::output(error),
            Sink::File(file) => file.failure(&error),
        })
    }
}

/// A line of text: with tabs for programs, in columns and styles for people.
fn line(fields: &[Field], terminal: Option<Terminal>) -> String {
    match terminal {
        None => {
            let texts: Vec<&str> = fields.iter().map(|field| &*field.text).collect();
            texts.join("\t")
        }
        Some(Terminal { width }) => {
            let shown = fields.iter().filter(|field| !field.text.is_empty());
            let shown = shown.map(|field| {
                let text = format!("{:>1$}", field.text, field.width);
                field.style.apply_to(text).to_string()
            });
            let line = shown.collect::<Vec<_>>().join("  ");
            truncate_str(&line, width, "…").into_owned()
        }
    }
}

/// A text on one line, and without the escape sequences that a terminal would obey.
fn printable(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// A line of CSV, as in RFC 4180.
fn csv(cells: impl Iterator<Item = String>) -> String {
    let quoted = cells.map(|cell| match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell,
    });
    quoted.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_tabs_for_programs_and_columns_for_people() {
        let bold = Style::new().bold().force_styling(true);
        let fields = [
            Field::plain("1").at_least(2),
            Field::plain(""),
            Field::styled("日本語", bold),
        ];
        assert_eq!(line(&fields, None), "1\t\t日本語");
        let shown = |width| line(&fields, Some(Terminal { width }));
        assert_eq!(shown(10), " 1  \x1b[1m日本語\x1b[0m");
        assert_eq!(shown(9), " 1  \x1b[1m日本…\x1b[0m");
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        assert_eq!(printable("a\x1b[31m\nb\tc\u{9b}ä"), "a [31m b c ä");
    }

    #[test]
    fn fields_of_csv_are_quoted_where_they_must_be() {
        let cells = ["a b", "a,\"b\""].map(String::from);
        assert_eq!(csv(cells.into_iter()), "a b,\"a,\"\"b\"\"\"");
    }
}
