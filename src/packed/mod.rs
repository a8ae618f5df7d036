//! Packed weights in a file: the panels of all products, in the order of a pass, as kernels read
//! them. With them nothing is packed any more, and a pass over a short text is one stream.
//!
//! A file has a page of header, then the panels. It is written once beside others in the cache
//! directory, mapped read-only like the model's file, and never needed: whatever is wrong with it
//! is a reason to pack as before. It belongs to one state of one model's file ([`identity`]) and to
//! one layout of panels; its content is checked when it is opened.

mod checksum;
mod header;
mod identity;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::{fmt, fs, io};

use checksum::{CHUNK, chunk_sum, combine};
use header::{HEADER, Header};
use lanewise_kernels::{Kernels, Line, PanelLayout};
pub use write::write;

use crate::Result;
use crate::engine::{PackedFile, PackedPlace};
use crate::gguf::Map;
use crate::model_path::cache_directory;
use crate::models::Model;

/// The directory of these files in Lanewise's cache directory.
const DIRECTORY: &str = "packed";

/// Whether weights that were packed before are read from a file in the cache directory.
///
/// Such a file is as large as the layers in the model's file. It makes short texts faster, changes
/// no vector, and is never needed: it is ignored if anything is wrong with it, and can be removed at
/// any time. Only processors with `vpdpbusd` (AVX-512 VNNI or AVX-VNNI)
/// have one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PackedWeights {
    /// Weights are packed in each pass.
    Off,
    /// A file that is there is used; none is written.
    #[default]
    Use,
    /// A file that is there is used; else one is written, which takes about a second, and used.
    UseAndWrite,
}

/// Where the files are, and for which kernels.
#[derive(Clone, Debug)]
pub struct Place {
    /// The kernels whose panels they hold.
    pub kernels: Kernels,
    /// The directory of the files, `None` for the one in the cache directory.
    pub directory: Option<PathBuf>,
}

/// What became of the packed weights of an open model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackedState {
    /// They were not asked for.
    Off,
    /// The kernels have none.
    NotWithThese(PanelLayout),
    /// There is no directory for them.
    NoDirectory,
    /// There is no file.
    Absent {
        /// Where it would be.
        path: PathBuf,
    },
    /// There is a file that cannot be used.
    Ignored {
        /// Where it is.
        path: PathBuf,
        /// Why, as a sentence without its subject.
        reason: String,
    },
    /// Products read them.
    Used {
        /// Where they are.
        path: PathBuf,
        /// Bytes of the file.
        bytes: usize,
    },
}

impl PackedState {
    /// Whether to write a file would help.
    pub fn may_be_written(&self) -> bool {
        matches!(self, Self::Absent { .. } | Self::Ignored { .. })
    }
}

impl fmt::Display for PackedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::NotWithThese(_) => f.write_str("none with this instruction set"),
            Self::NoDirectory => f.write_str("none, since there is no home directory"),
            Self::Absent { path } => write!(f, "absent: {}", path.display()),
            Self::Ignored { path, reason } => write!(f, "ignored: {}: {reason}", path.display()),
            Self::Used { path, .. } => write!(f, "used: {}", path.display()),
        }
    }
}

impl Place {
    /// The file of a model's packed weights, whether or not it is there.
    ///
    /// # Errors
    /// The reason why there can be none.
    fn path(&self, model: &dyn Model) -> Result<PathBuf, PackedState> {
        let layout = self.kernels.panel_layout();
        if layout != PanelLayout::Vnni {
            return Err(PackedState::NotWithThese(layout));
        }
        let directory = match &self.directory {
            Some(directory) => directory.clone(),
            None => match cache_directory() {
                Ok(cache) => cache.join(DIRECTORY),
                Err(_) => return Err(PackedState::NoDirectory),
            },
        };
        let path = model.gguf().path();
        // The same file by whatever path it is opened.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        Ok(directory.join(header::file_name(&path, layout)))
    }
}

/// A file that is the model's by its header; its panels have not been read.
pub struct Candidate {
    path: PathBuf,
    file: PackedFile,
    /// The panels of each matrix, in the order of the streams.
    places: Vec<PackedPlace>,
    /// The checksum that the header has.
    expected: u64,
    /// The next chunk to be checked.
    next: AtomicUsize,
    sums: Vec<AtomicU64>,
}

/// Looks for the packed weights of a model.
///
/// # Errors
/// Why there are none.
pub fn find(model: &dyn Model, place: &Place) -> Result<Candidate, PackedState> {
    let path = place.path(model)?;
    let map = match Map::open_optional(&path) {
        Ok(map) => map,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Err(PackedState::Absent { path });
        }
        Err(error) => {
            let reason = format!("cannot be opened: {error}");
            return Err(PackedState::Ignored { path, reason });
        }
    };
    Candidate::new(&path, map, model, place.kernels)
        .map_err(|reason| PackedState::Ignored { path, reason })
}

impl Candidate {
    fn new(path: &Path, map: Map, model: &dyn Model, kernels: Kernels) -> Result<Self, String> {
        let identity = identity::identity(model)
            .map_err(|error| format!("cannot be compared with the model: {error}"))?;
        let layout = kernels.panel_layout();
        let (places, lines) = PackedPlace::of_streams(&model.matrices().streams, kernels);
        let bytes = lines * size_of::<Line>();
        let header = Header {
            layout,
            bytes: bytes as u64,
            model: identity,
            sum: 0,
        };
        let expected = header.check(&map)?;
        let file = PackedFile::new(map, HEADER..HEADER + bytes, layout);
        let file = file.ok_or_else(|| String::from("cannot be mapped as lines"))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            places,
            expected,
            next: AtomicUsize::new(0),
            sums: (0..bytes.div_ceil(CHUNK))
                .map(|_| AtomicU64::new(0))
                .collect(),
        })
    }

    /// Reads the panels, which maps their pages, together with all other threads that call this.
    pub fn read(&self) {
        let bytes = self.file.bytes();
        loop {
            let chunk = self.next.fetch_add(1, Relaxed);
            let Some(sum) = self.sums.get(chunk) else {
                return;
            };
            let start = chunk * CHUNK;
            let range = start..(start + CHUNK).min(bytes.len());
            self.file.prefault(range.clone());
            sum.store(chunk_sum(&bytes[range]), Relaxed);
        }
    }

    /// Reads what other threads have not, checks all, and gives the panels to the matrices of the
    /// model. Calls of [`read`](Self::read) must have ended.
    pub fn attach(self, model: &dyn Model) -> PackedState {
        self.read();
        let Self {
            path, file, places, ..
        } = self;
        let sums = self.sums.into_iter().map(AtomicU64::into_inner);
        if combine(sums) != self.expected {
            let reason = "its content is damaged".into();
            return PackedState::Ignored { path, reason };
        }
        let file = Arc::new(file);
        if !file.check_in_use() {
            let reason = "was written to meanwhile".into();
            return PackedState::Ignored { path, reason };
        }
        let streams = model.matrices().streams;
        for (matrix, place) in streams.iter().flatten().zip(places) {
            matrix.attach_packed(Arc::clone(&file), place);
        }
        let bytes = file.file_len();
        PackedState::Used { path, bytes }
    }
}

/// Finds, reads and attaches the packed weights of a model.
pub fn open(model: &dyn Model, place: &Place) -> PackedState {
    match find(model, place) {
        Ok(candidate) => candidate.attach(model),
        Err(state) => state,
    }
}
