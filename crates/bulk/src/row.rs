//! A row on its way from an input file to the output.

use arrow_schema::DataType;
use serde::{Deserialize, Serialize};

use crate::digest::TextDigest;

/// A row of the input at one stage of its way to the output.
///
/// The outcome is a text when a reader yields the row, tokens in a batch ([`Reading`]), and a
/// vector in the spool and the output ([`Embedded`]); or, at any stage, the reason why the row is
/// rejected: one sentence for the rejects file.
#[derive(Debug, Clone, PartialEq)]
pub struct Row<T = String> {
    /// Its number in the whole input, from 0; a single file's reader leaves it 0.
    pub index: u64,
    /// Which input file, counted from 0 in the order given.
    pub file: u32,
    /// The line (text formats, counted from 1 as an editor does, the header included) or the row
    /// (Parquet and Arrow, counted from 1) in that file.
    pub line: u64,
    /// The id; `None` if ids were not asked for, or a rejected row has none.
    pub id: Option<Cell>,
    /// The columns carried along, in the order asked for; a rejected row may have fewer or none.
    pub kept: Vec<Cell>,
    /// The row's content at this stage, or why it is rejected.
    pub outcome: Result<T, String>,
}

impl<T> Row<T> {
    /// The row at its next stage, which `next` makes of its outcome. A row that is rejected carries
    /// no columns along any more.
    pub fn and_then<U>(self, next: impl FnOnce(T) -> Result<U, String>) -> Row<U> {
        let outcome = self.outcome.and_then(next);
        let kept = if outcome.is_ok() {
            self.kept
        } else {
            Vec::new()
        };
        Row {
            index: self.index,
            file: self.file,
            line: self.line,
            id: self.id,
            kept,
            outcome,
        }
    }
}

impl Row {
    /// A row at `line` of its file, with an empty text.
    pub(crate) fn at_line(line: u64) -> Self {
        Self {
            index: 0,
            file: 0,
            line,
            id: None,
            kept: Vec::new(),
            outcome: Ok(String::new()),
        }
    }
}

/// How a text was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// Tokens that the model read, in all windows together.
    pub tokens: u64,
    /// Whether the text went on after them.
    pub truncated: bool,
    /// How many parts of the text were embedded and averaged; 1 for all of it at once.
    pub windows: u32,
    /// The digest of these tokens.
    pub digest: TextDigest,
}

/// A vector, as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// How the text was read.
    pub reading: Reading,
    /// The factor that turns the stored numbers of `i8` into the vector's values; 1 without `i8`.
    pub scale: f32,
    /// The stored numbers, little-endian; of several precisions one after the other.
    pub vector: Vec<u8>,
}

/// The value of one kept column, or of the id, in one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Missing, or null.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A whole number too large for `Integer`.
    Unsigned(u64),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// Text; also a whole number too large for `Unsigned`.
    Text(String),
    /// An array or object: its JSON.
    Json(String),
    /// The bytes of a binary column.
    Bytes(Vec<u8>),
    /// A value of a column of [`CellType::Arrow`] that is none of the above, in the encoding of the
    /// spool.
    Arrow(Vec<u8>),
}

impl Cell {
    /// The memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        let outside = match self {
            Self::Text(text) | Self::Json(text) => text.len(),
            Self::Bytes(bytes) | Self::Arrow(bytes) => bytes.len(),
            _ => 0,
        };
        size_of::<Self>() + outside
    }
}

/// The type of a kept column's cells, nulls apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CellType {
    /// [`Cell::Bool`].
    Bool,
    /// [`Cell::Integer`].
    Integer,
    /// [`Cell::Integer`] of no negative numbers, and [`Cell::Unsigned`].
    Unsigned,
    /// [`Cell::Float`], and whole numbers that a float holds exactly.
    Float,
    /// Text, which any other cell becomes where it is written.
    Text,
    /// [`Cell::Bytes`].
    Bytes,
    /// A type of Parquet or Arrow. Truth values, numbers, text and bytes have the cells of that
    /// name, and other values are [`Cell::Arrow`].
    Arrow(DataType),
}

/// The types of the columns of a file, or of several; `None` where only the cells tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnTypes {
    /// The ids' type.
    pub id: Option<CellType>,
    /// That of each kept column.
    pub kept: Vec<Option<CellType>>,
}

impl ColumnTypes {
    /// Types that only the cells of `kept` columns tell.
    pub(crate) fn unknown(kept: usize) -> Self {
        Self {
            id: None,
            kept: vec![None; kept],
        }
    }

    /// The types over two files that have the same number of columns.
    pub(crate) fn common(self, other: Self) -> Self {
        let same = |(a, b): (Option<CellType>, Option<CellType>)| if a == b { a } else { None };
        Self {
            id: same((self.id, other.id)),
            kept: self.kept.into_iter().zip(other.kept).map(same).collect(),
        }
    }
}
