//! Values of Arrow as text and JSON.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, StructArray, make_array};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::DataType;
use serde_json::{Map, Value};

use super::column::Column;
use super::value::{bytes, elements, fixed_width, float, integer, value};
use crate::formats::cells;
use crate::row::Cell;

/// The cell of a value that is encoded ([`Cell::Arrow`]) as text, or as JSON if it is nested.
///
/// `None` if it is not of the type.
pub fn shown(data_type: &DataType, encoded: &[u8]) -> Option<Cell> {
    let mut column = Column::new(data_type).ok()?;
    column.push(&Cell::Arrow(encoded.to_vec())).ok()?;
    let array = column.finish().ok()?;
    Some(match json(&array, 0) {
        Value::String(text) => Cell::Text(text),
        other => Cell::Json(other.to_string()),
    })
}

/// A value as JSON: structs are objects, and so are maps, unless a key occurs twice; lists are
/// arrays.
pub fn json(array: &dyn Array, index: usize) -> Value {
    let Some((array, index)) = value(array, index) else {
        return Value::Null;
    };
    if let DataType::Map(..) = array.data_type() {
        return map(&array.as_map().value(index));
    }
    if let Some(values) = elements(array, index) {
        return all(&values);
    }
    if let Some(fields) = array.as_struct_opt() {
        let columns = fields.column_names().into_iter().zip(fields.columns());
        let members = columns.map(|(name, column)| (name.to_owned(), json(column, index)));
        return Value::Object(members.collect());
    }
    if let Some(number) = integer(array, index) {
        return whole(number);
    }
    if let Some(number) = float(array, index) {
        return cells::float(match array.data_type() {
            DataType::Float32 => cells::shortest(number as f32),
            _ => number,
        });
    }
    if let Some(values) = array.as_boolean_opt() {
        return values.value(index).into();
    }
    match bytes(array, index) {
        Some(text) if array.data_type().is_string() => String::from_utf8_lossy(text).into(),
        Some(bytes) => cells::hexadecimal(bytes).into(),
        None => display(array, index).into(),
    }
}

/// A string as it is, and any other value as messages show it; nothing for a null.
pub fn plain_text(array: &dyn Array, index: usize) -> String {
    let Some((array, index)) = value(array, index) else {
        return String::new();
    };
    match bytes(array, index) {
        Some(text) => String::from_utf8_lossy(text).into_owned(),
        None => display(array, index),
    }
}

fn all(values: &ArrayRef) -> Value {
    (0..values.len()).map(|index| json(values, index)).collect()
}

fn map(entries: &StructArray) -> Value {
    let (keys, values) = (entries.column(0), entries.column(1));
    let mut members = Map::new();
    for index in 0..entries.len() {
        let key = match json(keys, index) {
            Value::String(key) => key,
            other => other.to_string(),
        };
        if members.insert(key, json(values, index)).is_some() {
            let entries = (0..entries.len())
                .map(|index| Value::Array(vec![json(keys, index), json(values, index)]));
            return entries.collect();
        }
    }
    Value::Object(members)
}

fn whole(number: i128) -> Value {
    match i64::try_from(number) {
        Ok(number) => number.into(),
        Err(_) => u64::try_from(number).map_or(Value::Null, Value::from),
    }
}

/// Dates, times, decimals and the like, as Arrow displays them. Where it cannot, because a time
/// zone is unknown or a date is beyond its calendar: the time in UTC, or else the number.
fn display(array: &dyn Array, index: usize) -> String {
    let options = FormatOptions::default();
    let formatted = |array: &dyn Array| {
        let formatter = ArrayFormatter::try_new(array, &options).ok()?;
        formatter.value(index).try_to_string().ok()
    };
    formatted(array)
        .or_else(|| formatted(&in_utc(array)?))
        .or_else(|| formatted(&as_number(array)?))
        .unwrap_or_default()
}

fn in_utc(array: &dyn Array) -> Option<ArrayRef> {
    let DataType::Timestamp(unit, Some(_)) = array.data_type() else {
        return None;
    };
    retyped(array, DataType::Timestamp(*unit, Some("+00:00".into())))
}

fn as_number(array: &dyn Array) -> Option<ArrayRef> {
    match fixed_width(array.data_type())? {
        4 => retyped(array, DataType::Int32),
        8 => retyped(array, DataType::Int64),
        _ => None,
    }
}

/// The same bytes as values of another type.
fn retyped(array: &dyn Array, data_type: DataType) -> Option<ArrayRef> {
    let data = array.to_data().into_builder().data_type(data_type);
    data.build().ok().map(make_array)
}
