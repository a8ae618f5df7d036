//! Objects, one a line, and their metadata in a file of its own.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use lanewise_lines::read_line;
use lanewise_vectors::Precision;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::npy::Array;
use super::{Metadata, Stored, StoredRow, StoredRows, Texts, no_texts, not_as_written};
use crate::error::{Error, Result};
use crate::format::InputFormat;
use crate::output::{TEXT_DIGEST, metadata_path, vector_column};
use crate::row::{Embedded, Reading};
use crate::source::{Source, Stream};
use crate::space::Space;

/// A longer line is not read: texts of inputs are shorter, and so are vectors.
const MAX_LINE_BYTES: usize = 256 << 20;
/// Metadata are far shorter.
const MAX_METADATA_BYTES: u64 = 1 << 24;

/// Opens the output at `path`, whose bytes `stream` yields.
pub fn open(path: &Path, stream: Stream, texts: Texts<'_>) -> Result<Stored> {
    let metadata = metadata(&metadata_path(path))?;
    let metadata = Metadata::of(stream.name(), &metadata, texts)?;
    lines(path, stream, metadata, None)
}

/// The rows of the objects of the file at `path`; their vectors are those of `array`, if there is
/// one.
pub(super) fn lines(
    path: &Path,
    stream: Stream,
    metadata: Metadata,
    array: Option<Array>,
) -> Result<Stored> {
    Ok(Stored {
        space: metadata.space.clone(),
        field: metadata.field,
        record: metadata.record,
        carried: Source::find(path, Some(InputFormat::Jsonl))?,
        rows: Box::new(Lines {
            stream,
            line: 0,
            space: metadata.space,
            text: metadata.text,
            needs_text: metadata.needs_text,
            array,
        }),
    })
}

/// The metadata in the file beside an output.
pub(super) fn metadata(path: &Path) -> Result<BTreeMap<String, String>> {
    let cannot = |problem: String| {
        let remedy =
            "an output of embed has this file beside it: put it back, or make the output again";
        Error::file(path, problem, remedy)
    };
    let read = || -> io::Result<_> {
        let file = BufReader::new(File::open(path)?.take(MAX_METADATA_BYTES));
        Ok(serde_json::from_reader(file)?)
    };
    read().map_err(|error| cannot(format!("cannot read: {error}")))
}

struct Lines {
    stream: Stream,
    line: u64,
    space: Space,
    text: Option<String>,
    needs_text: bool,
    array: Option<Array>,
}

/// The fields that are looked at, as their JSON.
type Fields<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

impl StoredRows for Lines {
    fn next_row(&mut self) -> Result<Option<StoredRow>> {
        let line = read_line(&mut self.stream, MAX_LINE_BYTES);
        let Some(line) = line.map_err(|error| self.stream.error(error))? else {
            return match &mut self.array {
                Some(array) => array.end().map(|()| None),
                None => Ok(None),
            };
        };
        self.line += 1;
        let row = line.and_then(|line| {
            let fields = serde_json::from_str::<Fields<'_>>(&line);
            let fields = fields.map_err(|_| "is no JSON object".to_owned())?;
            self.row(&fields)
        });
        let name = self.stream.name();
        let row = match (row, &mut self.array) {
            (Ok(mut row), Some(array)) => {
                row.embedded.vector = array.next_vector()?;
                Ok(row)
            }
            (row, _) => row,
        };
        match (row, &self.text) {
            (Ok(StoredRow { text: None, .. }), Some(column)) if self.needs_text => {
                Err(no_texts(name, column))
            }
            (Ok(row), _) => Ok(Some(row)),
            (Err(problem), _) => {
                let problem = format!("line {} {problem}", self.line);
                Err(not_as_written(name, problem))
            }
        }
    }
}

impl Lines {
    /// The row of an object.
    fn row(&self, fields: &Fields<'_>) -> Result<StoredRow, String> {
        let (precisions, dims) = (self.space.precision, self.space.dims);
        let scale = match precisions.has_scale() {
            true => finite(field(fields, "scale")?)?,
            false => 1.0,
        };
        let digest: Cow<'_, str> = parse(fields, TEXT_DIGEST)?;
        let digest = digest.parse();
        let mut stored = Vec::new();
        let own = precisions.iter().enumerate();
        for (number, precision) in own.filter(|_| self.array.is_none()) {
            let name = vector_column(number, precision);
            vector(&name, field(fields, &name)?, precision, dims, &mut stored)?;
        }
        Ok(StoredRow {
            index: parse(fields, "index")?,
            id: fields.get("id").map(|id| as_text(id)),
            text: self
                .text
                .as_ref()
                .and_then(|name| fields.get(name.as_str()))
                .map(|text| as_text(text)),
            embedded: Embedded {
                reading: Reading {
                    tokens: parse(fields, "tokens")?,
                    truncated: parse(fields, "truncated")?,
                    windows: parse(fields, "windows")?,
                    digest: digest.map_err(|_| format!("has no {TEXT_DIGEST}"))?,
                },
                scale,
                vector: stored,
            },
        })
    }
}

fn field<'a>(fields: &Fields<'a>, name: &str) -> Result<&'a str, String> {
    let value = fields.get(name).map(|value| value.get());
    value.ok_or_else(|| format!("has no field \"{name}\""))
}

fn parse<'a, T: Deserialize<'a>>(fields: &Fields<'a>, name: &str) -> Result<T, String> {
    let value = serde_json::from_str(field(fields, name)?);
    value.map_err(|_| format!("has another \"{name}\" than embed writes"))
}

/// A string's text, or the JSON of anything else.
fn as_text(value: &RawValue) -> String {
    serde_json::from_str(value.get()).unwrap_or_else(|_| value.get().to_owned())
}

/// Appends the stored numbers of a vector of `dims` values, from the list in the field `name`.
fn vector(
    name: &str,
    list: &str,
    precision: Precision,
    dims: usize,
    bytes: &mut Vec<u8>,
) -> Result<(), String> {
    let inner = list
        .strip_prefix('[')
        .and_then(|list| list.strip_suffix(']'));
    let end = bytes.len() + precision.bytes(dims);
    for number in inner.unwrap_or_default().split(',') {
        if bytes.len() > end || !precision.parse(number.trim_ascii(), bytes) {
            return Err(format!("has \"{number}\" in its \"{name}\""));
        }
    }
    match bytes.len() == end {
        true => Ok(()),
        false => Err(format!("has no \"{name}\" of {dims} values")),
    }
}

fn finite(number: &str) -> Result<f32, String> {
    let value = number.parse().ok().filter(|value: &f32| value.is_finite());
    value.ok_or_else(|| format!("has \"{number}\" where a number belongs"))
}
