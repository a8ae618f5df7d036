//! The header of a safetensors file: eight bytes of length, then JSON, then the tensors without
//! gaps.

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::error::{self, Error, FETCH_AGAIN, Result, input};
use crate::files;

/// The longest header that is read: 65,536 tensors need less.
const MAX_HEADER: u64 = 16 << 20;
/// More tensors than any model has in one file.
const MAX_TENSORS: usize = 65_536;
/// More dimensions than any tensor has.
const MAX_DIMENSIONS: usize = 8;

/// How values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    F32,
    F16,
    Bf16,
    /// A type that is not converted, by its name.
    Other(&'static str),
}

/// Every type of the format that fills whole bytes, and its size.
const DTYPES: [(&str, u64); 15] = [
    ("BOOL", 1),
    ("U8", 1),
    ("I8", 1),
    ("F8_E5M2", 1),
    ("F8_E4M3", 1),
    ("I16", 2),
    ("U16", 2),
    ("F16", 2),
    ("BF16", 2),
    ("I32", 4),
    ("U32", 4),
    ("F32", 4),
    ("F64", 8),
    ("I64", 8),
    ("U64", 8),
];

impl Dtype {
    /// The type of a name, and the bytes of a value.
    fn named(name: &str) -> Option<(Self, u64)> {
        let (name, size) = DTYPES.iter().find(|(known, _)| *known == name)?;
        let dtype = match *name {
            "F32" => Self::F32,
            "F16" => Self::F16,
            "BF16" => Self::Bf16,
            other => Self::Other(other),
        };
        Some((dtype, *size))
    }
}

/// A tensor of a file.
#[derive(Clone, Debug)]
pub struct Entry {
    pub dtype: Dtype,
    /// Its dimensions, the slowest first.
    pub shape: Vec<u64>,
    /// Where its bytes begin in the file.
    pub start: u64,
}

/// The tensors of a file, in the order of the header.
///
/// # Errors
/// If the file is no safetensors file, or its header contradicts itself or the file's length.
pub fn read(path: &Path) -> Result<(File, Vec<(String, Entry)>)> {
    let (mut file, length) = files::open(path)?;
    let mut prefix = [0; 8];
    if length < 8 {
        let problem = format!("has {length} bytes, which hold no header");
        return Err(input(path, "header length", problem, FETCH_AGAIN));
    }
    file.read_exact(&mut prefix).map_err(error::read(path))?;
    let header = u64::from_le_bytes(prefix);
    if let Some(kind) = other_kind(&prefix) {
        let remedy = "fetch the file named model.safetensors of the model";
        return Err(input(
            path,
            "file",
            format!("is {kind}, not safetensors"),
            remedy,
        ));
    }
    if header > length - 8 {
        let problem = format!("is {header}, but only {} bytes follow", length - 8);
        return Err(input(path, "header length", problem, FETCH_AGAIN));
    }
    if header > MAX_HEADER {
        let problem = format!("is {header}, more than the {MAX_HEADER} of any model");
        return Err(input(path, "header length", problem, FETCH_AGAIN));
    }
    let mut json = vec![0; header as usize]; // at most MAX_HEADER
    file.read_exact(&mut json).map_err(error::read(path))?;
    let Header(described) = files::parse(path, &json)?;
    let data = 8 + header;
    let mut tensors = Vec::with_capacity(described.len());
    for (name, tensor) in described {
        let entry = check(path, &name, &tensor, data, length)?;
        tensors.push((name, tensor.data_offsets, entry));
    }
    check_layout(path, &tensors, length - data)?;
    let tensors = tensors.into_iter();
    Ok((
        file,
        tensors.map(|(name, _, entry)| (name, entry)).collect(),
    ))
}

/// What a file is that begins with these bytes, if it is a known other thing.
fn other_kind(start: &[u8; 8]) -> Option<&'static str> {
    match start {
        [b'P', b'K', 3, 4, ..] => Some("a zip archive, as PyTorch writes pickles"),
        [0x80, 2..=5, ..] => Some("a pickle"),
        b"version " => Some("a Git LFS pointer"),
        [b'G', b'G', b'U', b'F', ..] => Some("a GGUF file"),
        [b'<', ..] => Some("a web page"),
        _ => None,
    }
}

/// How errors name a tensor.
pub fn field(name: &str) -> String {
    let name: String = name.chars().take(200).collect();
    format!("tensor {}", name.escape_debug())
}

fn check(path: &Path, name: &str, tensor: &Described, data: u64, length: u64) -> Result<Entry> {
    let error = |problem: String| -> Error { input(path, field(name), problem, FETCH_AGAIN) };
    let Some((dtype, size)) = Dtype::named(&tensor.dtype) else {
        let dtype: String = tensor.dtype.chars().take(20).collect();
        let problem = format!("is stored as {dtype:?}, which is not known here");
        let remedy = "give the model's original checkpoint in F32, F16 or BF16";
        return Err(input(path, field(name), problem, remedy));
    };
    if tensor.shape.len() > MAX_DIMENSIONS {
        return Err(error(format!("has {} dimensions", tensor.shape.len())));
    }
    let mut values = tensor.shape.iter();
    let bytes = values.try_fold(size, |product, dim| product.checked_mul(*dim));
    let [start, end] = tensor.data_offsets;
    if bytes.is_none() || end.checked_sub(start) != bytes {
        return Err(error(format!(
            "lies at {start} to {end}, which does not hold {:?} values of {}",
            tensor.shape, tensor.dtype
        )));
    }
    if end > length - data {
        let there = length - data;
        return Err(error(format!(
            "ends at {end}, but the file ends after {there} bytes of tensors"
        )));
    }
    Ok(Entry {
        dtype,
        shape: tensor.shape.clone(),
        start: data + start,
    })
}

/// Checks that the tensors fill the file, without gaps or overlaps, and that each name is there
/// once.
fn check_layout(path: &Path, tensors: &[(String, [u64; 2], Entry)], data: u64) -> Result<()> {
    let mut names: Vec<&str> = tensors.iter().map(|(name, ..)| name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(input(path, field(pair[0]), "is there twice", FETCH_AGAIN));
    }
    let mut order: Vec<_> = tensors
        .iter()
        .map(|(name, range, _)| (range, name))
        .collect();
    order.sort_unstable();
    let mut end = 0;
    for (&[start, next], name) in order {
        if start != end {
            let problem = match start < end {
                true => "overlaps the tensor before it".into(),
                false => format!(
                    "begins at {start}, {} bytes after the one before",
                    start - end
                ),
            };
            return Err(input(path, field(name), problem, FETCH_AGAIN));
        }
        end = next;
    }
    if end != data {
        let problem = format!("has {} bytes after its last tensor", data - end);
        return Err(input(path, "file", problem, FETCH_AGAIN));
    }
    Ok(())
}

/// Reads bytes from `start` on.
pub fn read_at(path: &Path, mut file: &File, start: u64, out: &mut [u8]) -> Result<()> {
    file.seek(SeekFrom::Start(start))
        .and_then(|_| file.read_exact(out))
        .map_err(error::read(path))
}

/// The entries of a header as they are written.
struct Header(Vec<(String, Described)>);

#[derive(serde::Deserialize)]
struct Described {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object with an entry for each tensor")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    if entries.len() == MAX_TENSORS {
                        let problem = format!("more than {MAX_TENSORS} tensors");
                        return Err(de::Error::custom(problem));
                    }
                    entries.push((name, map.next_value()?));
                }
                Ok(Header(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
