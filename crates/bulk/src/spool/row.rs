//! The bytes of a row in the spool.

use super::wire::{Decoder, Encoder, Malformed};
use crate::digest::TextDigest;
use crate::row::{Cell, Embedded, Reading, Row};

const EMBEDDED: u8 = 0;
const REJECTED: u8 = 1;
/// Where a row's scale and vector begin, counted from its first byte.
pub(super) const VECTOR_OFFSET: usize = 8 + 4 + 8 + 1 + 8 + 1 + 4 + 16;

impl Row<Embedded> {
    /// Appends the row to a payload.
    pub(super) fn encode(&self, payload: &mut Vec<u8>) {
        let mut out = Encoder(payload);
        out.u64(self.index);
        out.u32(self.file);
        out.u64(self.line);
        match &self.outcome {
            Ok(embedded) => {
                let reading = &embedded.reading;
                out.u8(EMBEDDED);
                out.u64(reading.tokens);
                out.u8(reading.truncated.into());
                out.u32(reading.windows);
                out.0.extend(reading.digest.0);
                out.f32(embedded.scale);
                out.0.extend(&embedded.vector);
            }
            Err(reason) => {
                out.u8(REJECTED);
                out.bytes(reason.as_bytes());
            }
        }
        out.u8(self.id.is_some().into());
        if let Some(id) = &self.id {
            encode_cell(id, &mut out);
        }
        if self.outcome.is_ok() {
            let cells = self.kept.iter();
            cells.for_each(|cell| encode_cell(cell, &mut out));
        }
    }

    /// Takes a row with a vector of `vector_bytes` and `kept` columns from a payload.
    pub(super) fn decode(
        payload: &mut Decoder<'_>,
        vector_bytes: usize,
        kept: usize,
    ) -> Result<Self, Malformed> {
        let mut row = Self {
            index: payload.u64()?,
            file: payload.u32()?,
            line: payload.u64()?,
            id: None,
            kept: Vec::new(),
            outcome: match payload.u8()? {
                EMBEDDED => Ok(Embedded {
                    reading: Reading {
                        tokens: payload.u64()?,
                        truncated: decode_flag(payload)?,
                        windows: payload.u32()?,
                        digest: TextDigest(payload.array()?),
                    },
                    scale: payload.f32()?,
                    vector: payload.take(vector_bytes)?.into(),
                }),
                REJECTED => Err(payload.text()?),
                _ => return Err(Malformed),
            },
        };
        row.id = decode_flag(payload)?
            .then(|| decode_cell(payload))
            .transpose()?;
        if row.outcome.is_ok() {
            let cells = (0..kept).map(|_| decode_cell(payload));
            row.kept = cells.collect::<Result<_, _>>()?;
        }
        Ok(row)
    }
}

fn decode_flag(payload: &mut Decoder<'_>) -> Result<bool, Malformed> {
    match payload.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed),
    }
}

fn encode_cell(cell: &Cell, out: &mut Encoder<'_>) {
    match cell {
        Cell::Null => out.u8(0),
        Cell::Bool(value) => {
            out.u8(1);
            out.u8((*value).into());
        }
        Cell::Integer(value) => {
            out.u8(2);
            out.u64(*value as u64);
        }
        Cell::Float(value) => {
            out.u8(3);
            out.u64(value.to_bits());
        }
        Cell::Text(value) => {
            out.u8(4);
            out.bytes(value.as_bytes());
        }
        Cell::Unsigned(value) => {
            out.u8(5);
            out.u64(*value);
        }
        Cell::Json(value) => {
            out.u8(6);
            out.bytes(value.as_bytes());
        }
        Cell::Bytes(value) => {
            out.u8(7);
            out.bytes(value);
        }
        Cell::Arrow(value) => {
            out.u8(8);
            out.bytes(value);
        }
    }
}

fn decode_cell(payload: &mut Decoder<'_>) -> Result<Cell, Malformed> {
    Ok(match payload.u8()? {
        0 => Cell::Null,
        1 => Cell::Bool(decode_flag(payload)?),
        2 => Cell::Integer(payload.u64()? as i64),
        3 => Cell::Float(f64::from_bits(payload.u64()?)),
        4 => Cell::Text(payload.text()?),
        5 => Cell::Unsigned(payload.u64()?),
        6 => Cell::Json(payload.text()?),
        7 => Cell::Bytes(payload.bytes()?.into()),
        8 => Cell::Arrow(payload.bytes()?.into()),
        _ => return Err(Malformed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedded(index: u64) -> Row<Embedded> {
        Row {
            index,
            file: 1,
            line: index + 1,
            id: Some(Cell::Text(format!("id {index}"))),
            kept: vec![
                Cell::Null,
                Cell::Bool(true),
                Cell::Integer(-5),
                Cell::Float(0.1),
                Cell::Text("ä".into()),
                Cell::Unsigned(u64::MAX),
                Cell::Json("[1]".into()),
                Cell::Bytes(vec![0xff]),
                Cell::Arrow(vec![1, 2]),
            ],
            outcome: Ok(Embedded {
                reading: Reading {
                    tokens: 7,
                    truncated: true,
                    windows: 1,
                    digest: TextDigest([index as u8; 16]),
                },
                scale: 0.5,
                vector: vec![index as u8, 2, 3],
            }),
        }
    }

    fn rejected(index: u64) -> Row<Embedded> {
        Row {
            id: None,
            kept: Vec::new(),
            outcome: Err("no text".into()),
            ..embedded(index)
        }
    }

    #[test]
    fn a_row_reads_back_and_a_cut_one_is_refused() {
        for row in [embedded(3), rejected(4)] {
            let mut payload = Vec::new();
            row.encode(&mut payload);
            let mut decoder = Decoder(&payload);
            assert_eq!(Row::decode(&mut decoder, 3, 9).as_ref(), Ok(&row));
            assert!(decoder.0.is_empty());
            if row.outcome.is_ok() {
                let mut vector = Decoder(&payload[VECTOR_OFFSET..]);
                assert_eq!((vector.f32(), vector.u8()), (Ok(0.5), Ok(row.index as u8)));
            }
            for end in 0..payload.len() {
                assert_eq!(
                    Row::decode(&mut Decoder(&payload[..end]), 3, 9),
                    Err(Malformed),
                    "{end}"
                );
            }
        }
    }
}
