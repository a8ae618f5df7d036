//! Which model, in which state of its file, packed weights were made from.

use super::checksum::chunk_sum;
use super::header::IDENTITY;
use crate::Result;
use crate::gguf::FileIdentity;
use crate::models::Model;

/// Bytes of each matrix that count.
const SAMPLE: usize = 4096;

/// What tells a model from others, and from itself before it was changed, without reading it all:
/// that would take longer than packing.
///
/// The system sets the time of the last change of a file, which goes on with every write and which
/// no program can set back, so a file with the same one has the same content. Where there is no
/// such time, or one for all files as in an image, a page from the middle of each matrix stands in
/// for it: training and quantization change all of a matrix.
///
/// # Errors
/// If the file cannot be read.
pub fn identity(model: &dyn Model) -> Result<[u64; IDENTITY]> {
    let gguf = model.gguf();
    let FileIdentity(file) = gguf.identity().map_err(|source| crate::Error::Io {
        path: gguf.path().to_path_buf(),
        action: "cannot look at",
        source,
        remedy: "check the path and the disk".into(),
    })?;
    let (mut described, mut page) = (Vec::new(), [0; SAMPLE]);
    for matrix in model.matrices().streams.iter().flatten() {
        let range = matrix.range();
        let place = [matrix.rows(), matrix.columns(), range.start, range.end];
        let type_name = matrix.weight_type().tensor_type().to_string();
        described.extend(type_name.bytes().chain(matrix.name().bytes()));
        described.extend(place.iter().flat_map(|&number| number.to_le_bytes()));
        let sample = &mut page[..SAMPLE.min(range.len())];
        // Not through the map: its pages would stay in memory.
        gguf.copy(range.start + (range.len() - sample.len()) / 2, sample)?;
        described.extend_from_slice(sample);
    }
    let mut identity = [0; IDENTITY];
    identity[..file.len()].copy_from_slice(&file);
    identity[IDENTITY - 1] = chunk_sum(&described);
    Ok(identity)
}
