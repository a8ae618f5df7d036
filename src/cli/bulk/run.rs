//! `lanewise embed --input … --output …` from its arguments to its output.

use std::fs;
use std::sync::Arc;

use lanewise::{Embedder, Input, Overflow, Prompt};

use super::input::{self, ReadOptions, Rows};
use super::options::BulkOptions;
use super::output::{OWN_COLUMNS, rejects_path};
use super::pipeline::{self, End, Task};
use super::progress::{Progress, summary};
use super::settings::{InputFile, KeptColumn, Settings, Space};
use super::spool::{SpoolReader, SpoolWriter, Summary, cannot_write};
use super::target::{Target, output_format};
use super::{disk, finish, interrupt, memory};
use crate::cli::Outcome;
use crate::cli::failure::{Failure, report};
use crate::cli::options::{ModelOptions, OverflowPolicy, RunOptions, VectorOptions};

/// A longer row is rejected: its text is far beyond what a model reads, and it must fit into the memory.
const MAX_ROW_BYTES: usize = 64 << 20;

/// The arguments of the command.
pub struct Arguments<'a> {
    /// Those for whole files.
    pub bulk: &'a BulkOptions,
    /// The prompt.
    pub prompt: Prompt,
    /// The title of every document.
    pub title: Option<&'a str>,
    /// What is done with texts that are too long.
    pub overflow: OverflowPolicy,
    /// What vectors are like.
    pub vector: &'a VectorOptions,
    /// The model.
    pub model: &'a ModelOptions,
    /// How it runs.
    pub run: &'a RunOptions,
}

/// Runs the command.
pub fn run(arguments: &Arguments<'_>) -> Result<Outcome, Failure> {
    let bulk = arguments.bulk;
    let Some(output) = &bulk.output else {
        return Err(Failure::usage("--input goes with --output"));
    };
    let format = output_format(bulk.output_format, output)?;
    check_columns(bulk)?;
    let target = Target::new(output, format, bulk.shard);
    target.check_name(&bulk.input)?;
    if bulk.resume && target.output.exists() && !target.spool.exists() {
        report(format_args!("{}: is complete", target.output.display()));
        return Ok(outcome(rejects_path(&target.output).exists()));
    }
    if !bulk.force && !bulk.resume {
        target.check_free()?;
    }
    let builder = arguments.vector.apply(arguments.run.builder());
    let embedder = builder
        .overflow(Overflow::Truncate)
        .open(arguments.model.path()?)?;
    let embedder = Arc::new(embedder);
    let plan = memory::plan(
        bulk.max_memory,
        embedder.model().gguf().file_len(),
        embedder.model().config().context,
    )?;
    let task = task(arguments, &embedder, &plan)?;
    let rows = input::open(&bulk.input, read_options(bulk, &plan))?;
    let (mut spool, found) = match target.spool.exists() {
        true if bulk.force => (SpoolWriter::restart(&target.spool)?, None),
        true => SpoolWriter::resume(&target.spool)?,
        false => (SpoolWriter::create(&target.spool)?, None),
    };
    interrupt::listen();
    let prepared = prepare(arguments, &embedder, &rows, &mut spool, found, &target);
    let (settings, done) = prepared.inspect_err(|_| discard_spool_of(&target, 0))?;
    if done.total.is_none() {
        let total = rows.total_hint().map(|rows| rows_of_shard(rows, &settings));
        let mut progress = Progress::new(bulk.progress, bulk.quiet, total, done.tally.rows);
        let begun = fs::metadata(&target.spool).map_or(0, |spool| spool.len());
        let end = pipeline::run(
            &embedder,
            task,
            &settings,
            &done,
            rows,
            spool,
            &mut progress,
        );
        progress.clear();
        let end = end.inspect_err(|_| {
            if done.tally.rows == 0 {
                discard_spool_of(&target, begun);
            }
        });
        if matches!(end?, End::Interrupted) {
            return Err(interrupt::failure(&interrupt::resume_command()));
        }
        if !bulk.quiet {
            report(format_args!("{}", progress.rate()));
        }
    } else {
        drop(spool);
    }
    complete(bulk, &target)
}

/// Removes the spool if it has no more than so many bytes, so that a run which failed before its first row leaves nothing.
fn discard_spool_of(target: &Target, bytes: u64) {
    if fs::metadata(&target.spool).is_ok_and(|spool| spool.len() <= bytes) {
        // What it failed by is what has to be told.
        let _ = finish::remove(&target.spool);
    }
}

/// Makes the output of a complete spool.
fn complete(bulk: &BulkOptions, target: &Target) -> Result<Outcome, Failure> {
    let mut spool = SpoolReader::open(&target.spool)?;
    let done = spool.scan()?;
    if bulk.shard.is_whole() {
        let settings = spool.settings().clone();
        let records = interrupt::until_asked(spool.records(), interrupt::resume_command());
        finish::write(target.format, &target.output, &settings, &done, records)?;
        finish::remove(&target.spool)?;
    } else {
        fs::rename(&target.spool, &target.output)
            .and_then(|()| finish::sync_folder(&target.output))
            .map_err(|error| cannot_write(&target.output, &error))?;
    }
    let rejected = done.tally.rejected > 0;
    if !bulk.quiet {
        let output = target.output.display();
        report(format_args!("{output}: {}", summary(&done.tally)));
    }
    if rejected && bulk.shard.is_whole() {
        let rejects = rejects_path(&target.output);
        report(format_args!(
            "{} says why rows have no vector",
            rejects.display()
        ));
    }
    Ok(outcome(rejected))
}

/// Makes sure that the spool is of the same settings, which are written into a new one; and says what it has.
fn prepare(
    arguments: &Arguments<'_>,
    embedder: &Embedder,
    rows: &Rows,
    spool: &mut SpoolWriter,
    found: Option<(Settings, Summary)>,
    target: &Target,
) -> Result<(Settings, Summary), Failure> {
    let settings = settings(arguments, embedder, rows)?;
    let begun = found.is_some();
    let done = match found {
        None => Summary::default(),
        Some((theirs, done)) => {
            let shard = (theirs.shard != settings.shard).then(|| {
                format!(
                    "--shard is {} there and {} here",
                    theirs.shard, settings.shard
                )
            });
            if let Some(difference) = theirs.difference(&settings).or(shard) {
                let problem = format_args!("the run was begun with other settings: {difference}");
                let remedy = "use the same ones, or start over with --force";
                return Err(Failure::file(&target.spool, problem, remedy));
            }
            done
        }
    };
    if let Some(rows) = rows.total_hint() {
        let rows = rows_of_shard(rows, &settings);
        disk::check(
            &target.spool,
            target.format,
            &settings.space,
            rows,
            done.end,
        )?;
    }
    if !begun {
        spool.settings(&settings)?;
    }
    Ok((settings, done))
}

fn settings(
    arguments: &Arguments<'_>,
    embedder: &Embedder,
    rows: &Rows,
) -> Result<Settings, Failure> {
    let bulk = arguments.bulk;
    let input = Input {
        title: arguments.title,
        ..Input::new(arguments.prompt, "")
    };
    let dims = embedder.dims();
    if bulk.precision == super::vector::Precision::Binary && !dims.is_multiple_of(8) {
        return Err(Failure::usage(format!(
            "--precision binary: {dims} values are no multiple of 8"
        )));
    }
    let space = Space::new(
        embedder,
        input,
        arguments.vector.dense_heads(),
        bulk.precision,
        arguments.overflow,
    );
    let model = embedder.model().gguf().path();
    let space = space.map_err(|error| {
        Failure::file(
            model,
            format_args!("cannot read: {error}"),
            "check the file and its disk",
        )
    })?;
    let kept = bulk.keep.iter().zip(rows.kept_types());
    Ok(Settings {
        space,
        inputs: (0..)
            .zip(&bulk.input)
            .map(|(file, path)| InputFile::new(path, rows.file_name(file)))
            .collect(),
        input_format: bulk.input_format.map(|format| format!("{format:?}")),
        field: bulk.field.clone(),
        id_field: bulk.id_field.clone(),
        keep: kept
            .map(|(name, cells)| KeptColumn {
                name: name.clone(),
                cells: *cells,
            })
            .collect(),
        shard: bulk.shard,
    })
}

fn task(
    arguments: &Arguments<'_>,
    embedder: &Embedder,
    plan: &memory::Plan,
) -> Result<Task, Failure> {
    let context = embedder.model().config().context;
    if arguments.overflow == OverflowPolicy::Split {
        let prefix = arguments.prompt.prefix(arguments.title);
        let mut ids = Vec::new();
        if !embedder
            .tokenizer()
            .encode_limited(&prefix, context / 2, &mut ids)
        {
            return Err(Failure::usage(
                "--title: takes more than half of what the model reads; shorten it, or do without --overflow split",
            ));
        }
    }
    Ok(Task {
        prompt: arguments.prompt,
        title: arguments.title.map(String::from),
        overflow: arguments.overflow,
        batch_tokens: plan.batch_tokens,
    })
}

fn read_options(bulk: &BulkOptions, plan: &memory::Plan) -> ReadOptions {
    ReadOptions {
        format: bulk.input_format,
        field: bulk.field.clone(),
        id_field: bulk.id_field.clone(),
        keep: bulk.keep.clone(),
        max_row_bytes: MAX_ROW_BYTES,
        share: plan.share,
    }
}

/// Columns that would have the same name as others in the output.
fn check_columns(bulk: &BulkOptions) -> Result<(), Failure> {
    for (position, name) in bulk.keep.iter().enumerate() {
        let problem = if OWN_COLUMNS.contains(&name.as_str()) {
            "is the name of a column that the output has by itself; rename it in the input"
        } else if bulk.keep[..position].contains(name) {
            "is given twice"
        } else {
            continue;
        };
        return Err(Failure::usage(format!("--keep: '{name}' {problem}")));
    }
    Ok(())
}

fn rows_of_shard(rows: u64, settings: &Settings) -> u64 {
    let shard = settings.shard;
    rows.saturating_sub(shard.first()).div_ceil(shard.of)
}

fn outcome(rejected: bool) -> Outcome {
    match rejected {
        true => Outcome::SomeTextsFailed,
        false => Outcome::Complete,
    }
}
