//! Writing GGUF files, correct ones and deliberately wrong ones.
//!
//! Every field can be set after the correct value has been worked out, so that a test can damage
//! one thing and leave the rest as it is.

use std::io;
use std::ops::Range;
use std::path::Path;

use half::{bf16, f16};

/// Values in a block of Q8_0.
const BLOCK: usize = 32;

/// How a tensor's values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Encoding {
    Q8_0,
    F32,
    F16,
    Bf16,
}

impl Encoding {
    /// The type's number in ggml.
    pub fn number(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q8_0 => 8,
            Self::Bf16 => 30,
        }
    }

    /// The values as bytes; of Q8_0, their number must be a multiple of 32.
    pub fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
            Self::F16 => values
                .iter()
                .flat_map(|&value| f16::from_f32(value).to_le_bytes())
                .collect(),
            Self::Bf16 => values
                .iter()
                .flat_map(|&value| bf16::from_f32(value).to_le_bytes())
                .collect(),
            Self::Q8_0 => {
                let (blocks, rest) = values.as_chunks::<BLOCK>();
                assert!(rest.is_empty(), "Q8_0 needs whole blocks of {BLOCK}");
                blocks.iter().flat_map(quantize_q8_0).collect()
            }
        }
    }
}

/// One block: the scale that maps the largest magnitude to 127, then the rounded values.
fn quantize_q8_0(values: &[f32; BLOCK]) -> [u8; 2 + BLOCK] {
    let largest = values.iter().fold(0f32, |max, value| max.max(value.abs()));
    let scale = largest / 127.0;
    let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
    let mut block = [0; 2 + BLOCK];
    block[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    for (byte, value) in block[2..].iter_mut().zip(values) {
        *byte = (value * inverse).round() as i8 as u8;
    }
    block
}

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Value {
    U32(u32),
    F32(f32),
    Bool(bool),
    String(String),
    Strings(Vec<Vec<u8>>),
    F32s(Vec<f32>),
    I32s(Vec<i32>),
    Bools(Vec<bool>),
    /// Type number and bytes, written as they are.
    Raw(u32, Vec<u8>),
}

impl Value {
    fn write(&self, out: &mut Layout, key: &str) {
        match self {
            Self::U32(value) => {
                out.u32(key, FieldKind::Type, 4);
                out.u32(key, FieldKind::Value, *value);
            }
            Self::F32(value) => {
                out.u32(key, FieldKind::Type, 6);
                out.u32(key, FieldKind::Value, value.to_bits());
            }
            Self::Bool(value) => {
                out.u32(key, FieldKind::Type, 7);
                out.put(key, FieldKind::Value, &[(*value).into()]);
            }
            Self::String(value) => {
                out.u32(key, FieldKind::Type, 8);
                out.string(key, FieldKind::Value, value.as_bytes());
            }
            Self::Strings(values) => {
                out.array(key, 8, values.len());
                for (index, value) in values.iter().enumerate() {
                    // One field for all between the first string and the last.
                    match index {
                        0 => out.string(&format!("{key}[0]"), FieldKind::Value, value),
                        _ if index + 1 == values.len() => {
                            out.string(&format!("{key}[{index}]"), FieldKind::Value, value);
                        }
                        _ => {
                            out.bytes.extend((value.len() as u64).to_le_bytes());
                            out.bytes.extend(value);
                        }
                    }
                }
            }
            Self::F32s(values) => {
                out.array(key, 6, values.len());
                let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                out.put(key, FieldKind::Value, &bytes);
            }
            Self::I32s(values) => {
                out.array(key, 5, values.len());
                let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                out.put(key, FieldKind::Value, &bytes);
            }
            Self::Bools(values) => {
                out.array(key, 7, values.len());
                let bytes: Vec<u8> = values.iter().map(|&value| value.into()).collect();
                out.put(key, FieldKind::Value, &bytes);
            }
            Self::Raw(number, bytes) => {
                out.u32(key, FieldKind::Type, *number);
                out.put(key, FieldKind::Value, bytes);
            }
        }
    }
}

/// A tensor to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// The number of its type in ggml.
    pub kind: u32,
    /// Its dimensions, the fastest first.
    pub dims: Vec<u64>,
    /// Its bytes.
    pub data: Vec<u8>,
    /// The offset that the header gives, if not the true one.
    pub offset: Option<u64>,
}

/// A file to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// The first four bytes.
    pub magic: [u8; 4],
    /// The version of the format.
    pub version: u32,
    /// Bytes to a multiple of which each tensor starts; also written as `general.alignment` by
    /// whoever changes it.
    pub alignment: usize,
    /// The number of tensors that the header gives, if not the true one.
    pub tensor_count: Option<u64>,
    /// The number of keys that the header gives, if not the true one.
    pub metadata_count: Option<u64>,
    /// Keys and values, in order.
    pub metadata: Vec<(String, Value)>,
    /// Tensors, in order.
    pub tensors: Vec<Tensor>,
}

impl Default for File {
    fn default() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            alignment: 32,
            tensor_count: None,
            metadata_count: None,
            metadata: Vec::new(),
            tensors: Vec::new(),
        }
    }
}

impl File {
    /// Sets a key, in its place if it is there already.
    pub fn set(&mut self, key: &str, value: Value) {
        match self.metadata.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => self.metadata.push((key.to_owned(), value)),
        }
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &str) {
        self.metadata.retain(|(name, _)| name != key);
    }

    /// Adds a tensor, its values encoded.
    pub fn push(&mut self, name: &str, dims: &[usize], encoding: Encoding, values: &[f32]) {
        self.tensors.push(Tensor {
            name: name.to_owned(),
            kind: encoding.number(),
            dims: dims.iter().map(|&dim| dim as u64).collect(),
            data: encoding.encode(values),
            offset: None,
        });
    }

    /// The tensor of a name.
    ///
    /// # Panics
    /// If there is none.
    pub fn tensor_mut(&mut self, name: &str) -> &mut Tensor {
        self.tensors
            .iter_mut()
            .find(|tensor| tensor.name == name)
            .unwrap_or_else(|| panic!("no tensor {name}"))
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.layout().bytes
    }

    /// The file's bytes, and where each field stands in them.
    pub fn layout(&self) -> Layout {
        let mut out = Layout::default();
        out.put("magic", FieldKind::Text, &self.magic);
        out.u32("version", FieldKind::Value, self.version);
        let tensors = self.tensor_count.unwrap_or(self.tensors.len() as u64);
        out.u64("tensor count", FieldKind::Size, tensors);
        let keys = self.metadata_count.unwrap_or(self.metadata.len() as u64);
        out.u64("metadata count", FieldKind::Size, keys);
        for (key, value) in &self.metadata {
            out.string(key, FieldKind::Text, key.as_bytes());
            value.write(&mut out, key);
        }
        let mut next = 0;
        for tensor in &self.tensors {
            let name = &tensor.name;
            out.string(name, FieldKind::Text, name.as_bytes());
            out.u32(name, FieldKind::Size, tensor.dims.len() as u32);
            for &dim in &tensor.dims {
                out.u64(name, FieldKind::Size, dim);
            }
            out.u32(name, FieldKind::Type, tensor.kind);
            out.u64(name, FieldKind::Offset, tensor.offset.unwrap_or(next));
            next += tensor.data.len().next_multiple_of(self.alignment) as u64;
        }
        for tensor in &self.tensors {
            out.pad(self.alignment);
            out.put(&tensor.name, FieldKind::Data, &tensor.data);
        }
        out.pad(self.alignment);
        out
    }

    /// Writes the file.
    ///
    /// # Errors
    /// As [`std::fs::write`] gives them.
    pub fn write(&self, path: impl AsRef<Path>) -> io::Result<()> {
        std::fs::write(path, self.to_bytes())
    }
}

/// A file's bytes, field by field.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// The whole file.
    pub bytes: Vec<u8>,
    /// The fields in the order of the file; padding belongs to none, and neither do the strings of
    /// an array but for the first and the last.
    pub fields: Vec<Field>,
}

/// A field of the file.
#[derive(Clone, Debug)]
pub struct Field {
    /// The field of the header, the key or the tensor that it is part of.
    pub name: String,
    /// What it says.
    pub kind: FieldKind,
    /// Where it stands in the file.
    pub range: Range<usize>,
}

/// What a field says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// How many there are of something, or how long it is.
    Size,
    /// The type of a value, of the elements of an array or of a tensor.
    Type,
    /// Where a tensor's data begin.
    Offset,
    /// The magic or a name.
    Text,
    /// A value.
    Value,
    /// A tensor's data.
    Data,
}

impl Layout {
    fn put(&mut self, name: &str, kind: FieldKind, bytes: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend(bytes);
        let range = start..self.bytes.len();
        let name = name.to_owned();
        self.fields.push(Field { name, kind, range });
    }

    fn u32(&mut self, name: &str, kind: FieldKind, number: u32) {
        self.put(name, kind, &number.to_le_bytes());
    }

    fn u64(&mut self, name: &str, kind: FieldKind, number: u64) {
        self.put(name, kind, &number.to_le_bytes());
    }

    fn string(&mut self, name: &str, kind: FieldKind, bytes: &[u8]) {
        self.u64(name, FieldKind::Size, bytes.len() as u64);
        self.put(name, kind, bytes);
    }

    fn array(&mut self, name: &str, element: u32, count: usize) {
        self.u32(name, FieldKind::Type, 9);
        self.u32(name, FieldKind::Type, element);
        self.u64(name, FieldKind::Size, count as u64);
    }

    fn pad(&mut self, alignment: usize) {
        let length = self.bytes.len().next_multiple_of(alignment);
        self.bytes.resize(length, 0);
    }
}
