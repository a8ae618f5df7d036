//! Texts with the vectors that the float32 checkpoint gives them.

use std::fs;
use std::path::Path;

use lanewise::{Embedder, Input, Prompt};
use serde::Deserialize;

/// Ids and vectors of the same texts.
#[derive(Debug, Default)]
pub struct Golden {
    /// Ids of each text, as Lanewise tokenizes it.
    pub ids: Vec<Vec<u32>>,
    /// Its float32 vector.
    pub vectors: Vec<Vec<f32>>,
}

/// A line of `embeddings.jsonl`.
#[derive(Deserialize)]
struct Line {
    prompt: String,
    text: String,
}

/// Reads `embeddings.jsonl` and, line for line, the rows of `embeddings.npy`.
///
/// # Errors
///
/// A message that names the file and what is wrong with it.
pub fn read(directory: &Path, model: &Path) -> Result<Golden, String> {
    let embedder = Embedder::builder()
        .open(model)
        .map_err(|error| error.to_string())?;
    let lines_path = directory.join("embeddings.jsonl");
    let in_lines = |problem: String| format!("{}: {problem}", lines_path.display());
    let lines = fs::read_to_string(&lines_path).map_err(|error| in_lines(error.to_string()))?;
    let ids = lines.lines().map(|line| {
        let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let prompt: Prompt = match line.prompt.as_str() {
            "" => Prompt::Raw,
            name => name
                .parse()
                .map_err(|error: lanewise::Error| error.to_string())?,
        };
        let encoded = embedder.encode(Input::new(prompt, &line.text));
        Ok(encoded.map_err(|error| error.to_string())?.ids().to_vec())
    });
    let ids: Vec<Vec<u32>> = ids.collect::<Result<_, _>>().map_err(in_lines)?;

    let array_path = directory.join("embeddings.npy");
    let in_array = |problem: &str| format!("{}: {problem}", array_path.display());
    let array = fs::read(&array_path).map_err(|error| in_array(&error.to_string()))?;
    let values = npy_values(&array)
        .ok_or_else(|| in_array("is no version 1 array of little-endian f32 in C order"))?;
    let width = embedder.model().shape().width;
    if values.len() != ids.len() * width {
        return Err(in_array(
            "does not have one vector for each line of embeddings.jsonl",
        ));
    }
    let vectors = values.chunks_exact(width).map(<[f32]>::to_vec).collect();
    Ok(Golden { ids, vectors })
}

/// The values of a NumPy file.
fn npy_values(file: &[u8]) -> Option<Vec<f32>> {
    let (length, rest) = file.strip_prefix(b"\x93NUMPY\x01\0")?.split_first_chunk()?;
    let (header, data) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
    let header = str::from_utf8(header).ok()?;
    let supported = header.contains("'descr': '<f4'") && header.contains("'fortran_order': False");
    let (values, []) = data.as_chunks() else {
        return None;
    };
    supported.then(|| {
        values
            .iter()
            .map(|&bytes| f32::from_le_bytes(bytes))
            .collect()
    })
}
