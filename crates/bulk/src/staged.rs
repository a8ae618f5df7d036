//! Files that get their names when they are complete.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;

use crate::output_compression::OutputCompression;

const BUFFER_BYTES: usize = 1 << 18;

/// A file under a temporary name until it is complete.
pub struct Staged {
    path: PathBuf,
    /// `None` after a failure.
    sink: Option<Sink>,
}

/// The way of the bytes to the file.
enum Sink {
    Plain(BufWriter<StagingFile>),
    // Neither of the two writes a time or a name, so that the same bytes give the same file.
    Gzip(GzEncoder<BufWriter<StagingFile>>),
    Zstd(zstd::Encoder<'static, BufWriter<StagingFile>>),
}

impl Staged {
    /// Begins a file that is to be at `path`, which is no symbolic link.
    ///
    /// If a file of the temporary name is there, it must be the beginning of what is written:
    /// such a one is what this run left when it was killed, and no file of someone else.
    pub fn create(path: &Path, compression: OutputCompression) -> io::Result<Self> {
        let file = StagingFile::create(staging_path(path))?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        let sink = match compression {
            OutputCompression::Plain => Sink::Plain(file),
            OutputCompression::Gzip => {
                Sink::Gzip(GzEncoder::new(file, flate2::Compression::new(6)))
            }
            OutputCompression::Zstd => {
                let mut encoder = zstd::Encoder::new(file, 3)?;
                encoder.include_checksum(true)?;
                Sink::Zstd(encoder)
            }
        };
        Ok(Self {
            path: path.to_owned(),
            sink: Some(sink),
        })
    }

    /// Writes what is left and ensures that everything is on disk, before any file of an output
    /// gets its name; returns the size of the file.
    pub fn complete(&mut self) -> io::Result<u64> {
        let file = match self.sink.take() {
            Some(Sink::Plain(file)) => file,
            Some(Sink::Gzip(encoder)) => encoder.finish()?,
            Some(Sink::Zstd(encoder)) => encoder.finish()?,
            None => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let file = self.sink.insert(Sink::Plain(file));
        file.flush()?;
        let Sink::Plain(file) = file else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        file.get_mut().complete()
    }

    /// Completes the file and gives it its name, replacing a file of that name.
    pub fn commit(mut self) -> io::Result<()> {
        self.complete()?;
        fs::rename(staging_path(&self.path), &self.path)?;
        if let Some(Sink::Plain(file)) = &mut self.sink {
            file.get_mut().has_its_name = true;
        }
        Ok(())
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.sink {
            Some(sink) => sink.write(bytes),
            None => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // A compressed file is flushed when it is complete: a flush in between would cost bytes.
        match &mut self.sink {
            Some(Sink::Plain(file)) => file.flush(),
            _ => Ok(()),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// The file of the temporary name, removed when it is dropped before it has got its own name.
struct StagingFile {
    path: PathBuf,
    /// `None` as long as a file of another origin may be there.
    file: Option<File>,
    /// The beginning of the file that was there.
    leftover: Vec<u8>,
    /// What was written while that is compared.
    pending: Vec<u8>,
    has_its_name: bool,
}

impl StagingFile {
    fn create(path: PathBuf) -> io::Result<Self> {
        let (mut file, mut leftover) = (None, Vec::new());
        match File::create_new(&path) {
            Ok(new) => file = Some(new),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !fs::symlink_metadata(&path)?.is_file() {
                    return Err(ForeignFile(path).into());
                }
                let there = File::open(&path)?;
                there.take(BUFFER_BYTES as u64).read_to_end(&mut leftover)?;
                // A power cut may leave zeros in place of what was written last.
                let end = leftover.iter().rposition(|&byte| byte != 0);
                leftover.truncate(end.map_or(0, |end| end + 1));
            }
            Err(error) => return Err(error),
        }
        Ok(Self {
            path,
            file,
            leftover,
            pending: Vec::new(),
            has_its_name: false,
        })
    }

    /// The file, once it is known that what was there can be replaced.
    fn replace_leftover(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            let pending = std::mem::take(&mut self.pending);
            if !pending.starts_with(&self.leftover) {
                return Err(ForeignFile(self.path.clone()).into());
            }
            fs::remove_file(&self.path)?;
            let new = File::create_new(&self.path)?;
            self.file.insert(new).write_all(&pending)?;
        }
        self.file
            .as_mut()
            .ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    fn complete(&mut self) -> io::Result<u64> {
        let file = self.replace_leftover()?;
        file.sync_all()?;
        Ok(file.metadata()?.len())
    }
}

impl Write for StagingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(file) = &mut self.file {
            return file.write(bytes);
        }
        self.pending.extend(bytes);
        if self.pending.len() >= self.leftover.len() {
            self.replace_leftover()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for StagingFile {
    fn drop(&mut self) {
        if self.file.take().is_some() && !self.has_its_name {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A file that this run did not write is where one is to be written.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not of this run")]
pub struct ForeignFile(pub PathBuf);

impl From<ForeignFile> for io::Error {
    fn from(foreign: ForeignFile) -> Self {
        Self::new(io::ErrorKind::AlreadyExists, foreign)
    }
}

/// The temporary name of a file.
pub fn staging_path(path: &Path) -> PathBuf {
    with_suffix(path, ".writing")
}

/// The directory that a file is in.
pub fn directory(file: &Path) -> &Path {
    match file.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

/// The path with something after its name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staged(path: &Path, compression: OutputCompression, bytes: &[u8]) -> io::Result<()> {
        let mut file = Staged::create(path, compression)?;
        file.write_all(bytes)?;
        file.commit()
    }

    #[test]
    fn only_the_beginning_of_the_same_bytes_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let staging = staging_path(&path);
        let bytes: Vec<u8> = (0..600_000u32).map(|i| ((i * 7) >> 2) as u8).collect();
        let with_zeros = [&bytes[..999], &[0; 20]].concat();
        for own in [&bytes[..0], &bytes[..70], &bytes, &with_zeros] {
            fs::write(&staging, own).unwrap();
            staged(&path, OutputCompression::Plain, &bytes).unwrap();
            assert!(fs::read(&path).unwrap() == bytes && !staging.exists());
            fs::remove_file(&path).unwrap();
        }
        for foreign in [&b"notes"[..], &bytes[1..], &[&bytes[..], b"x"].concat()] {
            // Longer than what is written: the last one is compared as far as memory goes.
            let written = &bytes[..100_000];
            fs::write(&staging, foreign).unwrap();
            let error = staged(&path, OutputCompression::Plain, written).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            assert!(fs::read(&staging).unwrap() == foreign && !path.exists());
        }
    }

    #[test]
    fn compressed_files_are_the_same_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let bytes = "some text\n".repeat(9_000).into_bytes();
        for compression in [OutputCompression::Gzip, OutputCompression::Zstd] {
            staged(&path, compression, &bytes).unwrap();
            let first = fs::read(&path).unwrap();
            staged(&path, compression, &bytes).unwrap();
            assert!(fs::read(&path).unwrap() == first && first.len() < bytes.len() / 10);
        }
    }
}
