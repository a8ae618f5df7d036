//! Writing GGUF files, correct ones and deliberately wrong ones.
//!
//! Every field can be set after the correct value has been worked out, so that a test can damage
//! one thing and leave the rest as it is.

use std::io;
use std::path::Path;

use half::{bf16, f16};

/// Values in a block of Q8_0.
const BLOCK: usize = 32;

/// How a tensor's values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Encoding {
    #[value(name = "q8_0")]
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
    /// Type number and bytes, written as they are.
    Raw(u32, Vec<u8>),
}

impl Value {
    fn write(&self, out: &mut Vec<u8>) {
        let array = |out: &mut Vec<u8>, element: u32, count: usize| {
            put_u32(out, 9);
            put_u32(out, element);
            put_u64(out, count as u64);
        };
        match self {
            Self::U32(value) => {
                put_u32(out, 4);
                put_u32(out, *value);
            }
            Self::F32(value) => {
                put_u32(out, 6);
                out.extend(value.to_le_bytes());
            }
            Self::Bool(value) => {
                put_u32(out, 7);
                out.push((*value).into());
            }
            Self::String(value) => {
                put_u32(out, 8);
                put_string(out, value.as_bytes());
            }
            Self::Strings(values) => {
                array(out, 8, values.len());
                values.iter().for_each(|value| put_string(out, value));
            }
            Self::F32s(values) => {
                array(out, 6, values.len());
                out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
            Self::I32s(values) => {
                array(out, 5, values.len());
                out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
            Self::Raw(number, bytes) => {
                put_u32(out, *number);
                out.extend(bytes);
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
        let mut out = Vec::new();
        out.extend(self.magic);
        put_u32(&mut out, self.version);
        put_u64(
            &mut out,
            self.tensor_count.unwrap_or(self.tensors.len() as u64),
        );
        put_u64(
            &mut out,
            self.metadata_count.unwrap_or(self.metadata.len() as u64),
        );
        for (key, value) in &self.metadata {
            put_string(&mut out, key.as_bytes());
            value.write(&mut out);
        }
        let mut next = 0;
        for tensor in &self.tensors {
            put_string(&mut out, tensor.name.as_bytes());
            put_u32(&mut out, tensor.dims.len() as u32);
            tensor.dims.iter().for_each(|&dim| put_u64(&mut out, dim));
            put_u32(&mut out, tensor.kind);
            put_u64(&mut out, tensor.offset.unwrap_or(next));
            next += tensor.data.len().next_multiple_of(self.alignment) as u64;
        }
        for tensor in &self.tensors {
            pad(&mut out, self.alignment);
            out.extend(&tensor.data);
        }
        pad(&mut out, self.alignment);
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

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend(value.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend(value.to_le_bytes());
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend(bytes);
}

fn pad(out: &mut Vec<u8>, alignment: usize) {
    out.resize(out.len().next_multiple_of(alignment), 0);
}
