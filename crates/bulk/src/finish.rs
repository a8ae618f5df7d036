//! Making the output from the rows of spools, in one pass.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::cancel::CancelToken;
use crate::columns;
use crate::error::{Error, Result};
use crate::formats::{JsonCell, create_writer};
use crate::output::{Layout, check_precisions, rejects_path, write_metadata};
use crate::output_compression::OutputCompression;
use crate::record::RunRecord;
use crate::row::{Embedded, Row};
use crate::settings::Settings;
use crate::spool::{Summary, cannot_write};
use crate::staged::{ForeignFile, Staged, directory};
use crate::target::Target;

/// A row that has no vector, in the rejects file.
#[derive(Serialize)]
struct Rejected<'a> {
    index: u64,
    file: &'a str,
    line: u64,
    id: Option<JsonCell<'a>>,
    reason: &'a str,
}

/// What an output is made of, besides its rows.
pub struct Content<'a> {
    /// The settings, with what is known of the types of columns.
    pub settings: &'a Settings,
    /// What the output says of its run.
    pub record: RunRecord,
    /// Counts over the rows, and the types of their cells.
    pub summary: &'a Summary,
    /// The file that says why rows were rejected, if those are not among the rows.
    pub rejects: Option<&'a Path>,
}

impl<'a> Content<'a> {
    /// That of a run.
    pub fn of_run(settings: &'a Settings, summary: &'a Summary) -> Self {
        Self {
            settings,
            record: RunRecord::new(settings, &summary.tally),
            summary,
            rejects: None,
        }
    }
}

/// Writes the output and its companions; `rows` come in the order of the input, and are what
/// the summary says.
///
/// The files get their names at the end, the output last: if it exists, so do the others.
pub fn write(
    target: &Target,
    content: Content<'_>,
    rows: impl Iterator<Item = Result<Row<Embedded>>>,
    cancel: &CancelToken,
) -> Result<()> {
    let (format, output) = (target.format, target.output.as_path());
    let (settings, summary) = (content.settings, content.summary);
    let failed = |error: io::Error| failure(output, &error);
    columns::check_types(settings, format)?;
    check_precisions(&settings.space, format, output)?;
    let (id, kept) = columns::output_columns(settings, summary, format);
    let layout = Layout {
        space: settings.space.clone(),
        rows: summary.tally.rows.saturating_sub(summary.tally.rejected),
        id: id.clone(),
        kept,
        record: content.record,
    };
    let metadata = layout.metadata();
    let file = Staged::create(&target.destination, target.compression).map_err(failed)?;
    let mut writer = create_writer(format, output, file, layout).map_err(failed)?;
    let mut rejects = content
        .rejects
        .map(|path| copied(path, output))
        .transpose()?;
    for row in rows {
        cancel.check()?;
        let row = row?;
        match &row.outcome {
            Ok(embedded) => writer.row(&row, embedded).map_err(failed)?,
            Err(reason) => {
                let file = match &mut rejects {
                    Some(file) => file,
                    None => rejects.insert(create(&rejects_path(output)).map_err(failed)?),
                };
                let rejected = Rejected {
                    index: row.index,
                    file: &settings.inputs[row.file as usize].path,
                    line: row.line,
                    id: row
                        .id
                        .as_ref()
                        .zip(id.as_ref())
                        .map(|(cell, id)| JsonCell(cell, id)),
                    reason,
                };
                serde_json::to_writer(&mut *file, &rejected)
                    .map_err(io::Error::from)
                    .and_then(|()| file.write_all(b"\n"))
                    .map_err(failed)?;
            }
        }
    }
    if rejects.is_none() {
        // One that an earlier output left would be taken for this output's.
        remove(&rejects_path(output))?;
    }
    let mut bytes = 0;
    let mut written = writer.finish().map_err(failed)?;
    for file in &mut written {
        // The output itself is the last one.
        bytes = file.complete().map_err(failed)?;
    }
    let metadata = write_metadata(format, output, metadata, bytes).map_err(failed)?;
    let mut files: Vec<Staged> = metadata.into_iter().chain(rejects).collect();
    for file in &mut files {
        file.complete().map_err(failed)?;
    }
    files.extend(written);
    for file in files {
        file.commit().map_err(failed)?;
    }
    if target.destination != target.output {
        sync_directory(output).map_err(failed)?;
    }
    sync_directory(&target.destination).map_err(failed)
}

/// The rejects of another output, as those of `output`.
fn copied(rejects: &Path, output: &Path) -> Result<Staged> {
    let mut from = fs::File::open(rejects).map_err(|error| {
        let problem = format!("cannot read: {error}");
        Error::file(rejects, problem, "put it back, or make the output again")
    })?;
    let mut copy = create(&rejects_path(output)).map_err(|error| failure(output, &error))?;
    io::copy(&mut from, &mut copy).map_err(|error| failure(output, &error))?;
    Ok(copy)
}

fn create(path: &Path) -> io::Result<Staged> {
    Staged::create(path, OutputCompression::Plain)
}

/// The error of writing the output.
fn failure(output: &Path, error: &io::Error) -> Error {
    let foreign = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<ForeignFile>());
    match foreign {
        Some(ForeignFile(path)) => {
            let problem = "is where the output is written, and is not of this run";
            let remedy = "move it away, then run the command again";
            Error::file(path, problem, remedy)
        }
        None => cannot_write(output, error),
    }
}

/// Gives a complete file another name, replacing a file of that name; also on another disk.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let mut copy = create(to)?;
            io::copy(&mut fs::File::open(from)?, &mut copy)?;
            copy.commit()?;
            fs::remove_file(from)
        }
        renamed => renamed,
    }
}

/// Removes a file, if it exists.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file(
            path,
            format!("cannot remove: {error}"),
            "remove it yourself",
        )),
        _ => Ok(()),
    }
}

/// Ensures that a new name of a file survives a power cut.
pub fn sync_directory(file: &Path) -> io::Result<()> {
    if cfg!(unix) {
        fs::File::open(directory(file))?.sync_all()?;
    }
    Ok(())
}
