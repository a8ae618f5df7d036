//! Values of Arrow arrays as the cells of rows.
//!
//! What no other [`Cell`] holds is encoded by its type ([`Cell::Arrow`]): numbers, dates, times,
//! decimals and intervals are the bytes of Arrow; texts, binaries, lists and maps follow their
//! length (`u32`); what is in lists and structs follows a byte that is 0 for a null.
//! [`Column`](super::column::Column) makes arrays of it again.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RunArray};
use arrow_schema::{DataType, Field, FieldRef, Fields};

use crate::row::{Cell, CellType};

/// How many values one may contain. Lists of nulls take no space in a file, however long they are.
const MOST_VALUES: usize = 1 << 20;

/// The cells of a column of this type, which [`carried`] has returned.
pub fn cell_type(data_type: DataType) -> CellType {
    match data_type {
        DataType::Boolean => CellType::Bool,
        DataType::Int64 => CellType::Integer,
        DataType::UInt64 => CellType::Unsigned,
        DataType::Float64 => CellType::Float,
        DataType::Utf8 => CellType::Text,
        DataType::Binary => CellType::Bytes,
        other => CellType::Arrow(other),
    }
}

/// The type that a kept column of this type has in an output: the same, but for the plain values
/// of dictionaries and runs, and plain lists for list views.
pub fn carried(data_type: &DataType) -> Result<DataType, &'static str> {
    let inner = |field: &FieldRef, nullable: bool| -> Result<FieldRef, &'static str> {
        let data_type = carried(field.data_type())?;
        Ok(Arc::new(Field::new(field.name(), data_type, nullable)))
    };
    let all = |fields: &Fields| -> Result<Fields, &'static str> {
        let names = fields.iter().map(|field| field.name());
        let different: std::collections::HashSet<_> = names.collect();
        if different.len() < fields.len() {
            return Err("which has two fields of one name and cannot be carried along");
        }
        fields.iter().map(|field| inner(field, true)).collect()
    };
    Ok(match data_type {
        DataType::Dictionary(_, values) => carried(values)?,
        DataType::RunEndEncoded(_, values) => carried(values.data_type())?,
        DataType::List(item) | DataType::ListView(item) => DataType::List(inner(item, true)?),
        DataType::LargeList(item) | DataType::LargeListView(item) => {
            DataType::LargeList(inner(item, true)?)
        }
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(inner(item, true)?, *size),
        DataType::Struct(fields) => DataType::Struct(all(fields)?),
        DataType::Map(entries, sorted) => {
            let DataType::Struct(fields) = entries.data_type() else {
                return Err("a map without entries");
            };
            let [key, value] = &fields[..] else {
                return Err("a map without keys and values");
            };
            let fields = Fields::from(vec![inner(key, false)?, inner(value, true)?]);
            let entries = Field::new(entries.name(), DataType::Struct(fields), false);
            DataType::Map(Arc::new(entries), *sorted)
        }
        DataType::Union(..) => return Err("which cannot be carried along"),
        other => other.clone(),
    })
}

/// The cell of a value that is not null. `data_type` is what [`carried`] has returned for the type
/// that the file states; the array may have strings as bytes and others of the same width.
pub fn cell(
    data_type: &DataType,
    array: &dyn Array,
    index: usize,
    most_bytes: usize,
) -> Result<Cell, String> {
    if let Some(bytes) = bytes(array, index) {
        let bytes = bytes.to_vec();
        return match is_binary(data_type) {
            true => Ok(Cell::Bytes(bytes)),
            false => lanewise_lines::text(bytes).map(Cell::Text),
        };
    }
    let is_number = data_type.is_integer() || data_type.is_floating();
    if is_number && let Some(number) = integer(array, index) {
        return match number.try_into().map(Cell::Integer) {
            Ok(cell) => Ok(cell),
            Err(_) => number
                .try_into()
                .map(Cell::Unsigned)
                .map_err(|_| OTHER_TYPE.into()),
        };
    }
    if is_number && let Some(number) = float(array, index) {
        return Ok(Cell::Float(number));
    }
    if let Some(values) = array.as_boolean_opt() {
        return Ok(Cell::Bool(values.value(index)));
    }
    let mut encoder = Encoder {
        out: Vec::new(),
        most_bytes,
        values: 0,
    };
    encoder.value(data_type, array, index)?;
    Ok(Cell::Arrow(encoder.out))
}

const OTHER_TYPE: &str = "is of another type than the file says";

struct Encoder {
    out: Vec<u8>,
    most_bytes: usize,
    values: usize,
}

impl Encoder {
    fn value(
        &mut self,
        data_type: &DataType,
        array: &dyn Array,
        index: usize,
    ) -> Result<(), String> {
        if self.out.len() > self.most_bytes {
            return Err(format!("takes more than {} bytes", self.most_bytes));
        }
        match data_type {
            DataType::Boolean => {
                let values = array.as_boolean_opt().ok_or(OTHER_TYPE)?;
                self.out.push(values.value(index).into());
            }
            DataType::Struct(fields) => {
                let columns = array.as_struct_opt().ok_or(OTHER_TYPE)?.columns();
                if columns.len() != fields.len() {
                    return Err(OTHER_TYPE.into());
                }
                for (field, column) in fields.iter().zip(columns) {
                    self.nullable(field, column, index)?;
                }
            }
            DataType::List(item) | DataType::LargeList(item) | DataType::Map(item, _) => {
                let values = elements(array, index).ok_or(OTHER_TYPE)?;
                self.length(values.len())?;
                self.elements(item, &values)?;
            }
            DataType::FixedSizeList(item, size) => {
                let values = elements(array, index).ok_or(OTHER_TYPE)?;
                if usize::try_from(*size) != Ok(values.len()) {
                    return Err(format!("has {} elements instead of {size}", values.len()));
                }
                self.elements(item, &values)?;
            }
            text_or_bytes if is_string(text_or_bytes) || is_binary(text_or_bytes) => {
                let bytes = bytes(array, index).ok_or(OTHER_TYPE)?;
                if is_string(data_type) {
                    lanewise_lines::text(bytes.to_vec())?;
                }
                self.length(bytes.len())?;
                self.out.extend(bytes);
            }
            other => {
                let width = fixed_width(other).ok_or(OTHER_TYPE)?;
                self.fixed(width, array, index..index + 1)?;
            }
        }
        Ok(())
    }

    /// The bytes of values of a fixed width.
    fn fixed(
        &mut self,
        width: usize,
        array: &dyn Array,
        mut range: std::ops::Range<usize>,
    ) -> Result<(), String> {
        if fixed_width(array.data_type()) != Some(width) {
            return Err(OTHER_TYPE.into());
        }
        let data = array.to_data();
        let bytes = data.buffers().first().ok_or(OTHER_TYPE)?.as_slice();
        range.try_for_each(|index| {
            let start = (data.offset() + index) * width;
            let value = bytes.get(start..start + width).ok_or(OTHER_TYPE)?;
            self.out.extend(value);
            Ok(())
        })
    }

    fn elements(&mut self, field: &Field, values: &ArrayRef) -> Result<(), String> {
        (0..values.len()).try_for_each(|index| self.nullable(field, values, index))
    }

    fn nullable(&mut self, field: &Field, array: &dyn Array, index: usize) -> Result<(), String> {
        let value = value(array, index);
        let values = match value {
            None => values_of_null(field.data_type()),
            Some(_) => 1,
        };
        self.values = self.values.saturating_add(values);
        if self.values > MOST_VALUES {
            return Err(format!("holds more than {MOST_VALUES} values"));
        }
        match value {
            None if !field.is_nullable() => Err("is a map with a null as a key".into()),
            None => {
                self.out.push(0);
                Ok(())
            }
            Some((array, index)) => {
                self.out.push(1);
                self.value(field.data_type(), array, index)
            }
        }
    }

    fn length(&mut self, length: usize) -> Result<(), String> {
        let length = u32::try_from(length).map_err(|_| "is longer than 4 GB")?;
        self.out.extend(length.to_le_bytes());
        Ok(())
    }
}

/// How many values an array has for a null: those of a list of a fixed size are there.
fn values_of_null(data_type: &DataType) -> usize {
    match data_type {
        DataType::FixedSizeList(item, size) => {
            let size = usize::try_from(*size).unwrap_or(0);
            size.saturating_mul(values_of_null(item.data_type())).max(1)
        }
        DataType::Struct(fields) => {
            let inner = fields.iter().map(|field| values_of_null(field.data_type()));
            inner.fold(1, usize::saturating_add)
        }
        _ => 1,
    }
}

/// The bytes of each value, for types that have no other parts.
pub fn fixed_width(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::FixedSizeBinary(width) => usize::try_from(*width).ok(),
        other => other.primitive_width(),
    }
}

/// The values in a list or map.
pub fn elements(array: &dyn Array, index: usize) -> Option<ArrayRef> {
    Some(match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value(index),
        DataType::LargeList(_) => array.as_list::<i64>().value(index),
        DataType::ListView(_) => array.as_list_view::<i32>().value(index),
        DataType::LargeListView(_) => array.as_list_view::<i64>().value(index),
        DataType::FixedSizeList(..) => array.as_fixed_size_list().value(index),
        DataType::Map(..) => Arc::new(array.as_map().value(index)),
        _ => return None,
    })
}

/// The array and index of a value in dictionaries and runs; `None` for a null.
pub fn value(array: &dyn Array, index: usize) -> Option<(&dyn Array, usize)> {
    if array.is_null(index) || *array.data_type() == DataType::Null {
        return None;
    }
    if let DataType::RunEndEncoded(ends, _) = array.data_type() {
        let (values, index) = match ends.data_type() {
            DataType::Int16 => run::<Int16Type>(array, index)?,
            DataType::Int32 => run::<Int32Type>(array, index)?,
            _ => run::<Int64Type>(array, index)?,
        };
        return value(values, index);
    }
    match array.as_any_dictionary_opt() {
        Some(dictionary) => {
            let key = integer(dictionary.keys(), index)?;
            value(dictionary.values().as_ref(), usize::try_from(key).ok()?)
        }
        None => Some((array, index)),
    }
}

fn run<R: arrow_array::types::RunEndIndexType>(
    array: &dyn Array,
    index: usize,
) -> Option<(&dyn Array, usize)> {
    let runs = array.as_any().downcast_ref::<RunArray<R>>()?;
    Some((runs.values().as_ref(), runs.get_physical_index(index)))
}

/// The bytes of a string or binary value.
pub fn bytes(array: &dyn Array, index: usize) -> Option<&[u8]> {
    Some(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(index).as_bytes(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(index).as_bytes(),
        DataType::Utf8View => array.as_string_view().value(index).as_bytes(),
        DataType::Binary => array.as_binary::<i32>().value(index),
        DataType::LargeBinary => array.as_binary::<i64>().value(index),
        DataType::BinaryView => array.as_binary_view().value(index),
        _ => return None,
    })
}

pub fn integer(array: &dyn Array, index: usize) -> Option<i128> {
    Some(match array.data_type() {
        DataType::Int8 => array.as_primitive::<Int8Type>().value(index).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(index).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(index).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(index).into(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(index).into(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(index).into(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(index).into(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(index).into(),
        _ => return None,
    })
}

pub fn float(array: &dyn Array, index: usize) -> Option<f64> {
    Some(match array.data_type() {
        DataType::Float16 => array.as_primitive::<Float16Type>().value(index).into(),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(index).into(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(index),
        _ => return None,
    })
}

pub fn is_string(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_string(values),
        DataType::RunEndEncoded(_, values) => is_string(values.data_type()),
        other => other.is_string(),
    }
}

/// Whether the values are binaries of any length.
pub fn is_binary(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_binary(values),
        DataType::RunEndEncoded(_, values) => is_binary(values.data_type()),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => true,
        _ => false,
    }
}
