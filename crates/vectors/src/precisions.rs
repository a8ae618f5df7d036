//! Several number formats side by side.

use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::Precision;

/// The precisions that each vector of a file is stored in: one, or several side by side.
///
/// Their text is `i8`, or `i8+binary`: the order is that in which they are stored, and none occurs
/// twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct Precisions {
    /// The first `count` of them; the others are the first one again, so that equal ones compare equal.
    list: [Precision; Precision::ALL.len()],
    count: usize,
}

impl Precisions {
    /// The precisions, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Precision> + '_ {
        self.list[..self.count].iter().copied()
    }

    /// The first one.
    pub fn first(&self) -> Precision {
        self.list[0]
    }

    /// The only one; `None` if there are several.
    pub fn single(&self) -> Option<Precision> {
        (self.count == 1).then_some(self.list[0])
    }

    /// Whether this is one of them.
    pub fn contains(&self, precision: Precision) -> bool {
        self.iter().any(|own| own == precision)
    }

    /// The numbers stored for a vector of `dims` values, in all of them.
    pub fn numbers(&self, dims: usize) -> usize {
        self.iter().map(|precision| precision.numbers(dims)).sum()
    }

    /// The bytes stored for a vector of `dims` values, in all of them.
    pub fn bytes(&self, dims: usize) -> usize {
        self.iter().map(|precision| precision.bytes(dims)).sum()
    }

    /// Each precision with its part of the [`bytes`](Self::bytes) of a vector of `dims` values.
    pub fn parts(&self, dims: usize) -> impl Iterator<Item = (Precision, Range<usize>)> + '_ {
        let mut end = 0;
        self.iter().map(move |precision| {
            let start = end;
            end += precision.bytes(dims);
            (precision, start..end)
        })
    }

    /// Whether every vector has a scale of its own.
    pub fn has_scale(&self) -> bool {
        self.iter().any(Precision::has_scale)
    }

    /// Appends the vector in each precision, one after the other; returns the scale of the one that
    /// has one, 1 where none has.
    pub fn encode(&self, vector: &[f32], out: &mut Vec<u8>) -> f32 {
        let mut scale = 1.0;
        for precision in self.iter() {
            let own = precision.encode(vector, out);
            if precision.has_scale() {
                scale = own;
            }
        }
        scale
    }
}

impl From<Precision> for Precisions {
    fn from(precision: Precision) -> Self {
        Self {
            list: [precision; Precision::ALL.len()],
            count: 1,
        }
    }
}

impl From<Precisions> for String {
    fn from(precisions: Precisions) -> Self {
        precisions.to_string()
    }
}

impl fmt::Display for Precisions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, precision) in self.iter().enumerate() {
            if number > 0 {
                formatter.write_str("+")?;
            }
            formatter.write_str(precision.name())?;
        }
        Ok(())
    }
}

impl FromStr for Precisions {
    type Err = ParsePrecisionsError;

    fn from_str(text: &str) -> Result<Self, ParsePrecisionsError> {
        let mut names = text.split('+').map(|name| {
            let mut all = Precision::ALL.into_iter();
            let found = all.find(|precision| precision.name() == name);
            found.ok_or_else(|| ParsePrecisionsError(format!("'{name}' is no precision")))
        });
        let mut precisions = match names.next() {
            Some(first) => Self::from(first?),
            None => return Err(ParsePrecisionsError("no precision is given".into())),
        };
        for precision in names {
            let precision = precision?;
            if precisions.contains(precision) {
                let problem = format!("{} is given twice", precision.name());
                return Err(ParsePrecisionsError(problem));
            }
            precisions.list[precisions.count] = precision;
            precisions.count += 1;
        }
        Ok(precisions)
    }
}

impl TryFrom<String> for Precisions {
    type Error = ParsePrecisionsError;

    fn try_from(text: String) -> Result<Self, ParsePrecisionsError> {
        text.parse()
    }
}

/// A text that names no precisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsePrecisionsError(String);

impl fmt::Display for ParsePrecisionsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Precision::ALL.map(Precision::name).join(", ");
        let problem = &self.0;
        write!(
            formatter,
            "{problem}; give {names}, or several joined by +, such as i8+binary"
        )
    }
}

impl Error for ParsePrecisionsError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn precisions(text: &str) -> Precisions {
        text.parse().unwrap()
    }

    #[test]
    fn a_set_reads_as_it_is_written_and_names_none_twice() {
        for text in ["f32", "i8+binary", "i8+f32", "binary+i8+f32+f16"] {
            assert_eq!(precisions(text).to_string(), text);
        }
        assert_eq!(precisions("f16"), Precision::F16.into());
        assert_ne!(precisions("i8+f32"), precisions("f32+i8"));
        let five = "f32+f16+i8+binary+f32";
        for wrong in ["", "+", "i8+", "I8", "i8 + f32", "i8+i8", five] {
            let error = wrong.parse::<Precisions>().unwrap_err().to_string();
            assert!(error.contains("such as i8+binary"), "{wrong}: {error}");
        }
    }

    #[test]
    fn the_parts_of_a_vector_are_what_each_precision_stores() {
        let vector: Vec<f32> = (0..16).map(|i| (i as f32 - 7.3) / 9.0).collect();
        let all = precisions("binary+f32+i8+f16");
        let mut bytes = Vec::new();
        let scale = all.encode(&vector, &mut bytes);
        assert_eq!(bytes.len(), all.bytes(vector.len()));
        assert_eq!(all.numbers(vector.len()), 2 + 3 * 16);
        let mut covered = 0;
        for (precision, part) in all.parts(vector.len()) {
            let mut alone = Vec::new();
            let own = precision.encode(&vector, &mut alone);
            assert_eq!((part.start, &bytes[part.clone()]), (covered, &alone[..]));
            covered = part.end;
            assert!(!precision.has_scale() || own == scale);
        }
        assert_eq!(covered, bytes.len());
    }
}
