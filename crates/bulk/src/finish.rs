//! Making the output from the rows of spools, in one pass.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::cancel::CancelToken;
use crate::columns;
use crate::error::{Error, Result};
use crate::format::OutputFormat;
use crate::formats::{JsonCell, create_writer};
use crate::output::{Layout, rejects_path, write_metadata};
use crate::row::{Embedded, Row};
use crate::settings::Settings;
use crate::spool::{Summary, cannot_write};
use crate::staged::Staged;

/// A row that has no vector, in the rejects file.
#[derive(Serialize)]
struct Rejected<'a> {
    index: u64,
    file: &'a str,
    line: u64,
    id: Option<JsonCell<'a>>,
    reason: &'a str,
}

/// Writes the output and its companions; `rows` come in the order of the input, and are what
/// `summary` says.
///
/// The files get their names at the end, the output last: if it exists, so do the others.
pub fn write(
    format: OutputFormat,
    output: &Path,
    settings: &Settings,
    summary: &Summary,
    rows: impl Iterator<Item = Result<Row<Embedded>>>,
    cancel: &CancelToken,
) -> Result<()> {
    let failed = |error: io::Error| cannot_write(output, &error);
    columns::check_types(settings, format)?;
    let (id, kept) = columns::output_columns(settings, summary, format);
    let layout = Layout {
        space: settings.space.clone(),
        rows: summary.tally.rows.saturating_sub(summary.tally.rejected),
        id: id.clone(),
        kept,
    };
    let mut files = Vec::new();
    files.extend(write_metadata(format, output, &layout.space).map_err(failed)?);
    let mut rejects = None;
    let mut writer = create_writer(format, output, layout).map_err(failed)?;
    for row in rows {
        cancel.check()?;
        let row = row?;
        match &row.outcome {
            Ok(embedded) => writer.row(&row, embedded).map_err(failed)?,
            Err(reason) => {
                let file = match &mut rejects {
                    Some(file) => file,
                    None => rejects.insert(Staged::create(&rejects_path(output)).map_err(failed)?),
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
    files.extend(rejects);
    files.extend(writer.finish().map_err(failed)?);
    for file in &mut files {
        file.complete().map_err(failed)?;
    }
    for file in files {
        file.commit().map_err(failed)?;
    }
    sync_directory(output).map_err(failed)
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
    let directory = match file.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    if cfg!(unix) {
        fs::File::open(directory)?.sync_all()?;
    }
    Ok(())
}
