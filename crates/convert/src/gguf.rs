//! Writing GGUF files: metadata, the list of tensors, then their data.

use std::io::{self, Write};

use crate::weights::Tensor;

const VERSION: u32 = 3;
/// Tensors start at multiples of this many bytes.
const ALIGNMENT: u64 = 32;

/// Type numbers of metadata values.
mod number {
    pub const U8: u32 = 0;
    pub const U32: u32 = 4;
    pub const I32: u32 = 5;
    pub const F32: u32 = 6;
    pub const BOOL: u32 = 7;
    pub const STRING: u32 = 8;
    pub const ARRAY: u32 = 9;
}

/// Keys and values, as bytes of the file.
#[derive(Default)]
pub struct Metadata {
    count: u64,
    bytes: Vec<u8>,
}

impl Metadata {
    pub fn u32(&mut self, key: &str, value: u32) {
        self.key(key, number::U32);
        self.bytes.extend(value.to_le_bytes());
    }

    pub fn f32(&mut self, key: &str, value: f32) {
        self.key(key, number::F32);
        self.bytes.extend(value.to_le_bytes());
    }

    pub fn bool(&mut self, key: &str, value: bool) {
        self.key(key, number::BOOL);
        self.bytes.push(value.into());
    }

    pub fn string(&mut self, key: &str, value: &str) {
        self.key(key, number::STRING);
        put_string(&mut self.bytes, value.as_bytes());
    }

    pub fn strings<T: AsRef<[u8]>>(&mut self, key: &str, values: impl ExactSizeIterator<Item = T>) {
        self.array(key, number::STRING, values.len());
        for value in values {
            put_string(&mut self.bytes, value.as_ref());
        }
    }

    pub fn f32s(&mut self, key: &str, values: impl ExactSizeIterator<Item = f32>) {
        self.array(key, number::F32, values.len());
        self.bytes.extend(values.flat_map(f32::to_le_bytes));
    }

    pub fn i32s(&mut self, key: &str, values: impl ExactSizeIterator<Item = i32>) {
        self.array(key, number::I32, values.len());
        self.bytes.extend(values.flat_map(i32::to_le_bytes));
    }

    pub fn bools(&mut self, key: &str, values: impl ExactSizeIterator<Item = bool>) {
        self.array(key, number::BOOL, values.len());
        self.bytes.extend(values.map(u8::from));
    }

    pub fn u8s(&mut self, key: &str, values: &[u8]) {
        self.array(key, number::U8, values.len());
        self.bytes.extend(values);
    }

    fn key(&mut self, key: &str, kind: u32) {
        self.count += 1;
        put_string(&mut self.bytes, key.as_bytes());
        self.bytes.extend(kind.to_le_bytes());
    }

    fn array(&mut self, key: &str, kind: u32, count: usize) {
        self.key(key, number::ARRAY);
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend((count as u64).to_le_bytes());
    }
}

fn put_string(out: &mut Vec<u8>, value: &[u8]) {
    out.extend((value.len() as u64).to_le_bytes());
    out.extend(value);
}

/// Everything before the tensors' data, padded.
pub fn header(metadata: &Metadata, tensors: &[Tensor]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(b"GGUF");
    out.extend(VERSION.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend(metadata.count.to_le_bytes());
    out.extend(&metadata.bytes);
    let mut offset = 0u64;
    for tensor in tensors {
        put_string(&mut out, tensor.name.as_bytes());
        out.extend((tensor.dims.len() as u32).to_le_bytes());
        out.extend(tensor.dims.iter().flat_map(|dim| dim.to_le_bytes()));
        out.extend(tensor.encoding.number().to_le_bytes());
        out.extend(offset.to_le_bytes());
        offset += padded(tensor.bytes());
    }
    let length = padded(out.len() as u64);
    out.resize(length as usize, 0);
    out
}

/// A length with the padding after it.
pub fn padded(length: u64) -> u64 {
    length.next_multiple_of(ALIGNMENT)
}

/// Writes the padding after a tensor of this length.
pub fn write_padding(out: &mut impl Write, length: u64) -> io::Result<()> {
    let padding = (padded(length) - length) as usize; // less than the alignment
    out.write_all(&[0; ALIGNMENT as usize][..padding])
}
