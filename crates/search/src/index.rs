//! Files of vectors as one index.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lanewise_bulk::{ReadBudget, Space};
use lanewise_kernels::{Isa, Kernels};
use lanewise_pool::{Pool, ThreadPlan};
use lanewise_vectors::Precision;

use crate::chunks::{Chunk, PRECISIONS};
use crate::error::{Error, Result};
use crate::open::File;

/// What record batches of files that are read into memory may take, compressed or not.
const READ_BUDGET: ReadBudget = ReadBudget {
    bytes: 1 << 30,
    rest_bytes: 0,
};

/// One or several files of vectors of one space. It can be shared by threads; searches run one after
/// the other, each on all threads of the index.
pub struct Index {
    pub(crate) files: Vec<File>,
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) rows: u64,
    pub(crate) blocks: u64,
    /// The precisions that all files have, in the order of [`PRECISIONS`].
    pub(crate) precisions: Vec<Precision>,
    pub(crate) kernels: Kernels,
    pool: Mutex<Pool>,
}

/// How an index is opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenOptions {
    /// The number of threads; `None` for as many as the process may run at once.
    pub threads: Option<usize>,
    /// The instruction set; `None` for the best one that the CPU supports.
    pub isa: Option<Isa>,
}

/// A file of an index.
#[derive(Debug, Clone, Copy)]
pub struct FileInfo<'a> {
    /// Its path, as it was opened.
    pub path: &'a Path,
    /// The number of its first row over all files.
    pub first_row: u64,
    /// How many rows it has.
    pub rows: u64,
    /// Whether its vectors are read where they lie in the file.
    pub is_mapped: bool,
    /// The space that it states.
    pub space: &'a Space,
    /// The columns that it has besides: `id` and those carried along.
    pub columns: &'a [String],
    /// The column that has the texts, if the file carries them along.
    pub text_column: Option<&'a str>,
}

impl Index {
    /// Opens one file.
    ///
    /// # Errors
    /// If it cannot be read, is no output of `embed` with its metadata, or is damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_all(&[path], &OpenOptions::default())
    }

    /// Opens files as one index, in this order.
    ///
    /// # Errors
    /// As [`open`](Self::open); if there are no files, or their vectors are of different spaces, where
    /// the prompt of the texts and the precision may differ; and if there are no threads or not the
    /// instruction set.
    pub fn open_all(paths: &[impl AsRef<Path>], options: &OpenOptions) -> Result<Self> {
        let kernels = match options.isa {
            None => Kernels::detect(),
            Some(isa) => Kernels::for_isa(isa).ok_or_else(|| {
                let problem = format!("this CPU does not support {}", isa.name());
                Error::argument("isa", problem, "leave it out")
            })?,
        };
        let mut files: Vec<File> = Vec::new();
        let mut chunks = Vec::new();
        let (mut rows, mut blocks) = (0, 0);
        for path in paths {
            let (mut file, own) = File::open(path.as_ref(), READ_BUDGET)?;
            if let Some(first) = files.first() {
                same_space(first, &file)?;
            }
            let number = u32::try_from(files.len()).map_err(|_| {
                Error::argument("index", "there are more than 4 billion files", "give fewer")
            })?;
            file.first_row = rows;
            chunks.extend(own.into_iter().map(|chunk| {
                let chunk = Chunk {
                    first_row: rows,
                    first_block: blocks,
                    file: number,
                    ..chunk
                };
                rows += u64::from(chunk.rows);
                blocks += chunk.blocks();
                chunk
            }));
            files.push(file);
        }
        if files.is_empty() {
            let remedy = "give at least one file that embed has written";
            return Err(Error::argument("index", "there is no file", remedy));
        }
        let in_all = |precision: &Precision| {
            let mut files = files.iter();
            files.all(|file| file.space.precision.contains(*precision))
        };
        let precisions: Vec<_> = PRECISIONS.into_iter().filter(in_all).collect();
        if precisions.is_empty() {
            let stored = files.iter();
            let stored = stored.map(|file| format!("{} {}", file.name(), file.space.precision));
            let problem = format!(
                "the files have no precision in common: {}",
                stored.collect::<Vec<_>>().join(", ")
            );
            let remedy = "search files of one precision at a time";
            return Err(Error::argument("index", problem, remedy));
        }
        let pool = Pool::new(&ThreadPlan::choose(options.threads)?)?;
        Ok(Self {
            files,
            chunks,
            rows,
            blocks,
            precisions,
            kernels,
            pool: Mutex::new(pool),
        })
    }

    /// How many rows there are in all files.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The space of the vectors, as the first file states it: what a query must be embedded with, but
    /// for the prompt.
    pub fn space(&self) -> &Space {
        &self.files[0].space
    }

    /// The length of vectors.
    pub fn dims(&self) -> usize {
        self.space().dims
    }

    /// The prompts of the files' texts, by name and text, each once.
    pub fn prompts(&self) -> Vec<(&str, &str)> {
        let mut prompts = Vec::new();
        for File { space, .. } in &self.files {
            let prompt = (space.prompt.as_str(), space.prompt_text.as_str());
            if !prompts.contains(&prompt) {
                prompts.push(prompt);
            }
        }
        prompts
    }

    /// The precisions that all files have; the first one is searched.
    pub fn precisions(&self) -> &[Precision] {
        &self.precisions
    }

    /// The files, in the order in which they were opened.
    pub fn files(&self) -> impl Iterator<Item = FileInfo<'_>> {
        self.files.iter().map(|file| FileInfo {
            path: &file.path,
            first_row: file.first_row,
            rows: file.rows,
            is_mapped: file.map.is_some(),
            space: &file.space,
            columns: file.columns.names(),
            text_column: file.columns.text(),
        })
    }

    /// The path of a row's file, and the row's number in it; `None` if there is no such row.
    pub fn locate(&self, row: u64) -> Option<(PathBuf, u64)> {
        let after = self.files.partition_point(|file| file.first_row <= row);
        let file = self.files.get(after.checked_sub(1)?)?;
        let in_file = row - file.first_row;
        (in_file < file.rows).then(|| (file.path.clone(), in_file))
    }

    /// What a user should know about how the files are read.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.files.iter().filter_map(|file| file.note.as_deref())
    }

    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool> {
        // A panic in a task leaves the pool usable.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn check_unchanged(&self) -> Result<()> {
        self.files.iter().try_for_each(File::check_unchanged)
    }

    pub(crate) fn no_row(&self, row: u64) -> Error {
        let remedy = match self.rows {
            0 => "the index has none".to_owned(),
            rows => format!("give one from 0 to {}", rows - 1),
        };
        Error::argument("row", format!("there is no row {row}"), remedy)
    }
}

/// Refuses vectors that do not compare with those of the first file.
fn same_space(first: &File, other: &File) -> Result<()> {
    let mut comparable = other.space.clone();
    comparable.prompt_text.clone_from(&first.space.prompt_text);
    comparable.version.clone_from(&first.space.version);
    comparable.precision = first.space.precision;
    match first.space.difference(&comparable) {
        None => Ok(()),
        Some((name, there, here)) => Err(Error::file(
            &other.path,
            format!(
                "its vectors are of another space than those of {}: {name} is {here}, and {there} there",
                first.name()
            ),
            "search files of one space at a time",
        )),
    }
}
