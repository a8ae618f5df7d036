//! A run from its settings to its output.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::budget::Budget;
use crate::cancel::CancelToken;
use crate::columns;
use crate::dialect::Dialect;
use crate::earlier;
use crate::embed::Embed;
use crate::error::{Error, Result};
use crate::finish;
use crate::format::{InputFormat, OutputFormat};
use crate::identity::{FileId, InputWatch};
use crate::input::Rows;
use crate::known::Known;
use crate::message::{Setting, message};
use crate::output::{check_precisions, output_format, rejects_path};
use crate::ownership::{self, Existing, ReadFile};
use crate::pipeline::{self, Files, KnownVectors, Saved, Work};
use crate::progress::Progress;
use crate::read_options::ReadOptions;
use crate::record::RunRecord;
use crate::reuse::ReusedVectors;
use crate::settings::{InputFile, KeptColumn, Settings};
use crate::shard::Shard;
use crate::space::Space;
use crate::spool::{SpoolReader, SpoolWriter, Summary, Tally, cannot_write};
use crate::target::Target;

/// A longer row is rejected: its text is far beyond what a model reads, and it must fit into the
/// memory.
const MAX_ROW_BYTES: usize = 64 << 20;

/// How a run that is resumed is compared with the one that was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Settings, model, and of each input file the size, the beginning, the end, samples and the
    /// time of the last change; all of a file whose time alone differs.
    Compare,
    /// Settings, model, and all of each input file.
    Verify,
}

/// What a run reads and writes. What its vectors are is stated by the caller, in a [`Space`].
#[derive(Debug, Clone)]
pub struct Job {
    /// Files of rows, compressed or not; `-` is standard input.
    pub input: Vec<PathBuf>,
    /// Their format; `None` takes it from each file's name.
    pub input_format: Option<InputFormat>,
    /// How the fields of CSV and TSV files are told apart.
    pub dialect: Dialect,
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
    /// Outputs of earlier runs: texts of the same tokens take their vectors from them. The output is
    /// the same as without.
    pub reuse: Vec<PathBuf>,
    /// Bytes of memory that the run may use, the pages of the model file counted.
    pub max_memory: u64,
    /// Whether a run that was interrupted is continued, if it is the same.
    pub resume: Option<Resume>,
    /// Whether the output and an unfinished run's rows are replaced.
    pub force: bool,
    /// Which rows are embedded; a part of them goes into a file of its own, for a
    /// [`MergeJob`](crate::MergeJob).
    pub shard: Shard,
    /// The model's file, which nothing may replace.
    pub model: Option<PathBuf>,
}

impl Job {
    /// Checks what can be checked without a model.
    ///
    /// # Errors
    /// If settings do not go together, or the output cannot be written or is there already.
    pub fn check(mut self) -> Result<CheckedJob> {
        let format = output_format(self.output_format, &self.output)?;
        columns::check_names(&mut self.keep, self.id_field.as_deref(), format)?;
        let target = Target::new(&self.output, format, self.shard)?;
        let inputs = self.input.iter().map(|path| ReadFile {
            path,
            what: "an input",
        });
        let model = self.model.iter().map(|path| ReadFile {
            path,
            what: "the model",
        });
        // One that the output replaces has been read by then.
        let replaced = FileId::of(&target.destination);
        let reused = self.reuse.iter().map(|path| ReadFile {
            path,
            what: "an output that is reused",
        });
        let reused = reused.filter(|file| replaced.is_none() || FileId::of(file.path) != replaced);
        ownership::check_reads(&target, inputs.chain(model).chain(reused))?;
        if self.resume == Some(Resume::Verify) && self.input.iter().any(|input| !is_regular(input))
        {
            return Err(Error::argument(message![
                Setting::Resume,
                ": standard input and pipes cannot be read again to be verified; give files",
            ]));
        }
        let continues = self.resume.is_some() && (target.spool.exists() || target.output.exists());
        if !self.force && !continues {
            ownership::check_free(&target, false)?;
        }
        Ok(CheckedJob { job: self, target })
    }
}

fn is_regular(input: &Path) -> bool {
    input.as_os_str() != "-" && fs::metadata(input).is_ok_and(|found| found.is_file())
}

/// A [`Job`] whose settings go together.
#[derive(Debug)]
pub struct CheckedJob {
    job: Job,
    target: Target,
}

impl CheckedJob {
    /// Opens the input and the spool.
    ///
    /// # Errors
    /// If the memory is too little for the model, or a file cannot be opened or is damaged.
    pub fn open<E: Embed>(self, embedder: Arc<E>) -> Result<Run<E>> {
        let Self { job, target } = self;
        let (memory, reuses) = (embedder.memory(), !job.reuse.is_empty());
        let budget = Budget::new(job.max_memory, memory, embedder.context(), reuses)?;
        let options = ReadOptions {
            format: job.input_format,
            dialect: job.dialect,
            field: job.field.clone(),
            id_field: job.id_field.clone(),
            keep: job.keep.clone(),
            max_row_bytes: MAX_ROW_BYTES,
            budget: budget.read,
        };
        let watch = InputWatch::new(&job.input);
        let rows = Rows::open(&job.input, options)?;
        let is_there = target.spool.exists();
        let mut replaced = Vec::new();
        let (spool, found) = if job.force {
            replaced = Existing::of_target(&target);
            let spool = match is_there {
                true => SpoolWriter::restart(&target.spool)?,
                false => SpoolWriter::create(&target.spool)?,
            };
            ownership::remove_staging(&target)?;
            (Some(spool), None)
        } else if job.resume.is_some() && is_there {
            let (spool, found) = SpoolWriter::resume(&target.spool)?;
            (Some(spool), found)
        } else if job.resume.is_some() && target.output.exists() {
            (None, None)
        } else {
            (Some(SpoolWriter::create(&target.spool)?), None)
        };
        Ok(Run {
            _cleanup: EmptySpool(target.spool.clone()),
            job,
            target,
            embedder,
            budget,
            rows,
            watch,
            spool,
            found,
            replaced,
        })
    }
}

/// The result of a run or merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The file with the vectors, or the shard.
    pub output: PathBuf,
    /// The file that says why rows have no vector, if there is one.
    pub rejects: Option<PathBuf>,
    /// Counts over its rows, including those of earlier runs; if it was complete before, those of
    /// rows alone.
    pub tally: Tally,
    /// Vectors of this run that were not computed.
    pub saved: Saved,
    /// Whether an earlier run had completed it, so that there was nothing to do.
    pub was_complete: bool,
}

impl Report {
    /// A report of a whole output or a shard, which has no file of rejected rows.
    pub(crate) fn new(output: PathBuf, is_whole: bool, tally: Tally) -> Self {
        let has_rejects = is_whole && tally.rejected > 0;
        Self {
            rejects: has_rejects.then(|| rejects_path(&output)),
            output,
            tally,
            saved: Saved::default(),
            was_complete: false,
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
    budget: Budget,
    rows: Rows,
    watch: InputWatch,
    /// `None` if there is an output, which may be complete.
    spool: Option<SpoolWriter>,
    /// What an earlier run has left.
    found: Option<(Settings, Summary)>,
    /// What is replaced.
    replaced: Vec<Existing>,
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
            budget,
            rows,
            watch,
            spool,
            found,
            replaced,
            _cleanup,
        } = self;
        assert_eq!(space.dims, embedder.dims(), "the space is the embedder's");
        check_precisions(&space, target.format, &target.output)?;
        let mut settings = settings(&job, space, &rows)?;
        columns::check_types(&settings, target.format)?;
        settings.replaced = replaced;
        let verify = job.resume == Some(Resume::Verify);
        let Some(mut spool) = spool else {
            let record = RunRecord::read(&target)?;
            earlier::compare_inputs(
                &job.input,
                verify,
                &mut settings,
                Some(&record.settings),
                cancel,
                progress,
            )?;
            watch.check()?;
            return earlier::finished(&target, &settings, &record);
        };
        let theirs = found.as_ref().map(|(settings, _)| settings);
        earlier::compare_inputs(&job.input, verify, &mut settings, theirs, cancel, progress)?;
        watch.check()?;
        // Before the spool has anything: what cannot be reused leaves none.
        let mut known = Known::new(budget.known_texts);
        let (space, output) = (&settings.space, &target.output);
        let reused = ReusedVectors::collect(&job.reuse, space, output, budget.read, &mut known)?;
        let done = earlier::prepare(&settings, &rows, &mut spool, found, &target)?;
        let mut saved = Saved::default();
        if done.total.is_none() {
            let total = rows.total_hint().map(|rows| settings.shard.rows(rows));
            let begun = fs::metadata(&target.spool).map_or(0, |spool| spool.len());
            let work = Work {
                embedder: &embedder,
                settings: &settings,
                done: &done,
                batch_tokens: budget.batch_tokens,
                watch,
            };
            let vectors = KnownVectors {
                reused,
                places: earlier::remember(&target.spool, &done, &mut known)?,
            };
            let files = Files {
                rows,
                known,
                vectors,
                spool,
            };
            progress.begin(total, done.tally.rows);
            let end = pipeline::run(&work, files, cancel, progress);
            progress.end(end.is_ok());
            if end.is_err() && !matches!(end, Err(Error::Cancelled)) && done.tally.rows == 0 {
                discard_spool_of(&target.spool, begun);
            }
            saved = end?;
        } else {
            drop(spool);
        }
        let report = complete(&target, job.shard, cancel)?;
        Ok(Report { saved, ..report })
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
    let settings = spool.settings().clone();
    // What is there now need not be what was there when the run began.
    ownership::check_own(target, &settings, &done)?;
    if shard.is_whole() {
        let rows = spool.rows();
        let content = finish::Content::of_run(&settings, &done);
        finish::write(target, content, rows, cancel)?;
        finish::remove(&target.spool)?;
    } else {
        finish::rename(&target.spool, &target.destination)
            .and_then(|()| finish::sync_directory(&target.destination))
            .map_err(|error| cannot_write(&target.output, &error))?;
    }
    Ok(Report::new(
        target.output.clone(),
        shard.is_whole(),
        done.tally,
    ))
}

fn settings(job: &Job, space: Space, rows: &Rows) -> Result<Settings> {
    let kept = job.keep.iter().zip(rows.kept_types());
    let inputs = (0..)
        .zip(&job.input)
        .map(|(file, path)| InputFile::new(path, rows.file_name(file), job.input_format));
    Ok(Settings {
        space,
        inputs: inputs.collect::<Result<_>>()?,
        input_format: job.input_format.map(|format| format!("{format:?}")),
        dialect: job.dialect.to_string(),
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
        replaced: Vec::new(),
    })
}
