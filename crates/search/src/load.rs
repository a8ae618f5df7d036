//! Outputs that cannot be searched in place, read into memory.

use std::path::Path;

use arrow_buffer::MutableBuffer;
use lanewise_bulk::ReadBudget;
use lanewise_bulk::outputs::{Stored, Texts};

use crate::chunks::{Chunk, Data, PRECISIONS, slot};
use crate::columns::Columns;
use crate::error::{EMBED_AGAIN, Error, Result};
use crate::open::{File, SCALES, check_space};

/// Reads an output of `embed` in Parquet, JSONL, `.npy` or Arrow IPC, with its texts if they were carried
/// along.
pub fn load(path: &Path, budget: ReadBudget) -> Result<(File, Vec<Chunk>)> {
    let stored = Stored::open(path, Texts::IfCarried, budget)?;
    let (space, field) = (stored.space.clone(), stored.field.clone());
    check_space(path, &space)?;
    let mut buffers: [MutableBuffer; SCALES + 1] = std::array::from_fn(|_| MutableBuffer::new(0));
    let (mut ids, mut carried) = (Vec::new(), Vec::new());
    for row in stored {
        let row = row?;
        for (precision, part) in space.precision.parts(space.dims) {
            let vector = row.embedded.vector.get(part).ok_or_else(|| {
                let problem = format!("row {} has too short a vector", ids.len());
                Error::file(path, problem, EMBED_AGAIN)
            })?;
            buffers[slot(precision)].extend_from_slice(vector);
        }
        buffers[SCALES].extend_from_slice(&row.embedded.scale.to_le_bytes());
        ids.push(row.id.map(Into::into));
        carried.push(row.text.map(Into::into));
    }
    let rows = u32::try_from(ids.len()).map_err(|_| {
        Error::file(
            path,
            "has more than 4 billion rows",
            "give it in several files",
        )
    })?;
    let megabytes = buffers.iter().map(MutableBuffer::len).sum::<usize>() >> 20;
    let data = buffers.map(|buffer| Data::new(buffer.into()));
    let data = match data {
        [Some(a), Some(b), Some(c), Some(d), Some(e)] => [a, b, c, d, e],
        _ => unreachable!("buffers are aligned for every type"),
    };
    let chunk = Chunk {
        first_row: 0,
        first_block: 0,
        rows,
        file: 0,
        batch: 0,
        vectors: [0; PRECISIONS.len()],
        scales: 0,
    };
    let name = path.display();
    let columns = match carried.iter().any(Option::is_some) {
        true => "ids and texts",
        false => "ids",
    };
    let file = File {
        path: path.to_owned(),
        space,
        data,
        columns: Columns::memory(field, ids, carried),
        map: None,
        first_row: 0,
        rows: rows.into(),
        note: Some(format!(
            "{name}: its vectors were read into memory ({megabytes} MB), and of its columns the {columns}; an uncompressed Arrow IPC file is searched in place and with all columns"
        )),
    };
    let chunks = if rows > 0 { vec![chunk] } else { Vec::new() };
    Ok((file, chunks))
}
