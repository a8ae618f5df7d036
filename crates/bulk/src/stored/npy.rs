//! A NumPy array, with the rest of its rows in JSON lines beside it.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use lanewise_vectors::{Number, Precision};

use super::{Metadata, Stored, Texts, jsonl, not_as_written};
use crate::error::{Error, Result};
use crate::format::InputFormat;
use crate::formats::npy::{MAGIC, header};
use crate::output::{ids_path, metadata_path};
use crate::source::Source;

const BUFFER_BYTES: usize = 1 << 18;

/// Whether the file is an array. Readers of texts refuse those by their beginning.
pub fn is_array(path: &Path) -> bool {
    let mut magic = [0; MAGIC.len()];
    let is_file = fs::metadata(path).is_ok_and(|found| found.is_file());
    is_file
        && File::open(path).is_ok_and(|mut file| file.read_exact(&mut magic).is_ok())
        && magic == MAGIC
}

/// Opens the output at `path`.
pub fn open(path: &Path, texts: Texts<'_>) -> Result<Stored> {
    let name = path.display().to_string();
    let metadata = Metadata::of(&name, &jsonl::metadata(&metadata_path(path))?, texts)?;
    let (space, record) = (&metadata.space, &metadata.record);
    let Some(precision) = space.precision.single() else {
        return Err(not_as_written(&name, "its metadata say more than it holds"));
    };
    let mut array = Array {
        path: path.to_owned(),
        file: BufReader::with_capacity(BUFFER_BYTES, open_file(path)?),
        precision,
        vector_bytes: precision.bytes(space.dims),
        left: record.rows - record.rejected,
    };
    array.check_beginning(&header(
        precision,
        array.left,
        precision.numbers(space.dims),
    ))?;
    let ids = ids_path(path);
    let stream = Source::find(&ids, Some(InputFormat::Jsonl))?.stream()?;
    jsonl::lines(&ids, stream, metadata, Some(array))
}

fn open_file(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    let problem = format!("cannot read: {error}");
    Error::file(path, problem, "check the file and its disk")
}

/// The vectors of an array, one after the other.
pub struct Array {
    path: PathBuf,
    file: BufReader<File>,
    precision: Precision,
    vector_bytes: usize,
    /// How many are left.
    left: u64,
}

impl Array {
    /// Checks that the file begins with `header`, and that its vectors are all there.
    fn check_beginning(&mut self, header: &[u8]) -> Result<()> {
        let mut found = vec![0; header.len()];
        let read = self.file.read_exact(&mut found);
        if read.is_err() || found != header {
            let problem = "its header is not that of the vectors in its metadata";
            return Err(self.wrong(problem));
        }
        let metadata = self.file.get_ref().metadata();
        let length = metadata.map_err(|error| unreadable(&self.path, &error))?;
        let vectors = self.left.checked_mul(self.vector_bytes as u64);
        let expected = vectors.and_then(|bytes| bytes.checked_add(header.len() as u64));
        match expected == Some(length.len()) {
            true => Ok(()),
            false => Err(self.wrong("it has not the length that its header says")),
        }
    }

    /// The next vector, which must be there.
    pub fn next_vector(&mut self) -> Result<Vec<u8>> {
        let Some(left) = self.left.checked_sub(1) else {
            return Err(self.wrong("it has fewer vectors than the file beside it has rows"));
        };
        self.left = left;
        let mut vector = vec![0; self.vector_bytes];
        let read = self.file.read_exact(&mut vector);
        read.map_err(|error| unreadable(&self.path, &error))?;
        let finite = |number| !matches!(number, Number::Float(value) if !value.is_finite());
        let all_finite = self.precision.decode(&vector).all(finite);
        match all_finite {
            true => Ok(vector),
            false => Err(self.wrong("a vector has a value that is no number")),
        }
    }

    /// Checks that no vector is left.
    pub fn end(&self) -> Result<()> {
        match self.left {
            0 => Ok(()),
            _ => Err(self.wrong("it has more vectors than the file beside it has rows")),
        }
    }

    fn wrong(&self, problem: &str) -> Error {
        not_as_written(&self.path.display().to_string(), problem)
    }
}
