//! `config.json` and its like: an object whose fields are checked as they are read.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::error::{Error, FETCH_AGAIN, Result, input};
use crate::files::{self, MAX_CONFIG};

/// The most layers, columns, rows and the like of any model.
pub const ANY_SIZE: RangeInclusive<u32> = 1..=1 << 24;
/// The most layers of any model.
pub const LAYERS: RangeInclusive<u32> = 1..=1024;

/// An object of a JSON file. A field that is `null` counts as absent.
#[derive(Debug)]
pub struct Config {
    path: PathBuf,
    /// What stands before a field's name in messages.
    prefix: String,
    fields: Map<String, Value>,
}

impl Config {
    pub fn read(path: PathBuf) -> Result<Self> {
        let bytes = files::bytes(&path, MAX_CONFIG)?;
        Ok(Self {
            fields: files::parse(&path, &bytes)?,
            path,
            prefix: String::new(),
        })
    }

    /// A field.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    /// A field that is an object of its own.
    pub fn section(&self, field: &str) -> Result<Option<Self>> {
        self.optional(field, "an object", |value| {
            value.as_object().map(|fields| Self {
                path: self.path.clone(),
                prefix: format!("{}{field}.", self.prefix),
                fields: fields.clone(),
            })
        })
    }

    pub fn size(&self, field: &str, limits: RangeInclusive<u32>) -> Result<u32> {
        let value = self.optional_size(field, limits)?;
        self.required(field, value)
    }

    pub fn optional_size(&self, field: &str, limits: RangeInclusive<u32>) -> Result<Option<u32>> {
        let expected = format!("a number from {} to {}", limits.start(), limits.end());
        self.optional(field, &expected, |value| {
            let value = u32::try_from(value.as_u64()?).ok()?;
            limits.contains(&value).then_some(value)
        })
    }

    /// A finite number above 0.
    pub fn positive(&self, field: &str) -> Result<f32> {
        let value = self.optional_positive(field)?;
        self.required(field, value)
    }

    pub fn optional_positive(&self, field: &str) -> Result<Option<f32>> {
        self.optional(field, "a number above 0", |value| {
            let value = value.as_f64()? as f32;
            (value.is_finite() && value > 0.0).then_some(value)
        })
    }

    pub fn flag(&self, field: &str) -> Result<Option<bool>> {
        self.optional(field, "true or false", Value::as_bool)
    }

    pub fn text(&self, field: &str) -> Result<Option<&str>> {
        self.optional(field, "a string", |value| value.as_str())
    }

    /// Checks that a field, if it is there, has one of the values that the engine computes with.
    pub fn expect(&self, field: &str, expected: &[Value]) -> Result<()> {
        let is_expected = |value: &Value| {
            let same_number = |other: &Value| value.is_number() && value.as_f64() == other.as_f64();
            expected.contains(value) || expected.iter().any(same_number)
        };
        match self.get(field) {
            Some(value) if !is_expected(value) => {
                let expected: Vec<String> = expected.iter().map(Value::to_string).collect();
                let expected = match expected.as_slice() {
                    [] => "but absent".into(),
                    _ => format!("but {}", expected.join(" or ")),
                };
                let problem = format!("is {}, and nothing {expected} is supported", short(value));
                Err(self.error(field, problem, "use a model of the usual form"))
            }
            _ => Ok(()),
        }
    }

    /// Checks that the fields are absent.
    pub fn expect_absent(&self, fields: &[&str]) -> Result<()> {
        fields.iter().try_for_each(|field| self.expect(field, &[]))
    }

    /// The base of RoPE: transformers 5 has it in a section, with one for each `kind` of layer where
    /// there are several; transformers 4 in a field.
    pub fn rope_base(&self, kind: Option<&str>, field: &str) -> Result<f32> {
        let sections = self.section("rope_parameters")?;
        let section = match (sections, kind) {
            (Some(sections), Some(kind)) => sections.section(kind)?,
            (sections, _) => sections,
        };
        match section {
            Some(section) => {
                section.expect("rope_type", &[json!("default")])?;
                section.positive("rope_theta")
            }
            None => self.positive(field),
        }
    }

    pub fn error(&self, field: &str, problem: impl Into<String>, remedy: &str) -> Error {
        input(
            &self.path,
            format!("{}{field}", self.prefix),
            problem,
            remedy,
        )
    }

    /// A field that must be there.
    pub fn required<T>(&self, field: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| {
            let remedy = "fetch the file again from the model's own repository";
            self.error(field, "is missing", remedy)
        })
    }

    /// A field, converted; an error if it is there and cannot be.
    pub fn optional<'a, T>(
        &'a self,
        field: &str,
        expected: &str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        convert(value).map(Some).ok_or_else(|| {
            let problem = format!("is {}, not {expected}", short(value));
            self.error(field, problem, FETCH_AGAIN)
        })
    }
}

/// A value for messages, which no file can make long.
pub fn short(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("an array of {} values", values.len()),
        Value::Object(fields) => format!("an object of {} fields", fields.len()),
        Value::String(text) => {
            let beginning: String = text.chars().take(60).collect();
            let dots = if beginning.len() < text.len() {
                "…"
            } else {
                ""
            };
            format!("{beginning:?}{dots}")
        }
        other => other.to_string(),
    }
}
