//! The bytes of input files and standard input, decompressed if they begin with the magic bytes of
//! gzip or zstd.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;

use crate::error::{Error, Result};
use crate::format::InputFormat;
use crate::message::{Message, Setting, message};

const BUFFER_BYTES: usize = 1 << 16;
/// The longest magic number that is looked for.
const HEAD_BYTES: u64 = 6;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// An input file, or standard input.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    name: String,
    format: InputFormat,
    /// `None` for what is not a regular file.
    size: Option<u64>,
    compressed: bool,
}

impl Source {
    /// Checks that the file exists and determines its format.
    pub fn find(path: &Path, format: Option<InputFormat>) -> Result<Self> {
        let mut source = Self {
            path: path.to_owned(),
            name: path.display().to_string(),
            format: InputFormat::Lines,
            size: None,
            compressed: false,
        };
        if source.is_standard_input() {
            source.name = "standard input".into();
        } else {
            let metadata = std::fs::metadata(path).map_err(|error| source.cannot("open", error))?;
            if metadata.is_dir() {
                let problem = "is a directory";
                return Err(Error::named_file(
                    &source.name,
                    problem,
                    "name the files in it",
                ));
            }
            if metadata.is_file() {
                source.size = Some(metadata.len());
                let (head, _) = with_head(source.file()?).map_err(|e| source.cannot("read", e))?;
                source.compressed = Encoding::of(&head) != Encoding::Plain;
            }
        }
        source.format = match format.or_else(|| InputFormat::of_name(path)) {
            Some(format) => format,
            None => {
                return Err(Error::argument(message![
                    format!(
                        "{}: the name does not tell the format (it would by ending in {}, or in one of these and .gz or .zst); give it with ",
                        source.name,
                        InputFormat::known_endings()
                    ),
                    Setting::InputFormat,
                ]));
            }
        };
        Ok(source)
    }

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its format.
    pub fn format(&self) -> InputFormat {
        self.format
    }

    /// Its size on disk, if it is a regular file.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Whether opening it twice is possible and cheap.
    pub fn can_reopen(&self) -> bool {
        self.size.is_some() && !(self.compressed && self.format == InputFormat::Parquet)
    }

    /// Its bytes, decompressed.
    pub fn stream(&self) -> Result<Stream> {
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
        let (head, decoded) = with_head(decoded).map_err(|error| stream.error(error))?;
        stream.head = head;
        stream.reader = BufReader::with_capacity(BUFFER_BYTES, Box::new(decoded));
        Ok(stream)
    }

    /// Its bytes as a seekable file: itself, or an unnamed temporary file if it is compressed or
    /// not a regular file.
    pub fn seekable(&self) -> Result<File> {
        if self.size.is_some() && !self.compressed {
            return self.file();
        }
        let mut stream = self.stream()?;
        let temporary = tempfile::tempfile().map_err(temporary_file_error)?;
        let mut writer = BufWriter::with_capacity(BUFFER_BYTES, temporary);
        loop {
            let buffer = stream.fill_buf();
            let buffer = match buffer {
                Ok(buffer) => buffer,
                Err(error) => return Err(stream.error(error)),
            };
            if buffer.is_empty() {
                break;
            }
            writer.write_all(buffer).map_err(temporary_file_error)?;
            let used = buffer.len();
            stream.consume(used);
        }
        writer
            .into_inner()
            .map_err(|error| temporary_file_error(error.into_error()))
    }

    fn is_standard_input(&self) -> bool {
        self.path.as_os_str() == "-"
    }

    fn file(&self) -> Result<File> {
        File::open(&self.path).map_err(|error| self.cannot("open", error))
    }

    fn cannot(&self, action: &str, error: io::Error) -> Error {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => "check the name",
            io::ErrorKind::PermissionDenied => "check who may read it",
            _ => "check the file",
        };
        Error::named_file(&self.name, format!("cannot {action}: {error}"), remedy)
    }
}

fn temporary_file_error(error: io::Error) -> Error {
    let directory = std::env::temp_dir().display().to_string();
    let problem = format!("cannot write a temporary file: {error}");
    let remedy = "set TMPDIR to a directory with room for the decompressed input, or give an uncompressed file";
    Error::named_file(&directory, problem, remedy)
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
    /// The name of the file in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many bytes have been read from the file, before decompression; without those that wait
    /// in the buffer, if the file is not compressed.
    pub fn bytes_read(&self) -> u64 {
        let waiting = match self.encoding {
            Encoding::Plain => self.reader.buffer().len() as u64,
            Encoding::Gzip | Encoding::Zstd => 0,
        };
        self.count.load(Ordering::Relaxed).saturating_sub(waiting)
    }

    /// Whether the decompressed bytes began with `magic`.
    pub fn starts_with(&self, magic: &[u8]) -> bool {
        self.head.starts_with(magic)
    }

    /// Checks that this is text, and skips its byte order mark.
    pub fn into_text(mut self) -> Result<Self> {
        let format = |format: &str| message!["give ", Setting::InputFormat, format!(" {format}")];
        let convert = || Message::from("convert it with iconv -f UTF-16 -t UTF-8");
        let binary = [
            (&b"PAR1"[..], "is a Parquet file", format("parquet")),
            (b"ARROW1", "is an Arrow file", format("arrow")),
            (b"\xff\xfe", "is UTF-16", convert()),
            (b"\xfe\xff", "is UTF-16", convert()),
        ];
        for (magic, problem, remedy) in binary {
            if self.starts_with(magic) {
                return Err(Error::named_file(&self.name, problem, remedy));
            }
        }
        if self.starts_with(BYTE_ORDER_MARK) {
            let mut mark = [0; BYTE_ORDER_MARK.len()];
            let read = self.reader.read_exact(&mut mark);
            read.map_err(|error| self.error(error))?;
        }
        Ok(self)
    }

    /// What an I/O error of this stream means to the user; it may come from decompression.
    pub fn error(&self, error: io::Error) -> Error {
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
        Error::named_file(&self.name, format!("{problem}: {error}"), remedy)
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

/// The first bytes of a reader, and a reader that yields them again.
fn with_head<R: Read>(mut reader: R) -> io::Result<(Vec<u8>, impl Read + use<R>)> {
    let mut head = Vec::new();
    reader.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(reader)))
}

/// Counts the bytes read, and retries reads that a signal interrupts.
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
