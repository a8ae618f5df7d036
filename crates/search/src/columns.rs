//! What an index has of a row besides its vector.

use arrow_array::ArrayRef;
use lanewise_bulk::outputs::{MappedArrow, OWN_COLUMNS, json, plain_text};
use serde_json::Value;

use crate::chunks::{Chunk, chunk_of_row};
use crate::error::{Error, Result};
use crate::filter::{Where, is_text};
use crate::index::Index;

/// The name of the column with ids.
const ID: &str = "id";

/// A row's id, text and columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The number of its file, in the order in which they were opened.
    pub file: usize,
    /// Its number in that file.
    pub row_in_file: u64,
    /// Its id, if there are ids.
    pub id: Option<Value>,
    /// Its text, if the file carries it along.
    pub text: Option<String>,
    /// The columns that the file carries along, the text among them, with their names.
    pub kept: Vec<(String, Value)>,
}

/// Where the columns of a file are.
pub struct Columns {
    /// The column with the texts, if the file has it.
    text: Option<String>,
    /// The ids' column, if there is one, and those carried along.
    names: Vec<String>,
    source: Source,
}

enum Source {
    /// The number of each column in the schema.
    Arrow(MappedArrow, Vec<usize>),
    Memory {
        ids: Vec<Option<Box<str>>>,
        texts: Vec<Option<Box<str>>>,
    },
}

impl Columns {
    /// Those of an Arrow IPC file whose texts were in the column `field`.
    pub fn arrow(arrow: MappedArrow, field: String) -> Self {
        let fields = arrow.schema().fields().iter().enumerate();
        let given = fields.filter(|(_, field)| {
            let name = field.name().as_str();
            name == ID || !OWN_COLUMNS.contains(&name)
        });
        let (numbers, names): (Vec<_>, Vec<_>) = given
            .map(|(number, field)| (number, field.name().clone()))
            .unzip();
        Self {
            text: names.contains(&field).then_some(field),
            names,
            source: Source::Arrow(arrow, numbers),
        }
    }

    /// Ids and texts in memory.
    pub fn memory(field: String, ids: Vec<Option<Box<str>>>, texts: Vec<Option<Box<str>>>) -> Self {
        let text = texts.iter().any(Option::is_some).then_some(field);
        let id = ids.iter().any(Option::is_some).then(|| ID.to_owned());
        Self {
            names: id.into_iter().chain(text.clone()).collect(),
            text,
            source: Source::Memory { ids, texts },
        }
    }

    /// Their names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The name of the one with the texts.
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// The columns of conditions in a batch.
    pub fn of_conditions(&self, conditions: &[Where], batch: u32) -> Result<Vec<ArrayRef>> {
        let Source::Arrow(arrow, numbers) = &self.source else {
            return Ok(Vec::new());
        };
        let number = |condition: &Where| {
            let at = self.names.iter().position(|name| *name == condition.column);
            at.map(|at| numbers[at])
        };
        let mut projection: Vec<usize> = conditions.iter().filter_map(number).collect();
        projection.sort_unstable();
        projection.dedup();
        let read = arrow.batch(batch as usize, &projection)?;
        let column = |condition: &Where| read.column_by_name(&condition.column).cloned();
        let columns: Option<Vec<_>> = conditions.iter().map(column).collect();
        columns.ok_or_else(|| no_column(&conditions[0].column, &self.names))
    }

    /// Whether the conditions hold for the row of this number in its batch; `arrays` are those of
    /// [`Self::of_conditions`].
    pub fn hold(&self, conditions: &[Where], arrays: &[ArrayRef], at: usize) -> bool {
        match &self.source {
            Source::Arrow(..) => {
                let mut pairs = conditions.iter().zip(arrays);
                pairs.all(|(condition, array)| is_text(array, at, &condition.value))
            }
            Source::Memory { ids, texts } => conditions.iter().all(|condition| {
                let column = match condition.column == ID {
                    true => ids,
                    false => texts,
                };
                column[at].as_deref() == Some(&condition.value)
            }),
        }
    }

    fn record(&self, chunk: &Chunk, at: usize, row_in_file: u64) -> Result<Record> {
        let mut record = Record {
            file: chunk.file as usize,
            row_in_file,
            id: None,
            text: None,
            kept: Vec::new(),
        };
        match &self.source {
            Source::Arrow(arrow, numbers) => {
                let read = arrow.batch(chunk.batch as usize, numbers)?;
                for (name, array) in self.names.iter().zip(read.columns()) {
                    if self.text.as_ref() == Some(name) {
                        record.text = Some(plain_text(array, at));
                    }
                    let value = json(array, at);
                    match name == ID {
                        true => record.id = Some(value),
                        false => record.kept.push((name.clone(), value)),
                    }
                }
            }
            Source::Memory { ids, texts } => {
                record.id = ids[at].as_deref().map(Value::from);
                record.text = texts[at].as_deref().map(str::to_owned);
                if let (Some(name), Some(text)) = (&self.text, &record.text) {
                    record.kept.push((name.clone(), text.as_str().into()));
                }
            }
        }
        Ok(record)
    }
}

impl Index {
    /// The id, text and columns of a row.
    ///
    /// # Errors
    /// If there is no such row, or its record batch is damaged.
    pub fn record(&self, row: u64) -> Result<Record> {
        let (chunk, at) = chunk_of_row(&self.chunks, row).ok_or_else(|| self.no_row(row))?;
        let file = &self.files[chunk.file as usize];
        file.columns.record(chunk, at, row - file.first_row)
    }

    /// Checks that all files have the columns of conditions.
    pub(crate) fn check_conditions(&self, conditions: &[Where]) -> Result<()> {
        for file in &self.files {
            for condition in conditions {
                let names = file.columns.names();
                if !names.contains(&condition.column) {
                    return Err(no_column(&condition.column, names));
                }
            }
        }
        Ok(())
    }
}

fn no_column(name: &str, names: &[String]) -> Error {
    let remedy = match names.is_empty() {
        true => "the file carries none along: embed its texts again and keep the column".into(),
        false => format!("its columns are: {}", names.join(", ")),
    };
    Error::argument("where", format!("there is no column \"{name}\""), remedy)
}
