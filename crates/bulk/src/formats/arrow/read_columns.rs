//! Rows from Arrow record batches, for Arrow IPC and Parquet.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::read_options::ReadOptions;
use crate::row::{Cell, CellType, Row};

/// The columns that a row is made of, each as a path of names from the outermost struct inwards.
#[derive(Debug, Clone)]
pub struct ReadColumns {
    text: Vec<String>,
    id: Option<Vec<String>>,
    kept: Vec<Vec<String>>,
    kept_types: Vec<CellType>,
    options: Arc<ReadOptions>,
}

impl ReadColumns {
    /// Finds the columns in the schema of the file `name`.
    pub fn find(name: &str, schema: &Schema, options: Arc<ReadOptions>) -> Result<Self> {
        let find = |wanted: &str, fits: &dyn Fn(&DataType) -> bool, use_of_it: &str| {
            let present = || leaf_names(schema.fields());
            let Some((path, field)) = find_path(schema.fields(), wanted) else {
                let problem = format!("no column \"{wanted}\"");
                return Err(Error::bad_column(name, &problem, &present()));
            };
            let data_type = field.data_type();
            if !fits(data_type) {
                let problem = format!("the column \"{wanted}\" is {data_type}, {use_of_it}");
                return Err(Error::bad_column(name, &problem, &present()));
            }
            Ok((path, cell_type(data_type)))
        };
        let text_types = |data_type: &DataType| is_string(data_type) || is_binary(data_type);
        let id_types = |data_type: &DataType| !data_type.is_nested() && !is_binary(data_type);
        let kept_types = |data_type: &DataType| !is_binary(data_type);
        let (text, _) = find(&options.field, &text_types, "not a string")?;
        let id = options.id_field.as_ref();
        let id = id.map(|id| find(id, &id_types, "no id")).transpose()?;
        let mut kept = Vec::new();
        let mut types = Vec::new();
        for column in &options.keep {
            let (path, kept_type) = find(column, &kept_types, "which cannot be carried along")?;
            kept.push(path);
            types.push(kept_type);
        }
        Ok(Self {
            text,
            id: id.map(|(path, _)| path),
            kept,
            kept_types: types,
            options,
        })
    }

    /// What the cells of each kept column are.
    pub fn kept_types(&self) -> Vec<Option<CellType>> {
        self.kept_types.iter().copied().map(Some).collect()
    }

    /// The names of the columns and structs to read, from the outermost inwards.
    pub fn paths(&self) -> impl Iterator<Item = &Vec<String>> {
        let first = std::iter::once(&self.text);
        first.chain(&self.id).chain(&self.kept)
    }

    /// The rows of a batch that has these columns.
    pub fn batch(&self, batch: &RecordBatch) -> Result<RowsOfBatch, String> {
        let nest = |path: &Vec<String>| Nest::new(batch, path);
        Ok(RowsOfBatch {
            text: nest(&self.text)?,
            id: self.id.as_ref().map(nest).transpose()?,
            kept: self.kept.iter().map(nest).collect::<Result<_, _>>()?,
            options: Arc::clone(&self.options),
            rows: batch.num_rows(),
        })
    }
}

/// The rows of one record batch.
pub struct RowsOfBatch {
    text: Nest,
    id: Option<Nest>,
    kept: Vec<Nest>,
    options: Arc<ReadOptions>,
    rows: usize,
}

impl RowsOfBatch {
    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The row of this index, which is at `line` in the file.
    pub fn row(&self, index: usize, line: u64) -> Row {
        let mut row = Row::at_line(line);
        row.outcome = self.read(index, &mut row);
        row
    }

    fn read(&self, index: usize, row: &mut Row) -> Result<String, String> {
        let about = |name: &str, problem| format!("the column \"{name}\" {problem}");
        for (nest, name) in self.kept.iter().zip(&self.options.keep) {
            row.kept.push(nest.cell(index).map_err(|e| about(name, e))?);
        }
        if let (Some(nest), Some(name)) = (&self.id, &self.options.id_field) {
            row.id = match nest.cell(index).map_err(|e| about(name, e))? {
                Cell::Null => return Err(about(name, "is null, no id".into())),
                Cell::Bool(value) => Some(value.to_string()),
                Cell::Integer(value) => Some(value.to_string()),
                Cell::Float(value) => Some(value.to_string()),
                Cell::Text(value) => Some(value),
            };
        }
        self.text(index).map_err(|e| about(&self.options.field, e))
    }

    fn text(&self, index: usize) -> Result<String, String> {
        let bytes = self
            .text
            .value(index)
            .and_then(|(leaf, at)| bytes(leaf, at));
        let bytes = bytes.ok_or("is null")?;
        let limit = self.options.max_row_bytes;
        if bytes.len() > limit {
            return Err(lanewise_lines::too_long(bytes.len() as u64, limit));
        }
        lanewise_lines::text(bytes.to_vec())
    }
}

/// A column with the structs around it, the outermost first: a null in any of them is a null.
struct Nest(Vec<ArrayRef>);

impl Nest {
    fn new(batch: &RecordBatch, path: &[String]) -> Result<Self, String> {
        let missing = || format!("a record batch has no column {}", path.join("."));
        let (first, inner) = path.split_first().ok_or_else(missing)?;
        let mut nest = vec![Arc::clone(batch.column_by_name(first).ok_or_else(missing)?)];
        for name in inner {
            let outer = nest.last().and_then(|outer| outer.as_struct_opt());
            let column = outer.and_then(|outer| outer.column_by_name(name));
            nest.push(Arc::clone(column.ok_or_else(missing)?));
        }
        Ok(Self(nest))
    }

    /// The array and index of the value, dictionaries resolved; `None` for a null.
    fn value(&self, index: usize) -> Option<(&dyn Array, usize)> {
        let (leaf, structs) = self.0.split_last()?;
        if structs.iter().any(|outer| outer.is_null(index)) {
            return None;
        }
        value(leaf, index)
    }

    fn cell(&self, index: usize) -> Result<Cell, String> {
        match self.value(index) {
            Some((leaf, at)) => cell(leaf, at),
            None => Ok(Cell::Null),
        }
    }
}

fn value(array: &dyn Array, index: usize) -> Option<(&dyn Array, usize)> {
    if array.is_null(index) || *array.data_type() == DataType::Null {
        return None;
    }
    match array.as_any_dictionary_opt() {
        Some(dictionary) => {
            let key = integer(dictionary.keys(), index)?;
            value(dictionary.values().as_ref(), usize::try_from(key).ok()?)
        }
        None => Some((array, index)),
    }
}

/// The bytes of a string or binary value.
fn bytes(array: &dyn Array, index: usize) -> Option<&[u8]> {
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

fn integer(array: &dyn Array, index: usize) -> Option<i128> {
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

fn float(array: &dyn Array, index: usize) -> Option<f64> {
    Some(match array.data_type() {
        DataType::Float16 => array.as_primitive::<Float16Type>().value(index).into(),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(index).into(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(index),
        _ => return None,
    })
}

/// A value that is not null, of the type that [`cell_type`] gives for the array's.
fn cell(array: &dyn Array, index: usize) -> Result<Cell, String> {
    if let Some(bytes) = bytes(array, index) {
        return lanewise_lines::text(bytes.to_vec()).map(Cell::Text);
    }
    if let Some(number) = integer(array, index) {
        return Ok(match i64::try_from(number) {
            Ok(number) if *array.data_type() != DataType::UInt64 => Cell::Integer(number),
            _ => Cell::Text(number.to_string()),
        });
    }
    if let Some(number) = float(array, index) {
        return Ok(Cell::Float(number));
    }
    if let Some(values) = array.as_boolean_opt() {
        return Ok(Cell::Bool(values.value(index)));
    }
    if array.data_type().is_nested() {
        let mut budget = MOST_JSON_VALUES;
        return Ok(Cell::Text(json(array, index, &mut budget)?.to_string()));
    }
    display(array, index).map(Cell::Text)
}

/// What the cells of a column are. A `u64` is text, since neither other number holds all of them.
fn cell_type(data_type: &DataType) -> CellType {
    match data_type {
        DataType::Dictionary(_, values) => cell_type(values),
        DataType::Boolean => CellType::Bool,
        DataType::UInt64 => CellType::Text,
        integer if integer.is_integer() => CellType::Integer,
        float if float.is_floating() => CellType::Float,
        _ => CellType::Text,
    }
}

/// Dates, times, decimals and the like, as Arrow displays them.
fn display(array: &dyn Array, index: usize) -> Result<String, String> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array, &options).map_err(|error| error.to_string())?;
    let text = formatter.value(index).try_to_string();
    text.map_err(|error| format!("cannot be shown: {error}"))
}

/// How many values a nested one may contain. Lists of nulls take no space in a file, however long
/// they are.
const MOST_JSON_VALUES: usize = 1 << 20;

/// A value as JSON: structs and maps are objects, lists are arrays.
fn json(array: &dyn Array, index: usize, budget: &mut usize) -> Result<Value, String> {
    *budget = budget
        .checked_sub(1)
        .ok_or_else(|| format!("holds more than {MOST_JSON_VALUES} values"))?;
    let Some((array, index)) = value(array, index) else {
        return Ok(Value::Null);
    };
    let mut list = |values: ArrayRef| -> Result<Value, String> {
        let values = (0..values.len()).map(|index| json(&values, index, budget));
        values.collect::<Result<_, _>>().map(Value::Array)
    };
    Ok(match array.data_type() {
        DataType::List(_) => list(array.as_list::<i32>().value(index))?,
        DataType::LargeList(_) => list(array.as_list::<i64>().value(index))?,
        DataType::FixedSizeList(..) => list(array.as_fixed_size_list().value(index))?,
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            let members = columns
                .map(|(field, column)| Ok((field.name().clone(), json(column, index, budget)?)));
            Value::Object(members.collect::<Result<_, String>>()?)
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(index);
            let (keys, values) = (entries.column(0), entries.column(1));
            let members = (0..entries.len()).map(|index| {
                let key = match json(keys, index, budget)? {
                    Value::String(key) => key,
                    other => other.to_string(),
                };
                Ok((key, json(values, index, budget)?))
            });
            Value::Object(members.collect::<Result<_, String>>()?)
        }
        other if other.is_nested() => Value::String(display(array, index)?),
        _ => match cell(array, index)? {
            Cell::Null => Value::Null,
            Cell::Bool(value) => value.into(),
            Cell::Integer(value) => value.into(),
            Cell::Float(value) => value.into(),
            Cell::Text(value) => value.into(),
        },
    })
}

fn is_string(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_string(values),
        other => other.is_string(),
    }
}

fn is_binary(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_binary(values),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => true,
        _ => false,
    }
}

/// The field at a path of names separated by dots. A name may contain dots: the longest one that
/// exists counts.
fn find_path<'a>(fields: &'a Fields, path: &str) -> Option<(Vec<String>, &'a FieldRef)> {
    if let Some((_, field)) = fields.find(path) {
        return Some((vec![path.to_owned()], field));
    }
    path.rmatch_indices('.').find_map(|(dot, _)| {
        let (_, outer) = fields.find(&path[..dot])?;
        let DataType::Struct(inner) = outer.data_type() else {
            return None;
        };
        let (names, field) = find_path(inner, &path[dot + 1..])?;
        let outermost = path[..dot].to_owned();
        Some((std::iter::once(outermost).chain(names).collect(), field))
    })
}

/// The paths of the columns that have values.
fn leaf_names(fields: &Fields) -> Vec<String> {
    let mut names = Vec::new();
    for field in fields {
        match field.data_type() {
            DataType::Struct(inner) => {
                let inner = leaf_names(inner);
                names.extend(inner.iter().map(|name| format!("{}.{name}", field.name())));
            }
            _ => names.push(field.name().clone()),
        }
    }
    names
}

/// The schema with the type of every column, also nested ones, replaced by what `change` returns.
pub fn map_types(schema: &Schema, change: &dyn Fn(&DataType) -> Option<DataType>) -> Schema {
    let fields = map_fields(schema.fields(), change);
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

fn map_fields(fields: &Fields, change: &dyn Fn(&DataType) -> Option<DataType>) -> Fields {
    fields
        .iter()
        .map(|field| map_field(field, change))
        .collect()
}

fn map_field(field: &Field, change: &dyn Fn(&DataType) -> Option<DataType>) -> FieldRef {
    let data_type = map_type(field.data_type(), change);
    Arc::new(field.clone().with_data_type(data_type))
}

fn map_type(data_type: &DataType, change: &dyn Fn(&DataType) -> Option<DataType>) -> DataType {
    if let Some(changed) = change(data_type) {
        return changed;
    }
    match data_type {
        DataType::Struct(fields) => DataType::Struct(map_fields(fields, change)),
        DataType::List(field) => DataType::List(map_field(field, change)),
        DataType::LargeList(field) => DataType::LargeList(map_field(field, change)),
        DataType::FixedSizeList(field, size) => {
            DataType::FixedSizeList(map_field(field, change), *size)
        }
        DataType::Map(field, sorted) => DataType::Map(map_field(field, change), *sorted),
        DataType::Dictionary(keys, values) => {
            DataType::Dictionary(keys.clone(), Box::new(map_type(values, change)))
        }
        other => other.clone(),
    }
}
