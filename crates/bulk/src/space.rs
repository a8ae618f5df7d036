//! The space that vectors belong to, so that vectors of different spaces are not mixed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use lanewise_vectors::Precision;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::windows::OverflowPolicy;

/// Everything that decides which vector a text gets; every output states it. Vectors of different
/// spaces do not compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// The version of the program that computes them.
    pub version: String,
    /// The model's name, as its file states it.
    pub model: String,
    /// The SHA-256 of the model file, as [`sha256`] gives it.
    pub model_sha256: String,
    /// The prompt's name.
    pub prompt: String,
    /// What stands in front of every text.
    pub prompt_text: String,
    /// Whether vectors passed the two dense heads.
    pub dense_heads: bool,
    /// The length of vectors.
    pub dims: usize,
    /// How their values are stored.
    pub precision: Precision,
    /// What was done with texts that are too long.
    pub overflow: OverflowPolicy,
}

impl Space {
    /// The same as names and values, for the metadata of files.
    pub(crate) fn metadata(&self) -> BTreeMap<String, String> {
        let fields = match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => unreachable!("a struct of plain fields is an object"),
        };
        let text = |value| match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        fields
            .into_iter()
            .map(|(name, value)| (format!("lanewise.{name}"), text(value)))
            .collect()
    }
}

/// The SHA-256 of a file in hexadecimal digits.
///
/// # Errors
/// If the file cannot be read.
pub fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    Ok(hexadecimal(&hash.finalize()))
}

/// The digits of a hash.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
