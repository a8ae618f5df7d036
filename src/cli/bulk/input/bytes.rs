//! Where the bytes come from: files and standard input, decompressed where gzip's or zstd's magic bytes say so.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;

use super::{InputFormat, unreadable};
use crate::cli::failure::Failure;

const BUFFER_BYTES: usize = 1 << 16;
/// The longest of the magic bytes looked for.
const HEAD_BYTES: u64 = 6;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A file to read, or standard input.
#[derive(Debug)]
pub struct Input {
    path: PathBuf,
    name: String,
    format: InputFormat,
    /// `None` for what is not a regular file.
    size: Option<u64>,
    compressed: bool,
}

impl Input {
    /// Looks whether the file is there and what its format is.
    pub fn find(path: &Path, format: Option<InputFormat>) -> Result<Self, Failure> {
        let mut input = Self {
            path: path.to_owned(),
            name: path.display().to_string(),
            format: InputFormat::Lines,
            size: None,
            compressed: false,
        };
        if input.is_standard_input() {
            input.name = "standard input".into();
        } else {
            let metadata = std::fs::metadata(path).map_err(|error| input.cannot("open", error))?;
            if metadata.is_dir() {
                let problem = "is a folder";
                return Err(unreadable(&input.name, problem, "name the files in it"));
            }
            if metadata.is_file() {
                input.size = Some(metadata.len());
                let (head, _) = with_head(input.file()?).map_err(|e| input.cannot("read", e))?;
                input.compressed = Encoding::of(&head) != Encoding::Plain;
            }
        }
        input.format = match format.or_else(|| InputFormat::of_name(path)) {
            Some(format) => format,
            None => {
                return Err(Failure::usage(format!(
                    "{}: the name does not tell the format (it would by ending in {}, or in one of these and .gz or .zst); give it with --input-format",
                    input.name,
                    InputFormat::known_endings()
                )));
            }
        };
        Ok(input)
    }

    /// How messages name it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is in it.
    pub fn format(&self) -> InputFormat {
        self.format
    }

    /// Its size on the disk, if it is a regular file.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Whether opening it twice is possible and cheap.
    pub fn can_reopen(&self) -> bool {
        self.size.is_some() && !(self.compressed && self.format == InputFormat::Parquet)
    }

    /// Its bytes, decompressed.
    pub fn stream(&self) -> Result<Stream, Failure> {
        let count = Arc::new(AtomicU64::new(0));
        let raw: Box<dyn Read + Send> = if self.is_standard_input() {
            Box::new(io::stdin())
        } else {
            Box::new(self.file()?)
        };
        let raw = Counted {
            inner: raw,
            count: Arc::clone(&count),
        };
        let (head, raw) = with_head(raw).map_err(|error| self.cannot("read", error))?;
        let encoding = Encoding::of(&head);
        let decoded: Box<dyn Read + Send> = match encoding {
            Encoding::Plain => Box::new(raw),
            Encoding::Gzip => Box::new(MultiGzDecoder::new(raw)),
            Encoding::Zstd => {
                let decoder = zstd::Decoder::new(raw);
                Box::new(decoder.map_err(|error| self.cannot("decompress", error))?)
            }
        };
        let mut stream = Stream {
            name: self.name.clone(),
            encoding,
            count,
            head: Vec::new(),
            reader: BufReader::new(Box::new(io::empty())),
        };
        let (head, decoded) = with_head(decoded).map_err(|error| stream.failure(error))?;
        stream.head = head;
        stream.reader = BufReader::with_capacity(BUFFER_BYTES, Box::new(decoded));
        Ok(stream)
    }

    /// Its bytes as a file to move about in: itself, or an unnamed temporary one if it is compressed or no file.
    pub fn seekable(&self) -> Result<File, Failure> {
        if self.size.is_some() && !self.compressed {
            return self.file();
        }
        let mut stream = self.stream()?;
        let temporary = tempfile::tempfile().map_err(spool_failure)?;
        let mut writer = BufWriter::with_capacity(BUFFER_BYTES, temporary);
        loop {
            let buffer = stream.fill_buf();
            let buffer = match buffer {
                Ok(buffer) => buffer,
                Err(error) => return Err(stream.failure(error)),
            };
            if buffer.is_empty() {
                break;
            }
            writer.write_all(buffer).map_err(spool_failure)?;
            let used = buffer.len();
            stream.consume(used);
        }
        writer
            .into_inner()
            .map_err(|error| spool_failure(error.into_error()))
    }

    fn is_standard_input(&self) -> bool {
        self.path.as_os_str() == "-"
    }

    fn file(&self) -> Result<File, Failure> {
        File::open(&self.path).map_err(|error| self.cannot("open", error))
    }

    fn cannot(&self, action: &str, error: io::Error) -> Failure {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => "check the name",
            io::ErrorKind::PermissionDenied => "check who may read it",
            _ => "check the file",
        };
        unreadable(&self.name, format!("cannot {action}: {error}"), remedy)
    }
}

fn spool_failure(error: io::Error) -> Failure {
    let folder = std::env::temp_dir().display().to_string();
    let problem = format!("cannot write a temporary file: {error}");
    let remedy =
        "set TMPDIR to a folder with room for the decompressed input, or give an uncompressed file";
    unreadable(&folder, problem, remedy)
}

/// The bytes of an input, decompressed.
pub struct Stream {
    name: String,
    encoding: Encoding,
    count: Arc<AtomicU64>,
    head: Vec<u8>,
    reader: BufReader<Box<dyn Read + Send>>,
}

impl Stream {
    /// How messages name the input.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many bytes have been taken from the input, before decompression.
    pub fn bytes_read(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether the bytes, decompressed, began with these.
    pub fn starts_with(&self, magic: &[u8]) -> bool {
        self.head.starts_with(magic)
    }

    /// Makes sure that this is text, and passes over its byte order mark.
    pub fn into_text(mut self) -> Result<Self, Failure> {
        let binary = [
            (
                &b"PAR1"[..],
                "is a Parquet file",
                "give --input-format parquet",
            ),
            (b"ARROW1", "is an Arrow file", "give --input-format arrow"),
            (
                b"\xff\xfe",
                "is UTF-16",
                "convert it with iconv -f UTF-16 -t UTF-8",
            ),
            (
                b"\xfe\xff",
                "is UTF-16",
                "convert it with iconv -f UTF-16 -t UTF-8",
            ),
        ];
        for (magic, problem, remedy) in binary {
            if self.starts_with(magic) {
                return Err(unreadable(&self.name, problem, remedy));
            }
        }
        if self.starts_with(BYTE_ORDER_MARK) {
            let mut mark = [0; BYTE_ORDER_MARK.len()];
            let read = self.reader.read_exact(&mut mark);
            read.map_err(|error| self.failure(error))?;
        }
        Ok(self)
    }

    /// An error of this stream, which may be one of decompression.
    pub fn failure(&self, error: io::Error) -> Failure {
        let (problem, remedy) = match self.encoding {
            Encoding::Plain => ("cannot read", "check the file and its disk"),
            Encoding::Gzip => (
                "cannot decompress the gzip data",
                "it is damaged or cut short (gzip -t tells): fetch it again",
            ),
            Encoding::Zstd => (
                "cannot decompress the zstd data",
                "it is damaged or cut short (zstd -t tells): fetch it again; what needs more than --long=27 has to be decompressed before",
            ),
        };
        unreadable(&self.name, format!("{problem}: {error}"), remedy)
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl BufRead for Stream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume(amount);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Plain,
    Gzip,
    Zstd,
}

impl Encoding {
    fn of(head: &[u8]) -> Self {
        // A zstd file may begin with a skippable frame, as those of pzstd do.
        let skippable = |head: &[u8]| matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]);
        if head.starts_with(b"\x1f\x8b") {
            Self::Gzip
        } else if head.starts_with(b"\x28\xb5\x2f\xfd") || skippable(head) {
            Self::Zstd
        } else {
            Self::Plain
        }
    }
}

/// The first bytes, and a reader that gives them again.
fn with_head<R: Read>(mut reader: R) -> io::Result<(Vec<u8>, impl Read + use<R>)> {
    let mut head = Vec::new();
    reader.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(reader)))
}

/// Counts the bytes that pass; a signal does not end a read.
struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = loop {
            match self.inner.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => break other?,
            }
        };
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
