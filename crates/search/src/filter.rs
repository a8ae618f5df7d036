//! Which rows may be found.

use arrow_array::{Array, ArrayRef};
use lanewise_bulk::outputs::plain_text;

/// Which rows a search may find.
#[derive(Debug, Clone, Copy, Default)]
pub enum Filter<'a> {
    /// All of them.
    #[default]
    All,
    /// Those in a set.
    Rows(&'a RowSet),
    /// Those for which every condition holds.
    Where(&'a [Where]),
}

/// A condition: a column's value, as text, is this text. A null is no text.
///
/// Values are compared as messages and text formats show them: a string as it is, a number in digits.
/// Only rows that are among the best so far are looked at, so that a condition costs little.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Where {
    /// The column's name.
    pub column: String,
    /// The text.
    pub value: String,
}

/// A set of rows, of one bit each.
#[derive(Debug, Clone, Default)]
pub struct RowSet(Vec<u64>);

impl RowSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row. It takes a bit for every row below it.
    pub fn insert(&mut self, row: u64) {
        let word = (row / 64) as usize;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (row % 64);
    }

    /// Whether it has the row.
    pub fn contains(&self, row: u64) -> bool {
        let word = usize::try_from(row / 64).ok();
        let word = word.and_then(|word| self.0.get(word));
        word.is_some_and(|word| word >> (row % 64) & 1 == 1)
    }
}

impl FromIterator<u64> for RowSet {
    fn from_iter<T: IntoIterator<Item = u64>>(rows: T) -> Self {
        let mut set = Self::new();
        rows.into_iter().for_each(|row| set.insert(row));
        set
    }
}

/// Whether the value at a place of a column is this text.
pub fn is_text(array: &ArrayRef, at: usize, text: &str) -> bool {
    !array.is_null(at) && plain_text(array, at) == text
}
