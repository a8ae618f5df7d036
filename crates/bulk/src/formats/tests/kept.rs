//! Columns of Parquet and Arrow that are carried along.

use arrow_array::builder::{Int64Builder, MapBuilder, StringBuilder};
use arrow_array::types::{Float64Type, Int32Type, IntervalMonthDayNano};
use arrow_array::{
    Array, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array,
    DurationMillisecondArray, FixedSizeBinaryArray, FixedSizeListArray, Float32Array, Float64Array,
    Int8Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, LargeBinaryArray,
    LargeStringArray, ListArray, NullArray, StringArray, StringViewArray, StructArray,
    Time64MicrosecondArray, TimestampMillisecondArray, UInt8Array, UInt64Array,
};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field};

use super::columnar::written;
use super::*;
use crate::formats::arrow::{Column, data_type};

/// One column of each type that can be carried along, with a null as the second value.
fn every_type() -> Vec<(&'static str, ArrayRef)> {
    let numbers = [Some(vec![Some(1), None]), None, Some(vec![])];
    let list = || ListArray::from_iter_primitive::<Int32Type, _, _>(numbers.clone());
    let floats = vec![
        Some(vec![Some(f64::NAN), Some(-0.0)]),
        None,
        Some(vec![None, Some(0.1)]),
    ];
    let fixed = FixedSizeListArray::from_iter_primitive::<Float64Type, _, _>(floats, 2);
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    map.keys().append_value("a");
    map.values().append_value(i64::MAX);
    map.append(true).unwrap();
    map.append(false).unwrap();
    map.append(true).unwrap();
    let inner = Arc::new(Field::new("inner", list().data_type().clone(), true));
    let nulls = NullBuffer::from(vec![true, false, true]);
    let nested = StructArray::new(vec![inner].into(), vec![Arc::new(list())], Some(nulls));
    let times = || TimestampMillisecondArray::from(vec![Some(-1), None, Some(1_500)]);
    let texts = [Some("a"), None, Some("")];
    let bytes = [Some(&b"\xff"[..]), None, Some(b"")];
    let fixed_bytes = [Some([0xff, 1]), None, Some([0, 0])];
    let fixed_bytes = FixedSizeBinaryArray::try_from_sparse_iter_with_size(
        fixed_bytes.iter().map(|v| v.as_ref()),
        2,
    );
    let months = [Some(IntervalMonthDayNano::new(1, 2, 3)), None, None];
    vec![
        (
            "bool",
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        ),
        (
            "i8",
            Arc::new(Int8Array::from(vec![Some(-128), None, Some(127)])),
        ),
        (
            "i32",
            Arc::new(Int32Array::from(vec![Some(-1), None, Some(7)])),
        ),
        (
            "i64",
            Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(7)])),
        ),
        (
            "u8",
            Arc::new(UInt8Array::from(vec![Some(255), None, Some(7)])),
        ),
        (
            "u64",
            Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(7)])),
        ),
        (
            "f32",
            Arc::new(Float32Array::from(vec![Some(0.1), None, Some(f32::NAN)])),
        ),
        (
            "f64",
            Arc::new(Float64Array::from(vec![
                Some(0.1),
                None,
                Some(f64::INFINITY),
            ])),
        ),
        ("text", Arc::new(StringArray::from(texts.to_vec()))),
        ("large", Arc::new(LargeStringArray::from(texts.to_vec()))),
        ("view", Arc::new(StringViewArray::from(texts.to_vec()))),
        ("binary", Arc::new(BinaryArray::from(bytes.to_vec()))),
        (
            "large binary",
            Arc::new(LargeBinaryArray::from(bytes.to_vec())),
        ),
        (
            "binary view",
            Arc::new(BinaryViewArray::from(bytes.to_vec())),
        ),
        ("fixed", Arc::new(fixed_bytes.unwrap())),
        (
            "day",
            Arc::new(Date32Array::from(vec![Some(-1), None, Some(365)])),
        ),
        ("then", Arc::new(times())),
        ("utc", Arc::new(times().with_timezone("UTC"))),
        ("zone", Arc::new(times().with_timezone("Europe/Zurich"))),
        ("nowhere", Arc::new(times().with_timezone("Mars/Phobos"))),
        (
            "time",
            Arc::new(Time64MicrosecondArray::from(vec![Some(1), None, Some(2)])),
        ),
        (
            "duration",
            Arc::new(DurationMillisecondArray::from(vec![Some(1), None, Some(2)])),
        ),
        (
            "months",
            Arc::new(IntervalMonthDayNanoArray::from(months.to_vec())),
        ),
        (
            "decimal",
            Arc::new(Decimal128Array::from(vec![
                Some(i128::from(i64::MAX) + 1),
                None,
                Some(2),
            ])),
        ),
        ("list", Arc::new(list())),
        ("list of a size", Arc::new(fixed)),
        ("map", Arc::new(map.finish())),
        ("struct", Arc::new(nested)),
        ("null", Arc::new(NullArray::new(3))),
    ]
}

/// The kept columns of all rows, as an output in Parquet or Arrow has them.
fn carried(rows: &[Row], types: &[Option<CellType>]) -> Vec<ArrayRef> {
    let column = |(index, kept): (usize, &Option<CellType>)| {
        let mut column = Column::new(&data_type(kept.as_ref().unwrap())).unwrap();
        rows.iter()
            .for_each(|row| column.push(&row.kept[index]).unwrap());
        column.finish().unwrap()
    };
    types.iter().enumerate().map(column).collect()
}

#[test]
fn kept_columns_of_every_type_arrive_as_they_were() {
    let text: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    for (column, array) in every_type() {
        let is_interval = matches!(array.data_type(), DataType::Interval(_));
        let columns = [("text", text.clone(), true), ("kept", array.clone(), true)];
        let whole = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let files = match is_interval {
            // Parquet has no interval of this kind.
            true => vec![("a.arrow", arrow_file(std::slice::from_ref(&whole), None))],
            false => written(std::slice::from_ref(&whole)),
        };
        for (name, bytes) in files {
            let directory = Directory::new();
            let path = directory.file(name, bytes);
            let options = ReadOptions {
                keep: vec!["kept".into()],
                ..options()
            };
            let rows = Rows::open(&[path], options).unwrap();
            let types = rows.kept_types().to_vec();
            let rows: Vec<Row> = rows.map(Result::unwrap).collect();
            let arrived = &carried(&rows, &types)[0];
            // NaN differs from itself, so the values are compared as they are displayed.
            assert_eq!(arrived.data_type(), array.data_type(), "{column} of {name}");
            assert_eq!(
                format!("{arrived:?}"),
                format!("{array:?}"),
                "{column} of {name}"
            );
        }
    }
}

#[test]
fn types_of_two_files_that_differ_are_decided_by_the_cells() {
    let text: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    let directory = Directory::new();
    for (column, array) in every_type() {
        let whole = batch(vec![("text", text.clone()), ("kept", array)]);
        let arrow = directory.file("a.arrow", arrow_file(&[whole], None));
        let json = directory.file("b.jsonl", "{\"text\":\"d\",\"kept\":null}");
        let keep = vec!["kept".into()];
        let rows = Rows::open(&[arrow, json], ReadOptions { keep, ..options() }).unwrap();
        assert_eq!(rows.kept_types(), [None], "{column}");
        for row in rows {
            let row = row.unwrap();
            assert!(
                !matches!(row.kept[0], Cell::Arrow(_)),
                "{column}: {:?}",
                row.kept[0]
            );
        }
    }
}

#[test]
fn values_without_a_natural_cell_are_shown_as_text() {
    let shown = |array: ArrayRef| -> Cell {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
        let directory = Directory::new();
        let whole = batch(vec![("text", text), ("kept", array)]);
        let arrow = directory.file("a.arrow", arrow_file(&[whole], None));
        let json = directory.file("b.jsonl", "{\"text\":\"d\",\"kept\":null}");
        let keep = vec!["kept".into()];
        let mut rows = Rows::open(&[arrow, json], ReadOptions { keep, ..options() }).unwrap();
        rows.next().unwrap().unwrap().kept.remove(0)
    };
    let json = |text: &str| Cell::Json(text.into());
    let text = |text: &str| Cell::Text(text.into());
    let expected = [
        ("fixed", text("ff01")),
        ("day", text("1969-12-31")),
        ("then", text("1969-12-31T23:59:59.999")),
        ("utc", text("1969-12-31T23:59:59.999Z")),
        ("zone", text("1970-01-01T00:59:59.999+01:00")),
        ("nowhere", text("1969-12-31T23:59:59.999Z")),
        ("time", text("00:00:00.000001")),
        ("decimal", text("0.9223372036854775808")),
        ("list", json("[1,null]")),
        ("list of a size", json("[\"NaN\",-0.0]")),
        ("map", json("{\"a\":9223372036854775807}")),
        ("struct", json("{\"inner\":[1,null]}")),
        ("null", Cell::Null),
    ];
    let mut columns = every_type();
    for (name, cell) in expected {
        let at = columns.iter().position(|(column, _)| *column == name);
        let (_, array) = columns.remove(at.unwrap());
        if name == "decimal" {
            let decimals = Decimal128Array::from(vec![i128::from(i64::MAX) + 1; 3]);
            let decimals = decimals.with_precision_and_scale(38, 19).unwrap();
            assert_eq!(shown(Arc::new(decimals)), cell);
        } else {
            assert_eq!(shown(array), cell, "{name}");
        }
    }
}
