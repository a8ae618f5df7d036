//! The bytes of input files and standard input, decompressed if they begin as compressed bytes do.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::compression::Compression;
use crate::error::{Error, Result};
use crate::format::InputFormat;
use crate::message::{Setting, message};
use crate::signature::{self, Recognized};

const BUFFER_BYTES: usize = 1 << 16;
/// The bytes by which formats are recognized: the name of a member of a zip archive or the signature
/// of a tar archive may be among them.
const HEAD_BYTES: usize = 4096;
/// With fewer of them, more are waited for: a pipe may be slow.
const LEAST_HEAD_BYTES: usize = 16;

/// What text in UTF-8 may begin with.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// An input file, or standard input.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    name: String,
    format: InputFormat,
    /// `None` for what is not a regular file.
    size: Option<u64>,
    compression: Compression,
}

impl Source {
    /// Checks that the file exists and determines its format.
    pub fn find(path: &Path, format: Option<InputFormat>) -> Result<Self> {
        let mut source = Self {
            path: path.to_owned(),
            name: path.display().to_string(),
            format: InputFormat::Lines,
            size: None,
            compression: Compression::None,
        };
        let mut start = Vec::new();
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
                source.compression = Compression::of(&head);
                source.refuse(signature::unreadable(&head))?;
                if head.is_empty() && InputFormat::is_compressed_name(path) {
                    let problem = "is empty, which no compressed file is";
                    return Err(Error::named_file(&source.name, problem, "fetch it again"));
                }
                if source.compression == Compression::None {
                    start = head;
                }
            }
        }
        source.format = match format.or_else(|| InputFormat::of_name(path)) {
            Some(format) => format,
            None => {
                return Err(Error::argument(message![
                    format!(
                        "{}: the name does not tell the format (it would by ending in {}, or in one of these and {}); give it with ",
                        source.name,
                        InputFormat::known_endings(),
                        InputFormat::compression_endings()
                    ),
                    Setting::InputFormat,
                ]));
            }
        };
        source.refuse(signature::not_of_format(source.format, &start))?;
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
        self.size.is_some()
            && (self.compression == Compression::None || self.format != InputFormat::Parquet)
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
        let compression = Compression::of(&head);
        let decoder = compression.decoder(raw);
        let mut stream = Stream {
            name: self.name.clone(),
            compression,
            count,
            head: Vec::new(),
            reader: BufReader::new(Box::new(io::empty())),
        };
        let decoder = decoder.map_err(|error| stream.error(error))?;
        let (head, decoded) = with_head(decoder).map_err(|error| stream.error(error))?;
        self.refuse(signature::compressed_twice(compression, &head))?;
        self.refuse(signature::unreadable(&head))?;
        self.refuse(signature::not_of_format(self.format, &head))?;
        stream.head = head;
        stream.reader = BufReader::with_capacity(BUFFER_BYTES, Box::new(decoded));
        Ok(stream)
    }

    /// The file itself, if it is a regular one and not compressed.
    pub fn plain_file(&self) -> Result<Option<File>> {
        let plain = self.size.is_some() && self.compression == Compression::None;
        plain.then(|| self.file()).transpose()
    }

    /// Its bytes as a seekable file: itself, or an unnamed temporary file if it is compressed or
    /// not a regular file.
    pub fn seekable(&self) -> Result<File> {
        if self.size.is_some() && self.compression == Compression::None {
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

    fn refuse(&self, recognized: Option<Recognized>) -> Result<()> {
        recognized.map_or(Ok(()), |(problem, remedy)| {
            Err(Error::named_file(&self.name, problem, remedy))
        })
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

/// The error of a copy of the input.
pub fn temporary_file_error(error: io::Error) -> Error {
    let directory = std::env::temp_dir().display().to_string();
    let problem = format!("cannot write a temporary file: {error}");
    let remedy = "set TMPDIR to a directory with room for the decompressed input, or give an uncompressed file";
    Error::named_file(&directory, problem, remedy)
}

/// The bytes of an input, decompressed.
pub struct Stream {
    name: String,
    compression: Compression,
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
        let waiting = match self.compression {
            Compression::None => self.reader.buffer().len() as u64,
            _ => 0,
        };
        self.count.load(Ordering::Relaxed).saturating_sub(waiting)
    }

    /// Whether the decompressed bytes began with `magic`.
    pub fn starts_with(&self, magic: &[u8]) -> bool {
        self.head.starts_with(magic)
    }

    /// Checks that this is text, and skips its byte order mark.
    pub fn into_text(mut self) -> Result<Self> {
        if let Some((problem, remedy)) = signature::columnar(&self.head) {
            return Err(Error::named_file(&self.name, problem, remedy));
        }
        if self.starts_with(BYTE_ORDER_MARK) {
            let mut mark = [0; BYTE_ORDER_MARK.len()];
            let read = self.reader.read_exact(&mut mark);
            read.map_err(|error| self.error(error))?;
        }
        Ok(self)
    }

    /// The same for text in which a line feed ends a line.
    pub fn into_lines(self) -> Result<Self> {
        let mut text = self.into_text()?;
        let bytes = text.reader.fill_buf();
        let is_other = |bytes: &[u8]| {
            let carriage_return = bytes.iter().position(|&byte| byte == b'\r');
            carriage_return.is_some_and(|place| place + 1 < bytes.len()) && !bytes.contains(&b'\n')
        };
        match bytes.map(is_other) {
            Err(error) => Err(text.error(error)),
            Ok(false) => Ok(text),
            Ok(true) => Err(Error::named_file(
                &text.name,
                "carriage returns alone end its lines, as on old Macs",
                "convert it with tr '\\r' '\\n'",
            )),
        }
    }

    /// What an I/O error of this stream means to the user; it may come from decompression.
    pub fn error(&self, error: io::Error) -> Error {
        let (problem, remedy) = self.compression.explain(&error);
        Error::named_file(&self.name, problem, remedy)
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

/// The first bytes of a reader, and a reader that yields them again.
fn with_head<R: Read>(mut reader: R) -> io::Result<(Vec<u8>, impl Read + use<R>)> {
    let mut head = vec![0; HEAD_BYTES];
    let mut filled = 0;
    while filled < LEAST_HEAD_BYTES {
        match reader.read(&mut head[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    head.truncate(filled);
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
