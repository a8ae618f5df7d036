//! Metadata values.

use std::fmt;
use std::ops::Range;

use super::cursor::{Cursor, FETCH_AGAIN};
use crate::Result;

/// The type of a metadata value, by its number in the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs, reason = "the names say it")]
pub enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    String = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

impl ValueType {
    fn from_number(number: u32) -> Option<Self> {
        use ValueType::*;
        [
            U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64,
        ]
        .get(number as usize)
        .copied()
    }

    /// Bytes of one value; `None` for strings and arrays, whose length is their own.
    fn size(self) -> Option<u64> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::String | Self::Array => None,
        }
    }

    fn read(cursor: &mut Cursor, field: &str) -> Result<Self> {
        let number = cursor.u32(field)?;
        Self::from_number(number).ok_or_else(|| {
            cursor.error(
                field,
                format!("has the unknown value type {number}"),
                FETCH_AGAIN,
            )
        })
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Array => "array",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
        })
    }
}

/// A metadata value. Strings and arrays stay in the map.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    /// The range of its bytes in the file; see [`Gguf::optional_str`](super::Gguf::optional_str).
    String(Range<usize>),
    Array(Array),
}

impl Value {
    /// Reads type and value of the metadata key `key`.
    pub(super) fn read(cursor: &mut Cursor, key: &str) -> Result<Self> {
        Ok(match ValueType::read(cursor, key)? {
            ValueType::U8 => Self::U8(u8::from_le_bytes(cursor.array(key)?)),
            ValueType::I8 => Self::I8(i8::from_le_bytes(cursor.array(key)?)),
            ValueType::U16 => Self::U16(u16::from_le_bytes(cursor.array(key)?)),
            ValueType::I16 => Self::I16(i16::from_le_bytes(cursor.array(key)?)),
            ValueType::U32 => Self::U32(cursor.u32(key)?),
            ValueType::I32 => Self::I32(i32::from_le_bytes(cursor.array(key)?)),
            ValueType::U64 => Self::U64(cursor.u64(key)?),
            ValueType::I64 => Self::I64(i64::from_le_bytes(cursor.array(key)?)),
            ValueType::F32 => Self::F32(f32::from_le_bytes(cursor.array(key)?)),
            ValueType::F64 => Self::F64(f64::from_le_bytes(cursor.array(key)?)),
            ValueType::Bool => match cursor.array(key)? {
                [0] => Self::Bool(false),
                [1] => Self::Bool(true),
                [byte] => {
                    let problem = format!("is a bool with the value {byte}");
                    return Err(cursor.error(key, problem, FETCH_AGAIN));
                }
            },
            ValueType::String => Self::String(cursor.string(key, u64::MAX)?),
            ValueType::Array => Self::Array(Array::read(cursor, key)?),
        })
    }

    /// The type of this value.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::U8(_) => ValueType::U8,
            Self::I8(_) => ValueType::I8,
            Self::U16(_) => ValueType::U16,
            Self::I16(_) => ValueType::I16,
            Self::U32(_) => ValueType::U32,
            Self::I32(_) => ValueType::I32,
            Self::U64(_) => ValueType::U64,
            Self::I64(_) => ValueType::I64,
            Self::F32(_) => ValueType::F32,
            Self::F64(_) => ValueType::F64,
            Self::Bool(_) => ValueType::Bool,
            Self::String(_) => ValueType::String,
            Self::Array(_) => ValueType::Array,
        }
    }

    /// The number, whatever integer type it was written as.
    pub(super) fn integer(&self) -> Option<i128> {
        Some(match *self {
            Self::U8(value) => value.into(),
            Self::I8(value) => value.into(),
            Self::U16(value) => value.into(),
            Self::I16(value) => value.into(),
            Self::U32(value) => value.into(),
            Self::I32(value) => value.into(),
            Self::U64(value) => value.into(),
            Self::I64(value) => value.into(),
            _ => return None,
        })
    }
}

/// An array of scalars or strings, still in the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    element: ValueType,
    count: usize,
    range: Range<usize>,
}

impl Array {
    fn read(cursor: &mut Cursor, key: &str) -> Result<Self> {
        let element = ValueType::read(cursor, key)?;
        if element == ValueType::Array {
            return Err(cursor.error(
                key,
                "is an array of arrays",
                "write the file without this key: no known model needs nested arrays",
            ));
        }
        // An element takes a byte at least (a string its eight-byte length), so a count above
        // what is left is refused before anything walks it.
        let count = cursor.u64(key)?;
        let least = count.saturating_mul(element.size().unwrap_or(8));
        if least > cursor.remaining() as u64 {
            return Err(cursor.error(
                key,
                format!(
                    "claims {count} values of type {element}, but only {} bytes follow",
                    cursor.remaining()
                ),
                FETCH_AGAIN,
            ));
        }
        let range = match element.size() {
            Some(_) => cursor.skip(least, key)?,
            None => cursor.skip_strings(count, key)?,
        };
        Ok(Self {
            element,
            count: count as usize, // at most the length of the map
            range,
        })
    }

    /// The type of every element.
    pub fn element(&self) -> ValueType {
        self.element
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The range of the elements in the file: scalars little-endian, each string after its `u64`
    /// length.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }
}

/// The strings of an array, one after the other, as views into the map.
///
/// Lengths are checked again on the way: if the file changes under the map, the walk ends early
/// instead of leaving the array.
#[derive(Clone, Debug)]
pub struct Strings<'a> {
    rest: &'a [u8],
    count: usize,
}

impl<'a> Strings<'a> {
    pub(super) fn new(bytes: &'a [u8], count: usize) -> Self {
        Self { rest: bytes, count }
    }
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.count = self.count.checked_sub(1)?;
        let (length, rest) = self.rest.split_first_chunk()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (string, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(string)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.count))
    }
}
