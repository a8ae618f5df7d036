//! JSON objects, one per line. Blank lines are skipped.
//!
//! Only the fields asked for are parsed, each from its slice of the line. A general JSON value, or
//! Arrow's JSON reader with its inferred schema, would take a multiple of the line's bytes in
//! memory and fail the whole file for one invalid line.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::{Result, list};
use crate::formats::RowReader;
use crate::read_options::ReadOptions;
use crate::row::{Cell, ColumnTypes, Row};
use crate::source::{Source, Stream};

/// A file of JSON objects.
pub struct JsonlReader {
    stream: Stream,
    options: Arc<ReadOptions>,
    number: u64,
}

impl JsonlReader {
    /// Opens the file.
    pub fn open(source: &Source, options: Arc<ReadOptions>) -> Result<Self> {
        Ok(Self {
            stream: source.stream()?.into_text()?,
            options,
            number: 0,
        })
    }

    /// The next line that is not blank.
    fn next_line(&mut self) -> Result<Option<Result<String, String>>> {
        loop {
            let line = lanewise_lines::read_line(&mut self.stream, self.options.max_row_bytes)
                .map_err(|error| self.stream.error(error))?;
            self.number += 1;
            match line {
                Some(Ok(line)) if line.trim_ascii().is_empty() => continue,
                other => return Ok(other),
            }
        }
    }
}

impl RowReader for JsonlReader {
    fn next_row(&mut self) -> Result<Option<Row>> {
        let Some(line) = self.next_line()? else {
            return Ok(None);
        };
        let mut row = Row::at_line(self.number);
        row.outcome = match line {
            Ok(line) => read_object(&line, &self.options, &mut row),
            Err(problem) => Err(format!("the line {problem}")),
        };
        Ok(Some(row))
    }

    fn skip_rows(&mut self, count: u64) -> Result<u64> {
        for skipped in 0..count {
            if self.next_line()?.is_none() {
                return Ok(skipped);
            }
        }
        Ok(count)
    }

    fn types(&self) -> ColumnTypes {
        ColumnTypes::unknown(self.options.keep.len())
    }

    fn bytes_read(&self) -> u64 {
        self.stream.bytes_read()
    }
}

/// Reads id and kept fields into the row; returns the text, or what is wrong with any of them.
fn read_object(line: &str, options: &ReadOptions, row: &mut Row) -> Result<String, String> {
    for path in &options.keep {
        let cell = find(line, path)?.map_or(Ok(Cell::Null), |value| cell(value, path))?;
        row.kept.push(cell);
    }
    if let Some(path) = &options.id_field {
        let value = find(line, path)?.ok_or_else(|| missing(line, path))?;
        row.id = Some(match kind(value) {
            Kind::String | Kind::Number | Kind::Bool => cell(value, path)?,
            other => return Err(format!("the field \"{path}\" is {other}, no id")),
        });
    }
    let path = &options.field;
    let value = find(line, path)?.ok_or_else(|| missing(line, path))?;
    match kind(value) {
        Kind::String => string(value, path),
        other => Err(format!("the field \"{path}\" is {other}, not a string")),
    }
}

fn missing(line: &str, path: &str) -> String {
    const SHOWN: usize = 20;
    let mut names = Vec::new();
    let visited = visit(line, &mut |name: &str| {
        if names.len() < SHOWN {
            names.push(name.to_owned());
        }
        false
    });
    match visited {
        Err(problem) => problem,
        Ok(_) => format!(
            "the field \"{path}\" is missing; the fields are: {}",
            list(&names)
        ),
    }
}

/// The JSON at a path. A name may contain dots: the longest one that exists counts.
fn find<'a>(json: &'a str, path: &str) -> Result<Option<&'a str>, String> {
    if let Some(value) = visit(json, &mut |name| name == path)? {
        return Ok(Some(value));
    }
    for (dot, _) in path.rmatch_indices('.') {
        let outer = visit(json, &mut |name| name == &path[..dot])?;
        if let Some(outer) = outer.filter(|outer| outer.starts_with('{'))
            && let Some(value) = find(outer, &path[dot + 1..])?
        {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// The JSON of the last member whose name is `wanted`.
fn visit<'a>(
    json: &'a str,
    wanted: &mut dyn FnMut(&str) -> bool,
) -> Result<Option<&'a str>, String> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let member = Member(wanted).deserialize(&mut deserializer);
    let end = member.and_then(|member| deserializer.end().map(|()| member));
    end.map_err(|error| {
        let message = error.to_string();
        let reason = message.split(" at line ").next().unwrap_or_default();
        let column = error.column();
        format!("the line is not a JSON object (column {column}: {reason})")
    })
}

/// Takes one member out of an object.
struct Member<'w>(&'w mut dyn FnMut(&str) -> bool);

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Option<&'de str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_wanted) = map.next_key_seed(Name(self.0))? {
            if is_wanted {
                found = Some(map.next_value::<&RawValue>()?.get());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Whether a member's name is the wanted one.
struct Name<'w>(&'w mut dyn FnMut(&str) -> bool);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok((self.0)(name))
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Kind::Null => "null",
            Kind::Bool => "true or false",
            Kind::Number => "a number",
            Kind::String => "a string",
            Kind::Array => "an array",
            Kind::Object => "an object",
        })
    }
}

/// The kind of a JSON value, known from its first byte.
fn kind(json: &str) -> Kind {
    match json.as_bytes().first() {
        Some(b'"') => Kind::String,
        Some(b'[') => Kind::Array,
        Some(b'{') => Kind::Object,
        Some(b't' | b'f') => Kind::Bool,
        Some(b'n') => Kind::Null,
        _ => Kind::Number,
    }
}

fn string(json: &str, path: &str) -> Result<String, String> {
    serde_json::from_str(json).map_err(|error| {
        let message = error.to_string();
        let reason = message.split(" at line ").next().unwrap_or_default();
        format!("the field \"{path}\" is no valid text ({reason})")
    })
}

fn cell(json: &str, path: &str) -> Result<Cell, String> {
    Ok(match kind(json) {
        Kind::Null => Cell::Null,
        Kind::Bool => Cell::Bool(json == "true"),
        Kind::String => Cell::Text(string(json, path)?),
        Kind::Number => number(json),
        Kind::Array | Kind::Object => Cell::Json(json.to_owned()),
    })
}

/// A number; as text if it is not finite, or is whole and too large for any integer.
fn number(json: &str) -> Cell {
    let integer = json.parse().map(Cell::Integer);
    if let Ok(cell) = integer.or_else(|_| json.parse().map(Cell::Unsigned)) {
        return cell;
    }
    match json.parse::<f64>() {
        Ok(number) if number.is_finite() && json.contains(['.', 'e', 'E']) => Cell::Float(number),
        _ => Cell::Text(json.to_owned()),
    }
}
