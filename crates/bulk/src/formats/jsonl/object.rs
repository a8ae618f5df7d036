//! What a row needs of a JSON object: the values at paths, as text, id and cells.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::scan::{Member, Names, Scanner};
use crate::error::list;
use crate::presence::{Presence, wanted};
use crate::read_options::ReadOptions;
use crate::row::{Cell, Row};

/// Names that messages show.
const SHOWN: usize = 20;

/// An object and those of its members that may be wanted.
pub struct Object<'a, 's> {
    json: &'a str,
    members: &'s [Option<Member>],
    names: &'s Names,
}

/// The names of members that lie on the paths of the columns asked for.
pub fn names(options: &ReadOptions) -> Names {
    let mut names = Names::default();
    for (_, path) in wanted(options) {
        add_names(path, &mut names);
    }
    names
}

/// A name may contain dots, so each beginning of a path up to a dot is one.
fn add_names(path: &str, names: &mut Names) {
    let dots = path.match_indices('.').map(|(dot, _)| &path[..dot]);
    for name in dots.chain([path]) {
        if !names.0.iter().any(|known| known == name) {
            names.0.push(name.into());
        }
    }
}

impl<'a, 's> Object<'a, 's> {
    /// The object whose JSON was scanned for `names`.
    pub fn new(json: &'a str, scanner: &'s Scanner, names: &'s Names) -> Self {
        Self {
            json,
            members: &scanner.members,
            names,
        }
    }

    /// Reads id and kept fields into the row; returns the text, or what is wrong with any of them.
    pub fn read(&self, options: &ReadOptions, row: &mut Row) -> Result<String, String> {
        for path in &options.keep {
            let value = self.find(path)?;
            row.kept
                .push(value.map_or(Ok(Cell::Null), |value| cell(value, path))?);
        }
        if let Some(path) = &options.id_field {
            let value = self.find(path)?.ok_or_else(|| self.missing(path))?;
            row.id = Some(match kind(value) {
                Kind::String | Kind::Number | Kind::Bool => cell(value, path)?,
                other => return Err(format!("the field \"{path}\" is {other}, no id")),
            });
        }
        let path = &options.field;
        let value = self.find(path)?.ok_or_else(|| self.missing(path))?;
        match kind(value) {
            Kind::String => string(value, path),
            other => Err(format!("the field \"{path}\" is {other}, not a string")),
        }
    }

    /// Notes which of the columns that no row had so far are here.
    pub fn note(&self, options: &ReadOptions, presence: &mut Presence) {
        let paths: Vec<&str> = wanted(options).map(|(_, path)| path).collect();
        // A field that occurs twice is there.
        let is_here = |&column: &usize| !matches!(self.find(paths[column]), Ok(None));
        let here: Vec<usize> = presence.missing().filter(is_here).collect();
        presence.add(here, || field_names(self.json, true));
    }

    /// The JSON at a path. Of names with dots in them, the longest one that exists counts.
    fn find(&self, path: &str) -> Result<Option<&'a str>, String> {
        if let Some(value) = self.member(path)? {
            return Ok(Some(value));
        }
        for (dot, _) in path.rmatch_indices('.') {
            let outer = self.member(&path[..dot])?;
            let Some(outer) = outer.filter(|outer| outer.starts_with('{')) else {
                continue;
            };
            let rest = &path[dot + 1..];
            let mut names = Names::default();
            add_names(rest, &mut names);
            let mut scanner = Scanner::default();
            scanner.restart(&names);
            scanner.run(outer.as_bytes(), true, &names);
            let inner = Object::new(outer, &scanner, &names).find(rest)?;
            if let Some(value) = inner {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    fn member(&self, name: &str) -> Result<Option<&'a str>, String> {
        let place = self.names.0.iter().position(|known| known == name);
        match place.and_then(|place| self.members.get(place)?.as_ref()) {
            Some(member) if member.again => {
                Err(format!("the field \"{name}\" occurs more than once"))
            }
            Some(member) => Ok(self.json.get(member.value.clone())),
            None => Ok(None),
        }
    }

    fn missing(&self, path: &str) -> String {
        let names = list(&field_names(self.json, false));
        format!("the field \"{path}\" is missing; the fields are: {names}")
    }
}

/// The names of an object's first fields; with those of the objects in it, as paths, if `nested`.
fn field_names(json: &str, nested: bool) -> Vec<String> {
    let mut names = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(json);
    // The object has been scanned: it is valid.
    let _ = FieldNames {
        names: &mut names,
        nested,
    }
    .deserialize(&mut deserializer);
    names
}

struct FieldNames<'n> {
    names: &'n mut Vec<String>,
    nested: bool,
}

impl<'de> DeserializeSeed<'de> for FieldNames<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FieldNames<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while self.names.len() < SHOWN {
            let Some(name) = map.next_key::<String>()? else {
                break;
            };
            if !self.nested {
                map.next_value::<IgnoredAny>()?;
                self.names.push(name);
                continue;
            }
            let value = map.next_value::<&RawValue>()?.get();
            // No path leads into an array, but the names say where the texts are.
            let (path, object) = match value.strip_prefix('[').map(str::trim_start) {
                Some(elements) => (format!("{name}[]"), elements),
                None => (name.clone(), value),
            };
            let inner = match object.starts_with('{') {
                true => field_names(object, false),
                false => Vec::new(),
            };
            self.names.push(name);
            let inner = inner.iter().map(|inner| format!("{path}.{inner}"));
            self.names.extend(inner);
        }
        Ok(())
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

/// A number that no cell can hold stays what it is, as text.
fn number(json: &str) -> Cell {
    let exact = || Cell::Text(json.to_owned());
    if json.contains(['.', 'e', 'E']) {
        let number = json.parse::<f64>().ok().filter(|number| number.is_finite());
        number.map_or_else(exact, Cell::Float)
    } else {
        let integer = json.parse().map(Cell::Integer);
        let integer = integer.or_else(|_| json.parse().map(Cell::Unsigned));
        integer.unwrap_or_else(|_| exact())
    }
}
