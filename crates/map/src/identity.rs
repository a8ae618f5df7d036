//! What tells files, and versions of a file, from one another.

use std::fs::File;
use std::io;
use std::time::SystemTime;

/// What tells a file from others and from its own earlier contents without reading it: length,
/// modification time, and where the system has them, the time of the last change of any kind, which
/// no program can set, and the file's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity(pub [u64; 6]);

impl FileIdentity {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let modified = metadata.modified().ok();
        let modified = modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let modified = modified.unwrap_or_default();
        #[cfg(unix)]
        let (changed, number) = {
            use std::os::unix::fs::MetadataExt;
            let changed = [metadata.ctime(), metadata.ctime_nsec()].map(i64::cast_unsigned);
            (changed, metadata.ino())
        };
        #[cfg(not(unix))]
        let (changed, number) = ([0; 2], 0);
        Ok(Self([
            metadata.len(),
            modified.as_secs(),
            modified.subsec_nanos().into(),
            changed[0],
            changed[1],
            number,
        ]))
    }
}
