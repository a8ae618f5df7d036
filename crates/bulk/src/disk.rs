//! Checks before the work whether the output will fit on the disk.

use std::path::Path;

use crate::compression::Compression;
use crate::error::{Error, Result};
use crate::format::OutputFormat;
use crate::message::{Setting, message};
use crate::space::Space;

/// Bytes of a row besides its vector, with a short id.
const ROW_BYTES: u64 = 64;
/// A number in text, its separator counted.
const TEXT_NUMBER_BYTES: u64 = 12;
/// The same compressed.
const COMPRESSED_NUMBER_BYTES: u64 = 5;

/// Refuses a run whose spool and output do not fit on the disk of the file `spool`, which has
/// `spooled` bytes already.
pub fn check(
    spool: &Path,
    (format, compression): (OutputFormat, Compression),
    space: &Space,
    rows: u64,
    spooled: u64,
) -> Result<()> {
    let Some(free) = free_bytes(spool) else {
        return Ok(());
    };
    let spooled_row = space.precision.bytes(space.dims) as u64 + ROW_BYTES;
    let output_row = match format {
        OutputFormat::Jsonl | OutputFormat::Csv => {
            let number = match compression {
                Compression::Plain => TEXT_NUMBER_BYTES,
                Compression::Gzip | Compression::Zstd => COMPRESSED_NUMBER_BYTES,
            };
            space.precision.numbers(space.dims) as u64 * number
        }
        OutputFormat::Npy | OutputFormat::Parquet | OutputFormat::Arrow => spooled_row,
    };
    let needed = rows
        .saturating_mul(spooled_row + output_row)
        .saturating_sub(spooled);
    if needed <= free {
        return Ok(());
    }
    let [needed, free] = [needed, free].map(|bytes| bytes.div_ceil(1 << 20));
    Err(Error::file(
        spool,
        format!(
            "{rows} rows need about {needed} MB while the run lasts, and the disk has {free} MB left"
        ),
        message![
            "make room, take another disk, a smaller ",
            Setting::Precision,
            " or ",
            Setting::Dims,
            ", or ",
            Setting::Shard,
        ],
    ))
}

/// The free bytes on the disk of a file that a user without privileges may write.
#[cfg(unix)]
fn free_bytes(file: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(file).ok()?;
    found.f_bavail.checked_mul(found.f_frsize)
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}
