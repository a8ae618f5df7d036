//! Whether the output fits on the disk, where that can be known before the work.

use std::path::Path;

use super::output::OutputFormat;
use super::settings::Space;
use crate::cli::failure::Failure;

/// What a row has besides its vector, with a short id.
const ROW_BYTES: u64 = 64;
/// A number in text, its separator counted.
const TEXT_NUMBER_BYTES: u64 = 12;

/// Refuses to begin what cannot end: the rows in the spool and the output must fit, `spooled` bytes being there already.
pub fn check(
    folder_of: &Path,
    format: OutputFormat,
    space: &Space,
    rows: u64,
    spooled: u64,
) -> Result<(), Failure> {
    let Some(free) = free_bytes(folder_of) else {
        return Ok(());
    };
    let spool = space.precision.bytes(space.dims) as u64 + ROW_BYTES;
    let output = match format {
        OutputFormat::Jsonl | OutputFormat::Csv => {
            space.precision.numbers(space.dims) as u64 * TEXT_NUMBER_BYTES
        }
        OutputFormat::Npy | OutputFormat::Parquet | OutputFormat::Arrow => spool,
    };
    let needed = rows.saturating_mul(spool + output).saturating_sub(spooled);
    if needed <= free {
        return Ok(());
    }
    let [needed, free] = [needed, free].map(|bytes| bytes.div_ceil(1 << 20));
    Err(Failure::file(
        folder_of,
        format_args!(
            "{rows} rows need about {needed} MB while the run lasts, and the disk has {free} MB left"
        ),
        "make room, take another disk, a smaller --precision or --dims, or --shard",
    ))
}

/// What a user may still write on the disk of a file.
#[cfg(unix)]
fn free_bytes(file: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(file).ok()?;
    found.f_bavail.checked_mul(found.f_frsize)
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}
