//! Vectors on standard output, in the formats that `--format` names.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

/// How vectors are written. Numbers are as short as they can be and still be read back exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The numbers of a text on one line; an empty line for a text that failed
    Text,
    /// One JSON array of objects with index, tokens and embedding
    Json,
    /// One such object a line
    Jsonl,
    /// A header, then index, tokens and the numbers of a text on one line
    Csv,
}

/// A text's vector.
#[derive(Debug, Serialize)]
pub struct Row<'a> {
    /// The text's number, from 0.
    pub index: usize,
    /// Tokens that the model read.
    pub tokens: usize,
    /// The vector.
    pub embedding: &'a [f32],
}

/// Writes rows in one format.
pub struct Writer<W> {
    out: W,
    format: Format,
    rows: usize,
}

impl<W: Write> Writer<W> {
    /// Writes what comes before the first row.
    pub fn new(mut out: W, format: Format, dims: usize) -> io::Result<Self> {
        match format {
            Format::Json => write!(out, "[")?,
            Format::Csv => {
                write!(out, "index,tokens")?;
                (0..dims).try_for_each(|i| write!(out, ",e{i}"))?;
                writeln!(out)?;
            }
            Format::Text | Format::Jsonl => {}
        }
        Ok(Self {
            out,
            format,
            rows: 0,
        })
    }

    /// Writes a row.
    pub fn row(&mut self, row: &Row<'_>) -> io::Result<()> {
        match self.format {
            Format::Text => self.numbers(row.embedding, " ")?,
            Format::Csv => {
                write!(self.out, "{},{},", row.index, row.tokens)?;
                self.numbers(row.embedding, ",")?;
            }
            Format::Json => {
                write!(self.out, "{}", if self.rows == 0 { "\n" } else { ",\n" })?;
                serde_json::to_writer(&mut self.out, row)?;
            }
            Format::Jsonl => {
                serde_json::to_writer(&mut self.out, row)?;
                writeln!(self.out)?;
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Marks the place of a text that has no row, where the format has no other way to tell.
    pub fn gap(&mut self) -> io::Result<()> {
        match self.format {
            Format::Text => writeln!(self.out),
            _ => Ok(()),
        }
    }

    /// Lets the reader have what was written so far.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Writes what comes after the last row.
    pub fn finish(mut self) -> io::Result<()> {
        if self.format == Format::Json {
            writeln!(self.out, "\n]")?;
        }
        self.out.flush()
    }

    fn numbers(&mut self, numbers: &[f32], separator: &str) -> io::Result<()> {
        for (i, number) in numbers.iter().enumerate() {
            let separator = if i == 0 { "" } else { separator };
            write!(self.out, "{separator}{number}")?;
        }
        writeln!(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format) -> String {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, format, 2).unwrap();
        for (index, embedding) in [[0.1, -1.0], [1e-7, 0.5]].iter().enumerate() {
            let row = Row {
                index: 2 * index,
                tokens: 4,
                embedding,
            };
            writer.row(&row).unwrap();
            writer.gap().unwrap();
        }
        writer.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_has_a_line_for_every_text() {
        assert_eq!(written(Format::Text), "0.1 -1\n\n0.0000001 0.5\n\n");
    }

    #[test]
    fn csv_has_a_header_and_as_many_fields_in_every_line() {
        assert_eq!(
            written(Format::Csv),
            "index,tokens,e0,e1\n0,4,0.1,-1\n2,4,0.0000001,0.5\n"
        );
    }

    #[test]
    fn json_is_one_array_of_the_objects_of_jsonl() {
        let array: serde_json::Value = serde_json::from_str(&written(Format::Json)).unwrap();
        let lines: Vec<serde_json::Value> = written(Format::Jsonl)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(array.as_array().unwrap(), &lines);
        assert_eq!(lines[1]["index"], 2);
        assert_eq!(lines[1]["tokens"], 4);
        assert_eq!(lines[1]["embedding"][1], 0.5);
    }

    #[test]
    fn numbers_read_back_exactly() {
        let numbers = [f32::MIN_POSITIVE, 0.1, 1.0 / 3.0, -1e-30, 0.99999994];
        for format in [Format::Text, Format::Jsonl] {
            let mut out = Vec::new();
            let mut writer = Writer::new(&mut out, format, 5).unwrap();
            let row = Row {
                index: 0,
                tokens: 2,
                embedding: &numbers,
            };
            writer.row(&row).unwrap();
            let line = String::from_utf8(out).unwrap();
            let list = line.rsplit('[').next().unwrap().replace([']', '}'], "");
            let separator = if format == Format::Text { ' ' } else { ',' };
            let read: Vec<f32> = list
                .trim()
                .split(separator)
                .map(|number| number.parse().unwrap())
                .collect();
            assert_eq!(read, numbers);
        }
    }
}
