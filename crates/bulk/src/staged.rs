//! Files that get their names when they are complete.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

const BUFFER_BYTES: usize = 1 << 18;

/// A file under a temporary name until it is complete.
pub struct Staged {
    path: PathBuf,
    staging: PathBuf,
    /// `None` once it has got its name.
    file: Option<BufWriter<File>>,
}

impl Staged {
    /// Begins a file that is to be at `path`.
    pub fn create(path: &Path) -> io::Result<Self> {
        let staging = with_suffix(path, ".writing");
        let file = File::create(&staging)?;
        Ok(Self {
            path: path.to_owned(),
            staging,
            file: Some(BufWriter::with_capacity(BUFFER_BYTES, file)),
        })
    }

    /// Ensures that everything is on disk, before any file of an output gets its name.
    pub fn complete(&mut self) -> io::Result<()> {
        self.flush()?;
        match &self.file {
            Some(file) => file.get_ref().sync_all(),
            None => Ok(()),
        }
    }

    /// Gives the file its name, replacing a file of that name.
    pub fn commit(mut self) -> io::Result<()> {
        self.complete()?;
        self.file = None;
        fs::rename(&self.staging, &self.path)
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            Some(file) => file.write(bytes),
            None => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), BufWriter::flush)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // The buffered bytes are useless without the rest.
            let _ = file.into_parts();
            let _ = fs::remove_file(&self.staging);
        }
    }
}

/// The path with something after its name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
