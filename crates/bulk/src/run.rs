//! A run from its settings to its output.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lanewise_vectors::Precision;

use crate::budget::Budget;
use crate::cancel::CancelToken;
use crate::disk;
use crate::embed::Embed;
use crate::error::{Error, Result};
use crate::finish;
use crate::format::{InputFormat, OutputFormat};
use crate::identity::{InputWatch, whole_hash};
use crate::input::Rows;
use crate::message::{Message, Setting, message};
use crate::output::{OWN_COLUMNS, output_format, rejects_path};
use crate::ownership::{self, Existing, ReadFile};
use crate::pipeline::{self, Work};
use crate::progress::Progress;
use crate::read_options::ReadOptions;
use crate::record::{self, RunRecord};
use crate::settings::{InputFile, KeptColumn, Settings, inputs_to_hash};
use crate::shard::Shard;
use crate::space::Space;
use crate::spool::{SpoolReader, SpoolWriter, Summary, Tally, cannot_write};
use crate::target::Target;

/// A longer row is rejected: its text is far beyond what a model reads, and it must fit into the
/// memory.
const MAX_ROW_BYTES: usize = 64 << 20;

/// Inputs of more bytes than this take a while to read.
const MANY_BYTES: u64 = 1 << 30;

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
    /// The file for the vectors, in the order of the rows.
    pub output: PathBuf,
    /// Its format; `None` takes it from the file's name.
    pub output_format: Option<OutputFormat>,
    /// The column or JSON field with the text; dots lead into nested ones.
    pub field: String,
    /// The column with the id.
    pub id_field: Option<String>,
    /// Columns to carry along.
    pub keep: Vec<String>,
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
    pub fn check(self) -> Result<CheckedJob> {
        let format = output_format(self.output_format, &self.output)?;
        check_columns(&self.keep)?;
        let target = Target::new(&self.output, format, self.shard)?;
        let inputs = self.input.iter().map(|path| ReadFile {
            path,
            what: "an input",
        });
        let model = self.model.iter().map(|path| ReadFile {
            path,
            what: "the model",
        });
        ownership::check_reads(&target, inputs.chain(model))?;
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
        let budget = Budget::new(job.max_memory, embedder.memory(), embedder.context())?;
        let options = ReadOptions {
            format: job.input_format,
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
            batch_tokens: budget.batch_tokens,
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
    batch_tokens: usize,
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
            batch_tokens,
            rows,
            watch,
            spool,
            found,
            replaced,
            _cleanup,
        } = self;
        assert_eq!(space.dims, embedder.dims(), "the space is the embedder's");
        let mut settings = settings(&job, space, &rows)?;
        settings.replaced = replaced;
        let Some(mut spool) = spool else {
            let record = RunRecord::read(&target)?;
            compare_inputs(
                &job,
                &mut settings,
                Some(&record.settings),
                cancel,
                progress,
            )?;
            watch.check()?;
            return finished(&target, &settings, &record);
        };
        let theirs = found.as_ref().map(|(settings, _)| settings);
        compare_inputs(&job, &mut settings, theirs, cancel, progress)?;
        watch.check()?;
        let done = prepare(&settings, &rows, &mut spool, found, &target)?;
        if done.total.is_none() {
            let total = rows.total_hint().map(|rows| settings.shard.rows(rows));
            let begun = fs::metadata(&target.spool).map_or(0, |spool| spool.len());
            let work = Work {
                embedder: &embedder,
                settings: &settings,
                done: &done,
                batch_tokens,
                watch,
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

/// Reads the inputs as far as it takes to compare them with those of `theirs`, or, if the run is a
/// new one, to know them later.
fn compare_inputs(
    job: &Job,
    settings: &mut Settings,
    theirs: Option<&Settings>,
    cancel: &CancelToken,
    progress: &mut dyn Progress,
) -> Result<()> {
    let unknown = settings
        .inputs
        .iter()
        .filter(|file| file.fingerprint.is_none());
    if theirs.is_some() && unknown.count() > 0 {
        progress.notice(&message![
            "standard input and pipes cannot be compared with what was read before: the run is taken for the same"
        ]);
    }
    let theirs = theirs.map(|theirs| theirs.inputs.as_slice());
    let verify = job.resume == Some(Resume::Verify);
    let whole = inputs_to_hash(&settings.inputs, theirs, verify);
    let fingerprints = whole.iter().map(|&file| &settings.inputs[file].fingerprint);
    let bytes: u64 = fingerprints.flatten().map(|known| known.bytes).sum();
    if bytes >= MANY_BYTES {
        let message = format!(
            "reading {} MB of input once, to know them again",
            bytes >> 20
        );
        progress.notice(&message.into());
    }
    for file in whole {
        if let Some(known) = &mut settings.inputs[file].fingerprint {
            known.sha256 = Some(whole_hash(&job.input[file], cancel)?);
        }
    }
    Ok(())
}

/// The report of an output that exists, if it is of the run with these settings.
fn finished(target: &Target, settings: &Settings, record: &RunRecord) -> Result<Report> {
    if let Some(difference) = record.settings.difference(settings) {
        return Err(record::not_this_run(&target.output, difference));
    }
    for path in &target.companions {
        // What this run has not written may be missing: rejects, if there are none.
        let needed = record.rejected > 0 || *path != rejects_path(&target.output);
        if needed && !path.exists() {
            let problem = "belongs to an output that is complete, and is missing";
            let remedy = message!["make both again with ", Setting::Force];
            return Err(Error::file(path, problem, remedy));
        }
    }
    let tally = Tally {
        rows: record.rows,
        rejected: record.rejected,
        ..Tally::default()
    };
    Ok(Report {
        was_complete: true,
        ..Report::new(target.output.clone(), target.is_whole, tally)
    })
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
        finish::write(target, &settings, &done, rows, cancel)?;
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
        None => {
            let none = Summary::default();
            ownership::check_own(target, settings, &none)?;
            none
        }
        Some((theirs, done)) => {
            if let Some(difference) = difference(&theirs, settings) {
                let problem =
                    difference.after("the run was begun with other settings: ".to_owned());
                let remedy = message!["use the same ones, or start over with ", Setting::Force];
                return Err(Error::file(&target.spool, problem, remedy));
            }
            ownership::check_own(target, &theirs, &done)?;
            done
        }
    };
    if let Some(rows) = rows.total_hint() {
        disk::check(target, &settings.space, settings.shard.rows(rows), done.end)?;
    }
    spool.cut(done.end)?;
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
    let inputs = (0..)
        .zip(&job.input)
        .map(|(file, path)| InputFile::new(path, rows.file_name(file), job.input_format));
    Ok(Settings {
        space,
        inputs: inputs.collect::<Result<_>>()?,
        input_format: job.input_format.map(|format| format!("{format:?}")),
        field: job.field.clone(),
        id_field: job.id_field.clone(),
        keep: kept
            .map(|(name, cells)| KeptColumn {
                name: name.clone(),
                cells: *cells,
            })
            .collect(),
        shard: job.shard,
        replaced: Vec::new(),
    })
}

/// Refuses columns that would have the same name as others in the output.
fn check_columns(keep: &[String]) -> Result<()> {
    for (position, name) in keep.iter().enumerate() {
        let problem = if OWN_COLUMNS.contains(&name.as_str()) {
            "is the name of a column that the output has by itself; rename it in the input"
        } else if keep[..position].contains(name) {
            "is given twice"
        } else {
            continue;
        };
        return Err(Error::argument(message![
            Setting::Keep,
            format!(": '{name}' {problem}")
        ]));
    }
    Ok(())
}
