//! The fields of a body: each is asked for by name, and what nobody asked for is refused.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::problem::{Kind, Problem};

/// More than any route knows.
const MOST_FIELDS: usize = 64;

/// The most characters of a request that a message repeats.
pub const LONGEST_QUOTE: usize = 200;

/// An object of JSON whose values are not read yet.
pub struct Fields<'a> {
    /// What stands before names in messages.
    within: String,
    given: Vec<(Cow<'a, str>, &'a RawValue)>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The fields of a body.
    ///
    /// # Errors
    /// If it is no object of JSON in UTF-8, or has a field twice.
    pub fn of_body(body: &'a [u8]) -> Result<Self, Problem> {
        let syntax = |problem: String| {
            let remedy = "send an object of JSON in UTF-8";
            Problem::new(Kind::Syntax, format!("body: {problem}; {remedy}"))
        };
        let text = str::from_utf8(body)
            .map_err(|error| syntax(format!("is no UTF-8 from byte {} on", error.valid_up_to())))?;
        let mut reader = serde_json::Deserializer::from_str(text);
        let given = reader.deserialize_map(Entries).and_then(|given| {
            reader.end()?;
            Ok(given)
        });
        given
            .map(|given| Self::new(String::new(), given))
            .map_err(|error| syntax(format!("cannot be read: {error}")))
    }

    fn new(within: String, given: Vec<(Cow<'a, str>, &'a RawValue)>) -> Self {
        Self {
            within,
            given,
            known: Vec::new(),
        }
    }

    /// The fields of a field.
    ///
    /// # Errors
    /// If it is no object.
    pub fn take_fields(&mut self, name: &'static str) -> Result<Option<Self>, Problem> {
        let Some(raw) = self.take_raw(name) else {
            return Ok(None);
        };
        let mut reader = serde_json::Deserializer::from_str(raw.get());
        let given = reader.deserialize_map(Entries);
        let given = given.map_err(|error| self.wrong(name, &error))?;
        Ok(Some(Self::new(format!("{}{name}.", self.within), given)))
    }

    /// A value; null counts as none.
    pub fn take_raw(&mut self, name: &'static str) -> Option<&'a RawValue> {
        self.known.push(name);
        let at = self.given.iter().position(|(given, _)| given == name)?;
        let (_, raw) = self.given.swap_remove(at);
        (raw.get() != "null").then_some(raw)
    }

    /// A value of a type.
    ///
    /// # Errors
    /// If it is of another type.
    pub fn take<T: Deserialize<'a>>(&mut self, name: &'static str) -> Result<Option<T>, Problem> {
        let Some(raw) = self.take_raw(name) else {
            return Ok(None);
        };
        let value = serde_json::from_str(raw.get());
        value.map(Some).map_err(|error| self.wrong(name, &error))
    }

    /// A value that cannot be left out.
    ///
    /// # Errors
    /// If it is of another type, or missing.
    pub fn require<T: Deserialize<'a>>(&mut self, name: &'static str) -> Result<T, Problem> {
        let value = self.take(name)?;
        value.ok_or_else(|| self.missing(name))
    }

    /// A value that `seed` reads and that cannot be left out.
    ///
    /// # Errors
    /// If it is of another type, or missing.
    pub fn require_seed<S>(&mut self, name: &'static str, seed: S) -> Result<S::Value, Problem>
    where
        S: DeserializeSeed<'a>,
    {
        let raw = self.take_raw(name).ok_or_else(|| self.missing(name))?;
        let mut reader = serde_json::Deserializer::from_str(raw.get());
        let value = seed.deserialize(&mut reader);
        value.map_err(|error| self.wrong(name, &error))
    }

    /// Refuses what nobody asked for.
    ///
    /// # Errors
    /// If there is any.
    pub fn finish(&self) -> Result<(), Problem> {
        let Some((name, _)) = self.given.first() else {
            return Ok(());
        };
        // A name can be as long as the body.
        let name: String = name.chars().take(LONGEST_QUOTE).collect();
        let known = self.known.iter();
        let known: Vec<_> = known
            .map(|known| format!("{}{known}", self.within))
            .collect();
        Err(Problem::field(
            format!("{}{name}", self.within),
            "this field is not known, and might change the result",
            &format!("leave it out; known are {}", known.join(", ")),
        ))
    }

    /// The name of a field in messages.
    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.within)
    }

    fn wrong(&self, name: &str, error: &serde_json::Error) -> Problem {
        let message = error.to_string();
        // The place is one in the value, and would be taken for one in the body.
        let end = message.rfind(" at line ").unwrap_or(message.len());
        // The message has the value, which can be as long as the body.
        let short: String = message[..end].chars().take(LONGEST_QUOTE).collect();
        let remedy = "give a value of the type in /openapi.json";
        Problem::field(self.name(name), &short, remedy)
    }

    fn missing(&self, name: &str) -> Problem {
        Problem::field(self.name(name), "is missing", "add it")
    }
}

/// Reads names and values; no name may come twice.
struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut given: Self::Value = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            if given.iter().any(|(other, _)| *other == name) {
                return Err(serde::de::Error::custom("a field comes twice"));
            }
            if given.len() == MOST_FIELDS {
                let problem = format!("there are more than {MOST_FIELDS} fields");
                return Err(serde::de::Error::custom(problem));
            }
            given.push((name, map.next_value()?));
        }
        Ok(given)
    }
}

/// A name, copied only if it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &[u8]) -> String {
        let fields = Fields::of_body(body).and_then(|mut fields| {
            fields.take::<usize>("count")?;
            if let Some(mut inner) = fields.take_fields("inner")? {
                inner.require::<bool>("on")?;
                inner.finish()?;
            }
            fields.finish()
        });
        fields.map_or_else(|problem| problem.message, |()| "fine".into())
    }

    #[test]
    fn bodies_are_read_or_refused_by_name() {
        for (body, expected) in [
            (&br#"{"count":1,"inner":{"on":true}}"#[..], "fine"),
            (br#"{"count":null}"#, "fine"),
            (br#"{"cou\u006et":1}"#, "fine"),
            (
                br#"{"count":"1"}"#,
                "count: invalid type: string \"1\", expected usize; give a value of the type in /openapi.json",
            ),
            (br#"{"inner":{}}"#, "inner.on: is missing; add it"),
            (
                br#"{"inner":{"on":true,"off":1}}"#,
                "inner.off: this field is not known, and might change the result; leave it out; known are inner.on",
            ),
            (
                br#"{"count":1,"count":2}"#,
                "body: cannot be read: a field comes twice at line 1 column 18; send an object of JSON in UTF-8",
            ),
            (
                b"{\"count\":\xff}",
                "body: is no UTF-8 from byte 9 on; send an object of JSON in UTF-8",
            ),
        ] {
            assert_eq!(message(body), expected);
        }
        for body in [&b""[..], b"[]", b"{", b"{} {}", b"{\"a\":\"\0\"}", b"null"] {
            assert!(
                message(body).starts_with("body: cannot be read: "),
                "{body:?}"
            );
        }
        let many: Vec<_> = (0..1000).map(|at| format!("\"{at}\":1")).collect();
        let many = format!("{{{}}}", many.join(","));
        assert!(message(many.as_bytes()).contains("more than 64 fields"));
    }
}
