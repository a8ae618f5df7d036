//! What readers are asked for.

use crate::dialect::Dialect;
use crate::format::InputFormat;
use crate::read_budget::ReadBudget;

/// What to read from the files.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// The format of every file; `None` takes it from each file's name.
    pub format: Option<InputFormat>,
    /// How the fields of CSV and TSV files are told apart.
    pub dialect: Dialect,
    /// The column with the text, with dots between the names of nested ones. Lines have none.
    pub field: String,
    /// The column with the id.
    pub id_field: Option<String>,
    /// The columns to carry along.
    pub keep: Vec<String>,
    /// A longer row (text formats) or text (Parquet and Arrow) is rejected.
    pub max_row_bytes: usize,
    /// The memory for pieces of a file that must be in memory as a whole.
    pub budget: ReadBudget,
}
