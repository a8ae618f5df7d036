//! Texts and token ids of a body, read without more memory than they may take.

use std::cell::Cell;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

use super::fields::Fields;
use super::problem::{Kind, Problem};

/// What is to be embedded.
#[derive(Debug, PartialEq, Eq)]
pub enum Inputs {
    /// Texts.
    Texts(Vec<String>),
    /// Lists of token ids.
    Ids(Vec<Vec<u32>>),
}

impl Inputs {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Ids(lists) => lists.len(),
        }
    }
}

/// Inputs, and whether they were no list but one of its elements.
#[derive(Debug, PartialEq, Eq)]
pub struct Given {
    /// What was given.
    pub inputs: Inputs,
    /// Whether it stood alone.
    pub is_single: bool,
}

/// The inputs in a field.
///
/// # Errors
/// If the field is missing, of another type, or has too many elements or ids. An empty list is none.
pub fn required(
    fields: &mut Fields<'_>,
    name: &'static str,
    most: usize,
    most_ids: usize,
) -> Result<Given, Problem> {
    let kind = Cell::new(Kind::Field);
    let seed = InputsSeed {
        most,
        most_ids,
        kind: &kind,
    };
    fields.require_seed(name, seed).map_err(|mut problem| {
        problem.kind = kind.get();
        problem
    })
}

/// Reads a text, texts, token ids or lists of token ids.
#[derive(Clone, Copy)]
struct InputsSeed<'a> {
    /// The most elements.
    most: usize,
    /// The most ids of an element.
    most_ids: usize,
    /// Set if the inputs are too large or long.
    kind: &'a Cell<Kind>,
}

impl InputsSeed<'_> {
    fn too_many<E: Error>(self) -> E {
        self.kind.set(Kind::TooLarge);
        E::custom(format!("can have {} elements at a time", self.most))
    }

    fn too_long<E: Error>(self) -> E {
        self.kind.set(Kind::TooLong);
        E::custom(format!("the model reads {} tokens at most", self.most_ids))
    }
}

impl<'de> DeserializeSeed<'de> for InputsSeed<'_> {
    type Value = Given;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Given, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for InputsSeed<'_> {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a list of strings, a list of token ids, or a list of such lists")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Given, E> {
        Ok(Given {
            inputs: Inputs::Texts(vec![text.to_owned()]),
            is_single: true,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Given, A::Error> {
        let seed = ElementSeed(self);
        let given = |inputs, is_single| Given { inputs, is_single };
        let mixed =
            |at| A::Error::custom(format!("element {at} is of another type than the first"));
        let mut at = 1;
        match list.next_element_seed(seed)? {
            None => Ok(given(Inputs::Texts(Vec::new()), false)),
            Some(Element::Text(first)) => {
                let mut texts = vec![first];
                while let Some(element) = list.next_element_seed(seed)? {
                    let Element::Text(text) = element else {
                        return Err(mixed(at));
                    };
                    if at == self.most {
                        return Err(self.too_many());
                    }
                    texts.push(text);
                    at += 1;
                }
                Ok(given(Inputs::Texts(texts), false))
            }
            Some(Element::Ids(first)) => {
                let mut lists = vec![first];
                while let Some(element) = list.next_element_seed(seed)? {
                    let Element::Ids(ids) = element else {
                        return Err(mixed(at));
                    };
                    if at == self.most {
                        return Err(self.too_many());
                    }
                    lists.push(ids);
                    at += 1;
                }
                Ok(given(Inputs::Ids(lists), false))
            }
            Some(Element::Id(first)) => {
                let mut ids = vec![first];
                while let Some(element) = list.next_element_seed(seed)? {
                    let Element::Id(id) = element else {
                        return Err(mixed(at));
                    };
                    if at == self.most_ids {
                        return Err(self.too_long());
                    }
                    ids.push(id);
                    at += 1;
                }
                Ok(given(Inputs::Ids(vec![ids]), true))
            }
        }
    }
}

enum Element {
    Text(String),
    Id(u32),
    Ids(Vec<u32>),
}

#[derive(Clone, Copy)]
struct ElementSeed<'a>(InputsSeed<'a>);

impl<'de> DeserializeSeed<'de> for ElementSeed<'_> {
    type Value = Element;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Element, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ElementSeed<'_> {
    type Value = Element;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a token id or a list of token ids")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Element, E> {
        Ok(Element::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Element, E> {
        Ok(Element::Text(text))
    }

    fn visit_u64<E: Error>(self, id: u64) -> Result<Element, E> {
        token_id(id).map(Element::Id)
    }

    fn visit_f64<E: Error>(self, id: f64) -> Result<Element, E> {
        token_id(whole(id)?).map(Element::Id)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Element, A::Error> {
        let mut ids = Vec::new();
        while let Some(Count(id)) = list.next_element()? {
            if ids.len() == self.0.most_ids {
                return Err(self.0.too_long());
            }
            ids.push(token_id(id as u64)?);
        }
        Ok(Element::Ids(ids))
    }
}

fn token_id<E: Error>(id: u64) -> Result<u32, E> {
    u32::try_from(id).map_err(|_| E::custom(format!("{id} is no token id")))
}

/// A whole number, which in JSON may be written as 5.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(pub usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(CountVisitor)
    }
}

struct CountVisitor;

impl Visitor<'_> for CountVisitor {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, not negative")
    }

    fn visit_u64<E: Error>(self, count: u64) -> Result<Count, E> {
        let no_count = |_| E::custom(format!("{count} is too large"));
        usize::try_from(count).map(Count).map_err(no_count)
    }

    fn visit_f64<E: Error>(self, count: f64) -> Result<Count, E> {
        self.visit_u64(whole(count)?)
    }
}

/// The number, if it is a whole one that a float holds exactly.
fn whole<E: Error>(number: f64) -> Result<u64, E> {
    const LARGEST: f64 = (1_u64 << 53) as f64;
    match (0.0..=LARGEST).contains(&number) && number.fract() == 0.0 {
        true => Ok(number as u64),
        false => Err(E::custom(format!("{number} is no whole number"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Given, Problem> {
        let body = format!("{{\"input\":{json}}}");
        required(&mut Fields::of_body(body.as_bytes())?, "input", 3, 4)
    }

    #[test]
    fn inputs_are_texts_or_ids() {
        let texts = |texts: &[&str]| Inputs::Texts(texts.iter().map(|&text| text.into()).collect());
        for (json, inputs, is_single) in [
            (r#""a\u0000""#, texts(&["a\0"]), true),
            (r#"["a","","b"]"#, texts(&["a", "", "b"]), false),
            ("[]", texts(&[]), false),
            ("[1,2,3,4.0]", Inputs::Ids(vec![vec![1, 2, 3, 4]]), true),
            (
                "[[1],[],[2]]",
                Inputs::Ids(vec![vec![1], vec![], vec![2]]),
                false,
            ),
        ] {
            assert_eq!(read(json).unwrap(), Given { inputs, is_single }, "{json}");
        }
    }

    #[test]
    fn other_inputs_are_refused() {
        for json in [
            "1",
            "null",
            "{}",
            "[1,\"a\"]",
            "[\"a\",1]",
            "[[1],2]",
            "[-1]",
            "[1.5]",
            "[4294967296]",
            "[[\"a\"]]",
            "[null]",
            "[[[1]]]",
            "[\"a\",\"a\",\"a\",\"a\"]",
            "[1,1,1,1,1]",
            "[[1,1,1,1,1]]",
            "[[],[],[],[]]",
        ] {
            assert!(read(json).is_err(), "{json}");
        }
        assert_eq!(read("[1,1,1,1,1]").unwrap_err().kind, Kind::TooLong);
        assert_eq!(read("[[],[],[],[]]").unwrap_err().kind, Kind::TooLarge);
        let long = format!("{{\"{}\":1}}", "a".repeat(100_000));
        assert!(read(&long).unwrap_err().message.len() < 500);
    }
}
