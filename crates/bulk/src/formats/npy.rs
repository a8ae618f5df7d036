//! NumPy arrays, format version 1.0 (numpy.lib.format): a text header and the numbers, row by row.

use std::io::{self, Write};

use lanewise_vectors::Precision;

use super::RowWriter;
use super::jsonl::{Fields, JsonlWriter};
use crate::output::Layout;
use crate::row::{Embedded, Row};
use crate::staged::Staged;

/// The numbers begin at a multiple of this.
const ALIGNMENT: usize = 64;

/// An array of vectors in one precision, and a file of ids and other columns of its rows.
pub struct NpyWriter {
    array: Staged,
    ids: JsonlWriter,
}

impl NpyWriter {
    /// Writes the header.
    pub fn new(mut array: Staged, ids: Staged, layout: Layout) -> io::Result<Self> {
        let space = &layout.space;
        let precision = space.precision.first();
        let numbers = precision.numbers(space.dims);
        array.write_all(&header(precision, layout.rows, numbers))?;
        Ok(Self {
            array,
            ids: JsonlWriter::new(ids, layout, Fields::WithoutVector),
        })
    }
}

impl RowWriter for NpyWriter {
    fn row(&mut self, row: &Row<Embedded>, embedded: &Embedded) -> io::Result<()> {
        self.array.write_all(&embedded.vector)?;
        self.ids.write(row, embedded)
    }

    fn finish(self: Box<Self>) -> io::Result<Vec<Staged>> {
        Ok(vec![self.ids.into_file(), self.array])
    }
}

/// What every array begins with.
pub const MAGIC: &[u8] = b"\x93NUMPY";

/// What comes before the numbers of `rows` vectors.
pub fn header(precision: Precision, rows: u64, numbers: usize) -> Vec<u8> {
    let kind = match precision {
        Precision::F32 => "<f4",
        Precision::F16 => "<f2",
        Precision::I8 => "|i1",
        Precision::Binary => "|u1",
    };
    let mut text =
        format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({rows}, {numbers}), }}");
    let magic = [MAGIC, &[1, 0]].concat();
    // Magic, two bytes of length, the text, a newline at its end.
    let unpadded = magic.len() + 2 + text.len() + 1;
    let padding = unpadded.next_multiple_of(ALIGNMENT) - unpadded;
    text.extend(std::iter::repeat_n(' ', padding));
    text.push('\n');
    let length = text.len() as u16; // Two numbers never take 64 KB of text.
    [&magic[..], &length.to_le_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_ends_on_a_boundary_whatever_the_numbers() {
        for rows in [0, 5, 1_000_000, u64::MAX] {
            let header = header(Precision::F16, rows, 768);
            assert_eq!(header.len() % ALIGNMENT, 0);
            let length = u16::from_le_bytes([header[8], header[9]]) as usize;
            assert_eq!(10 + length, header.len());
            assert_eq!(header.last(), Some(&b'\n'));
            let text = String::from_utf8_lossy(&header[10..]);
            assert!(text.starts_with(&format!(
                "{{'descr': '<f2', 'fortran_order': False, 'shape': ({rows}, 768), }}"
            )));
        }
    }
}
