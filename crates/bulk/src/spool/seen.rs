//! What the cells of a column are, where the input does not say so: the column's type follows from
//! all of them.

use super::wire::{Decoder, Encoder, Malformed};
use crate::row::{Cell, CellType};

const BOOL: u16 = 1;
const INTEGER: u16 = 1 << 1;
const NEGATIVE: u16 = 1 << 2;
const UNSIGNED: u16 = 1 << 3;
/// Whole numbers that are others as floats.
const NO_FLOAT: u16 = 1 << 4;
const FLOAT: u16 = 1 << 5;
const TEXT: u16 = 1 << 6;
const BYTES: u16 = 1 << 7;
const NOT_UTF_8: u16 = 1 << 8;

/// The types of the cells of a column that have been seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeenTypes(u16);

impl SeenTypes {
    /// Adds a cell.
    pub fn see(&mut self, cell: &Cell) {
        self.0 |= match cell {
            Cell::Null | Cell::Arrow(_) => 0,
            Cell::Bool(_) => BOOL,
            Cell::Integer(value) => {
                INTEGER
                    | flag(*value < 0, NEGATIVE)
                    | flag(*value as f64 as i128 != i128::from(*value), NO_FLOAT)
            }
            Cell::Unsigned(value) => {
                UNSIGNED | flag(*value as f64 as u128 != u128::from(*value), NO_FLOAT)
            }
            Cell::Float(_) => FLOAT,
            Cell::Text(_) | Cell::Json(_) => TEXT,
            Cell::Bytes(bytes) => BYTES | flag(str::from_utf8(bytes).is_err(), NOT_UTF_8),
        };
    }

    /// Adds what another has seen.
    pub fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// The narrowest type that holds all of them as they are, or text; text for a column of nulls.
    pub fn common(self) -> CellType {
        const NUMBERS: u16 = INTEGER | NEGATIVE | UNSIGNED | NO_FLOAT | FLOAT;
        match self.0 {
            BOOL => CellType::Bool,
            0 => CellType::Text,
            seen if seen & !(INTEGER | NEGATIVE | NO_FLOAT) == 0 => CellType::Integer,
            seen if seen & !(INTEGER | UNSIGNED | NO_FLOAT) == 0 => CellType::Unsigned,
            seen if seen & !(NUMBERS ^ NO_FLOAT) == 0 && seen & FLOAT != 0 => CellType::Float,
            seen if seen & !(BYTES | NOT_UTF_8) == 0 => CellType::Bytes,
            _ => CellType::Text,
        }
    }

    /// Whether a column of a type that its input stated has these cells, read back from a format
    /// without such types: truth values, numbers or texts. Anything else has been shown as text there.
    pub fn fit(self, stated: &CellType) -> bool {
        let found = self.common();
        let integer = |found| matches!(found, CellType::Integer | CellType::Unsigned);
        let fits = match stated {
            CellType::Arrow(stated) if stated.is_integer() => integer(found),
            CellType::Arrow(stated) if stated.is_floating() => found == CellType::Float,
            CellType::Arrow(stated) => stated.is_string() && found == CellType::Text,
            CellType::Unsigned => integer(found) && self.0 & NEGATIVE == 0,
            CellType::Bytes => false,
            stated => found == *stated,
        };
        fits || self.0 == 0
    }

    /// Whether all bytes that were seen are UTF-8.
    pub fn bytes_are_text(self) -> bool {
        self.0 & NOT_UTF_8 == 0
    }

    pub(super) fn encode(self, out: &mut Encoder<'_>) {
        out.u16(self.0);
    }

    pub(super) fn decode(payload: &mut Decoder<'_>) -> Result<Self, Malformed> {
        payload.u16().map(Self)
    }
}

fn flag(holds: bool, flag: u16) -> u16 {
    if holds { flag } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_has_the_narrowest_type_that_changes_no_cell() {
        let common = |cells: &[Cell]| {
            let mut seen = SeenTypes::default();
            cells.iter().for_each(|cell| seen.see(cell));
            seen.common()
        };
        let exact = 1_i64 << 53;
        let (integer, float) = (Cell::Integer, Cell::Float(0.5));
        assert_eq!(common(&[Cell::Null]), CellType::Text);
        assert_eq!(common(&[Cell::Null, Cell::Bool(true)]), CellType::Bool);
        assert_eq!(common(&[integer(-1), integer(i64::MAX)]), CellType::Integer);
        let large = Cell::Unsigned(u64::MAX);
        assert_eq!(common(&[integer(1), large.clone()]), CellType::Unsigned);
        assert_eq!(common(&[integer(-1), large.clone()]), CellType::Text);
        assert_eq!(common(&[integer(-exact), float.clone()]), CellType::Float);
        assert_eq!(common(&[integer(exact + 1), float.clone()]), CellType::Text);
        assert_eq!(common(&[large, float.clone()]), CellType::Text);
        assert_eq!(common(&[Cell::Bool(true), integer(1)]), CellType::Text);
        let bytes = |byte| Cell::Bytes(vec![byte]);
        assert_eq!(common(&[bytes(b'a'), bytes(0xff)]), CellType::Bytes);
        assert_eq!(
            common(&[bytes(b'a'), Cell::Text("a".into())]),
            CellType::Text
        );
        assert_eq!(common(&[Cell::Text("a".into()), float]), CellType::Text);
    }
}
