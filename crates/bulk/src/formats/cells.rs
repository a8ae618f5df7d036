//! Cells as text and JSON.

use std::borrow::Cow;

use arrow_schema::DataType;
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::arrow::shown;
use crate::columns::OutputColumn;
use crate::row::{Cell, CellType};

/// A cell in formats that have no type for everything: numbers, truth values, text and JSON as they
/// are, 32-bit floats with as many digits as they have; bytes as text, unless those of some row are none, then in hexadecimal; anything else as
/// Arrow displays it.
///
/// `None` if it is not of the column's type.
pub fn natural<'a>(cell: &'a Cell, column: &OutputColumn) -> Option<Cow<'a, Cell>> {
    Some(match cell {
        Cell::Bytes(bytes) if column.bytes_are_text || column.cells == CellType::Text => {
            Cow::Owned(Cell::Text(text_or_hexadecimal(bytes)))
        }
        Cell::Bytes(bytes) => Cow::Owned(Cell::Text(hexadecimal(bytes))),
        Cell::Arrow(encoded) => match &column.cells {
            CellType::Arrow(data_type) => Cow::Owned(shown(data_type, encoded)?),
            _ => return None,
        },
        Cell::Float(value) if column.cells == CellType::Arrow(DataType::Float32) => {
            Cow::Owned(Cell::Float(shortest(*value as f32)))
        }
        other => Cow::Borrowed(other),
    })
}

/// The number that has the fewest digits of those that are this 32-bit float: 0.1, and not
/// 0.10000000149011612.
pub fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(value.into())
}

/// The text that a cell becomes in a column of texts; `None` for nulls and [`Cell::Arrow`].
pub fn text(cell: &Cell) -> Option<Cow<'_, str>> {
    Some(match cell {
        Cell::Null | Cell::Arrow(_) => return None,
        Cell::Bool(value) => value.to_string().into(),
        Cell::Integer(value) => value.to_string().into(),
        Cell::Unsigned(value) => value.to_string().into(),
        Cell::Float(value) => match float(*value) {
            Value::String(name) => name.into(),
            number => number.to_string().into(),
        },
        Cell::Text(text) | Cell::Json(text) => text.into(),
        Cell::Bytes(bytes) => text_or_hexadecimal(bytes).into(),
    })
}

/// A number; as text, in the names of Protocol Buffers, if JSON has none for it.
pub fn float(value: f64) -> Value {
    let name = match value {
        value if value.is_nan() => "NaN",
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        finite => return finite.into(),
    };
    name.into()
}

/// Two digits for each byte.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text_or_hexadecimal(bytes: &[u8]) -> String {
    str::from_utf8(bytes).map_or_else(|_| hexadecimal(bytes), str::to_owned)
}

/// A cell of a column, as JSON.
pub struct JsonCell<'a>(pub &'a Cell, pub &'a OutputColumn);

impl Serialize for JsonCell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let cell = natural(self.0, self.1);
        let cell = cell.ok_or_else(|| S::Error::custom("a cell is of another type"))?;
        match &*cell {
            Cell::Null | Cell::Bytes(_) | Cell::Arrow(_) => serializer.serialize_none(),
            Cell::Bool(value) => serializer.serialize_bool(*value),
            Cell::Integer(value) => serializer.serialize_i64(*value),
            Cell::Unsigned(value) => serializer.serialize_u64(*value),
            Cell::Float(value) => float(*value).serialize(serializer),
            Cell::Text(value) => serializer.serialize_str(value),
            // Line breaks are between its values only, and would end a line of JSON lines.
            Cell::Json(value) => RawValue::from_string(value.replace(['\n', '\r'], " "))
                .map_err(S::Error::custom)?
                .serialize(serializer),
        }
    }
}
