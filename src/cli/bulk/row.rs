//! What passes from the readers of input files to the pipeline: rows of a text, an id and the columns carried along.

use std::fmt;

/// One row of the input.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Which input file, counted from 0 in the order given.
    pub file: u32,
    /// The line (text formats, counted from 1 as an editor does, the header included) or the row (Parquet and Arrow,
    /// counted from 1) in that file.
    pub line: u64,
    /// The id that `--id-field` names, as text; `None` without the option.
    pub id: Option<String>,
    /// The text to embed, or why there is none.
    pub text: Result<String, Reject>,
    /// The columns that `--keep` names, in that order; empty for a rejected row that could not be read at all.
    pub kept: Vec<Cell>,
}

/// The value of one kept column in one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Missing, or null.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction, or too large for `Integer`.
    Float(f64),
    /// Text; anything nested is its JSON.
    Text(String),
}

/// Why a row has no text: one sentence for the rejects file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject(pub String);

impl fmt::Display for Reject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
