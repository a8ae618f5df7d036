//! Writing a file of packed weights: under a temporary name, and renamed once it is complete.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use lanewise_kernels::{Line, PANEL};

use super::checksum::{CHUNK, chunk_sum, combine};
use super::header::{HEADER, Header, IDENTITY};
use super::{Place, identity};
use crate::engine::PackedPlace;
use crate::models::Model;
use crate::{Error, Result};

/// How old a temporary file must be to be one that nobody writes any more.
const ABANDONED: Duration = Duration::from_secs(3600);

/// The number of the next temporary file of this process.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Writes the packed weights of a model, whatever there is in their place, and returns their path;
/// `None` if these kernels have none or there is no directory for them.
///
/// `started` is called with the path once there is room for it, before the work is done.
///
/// Several threads and processes may do so at once. Memory is a few megabytes, beside the pages of
/// the model's file.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written, [`Error::File`] if the model changed meanwhile. No
/// file is then left behind, and an earlier one stays.
pub fn write(
    model: &dyn Model,
    place: &Place,
    started: impl FnOnce(&Path),
) -> Result<Option<PathBuf>> {
    let Ok(path) = place.path(model) else {
        return Ok(None);
    };
    let failed = |source| Error::Io {
        path: path.clone(),
        action: "cannot write packed weights",
        source,
        remedy: "make room or give another directory; they are not needed".into(),
    };
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(failed)?;
    remove_abandoned(directory);
    let temporary = Temporary::new(&path).map_err(failed)?;
    let model_before = identity::identity(model)?;
    let (_, lines) = PackedPlace::of_streams(&model.matrices().streams, place.kernels);
    let bytes = lines * size_of::<Line>();
    allocate(&temporary.file, (HEADER + bytes) as u64).map_err(failed)?;
    started(&path);
    write_to(&temporary.file, model, place, bytes, model_before).map_err(failed)?;
    // Panels of a model that changed while they were packed are nobody's.
    model.gguf().check_unchanged()?;
    if identity::identity(model)? != model_before {
        return Ok(None);
    }
    temporary.rename(&path).map_err(failed)?;
    remove_other_versions(&path);
    Ok(Some(path))
}

fn write_to(
    mut file: &File,
    model: &dyn Model,
    place: &Place,
    bytes: usize,
    model_identity: [u64; IDENTITY],
) -> io::Result<()> {
    let kernels = place.kernels;
    let matrices = model.matrices();
    file.seek(SeekFrom::Start(HEADER as u64))?;
    let mut out = ChunkWriter {
        file,
        chunk: Vec::with_capacity(CHUNK),
        sums: Vec::new(),
    };
    let (mut panel, mut rows) = (Vec::new(), Vec::new());
    for stream in &matrices.streams {
        let panels = stream.first().map_or(0, |matrix| matrix.rows() / PANEL);
        for index in 0..panels {
            for matrix in stream {
                panel.resize(kernels.panel_lines(matrix.columns()), Line::ZERO);
                matrix.pack_whole_panel(kernels, index, &mut rows, &mut panel);
                out.write(Line::bytes(&panel))?;
            }
        }
    }
    let header = Header {
        layout: kernels.panel_layout(),
        bytes: bytes as u64,
        model: model_identity,
        sum: combine(out.finish()?),
    };
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&header.encode())?;
    file.sync_all()
}

/// Takes the room for a file at once, so that a full disk is known before the work is done.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{FallocateFlags, fallocate};
        let refused = fallocate(file, FallocateFlags::empty(), 0, bytes).err();
        if let Some(error) = refused.map(io::Error::from)
            && matches!(
                error.kind(),
                io::ErrorKind::StorageFull
                    | io::ErrorKind::QuotaExceeded
                    | io::ErrorKind::FileTooLarge
            )
        {
            return Err(error);
        }
    }
    // Where the system cannot, writing takes it.
    file.set_len(bytes)
}

/// Writes whole chunks and keeps the sum of each.
struct ChunkWriter<'a> {
    file: &'a File,
    chunk: Vec<u8>,
    sums: Vec<u64>,
}

impl ChunkWriter<'_> {
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let fitting = bytes.len().min(CHUNK - self.chunk.len());
            let (now, later) = bytes.split_at(fitting);
            self.chunk.extend_from_slice(now);
            bytes = later;
            if self.chunk.len() == CHUNK {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.chunk.is_empty() {
            self.sums.push(chunk_sum(&self.chunk));
            self.file.write_all(&self.chunk)?;
            self.chunk.clear();
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<Vec<u64>> {
        self.flush()?;
        Ok(self.sums)
    }
}

/// A file that is removed unless it gets its name.
struct Temporary {
    file: File,
    path: PathBuf,
    renamed: bool,
}

impl Temporary {
    fn new(path: &Path) -> io::Result<Self> {
        loop {
            let number = NUMBER.fetch_add(1, Relaxed);
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{}-{number}.tmp", process::id()));
            let path = PathBuf::from(name);
            match File::create_new(&path) {
                // A process of another container may have this one's number and be writing it.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                file => {
                    return Ok(Self {
                        file: file?,
                        path,
                        renamed: false,
                    });
                }
            }
        }
    }

    fn rename(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.renamed = true;
        // The name is on the disk with the directory; where this fails, a crash of the machine
        // loses the file, and the next run writes another.
        #[cfg(unix)]
        if let Some(Ok(directory)) = path.parent().map(File::open) {
            let _ = directory.sync_all();
        }
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes temporary files of processes that were killed.
fn remove_abandoned(directory: &Path) {
    for entry in directory.read_dir().into_iter().flatten().flatten() {
        let path = entry.path();
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|time| time.elapsed().ok());
        if path.extension().is_some_and(|extension| extension == "tmp")
            && age.is_some_and(|age| age > ABANDONED)
        {
            let _ = fs::remove_file(path);
        }
    }
}

/// Removes the files of the same model and layout that other versions of Lanewise wrote.
fn remove_other_versions(path: &Path) {
    let name = |path: &Path| path.file_name()?.to_str().map(String::from);
    let (Some(kept), Some(directory)) = (name(path), path.parent()) else {
        return;
    };
    let Some((stem, _)) = kept.rsplit_once('-') else {
        return;
    };
    for entry in directory.read_dir().into_iter().flatten().flatten() {
        let path = entry.path();
        let of_model = name(&path).is_some_and(|name| {
            let version = name
                .strip_prefix(stem)
                .and_then(|rest| rest.strip_prefix('-'));
            name != kept && version.is_some_and(|rest| rest.ends_with(".packed"))
        });
        if of_model {
            let _ = fs::remove_file(path);
        }
    }
}
