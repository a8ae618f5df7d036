//! Texts with given float32 vectors: JSON Lines, the vectors in them or in a NumPy file beside
//! them.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::Path;

use lanewise::Prompt;
use lanewise::internals::models::Prompts;
use serde::Deserialize;

use crate::cli::failure::{self, Failure};

/// Texts and the vectors that they should have.
#[derive(Debug)]
pub struct Given {
    /// The file, as the user named it.
    pub file: String,
    /// At least one.
    pub texts: Vec<GivenText>,
}

/// A line of the file.
#[derive(Debug, Deserialize)]
pub struct GivenText {
    text: String,
    /// A prompt's name; none or nothing for the text as it is.
    #[serde(default)]
    prompt: String,
    /// The vector; empty if it is in the NumPy file.
    #[serde(default)]
    pub embedding: Vec<f32>,
}

impl GivenText {
    /// The text as a model with these prompts reads it.
    ///
    /// # Errors
    /// If the model does not know the prompt.
    pub fn prompted(&self, prompts: &Prompts) -> lanewise::Result<Cow<'_, str>> {
        prompts.prompted(self.prompt().unwrap_or_default(), None, &self.text)
    }

    fn prompt(&self) -> lanewise::Result<Prompt> {
        match self.prompt.as_str() {
            "" => Ok(Prompt::Raw),
            name => name.parse(),
        }
    }
}

/// Reads the texts and vectors of a file.
pub fn read(path: &Path) -> Result<Given, Failure> {
    let problem = |path: &Path, problem: String| Failure::Stopped {
        code: failure::USAGE,
        message: format!("--vectors: {}: {problem}", path.display()),
    };
    let content = fs::read_to_string(path).map_err(|error| problem(path, error.to_string()))?;
    let mut texts = Vec::new();
    for (number, line) in content.lines().enumerate() {
        let text: GivenText = serde_json::from_str(line)
            .map_err(|error| problem(path, format!("line {}: {error}", number + 1)))?;
        text.prompt()
            .map_err(|error| problem(path, format!("line {}: {error}", number + 1)))?;
        texts.push(text);
    }
    if texts.is_empty() {
        return Err(problem(path, "holds no text".into()));
    }
    if texts.iter().any(|text| text.embedding.is_empty()) {
        let array = path.with_extension("npy");
        let rows = read_npy(&array, texts.len()).map_err(|error| {
            problem(
                &array,
                format!("{error}; it is read because lines of the JSON file have no embedding"),
            )
        })?;
        for (text, row) in texts.iter_mut().zip(rows) {
            text.embedding = row;
        }
    }
    let finite = |text: &GivenText| text.embedding.iter().all(|value| value.is_finite());
    if let Some(index) = texts.iter().position(|text| !finite(text)) {
        let line = index + 1;
        return Err(problem(
            path,
            format!("line {line}: its vector is not finite"),
        ));
    }
    Ok(Given {
        file: path.display().to_string(),
        texts,
    })
}

/// The rows of a NumPy file of format 1.0: little-endian f32, two dimensions, the rows one after
/// the other.
fn read_npy(path: &Path, rows: usize) -> io::Result<Vec<Vec<f32>>> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    let bytes = fs::read(path)?;
    let rest = bytes
        .strip_prefix(b"\x93NUMPY\x01\0")
        .ok_or_else(|| invalid("is no NumPy file of format 1.0"))?;
    let (length, rest) = rest
        .split_first_chunk()
        .ok_or_else(|| invalid("is cut short"))?;
    let (header, data) = rest
        .split_at_checked(u16::from_le_bytes(*length).into())
        .ok_or_else(|| invalid("is cut short"))?;
    let header = String::from_utf8_lossy(header);
    if !header.contains("'descr': '<f4'") || !header.contains("'fortran_order': False") {
        return Err(invalid("is no array of little-endian float32 in C order"));
    }
    if !header.contains(&format!("'shape': ({rows}, ")) || data.is_empty() {
        return Err(invalid(&format!("is no array of {rows} rows, one a text")));
    }
    let (values, rest) = data.as_chunks();
    if !rest.is_empty() || values.len() % rows != 0 {
        return Err(invalid("has another length than its shape says"));
    }
    let values: Vec<f32> = values
        .iter()
        .map(|&value| f32::from_le_bytes(value))
        .collect();
    Ok(values
        .chunks_exact(values.len() / rows)
        .map(<[f32]>::to_vec)
        .collect())
}
