//! Vectors of earlier outputs, for texts that are the same in this run.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::known::{BYTES_PER_TEXT, Known};
use crate::message::{Setting, message};
use crate::read_budget::ReadBudget;
use crate::space::Space;
use crate::stored::{Stored, Texts};

const BUFFER_BYTES: usize = 1 << 18;

/// The vectors of earlier outputs, in an unnamed file: a scale (`f32`, little-endian) and the stored
/// numbers for each, in the order in which [`Known::reuse`] numbers them.
pub struct ReusedVectors {
    /// `None` if nothing is reused.
    file: Option<File>,
    directory: PathBuf,
}

impl ReusedVectors {
    /// Collects the vectors of `outputs`, which must be of the run's space, beside the file `output`.
    pub fn collect(
        outputs: &[PathBuf],
        space: &Space,
        output: &Path,
        budget: ReadBudget,
        known: &mut Known,
    ) -> Result<Self> {
        let directory = match output.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory.to_owned(),
            _ => PathBuf::from("."),
        };
        let mut vectors = Self {
            file: None,
            directory,
        };
        if !outputs.is_empty() {
            let file = vectors.fill(outputs, space, budget, known)?;
            vectors.file = Some(file);
        }
        Ok(vectors)
    }

    fn fill(
        &self,
        outputs: &[PathBuf],
        space: &Space,
        budget: ReadBudget,
        known: &mut Known,
    ) -> Result<File> {
        let cannot_write = |error: io::Error| self.error("cannot write", &error);
        let file = tempfile::tempfile_in(&self.directory).map_err(cannot_write)?;
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, file);
        let mut missed = 0;
        for output in outputs {
            let stored = Stored::open(output, Texts::Unread, budget)?;
            if let Some((name, theirs, ours)) = stored.space.difference(space) {
                return Err(Error::file(
                    output,
                    format!(
                        "its vectors are of another space: {name} is {theirs} there and {ours} here"
                    ),
                    message!["use the same settings, or do without ", Setting::Reuse],
                ));
            }
            for row in stored {
                let embedded = row?.embedded;
                let digest = embedded.reading.digest;
                if known.find(digest).is_some() {
                    continue;
                }
                if !known.reuse(digest) {
                    missed += 1;
                    continue;
                }
                file.write_all(&embedded.scale.to_le_bytes())
                    .and_then(|()| file.write_all(&embedded.vector))
                    .map_err(cannot_write)?;
            }
        }
        if missed > 0 {
            return Err(Error::argument(message![
                Setting::Reuse,
                format!(": {missed} vectors more than there is memory to look up; give "),
                Setting::MaxMemory,
                format!(" {}M more", (missed * 2 * BYTES_PER_TEXT).div_ceil(1 << 20)),
            ]));
        }
        file.into_inner()
            .map_err(|error| cannot_write(error.into_error()))
    }

    /// Reads a vector; returns its scale.
    pub fn read(&mut self, number: u32, vector: &mut [u8]) -> Result<f32> {
        let mut scale = [0; 4];
        let record = (scale.len() + vector.len()) as u64;
        let read = match &mut self.file {
            Some(file) => file
                .seek(SeekFrom::Start(u64::from(number) * record))
                .and_then(|_| file.read_exact(&mut scale))
                .and_then(|()| file.read_exact(vector)),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        read.map_err(|error| self.error("cannot read", &error))?;
        Ok(f32::from_le_bytes(scale))
    }

    fn error(&self, problem: &str, error: &io::Error) -> Error {
        Error::file(
            &self.directory,
            format!("{problem} a temporary file with the reused vectors: {error}"),
            "make room there",
        )
    }
}
