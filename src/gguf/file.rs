//! A GGUF file, opened and checked.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use lanewise_map::FileIdentity;

use super::cursor::{Cursor, FETCH_AGAIN};
use super::map::Map;
use super::tensor::{self, TensorInfo};
use super::value::{Array, Strings, Value, ValueType};
use crate::{Error, Result};

/// More keys than any model has; what bounds the heap is the file, since each key takes 13 bytes of
/// it.
const MAX_KEYS: u64 = 65_536;
/// More tensors than any model has.
const MAX_TENSORS: u64 = 65_536;
/// The longest key that the format allows, in bytes.
const MAX_KEY: u64 = 65_535;
/// The longest string that is copied out of the map, in bytes: more than any name or type has.
const MAX_STRING: usize = 1 << 20;
/// The alignment of a file that does not name one.
const DEFAULT_ALIGNMENT: u32 = 32;
/// The format requires a multiple of 8, so that values of every type are aligned in the map.
const MIN_ALIGNMENT: u32 = 8;
/// The largest alignment accepted: beyond a huge page it can only be damage.
const MAX_ALIGNMENT: u32 = 1 << 21;

/// A GGUF file, mapped read-only.
///
/// Everything in its header has been checked: counts and lengths against the file, tensors against
/// its end and each other. The values of tensors have not been looked at.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    map: Map,
    version: u32,
    alignment: u32,
    metadata: BTreeMap<String, Value>,
    tensors: Vec<TensorInfo>,
    /// Indices into `tensors`, in the order of their names.
    by_name: Vec<u32>,
}

impl Gguf {
    /// Maps the file and checks its header.
    ///
    /// # Errors
    /// If the file cannot be read, is no little-endian GGUF file of version 2 or 3, or its header
    /// contradicts itself or the file's length.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let map = Map::open(path)?;
        let mut cursor = Cursor::new(&map, path);
        let version = read_version(&mut cursor, &map)?;
        let tensor_count = cursor.count("tensor count", MAX_TENSORS)?;
        let key_count = cursor.count("metadata count", MAX_KEYS)?;

        let mut metadata = BTreeMap::new();
        for index in 0..key_count {
            let key = cursor.name(&format!("metadata key {index}"), MAX_KEY)?;
            let value = Value::read(&mut cursor, &key)?;
            if metadata.contains_key(&key) {
                return Err(cursor.error(&key, "is there twice", FETCH_AGAIN));
            }
            metadata.insert(key, value);
        }
        let alignment = read_alignment(&cursor, &metadata)?;

        let headers = (0..tensor_count)
            .map(|index| tensor::Header::read(&mut cursor, index))
            .collect::<Result<Vec<_>>>()?;
        let data = (cursor.position() as u64).next_multiple_of(alignment.into());
        let tensors = headers
            .into_iter()
            .map(|header| header.place(&cursor, data, alignment.into(), map.len() as u64))
            .collect::<Result<Vec<_>>>()?;
        let by_name = order_by_name(&cursor, &tensors)?;
        check_overlap(&cursor, &tensors)?;

        Ok(Self {
            path: path.to_path_buf(),
            map,
            version,
            alignment,
            metadata,
            tensors,
            by_name,
        })
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version of the format: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The alignment of tensors in bytes, in the file and, up to the size of a page, in memory.
    pub fn alignment(&self) -> u64 {
        self.alignment.into()
    }

    /// The length of the file in bytes.
    pub fn file_len(&self) -> u64 {
        self.map.len() as u64
    }

    /// Checks by size and modification time that the file has not changed since it was opened.
    /// Results that were computed from a changed file must be discarded.
    ///
    /// # Errors
    /// If it was written to or cut short; the message says which.
    pub fn check_unchanged(&self) -> Result<()> {
        self.map.check_unchanged(&self.path)
    }

    /// Whether this is the model inside the program, and no file.
    pub fn is_bundled(&self) -> bool {
        self.map.is_bundled()
    }

    /// What tells the file from others and from its own earlier contents, now.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn identity(&self) -> io::Result<FileIdentity> {
        self.map.identity()
    }

    /// All metadata, in the order of their keys.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.metadata
            .iter()
            .map(|(key, value)| (key.as_str(), value))
    }

    /// The metadata value of a key.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// All tensors, in the order of the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor of a name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        let place = self
            .by_name
            .binary_search_by(|&index| self.tensors[index as usize].name.as_str().cmp(name));
        Some(&self.tensors[self.by_name[place.ok()?] as usize])
    }

    /// Bytes of the file, as [`TensorInfo::range`] and [`Array::range`] give them.
    ///
    /// # Panics
    /// If the range leaves the file; ranges that this file's header gave never do.
    #[inline]
    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.map[range]
    }

    /// Has the system map the pages of a range at once, which is several times faster than one page
    /// fault after the other. Pages that are not in its cache are read from the disk. Where this is
    /// not supported, nothing happens.
    pub fn prefault(&self, range: Range<usize>) {
        self.map.prefault(range);
    }

    /// Reads bytes of the file from `start` on without the map: each read through the map would add
    /// up to 64 KB of neighboring pages to the resident memory of the process.
    ///
    /// # Errors
    /// If the file cannot be read or has been cut short.
    pub fn copy(&self, start: usize, out: &mut [u8]) -> Result<()> {
        self.map.copy(&self.path, start, out)
    }

    /// The strings of an array, not decoded; `None` if it holds something else.
    pub fn strings(&self, array: &Array) -> Option<Strings<'_>> {
        let bytes = self.elements(array, ValueType::String)?;
        Some(Strings::new(bytes, array.len()))
    }

    /// The numbers of an array of `f32`; `None` if it holds something else.
    pub fn f32s(&self, array: &Array) -> Option<impl ExactSizeIterator<Item = f32>> {
        let (values, _) = self.elements(array, ValueType::F32)?.as_chunks();
        Some(values.iter().map(|&bytes| f32::from_le_bytes(bytes)))
    }

    /// The numbers of an array of `i32`; `None` if it holds something else.
    pub fn i32s(&self, array: &Array) -> Option<impl ExactSizeIterator<Item = i32>> {
        let (values, _) = self.elements(array, ValueType::I32)?.as_chunks();
        Some(values.iter().map(|&bytes| i32::from_le_bytes(bytes)))
    }

    /// The values of an array of bools; `None` if it holds something else.
    pub fn bools(&self, array: &Array) -> Option<impl ExactSizeIterator<Item = bool>> {
        let bytes = self.elements(array, ValueType::Bool)?;
        Some(bytes.iter().map(|&byte| byte != 0))
    }

    fn elements(&self, array: &Array, element: ValueType) -> Option<&[u8]> {
        (array.element() == element)
            .then(|| self.map.get(array.range()))
            .flatten()
    }

    /// An integer of any width that must be there.
    pub fn required_u32(&self, key: &str) -> Result<u32> {
        self.required(key, self.optional_u32(key)?)
    }

    /// A float that must be there.
    pub fn required_f32(&self, key: &str) -> Result<f32> {
        self.required(key, self.optional_f32(key)?)
    }

    /// A string that must be there.
    pub fn required_str(&self, key: &str) -> Result<String> {
        self.required(key, self.optional_str(key)?)
    }

    /// An array that must be there.
    pub fn required_array(&self, key: &str) -> Result<&Array> {
        self.required(key, self.optional_array(key)?)
    }

    /// An integer of any width; an error if the key holds something else.
    pub fn optional_u32(&self, key: &str) -> Result<Option<u32>> {
        self.optional(key, "an integer from 0 to 4294967295", |value| {
            value.integer().and_then(|value| value.try_into().ok())
        })
    }

    /// A float; an error if the key holds something else.
    pub fn optional_f32(&self, key: &str) -> Result<Option<f32>> {
        self.optional(key, "a float", |value| match *value {
            Value::F32(value) => Some(value),
            Value::F64(value) => Some(value as f32),
            _ => None,
        })
    }

    /// A bool; an error if the key holds something else.
    pub fn optional_bool(&self, key: &str) -> Result<Option<bool>> {
        self.optional(key, "a bool", |value| match *value {
            Value::Bool(value) => Some(value),
            _ => None,
        })
    }

    /// A string; an error if the key holds something else or is not UTF-8.
    ///
    /// It is copied first and checked then: the bytes of the map may change at any time, so that a
    /// `&str` into it could stop being UTF-8.
    pub fn optional_str(&self, key: &str) -> Result<Option<String>> {
        self.optional(key, "a string in UTF-8", |value| match value {
            Value::String(range) if range.len() <= MAX_STRING => {
                String::from_utf8(self.map.get(range.clone())?.to_vec()).ok()
            }
            _ => None,
        })
    }

    /// An array; an error if the key holds something else.
    pub fn optional_array(&self, key: &str) -> Result<Option<&Array>> {
        self.optional(key, "an array", |value| match value {
            Value::Array(array) => Some(array),
            _ => None,
        })
    }

    fn required<T>(&self, key: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| {
            self.file_error(
                key,
                "is missing",
                "convert the model again with a converter that writes this key",
            )
        })
    }

    fn optional<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        convert(value).map(Some).ok_or_else(|| {
            let found = value.value_type();
            let problem = match value.integer() {
                Some(number) => format!("is {number} ({found}), not {expected}"),
                None => format!("is of type {found} and cannot be read as {expected}"),
            };
            self.file_error(
                key,
                problem,
                "convert the model again with a converter that writes it so",
            )
        })
    }

    /// An error in this file: the field, what is wrong with it, and what to do next.
    pub fn file_error(
        &self,
        field: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Error {
        file_error(&self.path, field, problem, remedy)
    }
}

pub(super) fn file_error(
    path: &Path,
    field: impl Into<String>,
    problem: impl Into<String>,
    remedy: impl Into<String>,
) -> Error {
    Error::File {
        path: path.to_path_buf(),
        field: field.into(),
        problem: problem.into(),
        remedy: remedy.into(),
    }
}

/// Reads magic and version.
fn read_version(cursor: &mut Cursor, map: &[u8]) -> Result<u32> {
    if !map.starts_with(b"GGUF") {
        let start = &map[..map.len().min(4)];
        return Err(cursor.error(
            "magic",
            format!("is \"{}\", not \"GGUF\"", start.escape_ascii()),
            "give a model in GGUF format (a web page or a Git LFS pointer may have been saved in its place)",
        ));
    }
    cursor.skip(4, "magic")?;
    let version = cursor.u32("version")?;
    match version {
        2 | 3 => Ok(version),
        1 => Err(cursor.error(
            "version",
            "is 1; 2 and 3 are supported",
            "convert the model again with a current converter",
        )),
        _ if (1..=0xffff).contains(&version.swap_bytes()) => Err(cursor.error(
            "version",
            "is written in big-endian order",
            "give the little-endian file of this model",
        )),
        _ => Err(cursor.error(
            "version",
            format!("is {version}; 2 and 3 are supported"),
            "give a file of version 3",
        )),
    }
}

fn read_alignment(cursor: &Cursor, metadata: &BTreeMap<String, Value>) -> Result<u32> {
    const KEY: &str = "general.alignment";
    let alignment = match metadata.get(KEY) {
        None => return Ok(DEFAULT_ALIGNMENT),
        Some(Value::U32(alignment)) => *alignment,
        Some(other) => {
            let problem = format!("is of type {}, not u32", other.value_type());
            return Err(cursor.error(KEY, problem, FETCH_AGAIN));
        }
    };
    if !alignment.is_power_of_two() || !(MIN_ALIGNMENT..=MAX_ALIGNMENT).contains(&alignment) {
        let problem =
            format!("is {alignment}, not a power of two from {MIN_ALIGNMENT} to {MAX_ALIGNMENT}");
        return Err(cursor.error(KEY, problem, FETCH_AGAIN));
    }
    Ok(alignment)
}

/// The tensors' indices in the order of their names, which must all differ.
fn order_by_name(cursor: &Cursor, tensors: &[TensorInfo]) -> Result<Vec<u32>> {
    let name = |index: u32| tensors[index as usize].name.as_str();
    let mut order: Vec<u32> = (0..tensors.len() as u32).collect(); // at most MAX_TENSORS
    order.sort_unstable_by_key(|&index| name(index));
    for pair in order.windows(2) {
        if name(pair[0]) == name(pair[1]) {
            let field = tensor::field(name(pair[0]));
            return Err(cursor.error(&field, "is there twice", FETCH_AGAIN));
        }
    }
    Ok(order)
}

/// Checks that no two tensors share a byte.
fn check_overlap(cursor: &Cursor, tensors: &[TensorInfo]) -> Result<()> {
    let mut order: Vec<&TensorInfo> = tensors.iter().collect();
    order.sort_unstable_by_key(|tensor| (tensor.range.start, tensor.range.end));
    for pair in order.windows(2) {
        // A tensor takes a byte at least, though the range of a type of unknown size is empty.
        if pair[0].range.end.max(pair[0].range.start + 1) > pair[1].range.start {
            return Err(cursor.error(
                &tensor::field(&pair[1].name),
                format!("overlaps tensor {}", pair[0].name),
                FETCH_AGAIN,
            ));
        }
    }
    Ok(())
}
