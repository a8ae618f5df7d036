//! Rows that were found, and pairs of rows.

use std::collections::BTreeSet;

use console::Style;
use lanewise_search::{Error, Hit, Index, Pair, Record};
use serde::Serialize;
use serde_json::{Map, Value};

use super::failure::{self, Failure};
use super::results::{Field, Item, Results};
use super::{bulk, interrupt};

/// The column of ids, which has a place of its own.
const ID: &str = "id";

/// What ends a command if a search fails.
pub fn failed(error: Error) -> Failure {
    let code = match error {
        Error::Read(error) => return bulk::failure(error, interrupt::command),
        Error::Cancelled => return interrupt::ended(),
        Error::Argument { .. } => failure::USAGE,
        _ => failure::PARTIAL,
    };
    Failure::Stopped {
        code,
        message: error.to_string(),
    }
}

/// What is shown of a row.
#[derive(Serialize)]
struct Row {
    /// Its number, counted through all files.
    row: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    columns: Map<String, Value>,
}

impl Row {
    fn of(index: &Index, row: u64) -> Result<Self, Failure> {
        let Record { id, text, kept, .. } = index.record(row).map_err(failed)?;
        let is_text = |value: &Value| value.as_str().is_some() && value.as_str() == text.as_deref();
        let columns = kept.into_iter().filter(|(_, value)| !is_text(value));
        Ok(Self {
            row,
            id,
            columns: columns.collect(),
            text,
        })
    }

    /// Its id, or its number where there are no ids.
    fn name(&self) -> String {
        match &self.id {
            Some(id) => plain(id),
            None => format!("row {}", self.row),
        }
    }

    fn text(&self) -> String {
        self.text.clone().unwrap_or_default()
    }

    /// Row, id and text.
    fn cells(&self) -> [String; 3] {
        let id = self.id.as_ref().map(plain);
        [self.row.to_string(), id.unwrap_or_default(), self.text()]
    }
}

/// One row found.
#[derive(Serialize)]
struct Found<'a> {
    /// The number of the query, from 0.
    query: usize,
    /// From 1.
    rank: usize,
    score: f32,
    #[serde(flatten)]
    row: Row,
    /// The columns that all files have together.
    #[serde(skip)]
    columns: &'a BTreeSet<String>,
}

impl Item for Found<'_> {
    fn cells(&self) -> Vec<String> {
        let own = [
            self.query.to_string(),
            self.rank.to_string(),
            self.score.to_string(),
        ];
        let columns = self.columns.iter().map(|name| {
            let value = self.row.columns.get(name);
            value.map(plain).unwrap_or_default()
        });
        own.into_iter()
            .chain(self.row.cells())
            .chain(columns)
            .collect()
    }

    fn fields(&self) -> Vec<Field> {
        let mut fields = vec![
            Field::styled(self.rank.to_string(), Style::new().dim()).at_least(2),
            Field::styled(format!("{:.4}", self.score), Style::new().green()),
            Field::styled(self.row.name(), Style::new().bold()),
        ];
        let columns = self.row.columns.iter();
        fields.extend(columns.map(|(name, value)| {
            let column = format!("{name}={}", plain(value));
            Field::styled(column, Style::new().cyan())
        }));
        fields.push(Field::plain(self.row.text()));
        fields
    }
}

/// Writes rows that were found.
pub struct Hits<'a> {
    index: &'a Index,
    /// The columns of all files, but for ids and texts.
    columns: BTreeSet<String>,
    results: Results,
    groups: usize,
}

impl<'a> Hits<'a> {
    /// Rows of an index are written to `results`.
    pub fn new(index: &'a Index, results: Results) -> Self {
        let files = index.files().flat_map(|file| {
            let text = file.text_column.unwrap_or(ID);
            let columns = file.columns.iter();
            columns.filter(move |name| *name != ID && *name != text)
        });
        Self {
            index,
            columns: files.cloned().collect(),
            results,
            groups: 0,
        }
    }

    /// Writes what was found for a query, whose text is the title where there is more than one.
    pub fn query(
        &mut self,
        query: usize,
        title: Option<&str>,
        hits: &[Hit],
    ) -> Result<(), Failure> {
        if title.is_some() || self.groups > 0 {
            self.results.group(title)?;
        }
        self.groups += 1;
        let header = ["query", "rank", "score", "row", "id", "text"];
        let columns = self.columns.iter().map(String::as_str);
        let header: Vec<&str> = header.into_iter().chain(columns).collect();
        for (rank, hit) in (1..).zip(hits) {
            let found = Found {
                query,
                rank,
                score: hit.score,
                row: Row::of(self.index, hit.row)?,
                columns: &self.columns,
            };
            self.results.item(&found, &header)?;
        }
        self.results.flush()
    }

    /// The end of all results.
    pub fn finish(self) -> Result<(), Failure> {
        self.results.finish()
    }
}

/// Two rows that are alike.
#[derive(Serialize)]
struct Alike {
    score: f32,
    first: Row,
    second: Row,
}

impl Item for Alike {
    fn cells(&self) -> Vec<String> {
        let score = [self.score.to_string()].into_iter();
        let rows = self.first.cells().into_iter().chain(self.second.cells());
        score.chain(rows).collect()
    }

    fn fields(&self) -> Vec<Field> {
        let name = |row: &Row| Field::styled(row.name(), Style::new().bold());
        vec![
            Field::styled(format!("{:.4}", self.score), Style::new().green()),
            name(&self.first),
            name(&self.second),
            Field::plain(self.first.text()),
            Field::plain(self.second.text()),
        ]
    }
}

/// Writes a pair of rows.
pub fn pair(index: &Index, pair: &Pair, results: &mut Results) -> Result<(), Failure> {
    let alike = Alike {
        score: pair.score,
        first: Row::of(index, pair.first)?,
        second: Row::of(index, pair.second)?,
    };
    let header = [
        "score",
        "first_row",
        "first_id",
        "first_text",
        "second_row",
        "second_id",
        "second_text",
    ];
    results.item(&alike, &header)
}

/// A value as a line of text has it: a string without quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
