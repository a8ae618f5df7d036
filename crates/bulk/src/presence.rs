//! Columns that no row of the input has.

use crate::error::{Error, Result, list};
use crate::message::{Part, Setting, message};
use crate::names;
use crate::read_options::ReadOptions;

/// Names remembered of the fields that there are.
const MOST_NAMES: usize = 200;

/// Which of the columns asked for were in a row, of those formats that do not state their columns
/// in advance.
#[derive(Debug, Clone, Default)]
pub struct Presence {
    /// For the column of texts, that of ids, and those carried along: whether a row had it.
    seen: Vec<bool>,
    /// How many are still missing.
    missing: usize,
    /// Whether a row could be looked at.
    any_row: bool,
    /// The names of fields in the rows that lacked one.
    names: Vec<String>,
}

impl Presence {
    /// For nothing read yet.
    pub fn new(options: &ReadOptions) -> Self {
        let columns = wanted(options).count();
        Self {
            seen: vec![false; columns],
            missing: columns,
            ..Self::default()
        }
    }

    /// Whether every column was in some row.
    pub fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Whether this and `other` together are complete.
    pub fn completes(&self, other: &Self) -> bool {
        let mut both = self.seen.iter().zip(&other.seen);
        both.all(|(&here, &there)| here || there)
    }

    /// The columns that were in no row so far, by number in [`wanted`].
    pub fn missing(&self) -> impl Iterator<Item = usize> + use<'_> {
        (0..self.seen.len()).filter(|&column| !self.seen[column])
    }

    /// Adds a row that has these columns, and was asked for the names of its fields if it lacks
    /// one.
    pub fn add(
        &mut self,
        has: impl IntoIterator<Item = usize>,
        names: impl FnOnce() -> Vec<String>,
    ) {
        self.any_row = true;
        for column in has {
            self.missing -= usize::from(!std::mem::replace(&mut self.seen[column], true));
        }
        if !self.is_complete() && self.names.len() < MOST_NAMES {
            for name in names() {
                if !self.names.contains(&name) {
                    self.names.push(name);
                }
            }
            self.names.truncate(MOST_NAMES);
        }
    }

    /// Adds the rows of another file.
    pub fn merge(&mut self, other: &Self) {
        let has = (0..other.seen.len()).filter(|&column| other.seen[column]);
        if other.any_row {
            self.add(has, || other.names.clone());
        }
    }

    /// All columns are in a file that states its own.
    pub fn complete(&mut self) {
        self.seen.fill(true);
        self.missing = 0;
    }

    /// An error if the input, which messages call `name`, had rows and a column was in none.
    pub fn check(&self, name: &str, options: &ReadOptions) -> Result<()> {
        let Some(column) = self.missing().next().filter(|_| self.any_row) else {
            return Ok(());
        };
        let Some((setting, path)) = wanted(options).nth(column) else {
            return Ok(());
        };
        let mut end = format!("; the fields are: {}", list(&self.names));
        if let Some(hint) = names::hint(path, &self.names) {
            end += &format!("; {hint}");
        }
        Err(Error::argument(message![
            format!("{name}: no row has the field \"{path}\" ("),
            Part::Setting(setting),
            format!("){end}"),
        ]))
    }
}

/// The columns that a row is asked for, with the settings that ask.
pub fn wanted(options: &ReadOptions) -> impl Iterator<Item = (Setting, &str)> {
    let text = [(Setting::Field, options.field.as_str())].into_iter();
    let id = options
        .id_field
        .iter()
        .map(|path| (Setting::IdField, path.as_str()));
    let kept = options
        .keep
        .iter()
        .map(|path| (Setting::Keep, path.as_str()));
    text.chain(id).chain(kept)
}
