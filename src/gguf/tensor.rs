//! Tensors: their types, shapes and places.

use std::fmt;
use std::ops::Range;

use lanewise_kernels::{BLOCK, Q8_0_BYTES};

use super::cursor::{Cursor, FETCH_AGAIN};
use crate::Result;

/// The longest tensor name that the format allows, in bytes.
const MAX_NAME: u64 = 64;
/// The most dimensions that the format allows.
const MAX_DIMENSIONS: u32 = 4;

/// How a tensor's values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TensorType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an `f32`.
    Bf16,
    /// Blocks of 32 int8 with one f16 scale.
    Q8_0,
    /// Blocks of 32 integers of 4 bits with one f16 scale.
    Q4_0,
    /// Blocks of 32 integers of 4 bits with an f16 scale and an f16 minimum.
    Q4_1,
    /// Blocks of 32 integers of 5 bits with one f16 scale.
    Q5_0,
    /// Blocks of 32 integers of 5 bits with an f16 scale and an f16 minimum.
    Q5_1,
    /// Blocks of 32 entries of a table of 16 integers, with one f16 scale.
    Iq4Nl,
    /// Blocks of 8 times 32 integers of 4 bits, each 32 with a scale and a minimum of 6 bits.
    Q4K,
    /// Blocks of 8 times 32 integers of 5 bits, each 32 with a scale and a minimum of 6 bits.
    Q5K,
    /// Blocks of 16 times 16 integers of 6 bits, each 16 with a scale of 8 bits.
    Q6K,
    /// Any other type, by its number in ggml; its size is not known here.
    Other(u32),
}

impl TensorType {
    fn from_number(number: u32) -> Self {
        match number {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            12 => Self::Q4K,
            13 => Self::Q5K,
            14 => Self::Q6K,
            20 => Self::Iq4Nl,
            30 => Self::Bf16,
            other => Self::Other(other),
        }
    }

    /// Values and bytes of one block, of which rows consist, or `None` if the type's layout is not
    /// known here.
    pub fn block(self) -> Option<(u64, u64)> {
        const OF_32: u64 = BLOCK as u64;
        Some(match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q8_0 => (OF_32, Q8_0_BYTES as u64),
            Self::Q4_0 | Self::Iq4Nl => (OF_32, 18),
            Self::Q4_1 => (OF_32, 20),
            Self::Q5_0 => (OF_32, 22),
            Self::Q5_1 => (OF_32, 24),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
            Self::Other(_) => return None,
        })
    }

    /// The bytes of a row of `columns` values, or `None` if the type's layout is not known here,
    /// the row is not a whole number of blocks, or the size overflows.
    pub fn row_bytes(self, columns: u64) -> Option<u64> {
        let (values, bytes) = self.block()?;
        let whole = columns.is_multiple_of(values);
        whole.then(|| (columns / values).checked_mul(bytes))?
    }
}

/// The name that ggml gives the type.
impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q8_0 => "Q8_0",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Iq4Nl => "IQ4_NL",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
            Self::Other(9) => "Q8_1",
            Self::Other(10) => "Q2_K",
            Self::Other(11) => "Q3_K",
            Self::Other(15) => "Q8_K",
            Self::Other(16) => "IQ2_XXS",
            Self::Other(17) => "IQ2_XS",
            Self::Other(18) => "IQ3_XXS",
            Self::Other(19) => "IQ1_S",
            Self::Other(21) => "IQ3_S",
            Self::Other(22) => "IQ2_S",
            Self::Other(23) => "IQ4_XS",
            Self::Other(24) => "I8",
            Self::Other(25) => "I16",
            Self::Other(26) => "I32",
            Self::Other(27) => "I64",
            Self::Other(28) => "F64",
            Self::Other(29) => "IQ1_M",
            Self::Other(34) => "TQ1_0",
            Self::Other(35) => "TQ2_0",
            Self::Other(39) => "MXFP4",
            Self::Other(number) => return write!(f, "number {number}"),
        })
    }
}

/// One tensor of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name, as in `blk.0.attn_q.weight`.
    pub name: String,
    /// How its values are stored.
    pub kind: TensorType,
    /// Its dimensions, the fastest first: `[columns, rows]` for a matrix. None is zero.
    pub dims: Vec<u64>,
    /// The range of its bytes in the file. Empty, at its start, for [`TensorType::Other`].
    pub range: Range<usize>,
}

/// A tensor as its header describes it, before the place of the data is known.
pub(super) struct Header {
    name: String,
    kind: TensorType,
    dims: Vec<u64>,
    /// Counted from the start of the data.
    offset: u64,
    /// `None` for a type whose layout is not known.
    size: Option<u64>,
}

impl Header {
    /// Reads the header of tensor number `index`.
    pub(super) fn read(cursor: &mut Cursor, index: u64) -> Result<Self> {
        let name = cursor.name(&format!("name of tensor {index}"), MAX_NAME)?;
        let field = field(&name);
        let count = cursor.u32(&field)?;
        if !(1..=MAX_DIMENSIONS).contains(&count) {
            let problem = format!("has {count} dimensions, not 1 to {MAX_DIMENSIONS}");
            return Err(cursor.error(&field, problem, FETCH_AGAIN));
        }
        let dims = (0..count)
            .map(|_| cursor.u64(&field))
            .collect::<Result<Vec<_>>>()?;
        let number = cursor.u32(&field)?;
        let kind = TensorType::from_number(number);
        let offset = cursor.u64(&field)?;
        let rows = dims[1..]
            .iter()
            .try_fold(1u64, |product, &dim| product.checked_mul(dim));
        let values = rows.and_then(|rows| rows.checked_mul(dims[0]));
        let size = kind
            .row_bytes(dims[0])
            .and_then(|bytes| bytes.checked_mul(rows?));
        if let Some((values, _)) = kind.block()
            && !dims[0].is_multiple_of(values)
        {
            let problem = format!("has rows of {} values, which {kind} cannot hold", dims[0]);
            let remedy = format!(
                "{kind} stores rows in blocks of {values}: convert the tensor to F16 instead"
            );
            return Err(cursor.error(&field, problem, remedy));
        }
        let size_is_known = !matches!(kind, TensorType::Other(_));
        if !matches!(values, Some(1..)) || size_is_known && size.is_none() {
            let problem = format!("has the impossible shape {dims:?}");
            return Err(cursor.error(&field, problem, FETCH_AGAIN));
        }
        Ok(Self {
            name,
            kind,
            dims,
            offset,
            size,
        })
    }

    /// Places the tensor in a file of `file_len` bytes whose data begin at byte `data`.
    pub(super) fn place(
        self,
        cursor: &Cursor,
        data: u64,
        alignment: u64,
        file_len: u64,
    ) -> Result<TensorInfo> {
        if !self.offset.is_multiple_of(alignment) {
            return Err(cursor.error(
                &field(&self.name),
                format!(
                    "starts at offset {}, not at a multiple of {alignment}",
                    self.offset
                ),
                FETCH_AGAIN,
            ));
        }
        let start = data.checked_add(self.offset);
        let end = start.and_then(|start| start.checked_add(self.size.unwrap_or(0)));
        match (start, end) {
            (Some(start), Some(end)) if end <= file_len => Ok(TensorInfo {
                name: self.name,
                kind: self.kind,
                dims: self.dims,
                range: start as usize..end as usize, // at most the length of the map
            }),
            _ => Err(cursor.error(
                &field(&self.name),
                format!(
                    "lies at offset {} of the data with {} bytes, but the file ends after {}",
                    self.offset,
                    self.size.unwrap_or(0),
                    file_len.saturating_sub(data)
                ),
                FETCH_AGAIN,
            )),
        }
    }
}

/// How errors name a tensor.
pub(super) fn field(name: &str) -> String {
    format!("tensor {name}")
}
