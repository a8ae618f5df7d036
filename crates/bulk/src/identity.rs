//! What an input file is known by, so that a run does not go on with another one.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::message::{Setting, message};
use crate::space::hexadecimal;

/// The bytes at the beginning and at the end of a file that are looked at.
const EDGE_BYTES: u64 = 64 << 10;
/// The bytes of a sample between them, and how many there are.
const SAMPLE_BYTES: u64 = 4 << 10;
const SAMPLES: u64 = 62;
const BUFFER_BYTES: usize = 1 << 20;

/// What a file is known by, wherever it is and whatever its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Its size.
    pub bytes: u64,
    /// When it was last written to, in nanoseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<i64>,
    /// The SHA-256 of its beginning, its end and samples in between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<String>,
    /// The SHA-256 of all of it, if that was computed.
    pub sha256: Option<String>,
}

impl Fingerprint {
    /// Looks at the size, the time and some pieces of a file; `None` if it is no regular file.
    pub fn of(path: &Path) -> io::Result<Option<Self>> {
        let Some(stamp) = Stamp::of(path)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            bytes: stamp.bytes,
            modified: stamp.modified.and_then(nanoseconds),
            samples: Some(sample_hash(&mut File::open(path)?, stamp.bytes)?),
            sha256: None,
        }))
    }

    /// Whether only the hash of all of a file could tell this from `other`.
    pub fn needs_whole(&self, other: &Self) -> bool {
        let samples = self.samples.is_none()
            || other.samples.is_none()
            || self.samples == other.samples && self.modified != other.modified;
        self.bytes == other.bytes && samples
    }

    /// How `here` differs from this, which is `there`. A time alone is no difference if the hashes
    /// of all agree.
    pub fn difference(&self, here: &Self) -> Option<String> {
        if self.bytes != here.bytes {
            return Some(format!(
                "has {} bytes there and {} here",
                self.bytes, here.bytes
            ));
        }
        let contents = || Some("has other contents here than there".to_owned());
        if let (Some(there), Some(here)) = (&self.samples, &here.samples)
            && there != here
        {
            return contents();
        }
        match (&self.sha256, &here.sha256) {
            (Some(there), Some(here)) if there == here => None,
            (Some(_), Some(_)) => contents(),
            _ if self.samples.is_some() && !self.needs_whole(here) => None,
            _ => Some("was written to since, and its contents cannot be compared".to_owned()),
        }
    }

    /// What depends on the contents alone.
    pub fn of_contents(&self) -> Self {
        Self {
            modified: None,
            samples: None,
            ..self.clone()
        }
    }
}

/// A regular file at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    /// Device and number, where there are such.
    file: Option<(u64, u64)>,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Option<Self>> {
        let found = fs::metadata(path)?;
        Ok(found.is_file().then(|| Self {
            file: device_and_number(&found),
            bytes: found.len(),
            modified: found.modified().ok(),
        }))
    }

    /// What happened to the file if it is `now` found so.
    fn change(&self, now: &Self) -> Option<String> {
        if self.file != now.file {
            Some("was replaced by another file while it was read".into())
        } else if self.bytes != now.bytes {
            let (before, now) = (self.bytes, now.bytes);
            Some(format!(
                "was changed while it was read: from {before} to {now} bytes"
            ))
        } else if self.modified != now.modified {
            Some("was written to while it was read".into())
        } else {
            None
        }
    }
}

/// Input files as they were when a run began with them.
#[derive(Debug, Clone)]
pub struct InputWatch(Vec<(PathBuf, Stamp)>);

impl InputWatch {
    /// Watches those of the files that are regular ones.
    pub fn new(files: &[PathBuf]) -> Self {
        let stamp = |file: &PathBuf| Some((file.clone(), Stamp::of(file).ok().flatten()?));
        let regular = files.iter().filter(|file| file.as_os_str() != "-");
        Self(regular.filter_map(stamp).collect())
    }

    /// An error if one of them is not what it was. Whoever has read a file before this call has
    /// read what the run began with. One that has been removed stays as it was for those who read
    /// it.
    pub fn check(&self) -> Result<()> {
        for (path, before) in &self.0 {
            let now = Stamp::of(path).ok().flatten();
            if let Some(change) = now.and_then(|now| before.change(&now)) {
                let remedy = message![
                    "bring it back as it was and run the same command with ",
                    Setting::Resume,
                    ", or start over with ",
                    Setting::Force,
                    " (with a copy of it, if it keeps changing)",
                ];
                return Err(Error::file(path, change, remedy));
            }
        }
        Ok(())
    }
}

/// Which file a path leads to: hard links and symbolic links of one file are the same.
#[derive(Debug, PartialEq, Eq)]
pub enum FileId {
    /// Device and number.
    Number(u64, u64),
    /// Its path, where files have no such numbers.
    Path(PathBuf),
}

impl FileId {
    /// The file that a path leads to; `None` if there is none.
    pub fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        match device_and_number(&found) {
            Some((device, number)) => Some(Self::Number(device, number)),
            None => fs::canonicalize(path).ok().map(Self::Path),
        }
    }

    /// What standard input is redirected from.
    pub fn of_standard_input() -> Option<Self> {
        #[cfg(unix)]
        {
            let found = rustix::fs::fstat(io::stdin()).ok()?;
            #[allow(
                clippy::unnecessary_cast,
                clippy::useless_conversion,
                reason = "systems differ in the types"
            )]
            Some(Self::Number(found.st_dev as u64, found.st_ino as u64))
        }
        #[cfg(not(unix))]
        None
    }
}

#[cfg(unix)]
fn device_and_number(found: &fs::Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn device_and_number(_: &fs::Metadata) -> Option<(u64, u64)> {
    None
}

/// Nanoseconds since 1970, negative before.
pub fn nanoseconds(time: SystemTime) -> Option<i64> {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).ok(),
        Err(error) => i64::try_from(error.duration().as_nanos())
            .ok()
            .map(|before| -before),
    }
}

/// The SHA-256 of a file of `bytes` bytes at its beginning, its end and in between.
fn sample_hash(file: &mut File, bytes: u64) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = Vec::new();
    let mut add = |file: &mut File, start: u64, length: u64| {
        file.seek(SeekFrom::Start(start))?;
        buffer.clear();
        file.take(length).read_to_end(&mut buffer)?;
        hash.update(&buffer);
        io::Result::Ok(())
    };
    if bytes <= 2 * EDGE_BYTES + SAMPLES * SAMPLE_BYTES {
        add(file, 0, bytes)?;
    } else {
        add(file, 0, EDGE_BYTES)?;
        let step = (bytes - 2 * EDGE_BYTES) / SAMPLES;
        for sample in 0..SAMPLES {
            add(file, EDGE_BYTES + sample * step, SAMPLE_BYTES)?;
        }
        add(file, bytes - EDGE_BYTES, EDGE_BYTES)?;
    }
    Ok(hexadecimal(&hash.finalize()))
}

/// The SHA-256 of all of an input file.
pub fn whole_hash(path: &Path, cancel: &CancelToken) -> Result<String> {
    let cannot = |error: io::Error| {
        let problem = format!("cannot read: {error}");
        Error::file(path, problem, "check the file and its disk")
    };
    let mut file = File::open(path).map_err(cannot)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        cancel.check()?;
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hexadecimal(&hash.finalize())),
            Ok(read) => hash.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(cannot(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(path: &Path) -> Fingerprint {
        Fingerprint::of(path).unwrap().unwrap()
    }

    fn with_whole(path: &Path) -> Fingerprint {
        let sha256 = Some(whole_hash(path, &CancelToken::new()).unwrap());
        Fingerprint {
            sha256,
            ..fingerprint(path)
        }
    }

    #[test]
    fn a_change_anywhere_is_seen_if_the_time_changed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let mut bytes: Vec<u8> = (0..3_000_000u32).map(|i| ((i * 7) >> 3) as u8).collect();
        fs::write(&path, &bytes).unwrap();
        let before = with_whole(&path);
        assert_eq!(before.difference(&fingerprint(&path)), None);
        for position in [0, 70_000, 1_234_567, 2_999_999] {
            bytes[position] ^= 1;
            fs::write(&path, &bytes).unwrap();
            let later = UNIX_EPOCH + std::time::Duration::from_secs(position as u64);
            File::options()
                .append(true)
                .open(&path)
                .unwrap()
                .set_modified(later)
                .unwrap();
            let now = fingerprint(&path);
            assert!(before.difference(&now).is_some(), "byte {position}");
            assert!(before.difference(&with_whole(&path)).is_some());
            bytes[position] ^= 1;
        }
        fs::write(&path, &bytes).unwrap();
        assert_eq!(before.difference(&with_whole(&path)), None, "only the time");
    }

    #[test]
    fn a_file_that_changes_is_named_and_one_that_is_removed_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.csv");
        fs::write(&path, "text\n").unwrap();
        let watch = InputWatch::new(&[path.clone(), "-".into(), directory.path().into()]);
        assert!(watch.check().is_ok());
        fs::write(&path, "text\na\n").unwrap();
        let message = watch.check().unwrap_err().to_string();
        assert!(
            message.contains("a.csv: was changed while it was read: from 5 to 7 bytes"),
            "{message}"
        );
        fs::rename(&path, directory.path().join("b.csv")).unwrap();
        assert!(watch.check().is_ok());
        fs::write(&path, "text\n").unwrap();
        assert!(
            watch
                .check()
                .unwrap_err()
                .to_string()
                .contains("was replaced")
        );
    }
}
