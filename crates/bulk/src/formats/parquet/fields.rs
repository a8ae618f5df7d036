//! The fields of Parquet's footer and page headers (parquet.thrift) and the kind of each.
//!
//! The parquet crate reads a field that it knows as the kind that it should be, whatever kind the
//! file states. The bytes of another kind would then be taken for the fields that follow: others
//! than were checked here, among them a list of 2^31 booleans, which take no bytes and which the
//! crate would iterate over.
//!
//! The tables hold the fields that version 60 of the crate knows; look at its structs again when it
//! is updated.

use super::thrift::{Thrift, kind};

/// What a field holds.
pub enum Value {
    Bool,
    I8,
    I16,
    I32,
    I64,
    Double,
    Binary,
    Struct(Fields),
    List(&'static Value),
}

/// Identifiers of a struct's or union's fields and what they hold.
pub type Fields = &'static [(i64, Value)];

/// Reads a whole struct. `None` if it is damaged, or a field that is known does not hold what it
/// should. Fields that are not known are passed over, as in the parquet crate.
pub fn check(thrift: &mut Thrift<'_>, fields: Fields) -> Option<()> {
    let mut id = 0;
    while let Some(kind) = thrift.field(&mut id)? {
        match fields.iter().find(|(known, _)| *known == id) {
            Some((_, value)) => check_value(thrift, kind, value)?,
            None => thrift.skip(kind)?,
        }
    }
    Some(())
}

fn check_value(thrift: &mut Thrift<'_>, kind: u8, value: &Value) -> Option<()> {
    match (value, kind) {
        (Value::Bool, kind::TRUE | kind::FALSE) => Some(()),
        (Value::Struct(fields), kind::STRUCT) => check(thrift, fields),
        (Value::List(element), kind::LIST) => {
            let (kind, count) = thrift.list()?;
            (0..count).try_for_each(|_| check_value(thrift, kind, element))
        }
        // The crate cuts larger numbers to these sizes.
        (Value::I16, kind::I16) => i16::try_from(thrift.zigzag()?).ok().map(drop),
        (Value::I32, kind::I32) => thrift.int32().map(drop),
        (Value::I8, kind::BYTE)
        | (Value::I64, kind::I64)
        | (Value::Double, kind::DOUBLE)
        | (Value::Binary, kind::BINARY) => thrift.skip(kind),
        _ => None,
    }
}

/// `FileMetaData`, the footer.
pub const FILE_METADATA: Fields = &[
    (1, Value::I32),
    (2, Value::List(&Value::Struct(SCHEMA_ELEMENT))),
    (3, Value::I64),
    (4, Value::List(&Value::Struct(ROW_GROUP))),
    (5, Value::List(&Value::Struct(KEY_VALUE))),
    (6, Value::Binary),
    (7, Value::List(&Value::Struct(COLUMN_ORDER))),
];

/// `PageHeader`.
pub const PAGE_HEADER: Fields = &[
    (1, Value::I32),
    (2, Value::I32),
    (3, Value::I32),
    (4, Value::I32),
    (5, Value::Struct(DATA_PAGE_HEADER)),
    (6, Value::Struct(&[])),
    (7, Value::Struct(DICTIONARY_PAGE_HEADER)),
    (8, Value::Struct(DATA_PAGE_HEADER_V2)),
];

const SCHEMA_ELEMENT: Fields = &[
    (1, Value::I32),
    (2, Value::I32),
    (3, Value::I32),
    (4, Value::Binary),
    (5, Value::I32),
    (6, Value::I32),
    (7, Value::I32),
    (8, Value::I32),
    (9, Value::I32),
    (10, Value::Struct(LOGICAL_TYPE)),
];

const LOGICAL_TYPE: Fields = &[
    (1, Value::Struct(&[])),
    (2, Value::Struct(&[])),
    (3, Value::Struct(&[])),
    (4, Value::Struct(&[])),
    (5, Value::Struct(&[(1, Value::I32), (2, Value::I32)])),
    (6, Value::Struct(&[])),
    (7, Value::Struct(TIME_TYPE)),
    (8, Value::Struct(TIME_TYPE)),
    (10, Value::Struct(&[(1, Value::I8), (2, Value::Bool)])),
    (11, Value::Struct(&[])),
    (12, Value::Struct(&[])),
    (13, Value::Struct(&[])),
    (14, Value::Struct(&[])),
    (15, Value::Struct(&[])),
    (16, Value::Struct(&[(1, Value::I8)])),
    (17, Value::Struct(&[(1, Value::Binary)])),
    (18, Value::Struct(&[(1, Value::Binary), (2, Value::I32)])),
    (19, Value::Struct(&[])),
];

/// `TimeType` and `TimestampType`.
const TIME_TYPE: Fields = &[(1, Value::Bool), (2, Value::Struct(TIME_UNIT))];

const TIME_UNIT: Fields = &[
    (1, Value::Struct(&[])),
    (2, Value::Struct(&[])),
    (3, Value::Struct(&[])),
];

const ROW_GROUP: Fields = &[
    (1, Value::List(&Value::Struct(COLUMN_CHUNK))),
    (2, Value::I64),
    (3, Value::I64),
    (4, Value::List(&Value::Struct(SORTING_COLUMN))),
    (5, Value::I64),
    (7, Value::I16),
];

const SORTING_COLUMN: Fields = &[(1, Value::I32), (2, Value::Bool), (3, Value::Bool)];

const COLUMN_CHUNK: Fields = &[
    (1, Value::Binary),
    (2, Value::I64),
    (3, Value::Struct(COLUMN_METADATA)),
    (4, Value::I64),
    (5, Value::I32),
    (6, Value::I64),
    (7, Value::I32),
];

const COLUMN_METADATA: Fields = &[
    (1, Value::I32),
    (2, Value::List(&Value::I32)),
    (4, Value::I32),
    (5, Value::I64),
    (6, Value::I64),
    (7, Value::I64),
    (9, Value::I64),
    (10, Value::I64),
    (11, Value::I64),
    (12, Value::Struct(STATISTICS)),
    (13, Value::List(&Value::Struct(PAGE_ENCODING_STATS))),
    (14, Value::I64),
    (15, Value::I32),
    (16, Value::Struct(SIZE_STATISTICS)),
    (17, Value::Struct(GEOSPATIAL_STATISTICS)),
];

const STATISTICS: Fields = &[
    (1, Value::Binary),
    (2, Value::Binary),
    (3, Value::I64),
    (4, Value::I64),
    (5, Value::Binary),
    (6, Value::Binary),
    (7, Value::Bool),
    (8, Value::Bool),
    (9, Value::I64),
];

const PAGE_ENCODING_STATS: Fields = &[(1, Value::I32), (2, Value::I32), (3, Value::I32)];

const SIZE_STATISTICS: Fields = &[
    (1, Value::I64),
    (2, Value::List(&Value::I64)),
    (3, Value::List(&Value::I64)),
];

const GEOSPATIAL_STATISTICS: Fields = &[
    (1, Value::Struct(BOUNDING_BOX)),
    (2, Value::List(&Value::I32)),
];

const BOUNDING_BOX: Fields = &[
    (1, Value::Double),
    (2, Value::Double),
    (3, Value::Double),
    (4, Value::Double),
    (5, Value::Double),
    (6, Value::Double),
    (7, Value::Double),
    (8, Value::Double),
];

const KEY_VALUE: Fields = &[(1, Value::Binary), (2, Value::Binary)];

const COLUMN_ORDER: Fields = &[
    (1, Value::Struct(&[])),
    (2, Value::Struct(&[])),
    (3, Value::Struct(&[])),
];

const DATA_PAGE_HEADER: Fields = &[
    (1, Value::I32),
    (2, Value::I32),
    (3, Value::I32),
    (4, Value::I32),
    (5, Value::Struct(STATISTICS)),
];

const DICTIONARY_PAGE_HEADER: Fields = &[(1, Value::I32), (2, Value::I32), (3, Value::Bool)];

const DATA_PAGE_HEADER_V2: Fields = &[
    (1, Value::I32),
    (2, Value::I32),
    (3, Value::I32),
    (4, Value::I32),
    (5, Value::I32),
    (6, Value::I32),
    (7, Value::Bool),
    (8, Value::Struct(STATISTICS)),
];
