//! Rows from Arrow record batches, for Arrow IPC and Parquet.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema};

use super::batches::{BatchColumns, BatchRows};
use super::show::shown;
use super::value::{bytes, carried, cell, cell_type, is_binary, is_string, value};
use crate::error::{Error, Result};
use crate::read_options::ReadOptions;
use crate::row::{Cell, CellType, ColumnTypes, Row};

/// The columns that a row is made of.
#[derive(Debug, Clone)]
pub struct ReadColumns {
    /// `None` if texts are not read.
    text: Option<ReadColumn>,
    id: Option<ReadColumn>,
    kept: Vec<ReadColumn>,
    options: Arc<ReadOptions>,
}

/// A column that is read.
#[derive(Debug, Clone)]
struct ReadColumn {
    /// Its name behind those of the structs that it is in, from the outermost inwards.
    path: Vec<String>,
    /// The type that it has in an output.
    data_type: DataType,
    /// Whether it has that type in all files.
    has_type: bool,
}

impl ReadColumn {
    fn cell_type(&self) -> CellType {
        cell_type(self.data_type.clone())
    }

    fn use_type(&mut self, over_all: Option<&CellType>) {
        self.has_type = over_all == Some(&self.cell_type());
    }
}

impl ReadColumns {
    /// Finds the columns in the schema of the file `name`, that of the texts only if they are to be
    /// read. `more` may say more of their types, where the format itself cannot.
    pub fn find(
        name: &str,
        schema: &Schema,
        more: Option<&Schema>,
        with_text: bool,
        options: Arc<ReadOptions>,
    ) -> Result<Self> {
        let fields = schema.fields();
        let find = |wanted: &str, fits: &dyn Fn(&DataType) -> bool, use_of_it: &str| {
            let bad = |problem: &str| Error::bad_column(name, problem, &leaf_names(fields));
            let found = find_path(fields, wanted);
            let found = found.map_err(|twice| bad(&format!("more than one column \"{twice}\"")))?;
            let Some((path, field)) = found else {
                return Err(Error::no_column(name, wanted, &leaf_names(fields)));
            };
            let unfit = |why: &str| {
                let data_type = field.data_type();
                bad(&format!("the column \"{wanted}\" is {data_type}, {why}"))
            };
            if !fits(field.data_type()) {
                return Err(unfit(use_of_it));
            }
            let data_type = carried(field.data_type()).map_err(unfit)?;
            let hint = more.and_then(|schema| field_at(schema.fields(), &path));
            let hint = hint.and_then(|hint| carried(hint.data_type()).ok());
            let data_type = match hint {
                Some(hint) => with_hint(&data_type, &hint),
                None => data_type,
            };
            Ok(ReadColumn {
                path,
                data_type,
                has_type: true,
            })
        };
        let text_types = |data_type: &DataType| is_string(data_type) || is_binary(data_type);
        let id_types = |data_type: &DataType| {
            !data_type.is_nested() || matches!(data_type, DataType::RunEndEncoded(..))
        };
        let text = with_text
            .then(|| find(&options.field, &text_types, "not a string"))
            .transpose()?;
        let id = options.id_field.as_ref();
        let id = id.map(|id| find(id, &id_types, "no id")).transpose()?;
        let kept = options
            .keep
            .iter()
            .map(|column| find(column, &|_| true, ""));
        Ok(Self {
            text,
            id,
            kept: kept.collect::<Result<_>>()?,
            options,
        })
    }

    /// What the cells of each column are.
    pub fn types(&self) -> ColumnTypes {
        ColumnTypes {
            id: self.id.as_ref().map(ReadColumn::cell_type),
            kept: self
                .kept
                .iter()
                .map(|column| Some(column.cell_type()))
                .collect(),
        }
    }

    /// Takes the types over all files.
    pub fn use_types(&mut self, types: &ColumnTypes) {
        if let Some(id) = &mut self.id {
            id.use_type(types.id.as_ref());
        }
        for (column, over_all) in self.kept.iter_mut().zip(&types.kept) {
            column.use_type(over_all.as_ref());
        }
    }
}

impl BatchColumns for ReadColumns {
    type Rows = RowsOfBatch;

    fn paths(&self) -> impl Iterator<Item = &Vec<String>> {
        let first = self.text.iter();
        first
            .chain(&self.id)
            .chain(&self.kept)
            .map(|column| &column.path)
    }

    fn batch(&self, batch: &RecordBatch) -> Result<RowsOfBatch, String> {
        let column = |column: &ReadColumn| Ok((Nest::new(batch, &column.path)?, column.clone()));
        Ok(RowsOfBatch {
            text: match &self.text {
                Some(text) => Some(Nest::new(batch, &text.path)?),
                None => None,
            },
            id: self.id.as_ref().map(column).transpose()?,
            kept: self
                .kept
                .iter()
                .map(column)
                .collect::<Result<_, String>>()?,
            options: Arc::clone(&self.options),
            rows: batch.num_rows(),
        })
    }
}

/// The rows of one record batch.
pub struct RowsOfBatch {
    text: Option<Nest>,
    id: Option<(Nest, ReadColumn)>,
    kept: Vec<(Nest, ReadColumn)>,
    options: Arc<ReadOptions>,
    rows: usize,
}

impl BatchRows for RowsOfBatch {
    fn rows(&self) -> usize {
        self.rows
    }
}

impl RowsOfBatch {
    /// The row of this index, which is at `line` in the file.
    pub fn row(&self, index: usize, line: u64) -> Row {
        let mut row = Row::at_line(line);
        row.outcome = self.read(index, &mut row);
        row
    }

    fn read(&self, index: usize, row: &mut Row) -> Result<String, String> {
        let about = |name: &str, problem| format!("the column \"{name}\" {problem}");
        let cell = |(nest, column): &(Nest, ReadColumn), name: &str| {
            let cell = nest.cell(column, index, self.options.max_row_bytes);
            cell.map_err(|problem| about(name, problem))
        };
        for (column, name) in self.kept.iter().zip(&self.options.keep) {
            row.kept.push(cell(column, name)?);
        }
        if let (Some(column), Some(name)) = (&self.id, &self.options.id_field) {
            row.id = match cell(column, name)? {
                Cell::Null => return Err(about(name, "is null, no id".into())),
                id => Some(id),
            };
        }
        self.text(index).map_err(|e| about(&self.options.field, e))
    }

    fn text(&self, index: usize) -> Result<String, String> {
        let Some(text) = &self.text else {
            return Ok(String::new());
        };
        let bytes = text.value(index).and_then(|(leaf, at)| bytes(leaf, at));
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

    fn cell(&self, column: &ReadColumn, index: usize, most_bytes: usize) -> Result<Cell, String> {
        let Some((leaf, at)) = self.value(index) else {
            return Ok(Cell::Null);
        };
        match cell(&column.data_type, leaf, at, most_bytes)? {
            Cell::Arrow(encoded) if !column.has_type => {
                shown(&column.data_type, &encoded).ok_or_else(|| "cannot be shown".into())
            }
            cell => Ok(cell),
        }
    }
}

/// A type with what another says of it that the values have as well: kinds of strings, bytes and
/// lists, time zones, durations.
fn with_hint(found: &DataType, hint: &DataType) -> DataType {
    let item = |found: &FieldRef, hint: &FieldRef| -> FieldRef {
        let data_type = with_hint(found.data_type(), hint.data_type());
        Arc::new(found.as_ref().clone().with_data_type(data_type))
    };
    match (found, hint) {
        (found, hint) if found.is_string() && hint.is_string() => hint.clone(),
        (found, hint) if is_binary(found) && is_binary(hint) => hint.clone(),
        (DataType::Timestamp(unit, Some(_)), DataType::Timestamp(_, Some(zone))) => {
            DataType::Timestamp(*unit, Some(Arc::clone(zone)))
        }
        (DataType::Int64, DataType::Duration(_)) => hint.clone(),
        (DataType::List(a), DataType::List(b)) => DataType::List(item(a, b)),
        (DataType::List(a), DataType::LargeList(b)) => DataType::LargeList(item(a, b)),
        (DataType::List(a), DataType::FixedSizeList(b, size)) => {
            DataType::FixedSizeList(item(a, b), *size)
        }
        (DataType::Struct(a), DataType::Struct(b))
            if a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.name() == b.name()) =>
        {
            DataType::Struct(a.iter().zip(b).map(|(a, b)| item(a, b)).collect())
        }
        (DataType::Map(a, sorted), DataType::Map(b, _)) => DataType::Map(item(a, b), *sorted),
        _ => found.clone(),
    }
}

/// The field of these names, from the outermost inwards.
fn field_at<'a>(fields: &'a Fields, path: &[String]) -> Option<&'a FieldRef> {
    let (first, inner) = path.split_first()?;
    let (_, field) = fields.find(first)?;
    match field.data_type() {
        _ if inner.is_empty() => Some(field),
        DataType::Struct(fields) => field_at(fields, inner),
        _ => None,
    }
}

/// The field at a path of names separated by dots. A name may contain dots: the longest one that
/// exists counts. The error is a name that two fields have.
type Found<'a> = Result<Option<(Vec<String>, &'a FieldRef)>, String>;

fn find_path<'a>(fields: &'a Fields, path: &str) -> Found<'a> {
    if let Some(field) = find_one(fields, path)? {
        return Ok(Some((vec![path.to_owned()], field)));
    }
    for (dot, _) in path.rmatch_indices('.') {
        let (name, rest) = (&path[..dot], &path[dot + 1..]);
        if let Some(outer) = find_one(fields, name)?
            && let DataType::Struct(inner) = outer.data_type()
        {
            let found = find_path(inner, rest).map_err(|twice| format!("{name}.{twice}"))?;
            if let Some((names, field)) = found {
                let outermost = std::iter::once(name.to_owned());
                return Ok(Some((outermost.chain(names).collect(), field)));
            }
        }
    }
    Ok(None)
}

fn find_one<'a>(fields: &'a Fields, name: &str) -> Result<Option<&'a FieldRef>, String> {
    let mut named = fields.iter().filter(|field| field.name() == name);
    match (named.next(), named.next()) {
        (_, Some(_)) => Err(name.to_owned()),
        (field, None) => Ok(field),
    }
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
        DataType::ListView(field) => DataType::ListView(map_field(field, change)),
        DataType::LargeListView(field) => DataType::LargeListView(map_field(field, change)),
        DataType::RunEndEncoded(ends, values) => {
            DataType::RunEndEncoded(Arc::clone(ends), map_field(values, change))
        }
        other => other.clone(),
    }
}
