//! Opening a file of vectors: in place where it is an Arrow IPC file that allows it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Float16Type, Float32Type, Int8Type, UInt8Type};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::Buffer;
use arrow_schema::DataType;
use lanewise_bulk::outputs::{MappedArrow, stated_space, vector_column};
use lanewise_bulk::{ReadBudget, Space};
use lanewise_kernels::MAX_SEARCH_DIMS;
use lanewise_map::{Change, Map, OpenError};
use lanewise_vectors::Precision;

use crate::chunks::{Chunk, Data, PRECISIONS, slot};
use crate::columns::Columns;
use crate::error::{EMBED_AGAIN, Error, Result};
use crate::load::load;

/// What the scales are in [`File::data`], after [`PRECISIONS`].
pub const SCALES: usize = PRECISIONS.len();

/// A file of vectors.
pub struct File {
    pub path: PathBuf,
    pub space: Space,
    /// The bytes with the vectors in each of [`PRECISIONS`], and with the scales.
    pub data: [Data; SCALES + 1],
    pub columns: Columns,
    /// The map, if vectors are read in place.
    pub map: Option<Arc<Map>>,
    /// The first row, counted over all files.
    pub first_row: u64,
    pub rows: u64,
    /// What a user should know about how it is read.
    pub note: Option<String>,
}

impl File {
    /// Opens a file, whose rows and chunks are counted from 0.
    pub fn open(path: &Path, budget: ReadBudget) -> Result<(Self, Vec<Chunk>)> {
        let map = Map::open(path).map_err(|error| open_error(path, &error))?;
        let map = Arc::new(map);
        if MappedArrow::recognizes(&map)
            && let Some(opened) = in_place(path, &map)?
        {
            return Ok(opened);
        }
        load(path, budget)
    }

    /// Its name in messages.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// An error if the file was written to since it was opened.
    pub fn check_unchanged(&self) -> Result<()> {
        let Some(map) = &self.map else {
            return Ok(());
        };
        map.check_unchanged().map_err(|change| {
            let remedy = match change {
                Change::Unknown(_) => "check the disk",
                _ => {
                    "open it again, and replace a file that is searched by renaming the new one over it, not by writing into it"
                }
            };
            Error::file(&self.path, change.to_string(), remedy)
        })
    }
}

/// Checks that vectors of a space can be searched.
pub fn check_space(path: &Path, space: &Space) -> Result<()> {
    if !(1..=MAX_SEARCH_DIMS).contains(&space.dims) {
        return Err(Error::file(
            path,
            format!("has vectors of {} values", space.dims),
            format!("vectors of 1 to {MAX_SEARCH_DIMS} values can be searched"),
        ));
    }
    Ok(())
}

fn open_error(path: &Path, error: &OpenError) -> Error {
    use std::io::ErrorKind;
    let remedy = match error {
        OpenError::Directory => "name the files in it",
        OpenError::NotRegular => "give a file that embed has written",
        OpenError::Empty => "embed its texts again",
        OpenError::Io { source, .. } => match source.kind() {
            ErrorKind::NotFound => "check the path",
            ErrorKind::PermissionDenied => "check who may read it",
            ErrorKind::OutOfMemory => {
                "raise the limit on this process's address space, into which the whole file is mapped"
            }
            _ => "check the path and the disk",
        },
    };
    Error::file(path, error.to_string(), remedy)
}

/// A map that arrays keep alive.
struct Owner(Arc<Map>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Opens an Arrow IPC file. `None` if its vectors cannot be used where they are.
fn in_place(path: &Path, map: &Arc<Map>) -> Result<Option<(File, Vec<Chunk>)>> {
    let name = path.display().to_string();
    let bytes = Buffer::from(bytes::Bytes::from_owner(Owner(Arc::clone(map))));
    let arrow = MappedArrow::open(&name, bytes.clone())?;
    let metadata = arrow.schema().metadata().iter();
    let metadata: BTreeMap<_, _> = metadata.map(|(k, v)| (k.clone(), v.clone())).collect();
    let (space, field) = stated_space(&name, &metadata)?;
    check_space(path, &space)?;
    if arrow.is_compressed()? {
        return Ok(None);
    }
    let Some(vectors) = VectorColumns::find(path, &arrow, &space)? else {
        return Ok(None);
    };
    let mut chunks = Vec::with_capacity(arrow.batches());
    let (mut rows, mut blocks) = (0, 0);
    for batch in 0..arrow.batches() {
        let Some(chunk) = vectors.chunk(path, &arrow, batch, &bytes)? else {
            return Ok(None);
        };
        if chunk.rows == 0 {
            continue;
        }
        let chunk = Chunk {
            first_row: rows,
            first_block: blocks,
            ..chunk
        };
        rows += u64::from(chunk.rows);
        blocks += chunk.blocks();
        chunks.push(chunk);
    }
    chunks.shrink_to_fit();
    let Some(data) = Data::new(bytes) else {
        return Ok(None);
    };
    let file = File {
        path: path.to_owned(),
        space,
        data: std::array::from_fn(|_| data.clone()),
        columns: Columns::arrow(arrow, field),
        map: Some(Arc::clone(map)),
        first_row: 0,
        rows,
        note: None,
    };
    Ok(Some((file, chunks)))
}

/// The columns with vectors and scales.
struct VectorColumns {
    /// Precision, name, and numbers of a vector.
    vectors: Vec<(Precision, String, usize)>,
    has_scale: bool,
    /// Their numbers in the schema, in ascending order.
    projection: Vec<usize>,
}

impl VectorColumns {
    /// `None` if a column is of lists of any length.
    fn find(path: &Path, arrow: &MappedArrow, space: &Space) -> Result<Option<Self>> {
        let mut projection = Vec::new();
        let mut find = |name: &str| match arrow.schema().index_of(name) {
            Ok(column) => {
                projection.push(column);
                Ok(arrow.schema().field(column).data_type().clone())
            }
            Err(_) => {
                let problem = format!("has no column \"{name}\", though its metadata say so");
                Err(Error::file(path, problem, EMBED_AGAIN))
            }
        };
        let mut vectors = Vec::new();
        for (number, precision) in space.precision.iter().enumerate() {
            let name = vector_column(number, precision);
            let numbers = precision.numbers(space.dims);
            match find(&name)? {
                DataType::List(_) | DataType::LargeList(_) => return Ok(None),
                DataType::FixedSizeList(item, size)
                    if *item.data_type() == stored_as(precision)
                        && usize::try_from(size) == Ok(numbers) => {}
                other => {
                    let problem = format!(
                        "the column \"{name}\" is {other}, and its metadata say {numbers} times {}",
                        stored_as(precision)
                    );
                    return Err(Error::file(path, problem, EMBED_AGAIN));
                }
            }
            vectors.push((precision, name, numbers));
        }
        let has_scale = space.precision.has_scale();
        if has_scale {
            let found = find("scale")?;
            if found != DataType::Float32 {
                let problem = format!("the column \"scale\" is {found} and not Float32");
                return Err(Error::file(path, problem, EMBED_AGAIN));
            }
        }
        projection.sort_unstable();
        Ok(Some(Self {
            vectors,
            has_scale,
            projection,
        }))
    }

    /// Where the vectors of a batch are; `None` if not in the file as they can be used.
    fn chunk(
        &self,
        path: &Path,
        arrow: &MappedArrow,
        batch: usize,
        bytes: &Buffer,
    ) -> Result<Option<Chunk>> {
        let wrong = |problem: String| {
            let problem = format!("record batch {batch}: {problem}");
            Error::file(path, problem, EMBED_AGAIN)
        };
        let read = arrow.batch(batch, &self.projection)?;
        let rows = u32::try_from(read.num_rows()).ok();
        let rows = rows.ok_or_else(|| wrong(format!("{} rows", read.num_rows())))?;
        let mut chunk = Chunk {
            first_row: 0,
            first_block: 0,
            rows,
            file: 0,
            batch: u32::try_from(batch).map_err(|_| wrong("too many of them".into()))?,
            vectors: [0; PRECISIONS.len()],
            scales: 0,
        };
        if rows == 0 {
            return Ok(Some(chunk));
        }
        let missing = |name: &str| wrong(format!("no column \"{name}\""));
        for (precision, name, numbers) in &self.vectors {
            let lists = read.column_by_name(name).ok_or_else(|| missing(name))?;
            let values = values(lists, *numbers);
            let values = values.map_err(|problem| wrong(format!("\"{name}\" {problem}")))?;
            let place = match precision {
                Precision::I8 => place::<Int8Type>(&values, bytes),
                Precision::F32 => place::<Float32Type>(&values, bytes),
                Precision::F16 => place::<Float16Type>(&values, bytes),
                Precision::Binary => place::<UInt8Type>(&values, bytes),
            };
            let Some(place) = place else {
                return Ok(None);
            };
            chunk.vectors[slot(*precision)] = place;
        }
        if self.has_scale {
            let scales = read.column_by_name("scale");
            let scales = scales.ok_or_else(|| missing("scale"))?;
            if scales.null_count() > 0 {
                return Err(wrong("\"scale\" has nulls".into()));
            }
            let Some(place) = place::<Float32Type>(scales, bytes) else {
                return Ok(None);
            };
            chunk.scales = place;
        }
        Ok(Some(chunk))
    }
}

/// What a vector's list has in each precision.
fn stored_as(precision: Precision) -> DataType {
    match precision {
        Precision::F32 => DataType::Float32,
        Precision::F16 => DataType::Float16,
        Precision::I8 => DataType::Int8,
        Precision::Binary => DataType::UInt8,
    }
}

/// The numbers of all lists.
fn values(lists: &ArrayRef, numbers: usize) -> Result<ArrayRef, String> {
    let lists = lists.as_fixed_size_list_opt().ok_or("is no list")?;
    if lists.null_count() > 0 || lists.values().null_count() > 0 {
        return Err("has nulls".into());
    }
    let first = lists.value_offset_at(0);
    let count = lists.len().checked_mul(numbers);
    let end = count.and_then(|count| first.checked_add(count));
    match (count, end) {
        (Some(count), Some(end)) if end <= lists.values().len() => {
            Ok(lists.values().slice(first, count))
        }
        _ => Err("has fewer values than rows".into()),
    }
}

/// Where the values of an array begin in `bytes`; `None` if they are elsewhere.
fn place<T: ArrowPrimitiveType>(array: &ArrayRef, bytes: &Buffer) -> Option<usize> {
    let values = array.as_primitive_opt::<T>()?.values();
    let start = values.as_ptr().addr().checked_sub(bytes.as_ptr().addr())?;
    let end = start.checked_add(size_of_val::<[T::Native]>(values))?;
    (end <= bytes.len() && start.is_multiple_of(align_of::<T::Native>())).then_some(start)
}
