//! A run from its settings to its output.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lanewise_vectors::Precision;

use crate::budget::Budget;
use crate::cancel::CancelToken;
use crate::columns;
use crate::disk;
use crate::embed::Embed;
use crate::error::{Error, Result};
use crate::finish;
use crate::format::{InputFormat, OutputFormat};
use crate::input::Rows;
use crate::message::{Message, Setting, message};
use crate::output::{output_format, rejects_path};
use crate::pipeline::{self, Work};
use crate::progress::Progress;
use crate::read_options::ReadOptions;
use crate::settings::{InputFile, KeptColumn, Settings};
use crate::shard::Shard;
use crate::space::Space;
use crate::spool::{SpoolReader, SpoolWriter, Summary, Tally, cannot_write};
use crate::target::Target;

/// A longer row is rejected: its text is far beyond what a model reads, and it must fit into the
/// memory.
const MAX_ROW_BYTES: usize = 64 << 20;

/// What a run reads and writes. What its vectors are is stated by the caller, in a [`Space`].
#[derive(Debug, Clone)]
pub struct Job {
    /// Files of rows, compressed or not; `-` is standard input.
    pub input: Vec<PathBuf>,
    /// Their format; `None` takes it from each file's name.
    pub input_format: Option<InputFormat>,
    /// The file for the vectors, in the order of the rows.
    pub output: PathBuf,
    /// Its format; `None` takes it from the file's name.
    pub output_format: Option<OutputFormat>,
    /// The column or JSON field with the text; dots lead into nested ones.
    pub field: String,
    /// The column with the id.
    pub id_field: Option<String>,
    /// Columns to carry along. One that the output has by itself is `input_` and its name there.
    pub keep: Vec<String>,
    /// Bytes of memory that the run may use, the pages of the model file counted.
    pub max_memory: u64,
    /// Whether a run that was interrupted is continued.
    pub resume: bool,
    /// Whether the output and an unfinished run's rows are replaced.
    pub force: bool,
    /// Which rows are embedded; a part of them goes into a file of its own, for a
    /// [`MergeJob`](crate::MergeJob).
    pub shard: Shard,
}

impl Job {
    /// Checks what can be checked without a model.
    ///
    /// # Errors
    /// If settings do not go together, or the output cannot be written or is there already.
    pub fn check(mut self) -> Result<CheckedJob> {
        let format = output_format(self.output_format, &self.output)?;
        columns::check_names(&mut self.keep, self.id_field.as_deref(), format)?;
        let target = Target::new(&self.output, format, self.shard);
        target.check_name(&self.input)?;
        if !self.force && !self.resume {
            target.check_free()?;
        }
        Ok(CheckedJob { job: self, target })
    }
}

/// A [`Job`] whose settings go together.
#[derive(Debug)]
pub struct CheckedJob {
    job: Job,
    target: Target,
}

impl CheckedJob {
    /// The output, if a run is to be resumed that is complete already.
    pub fn complete_output(&self) -> Option<CompleteOutput<'_>> {
        let output = self.target.output.as_path();
        let complete = self.job.resume && output.exists() && !self.target.spool.exists();
        complete.then(|| CompleteOutput {
            path: output,
            has_rejects: rejects_path(output).exists(),
        })
    }

    /// Opens the input and the spool.
    ///
    /// # Errors
    /// If the memory is too little for the model, or a file cannot be opened or is damaged.
    pub fn open<E: Embed>(self, embedder: Arc<E>) -> Result<Run<E>> {
        let Self { job, target } = self;
        let budget = Budget::new(job.max_memory, embedder.memory(), embedder.context())?;
        let options = ReadOptions {
            format: job.input_format,
            field: job.field.clone(),
            id_field: job.id_field.clone(),
            keep: job.keep.clone(),
            max_row_bytes: MAX_ROW_BYTES,
            budget: budget.read,
        };
        let rows = Rows::open(&job.input, options)?;
        let (spool, found) = match target.spool.exists() {
            true if job.force => (SpoolWriter::restart(&target.spool)?, None),
            true => SpoolWriter::resume(&target.spool)?,
            false => (SpoolWriter::create(&target.spool)?, None),
        };
        Ok(Run {
            _cleanup: EmptySpool(target.spool.clone()),
            job,
            target,
            embedder,
            batch_tokens: budget.batch_tokens,
            rows,
            spool,
            found,
        })
    }
}

/// An output that an earlier run has completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompleteOutput<'a> {
    /// The file.
    pub path: &'a Path,
    /// Whether rows were rejected.
    pub has_rejects: bool,
}

/// The result of a run or merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The file with the vectors, or the shard.
    pub output: PathBuf,
    /// The file that says why rows have no vector, if there is one.
    pub rejects: Option<PathBuf>,
    /// Counts over its rows, including those of earlier runs.
    pub tally: Tally,
}

impl Report {
    /// A report of a whole output or a shard, which has no file of rejected rows.
    pub(crate) fn new(output: PathBuf, is_whole: bool, tally: Tally) -> Self {
        let has_rejects = is_whole && tally.rejected > 0;
        Self {
            rejects: has_rejects.then(|| rejects_path(&output)),
            output,
            tally,
        }
    }
}

/// A run whose files are open.
///
/// If it is dropped or fails before its first row, it leaves no spool.
pub struct Run<E> {
    job: Job,
    target: Target,
    embedder: Arc<E>,
    batch_tokens: usize,
    rows: Rows,
    spool: SpoolWriter,
    /// What an earlier run has left.
    found: Option<(Settings, Summary)>,
    _cleanup: EmptySpool,
}

impl<E: Embed> Run<E> {
    /// Embeds the rows that are not in the spool yet, and makes the output. The vectors are of
    /// `space`.
    ///
    /// # Errors
    /// If an earlier run was one with other settings, the disk has not enough room, a file cannot
    /// be read or written, the model fails, or the token is cancelled.
    ///
    /// # Panics
    /// If the lengths of vectors of `space` and of the embedder differ.
    pub fn execute(
        self,
        space: Space,
        cancel: &CancelToken,
        progress: &mut dyn Progress,
    ) -> Result<Report> {
        let Self {
            job,
            target,
            embedder,
            batch_tokens,
            rows,
            mut spool,
            found,
            _cleanup,
        } = self;
        assert_eq!(space.dims, embedder.dims(), "the space is the embedder's");
        let settings = settings(&job, space, &rows)?;
        columns::check_types(&settings, target.format)?;
        let done = prepare(&settings, &rows, &mut spool, found, &target)?;
        if done.total.is_none() {
            let total = rows.total_hint().map(|rows| settings.shard.rows(rows));
            let begun = fs::metadata(&target.spool).map_or(0, |spool| spool.len());
            let work = Work {
                embedder: &embedder,
                settings: &settings,
                done: &done,
                batch_tokens,
            };
            progress.begin(total, done.tally.rows);
            let end = pipeline::run(&work, rows, spool, cancel, progress);
            progress.end(end.is_ok());
            if end.is_err() && !matches!(end, Err(Error::Cancelled)) && done.tally.rows == 0 {
                discard_spool_of(&target.spool, begun);
            }
            end?;
        } else {
            drop(spool);
        }
        complete(&target, job.shard, cancel)
    }
}

/// Removes the spool of a run that ends before it has written its settings.
struct EmptySpool(PathBuf);

impl Drop for EmptySpool {
    fn drop(&mut self) {
        discard_spool_of(&self.0, 0);
    }
}

/// Removes the spool if it has at most `bytes` bytes, so that a run which failed before its
/// first row leaves nothing.
fn discard_spool_of(spool: &Path, bytes: u64) {
    if fs::metadata(spool).is_ok_and(|spool| spool.len() <= bytes) {
        // The error to report is the one that the run failed with.
        let _ = finish::remove(spool);
    }
}

/// Makes the output of a complete spool.
fn complete(target: &Target, shard: Shard, cancel: &CancelToken) -> Result<Report> {
    let mut spool = SpoolReader::open(&target.spool)?;
    let done = spool.scan()?;
    if shard.is_whole() {
        let settings = spool.settings().clone();
        let rows = spool.rows();
        finish::write(
            target.format,
            &target.output,
            &settings,
            &done,
            rows,
            cancel,
        )?;
        finish::remove(&target.spool)?;
    } else {
        fs::rename(&target.spool, &target.output)
            .and_then(|()| finish::sync_directory(&target.output))
            .map_err(|error| cannot_write(&target.output, &error))?;
    }
    Ok(Report::new(
        target.output.clone(),
        shard.is_whole(),
        done.tally,
    ))
}

/// Checks that the spool was begun with the same settings, or writes them into a new one; returns
/// how far it has come.
fn prepare(
    settings: &Settings,
    rows: &Rows,
    spool: &mut SpoolWriter,
    found: Option<(Settings, Summary)>,
    target: &Target,
) -> Result<Summary> {
    let begun = found.is_some();
    let done = match found {
        None => Summary::default(),
        Some((theirs, done)) => {
            if let Some(difference) = difference(&theirs, settings) {
                let problem =
                    difference.after("the run was begun with other settings: ".to_owned());
                let remedy = message!["use the same ones, or start over with ", Setting::Force];
                return Err(Error::file(&target.spool, problem, remedy));
            }
            done
        }
    };
    if let Some(rows) = rows.total_hint() {
        disk::check(
            &target.spool,
            target.format,
            &settings.space,
            settings.shard.rows(rows),
            done.end,
        )?;
    }
    if !begun {
        spool.settings(settings)?;
    }
    Ok(done)
}

/// The first setting in which the run that was begun differs from this one.
fn difference(theirs: &Settings, ours: &Settings) -> Option<Message> {
    theirs.difference(ours).or_else(|| {
        let (there, here) = (theirs.shard, ours.shard);
        (there != here)
            .then(|| message![Setting::Shard, format!(" is {there} there and {here} here")])
    })
}

fn settings(job: &Job, space: Space, rows: &Rows) -> Result<Settings> {
    let dims = space.dims;
    if space.precision == Precision::Binary && !dims.is_multiple_of(8) {
        return Err(Error::argument(message![
            Setting::Precision,
            format!(" binary: {dims} values are no multiple of 8"),
        ]));
    }
    let kept = job.keep.iter().zip(rows.kept_types());
    Ok(Settings {
        space,
        inputs: (0..)
            .zip(&job.input)
            .map(|(file, path)| InputFile::new(path, rows.file_name(file)))
            .collect(),
        input_format: job.input_format.map(|format| format!("{format:?}")),
        field: job.field.clone(),
        id_field: job.id_field.clone(),
        id_type: rows.id_type().cloned(),
        keep: kept
            .map(|(name, cells)| KeptColumn {
                name: name.clone(),
                cells: cells.clone(),
            })
            .collect(),
        shard: job.shard,
    })
}
