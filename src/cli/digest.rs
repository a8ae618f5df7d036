//! The SHA-256 of a model file, which takes half a second for one of 300 MB, and is remembered in the cache
//! directory beside the packed weights.

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process;
use std::time::{Duration, SystemTime};

use lanewise::internals::cache_directory;
use lanewise::internals::gguf::Gguf;
use lanewise::{Embedder, PackedWeights};
use lanewise_bulk::sha256;

/// The directory of these files in Lanewise's cache directory.
const DIRECTORY: &str = "digests";

/// What a file begins with. Another rule of what is remembered needs another number.
const VERSION: &str = "lanewise digest 1";

/// Bytes of each tensor that are looked at.
const SAMPLE: usize = 4096;

/// A file that was changed less long ago might be changed again without another time of that: systems count time in
/// steps of some milliseconds, and some file systems in seconds.
const SETTLED: Duration = Duration::from_secs(3);

/// The digest of a model file, read anew only if the file may have another content than when it was read last.
///
/// It is the same file in the same state by the rule of packed weights, which vectors are made from: by the time of
/// its last change, which goes on with every write and no program can set back, and by all before the first
/// tensor and a page of each tensor, for files whose system has no such time.
///
/// # Errors
/// If the file cannot be read.
pub fn of_model(gguf: &Gguf) -> io::Result<String> {
    let Some(known) = Remembered::of(gguf) else {
        return of_whole_model(gguf);
    };
    if let Some(digest) = known.read() {
        return Ok(digest);
    }
    let digest = of_whole_model(gguf)?;
    // It is not needed: whatever is in the way, the next command reads the file again.
    if known.may_be_kept() && Remembered::of(gguf).as_ref() == Some(&known) {
        let _ = known.write(&digest);
    }
    Ok(digest)
}

/// The digest of all that is in a model file now.
///
/// # Errors
/// If the file cannot be read.
pub fn of_whole_model(gguf: &Gguf) -> io::Result<String> {
    let length = gguf.file_len() as usize;
    match gguf.is_bundled() {
        true => sha256(gguf.bytes(0..length)),
        // Not through the map: its pages would stay in memory.
        false => sha256(io::BufReader::with_capacity(
            1 << 18,
            Content {
                gguf,
                at: 0,
                length,
            },
        )),
    }
}

/// The bytes of the file that is mapped, which another one may have replaced under its name.
struct Content<'a> {
    gguf: &'a Gguf,
    at: usize,
    length: usize,
}

impl Read for Content<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = out.len().min(self.length - self.at);
        self.gguf
            .copy(self.at, &mut out[..count])
            .map_err(io::Error::other)?;
        self.at += count;
        Ok(count)
    }
}

/// Where the digest of a state of a model file is.
#[derive(PartialEq, Eq)]
struct Remembered {
    path: PathBuf,
    /// What tells this state from others.
    state: String,
    changed: SystemTime,
}

impl Remembered {
    /// `None` if nothing is to be remembered, or the system does not tell states of files from each other.
    fn of(gguf: &Gguf) -> Option<Self> {
        let set = Embedder::builder().packed_weights_set().ok()?;
        if gguf.is_bundled() || set == Some(PackedWeights::Off) {
            return None;
        }
        let identity = gguf.identity().ok()?.0;
        let [.., seconds, nanoseconds, _] = identity;
        if seconds == 0 || nanoseconds >= 1_000_000_000 {
            return None;
        }
        let changed = Duration::new(seconds, nanoseconds as u32);
        let changed = SystemTime::UNIX_EPOCH.checked_add(changed)?;
        let path = fs::canonicalize(gguf.path()).ok()?;
        let name = sha256(path.as_os_str().as_encoded_bytes()).ok()?;
        let numbers = identity.map(|number| number.to_string()).join(" ");
        let sample = sample(gguf).ok()?;
        Some(Self {
            path: cache_directory().ok()?.join(DIRECTORY).join(name),
            state: format!("{VERSION} {numbers} {sample} "),
            changed,
        })
    }

    fn read(&self) -> Option<String> {
        let mut content = String::new();
        let file = fs::File::open(&self.path).ok()?;
        file.take(1024).read_to_string(&mut content).ok()?;
        let digest = content.strip_prefix(&self.state)?.strip_suffix('\n')?;
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then(|| digest.to_owned())
    }

    /// Whether the file has been as it is for so long that its state cannot be that of another content.
    fn may_be_kept(&self) -> bool {
        let age = SystemTime::now().duration_since(self.changed);
        age.is_ok_and(|age| age >= SETTLED)
    }

    fn write(&self, digest: &str) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let temporary = self.path.with_extension(format!("{}.tmp", process::id()));
        let written = fs::write(&temporary, format!("{}{digest}\n", self.state))
            .and_then(|()| fs::rename(&temporary, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

/// The digest of all before the first tensor, and of a page from the middle of each.
fn sample(gguf: &Gguf) -> io::Result<String> {
    let ranges = gguf.tensors().iter().map(|tensor| &tensor.range);
    let first = ranges.clone().map(|range| range.start).min().unwrap_or(0);
    let mut pages = Vec::new();
    for range in ranges {
        let length = SAMPLE.min(range.len());
        let at = pages.len();
        pages.resize(at + length, 0);
        let start = range.start + (range.len() - length) / 2;
        gguf.copy(start, &mut pages[at..])
            .map_err(io::Error::other)?;
    }
    sha256(gguf.bytes(0..first).chain(&pages[..]))
}
