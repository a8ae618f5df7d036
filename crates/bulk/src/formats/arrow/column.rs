//! Arrays made of cells, for the outputs.

use std::sync::Arc;

use arrow_array::builder::{BinaryViewBuilder, BooleanBuilder, StringViewBuilder};
use arrow_array::types::{ArrowPrimitiveType, Float16Type};
use arrow_array::{ArrayRef, NullArray, make_array};
use arrow_buffer::{Buffer, MutableBuffer, NullBuffer, NullBufferBuilder};
use arrow_data::ArrayData;
use arrow_schema::{ArrowError, DataType};

use super::value::fixed_width;
use crate::formats::cells;
use crate::row::{Cell, CellType};

type Half = <Float16Type as ArrowPrimitiveType>::Native;

/// A null of a list of a fixed size takes as much memory as a list.
const MOST_NULL_BYTES: usize = 1 << 20;

/// A cell that is not of its column's type, from a spool that is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherType;

impl From<OtherType> for ArrowError {
    fn from(_: OtherType) -> Self {
        Self::InvalidArgumentError("a cell is of another type than its column".into())
    }
}

/// The type of a column of such cells in an output.
pub fn data_type(cells: &CellType) -> DataType {
    match cells {
        CellType::Bool => DataType::Boolean,
        CellType::Integer => DataType::Int64,
        CellType::Unsigned => DataType::UInt64,
        CellType::Float => DataType::Float64,
        CellType::Text => DataType::Utf8,
        CellType::Bytes => DataType::Binary,
        CellType::Arrow(data_type) => data_type.clone(),
    }
}

/// An array that grows by values in the encoding of [`value`](super::value).
pub struct Column {
    data_type: DataType,
    length: usize,
    nulls: NullBufferBuilder,
    values: Values,
}

enum Values {
    None,
    Bool(BooleanBuilder),
    Fixed(usize, MutableBuffer),
    Bytes(Vec<usize>, Vec<u8>),
    /// Where each list ends, and what all contain.
    List(Vec<usize>, Box<Column>),
    FixedList(usize, Box<Column>),
    Struct(Vec<Column>),
}

impl Column {
    /// An empty column of a type that can be carried along.
    pub fn new(data_type: &DataType) -> Result<Self, ArrowError> {
        let values = match data_type {
            DataType::Null => Values::None,
            DataType::Boolean => Values::Bool(BooleanBuilder::new()),
            DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView => Values::Bytes(Vec::new(), Vec::new()),
            DataType::List(item) | DataType::LargeList(item) | DataType::Map(item, _) => {
                Values::List(Vec::new(), Box::new(Self::new(item.data_type())?))
            }
            DataType::FixedSizeList(item, size @ 0..) => {
                Values::FixedList(*size as usize, Box::new(Self::new(item.data_type())?))
            }
            DataType::Struct(fields) if !fields.is_empty() => {
                let columns = fields.iter().map(|field| Self::new(field.data_type()));
                Values::Struct(columns.collect::<Result<_, _>>()?)
            }
            other => match fixed_width(other) {
                Some(width) => Values::Fixed(width, MutableBuffer::new(0)),
                None => {
                    let problem = format!("columns of {other} cannot be written");
                    return Err(ArrowError::NotYetImplemented(problem));
                }
            },
        };
        let column = Self {
            data_type: data_type.clone(),
            length: 0,
            nulls: NullBufferBuilder::new(0),
            values,
        };
        if column.null_bytes() > MOST_NULL_BYTES {
            let problem = format!("lists of more than {MOST_NULL_BYTES} bytes of a fixed size");
            return Err(ArrowError::NotYetImplemented(problem));
        }
        Ok(column)
    }

    /// The memory that a null takes.
    pub fn null_bytes(&self) -> usize {
        match &self.values {
            Values::None | Values::Bool(_) => 1,
            Values::Fixed(width, _) => *width,
            Values::Bytes(..) | Values::List(..) => size_of::<usize>(),
            Values::FixedList(size, item) => size.saturating_mul(item.null_bytes()),
            Values::Struct(columns) => columns
                .iter()
                .map(Self::null_bytes)
                .fold(0, usize::saturating_add),
        }
    }

    /// Adds a cell. In a column of texts any other cell becomes text.
    pub fn push(&mut self, cell: &Cell) -> Result<(), OtherType> {
        let is_text = self.data_type.is_string();
        let encoded = match (cell, &self.data_type) {
            (Cell::Null, _) => {
                self.push_null();
                return Ok(());
            }
            (Cell::Arrow(encoded), _) => return self.push_encoded(encoded),
            (Cell::Bytes(bytes), _) if !is_text => return self.push_bytes(bytes),
            (other, _) if is_text => {
                let text = cells::text(other).ok_or(OtherType)?;
                return self.push_bytes(text.as_bytes());
            }
            (Cell::Bool(value), DataType::Boolean) => vec![(*value).into()],
            (Cell::Integer(value), number) => encode_number(number, (*value).into())?,
            (Cell::Unsigned(value), number) => encode_number(number, (*value).into())?,
            (Cell::Float(value), DataType::Float64) => value.to_le_bytes().into(),
            (Cell::Float(value), DataType::Float32) => (*value as f32).to_le_bytes().into(),
            (Cell::Float(value), DataType::Float16) => Half::from_f64(*value).to_le_bytes().into(),
            _ => return Err(OtherType),
        };
        self.push_encoded(&encoded)
    }

    fn push_encoded(&mut self, mut encoded: &[u8]) -> Result<(), OtherType> {
        self.push_value(&mut encoded)?;
        encoded.is_empty().then_some(()).ok_or(OtherType)
    }

    fn push_bytes(&mut self, bytes: &[u8]) -> Result<(), OtherType> {
        let Values::Bytes(ends, values) = &mut self.values else {
            return Err(OtherType);
        };
        values.extend(bytes);
        ends.push(values.len());
        self.nulls.append_non_null();
        self.length += 1;
        Ok(())
    }

    fn push_null(&mut self) {
        match &mut self.values {
            Values::None => {}
            Values::Bool(values) => values.append_value(false),
            Values::Fixed(width, values) => values.extend_zeros(*width),
            Values::Bytes(ends, values) => ends.push(values.len()),
            Values::List(ends, items) => ends.push(items.length),
            Values::FixedList(size, items) => (0..*size).for_each(|_| items.push_null()),
            Values::Struct(columns) => columns.iter_mut().for_each(Self::push_null),
        }
        self.nulls.append_null();
        self.length += 1;
    }

    fn push_value(&mut self, encoded: &mut &[u8]) -> Result<(), OtherType> {
        match &mut self.values {
            Values::None => return Err(OtherType),
            Values::Bool(values) => values.append_value(take(encoded, 1)? != [0]),
            Values::Fixed(width, values) => values.extend_from_slice(take(encoded, *width)?),
            Values::Bytes(ends, values) => {
                let length = take_length(encoded)?;
                let bytes = take(encoded, length)?;
                if self.data_type.is_string() {
                    str::from_utf8(bytes).map_err(|_| OtherType)?;
                }
                values.extend(bytes);
                ends.push(values.len());
            }
            Values::List(ends, items) => {
                let length = take_length(encoded)?;
                let keys = matches!(self.data_type, DataType::Map(..));
                (0..length).try_for_each(|_| items.push_nullable(encoded, !keys))?;
                ends.push(items.length);
            }
            Values::FixedList(size, items) => {
                (0..*size).try_for_each(|_| items.push_nullable(encoded, true))?;
            }
            Values::Struct(columns) => {
                let DataType::Struct(fields) = &self.data_type else {
                    return Err(OtherType);
                };
                for (field, column) in fields.iter().zip(columns) {
                    column.push_nullable(encoded, field.is_nullable())?;
                }
            }
        }
        self.nulls.append_non_null();
        self.length += 1;
        Ok(())
    }

    fn push_nullable(&mut self, encoded: &mut &[u8], nullable: bool) -> Result<(), OtherType> {
        match take(encoded, 1)? {
            [0] if nullable => {
                self.push_null();
                Ok(())
            }
            [1] => self.push_value(encoded),
            _ => Err(OtherType),
        }
    }

    /// The array of what was added.
    pub fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let length = std::mem::take(&mut self.length);
        let nulls = self.nulls.finish();
        let data = ArrayData::builder(self.data_type.clone())
            .len(length)
            .nulls(nulls.clone());
        let data = match &mut self.values {
            Values::None => return Ok(Arc::new(NullArray::new(length))),
            Values::Bool(values) => data.add_buffer(values.finish().into_parts().0.into_inner()),
            Values::Fixed(_, values) => data.add_buffer(std::mem::take(values).into()),
            Values::Bytes(ends, values) => {
                let (ends, values) = (std::mem::take(ends), std::mem::take(values));
                match &self.data_type {
                    DataType::Utf8View | DataType::BinaryView => {
                        return views(&self.data_type, &ends, &values, nulls.as_ref());
                    }
                    other => {
                        let large = matches!(other, DataType::LargeUtf8 | DataType::LargeBinary);
                        data.add_buffer(offsets(&ends, large)?)
                            .add_buffer(Buffer::from_vec(values))
                    }
                }
            }
            Values::List(ends, items) => {
                let large = matches!(self.data_type, DataType::LargeList(_));
                data.add_buffer(offsets(&std::mem::take(ends), large)?)
                    .add_child_data(items.finish()?.to_data())
            }
            Values::FixedList(_, items) => data.add_child_data(items.finish()?.to_data()),
            Values::Struct(columns) => {
                let columns = columns
                    .iter_mut()
                    .map(|column| Ok(column.finish()?.to_data()));
                data.child_data(columns.collect::<Result<_, ArrowError>>()?)
            }
        };
        Ok(make_array(data.align_buffers(true).build()?))
    }
}

fn views(
    data_type: &DataType,
    ends: &[usize],
    values: &[u8],
    nulls: Option<&NullBuffer>,
) -> Result<ArrayRef, ArrowError> {
    let mut start = 0;
    let values = ends.iter().enumerate().map(|(index, &end)| {
        let value = &values[std::mem::replace(&mut start, end)..end];
        (!nulls.is_some_and(|nulls| nulls.is_null(index))).then_some(value)
    });
    if *data_type == DataType::BinaryView {
        let mut views = BinaryViewBuilder::new();
        values.for_each(|value| views.append_option(value));
        return Ok(Arc::new(views.finish()));
    }
    let mut views = StringViewBuilder::new();
    for value in values {
        let text = value.map(str::from_utf8).transpose();
        views.append_option(text.map_err(|_| OtherType)?);
    }
    Ok(Arc::new(views.finish()))
}

/// The offsets of values that end there.
fn offsets(ends: &[usize], large: bool) -> Result<Buffer, ArrowError> {
    let ends = std::iter::once(0).chain(ends.iter().copied());
    if large {
        let offsets: Vec<i64> = ends.map(|end| end as i64).collect();
        return Ok(Buffer::from_vec(offsets));
    }
    let offsets = ends.map(i32::try_from).collect::<Result<Vec<_>, _>>();
    let offsets = offsets.map_err(|_| ArrowError::OffsetOverflowError(i32::MAX as usize))?;
    Ok(Buffer::from_vec(offsets))
}

/// A whole number in a column of integers that hold it, or of floats.
fn encode_number(data_type: &DataType, value: i128) -> Result<Vec<u8>, OtherType> {
    let wrong = |_| OtherType;
    Ok(match data_type {
        DataType::Int8 => i8::try_from(value).map_err(wrong)?.to_le_bytes().into(),
        DataType::Int16 => i16::try_from(value).map_err(wrong)?.to_le_bytes().into(),
        DataType::Int32 => i32::try_from(value).map_err(wrong)?.to_le_bytes().into(),
        DataType::Int64 => i64::try_from(value).map_err(wrong)?.to_le_bytes().into(),
        DataType::UInt8 => u8::try_from(value).map_err(wrong)?.to_le_bytes().into(),
        DataType::UInt16 => u16::try_from(value).map_err(wrong)?.to_le_bytes().into(),
        DataType::UInt32 => u32::try_from(value).map_err(wrong)?.to_le_bytes().into(),
        DataType::UInt64 => u64::try_from(value).map_err(wrong)?.to_le_bytes().into(),
        DataType::Float64 => (value as f64).to_le_bytes().into(),
        _ => return Err(OtherType),
    })
}

fn take<'a>(encoded: &mut &'a [u8], count: usize) -> Result<&'a [u8], OtherType> {
    encoded.split_off(..count).ok_or(OtherType)
}

fn take_length(encoded: &mut &[u8]) -> Result<usize, OtherType> {
    let length = take(encoded, 4)?.first_chunk().copied().ok_or(OtherType)?;
    Ok(u32::from_le_bytes(length) as usize)
}
