//! Checks before the work whether the output will fit on the disk.

use std::path::Path;

use crate::error::{Error, Result};
use crate::format::OutputFormat;
use crate::message::{Setting, message};
use crate::output_compression::OutputCompression;
use crate::space::Space;
use crate::staged::directory;
use crate::target::Target;

/// Bytes of a row besides its vector, with a short id.
const ROW_BYTES: u64 = 64;
/// A number in text, its separator counted.
const TEXT_NUMBER_BYTES: u64 = 12;
/// The same compressed.
const COMPRESSED_NUMBER_BYTES: u64 = 5;

/// Refuses a run whose spool, which has `spooled` bytes already, and output do not fit on their
/// disk, or on theirs if a symbolic link leads to another one.
pub fn check(target: &Target, space: &Space, rows: u64, spooled: u64) -> Result<()> {
    let spooled_row = space.precision.bytes(space.dims) as u64 + ROW_BYTES;
    let output_row = match target.format {
        OutputFormat::Jsonl | OutputFormat::Csv => {
            let number = match target.compression {
                OutputCompression::Plain => TEXT_NUMBER_BYTES,
                OutputCompression::Gzip | OutputCompression::Zstd => COMPRESSED_NUMBER_BYTES,
            };
            space.precision.numbers(space.dims) as u64 * number
        }
        OutputFormat::Npy | OutputFormat::Parquet | OutputFormat::Arrow => spooled_row,
    };
    let spool = rows.saturating_mul(spooled_row).saturating_sub(spooled);
    let output = rows.saturating_mul(output_row);
    if is_same_disk(&target.spool, &target.destination) {
        return check_room(&target.spool, rows, spool.saturating_add(output));
    }
    check_room(&target.spool, rows, spool)?;
    check_room(&target.destination, rows, output)
}

fn check_room(file: &Path, rows: u64, needed: u64) -> Result<()> {
    let Some(free) = free_bytes(file) else {
        return Ok(());
    };
    if needed <= free {
        return Ok(());
    }
    let [needed, free] = [needed, free].map(|bytes| bytes.div_ceil(1 << 20));
    Err(Error::file(
        file,
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

/// Whether the directories of two files are on one disk.
fn is_same_disk(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let disk = |file| {
            std::fs::metadata(directory(file))
                .ok()
                .map(|found| found.dev())
        };
        disk(a) == disk(b)
    }
    #[cfg(not(unix))]
    {
        directory(a) == directory(b)
    }
}

/// The free bytes on the disk of a file that a user without privileges may write.
#[cfg(unix)]
fn free_bytes(file: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(directory(file)).ok()?;
    found.f_bavail.checked_mul(found.f_frsize)
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}
