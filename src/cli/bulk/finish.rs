//! Making the output from spools, in one pass.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::output::{self, Layout, OutputFormat, Staged, rejects_path};
use super::settings::Settings;
use super::spool::{Record, Summary, cannot_write};
use crate::cli::failure::Failure;

/// A row that has no vector, in the rejects file.
#[derive(Serialize)]
struct Rejected<'a> {
    index: u64,
    file: &'a str,
    line: u64,
    id: Option<&'a str>,
    reason: &'a str,
}

/// Writes the output and its companions; `records` come in the order of the input, and are what `summary` says.
///
/// The files get their names at the end, the output last: where it is, the others are as well.
pub fn write(
    format: OutputFormat,
    output: &Path,
    settings: &Settings,
    summary: &Summary,
    records: impl Iterator<Item = Result<Record, Failure>>,
) -> Result<(), Failure> {
    let failed = |error: io::Error| cannot_write(output, &error);
    let columns = settings.keep.iter().zip(&summary.seen);
    let layout = Layout {
        space: settings.space.clone(),
        rows: summary.tally.rows.saturating_sub(summary.tally.rejected),
        has_ids: settings.id_field.is_some(),
        kept: columns
            .map(|(column, seen)| (column.name.clone(), column.cells.unwrap_or(seen.common())))
            .collect(),
    };
    let mut files = Vec::new();
    files.extend(output::metadata(format, output, &layout).map_err(failed)?);
    let mut rejects = None;
    let mut sink = output::sink(format, output, layout).map_err(failed)?;
    for record in records {
        let record = record?;
        match &record.outcome {
            Ok(embedded) => sink.row(&record, embedded).map_err(failed)?,
            Err(reason) => {
                let file = match &mut rejects {
                    Some(file) => file,
                    None => rejects.insert(Staged::create(&rejects_path(output)).map_err(failed)?),
                };
                let rejected = Rejected {
                    index: record.index,
                    file: &settings.inputs[record.file as usize].path,
                    line: record.line,
                    id: record.id.as_deref(),
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
        // One of an earlier output would speak of this one.
        remove(&rejects_path(output))?;
    }
    files.extend(rejects);
    files.extend(sink.finish().map_err(failed)?);
    for file in &mut files {
        file.complete().map_err(failed)?;
    }
    for file in files {
        file.commit().map_err(failed)?;
    }
    sync_folder(output).map_err(failed)
}

/// Removes a file, if it is there.
pub fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::file(
            path,
            format_args!("cannot remove: {error}"),
            "remove it yourself",
        )),
        _ => Ok(()),
    }
}

/// Makes sure that names outlast a power cut.
pub fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if cfg!(unix) {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}
