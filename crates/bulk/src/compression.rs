//! Compressed bytes: recognized by how they begin, whatever the file is called, and decompressed
//! as a stream.

use std::io::{self, BufRead, BufReader, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;

/// The dictionaries of the presets of `xz`, `-9` included, fit; a hostile header asks for 4 GB.
const XZ_KILOBYTES: u32 = 66 << 10;

/// How the bytes of a file are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, of one member or several.
    Gzip,
    /// zstd.
    Zstd,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
}

impl Compression {
    /// The endings that follow the ending of a format in the names of compressed files.
    pub const ENDINGS: [&str; 4] = ["gz", "zst", "bz2", "xz"];

    /// What the first bytes of a file say.
    pub fn of(head: &[u8]) -> Self {
        // A zstd file may begin with a skippable frame, as those of pzstd do.
        let skippable = |head: &[u8]| matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]);
        // The digits of pi, or of its square root if there is no block: "BZh9" alone may be text.
        let bzip2 = |head: &[u8]| {
            let block = head.get(4..10);
            matches!(head, [b'B', b'Z', b'h', b'1'..=b'9', ..])
                && (block == Some(b"\x31\x41\x59\x26\x53\x59")
                    || block == Some(b"\x17\x72\x45\x38\x50\x90"))
        };
        if head.starts_with(b"\x1f\x8b") {
            Self::Gzip
        } else if head.starts_with(b"\x28\xb5\x2f\xfd") || skippable(head) {
            Self::Zstd
        } else if head.starts_with(b"\xfd7zXZ\0") {
            Self::Xz
        } else if bzip2(head) {
            Self::Bzip2
        } else {
            Self::None
        }
    }

    /// What messages call it, and the program that has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
        }
    }

    /// The decompressed bytes.
    ///
    /// # Errors
    /// If the decoder cannot be made.
    pub fn decoder(self, raw: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
        let raw = BufReader::with_capacity(1 << 16, raw);
        Ok(match self {
            Self::None => Box::new(raw),
            Self::Gzip => Box::new(GzipMembers(Some(GzDecoder::new(raw)))),
            Self::Zstd => Box::new(zstd::Decoder::with_buffer(raw)?),
            Self::Bzip2 => Box::new(MultiBzDecoder::new(raw)),
            Self::Xz => Box::new(XzReader::new_mem_limit(raw, true, XZ_KILOBYTES)),
        })
    }

    /// What an error in reading from [`decoder`](Self::decoder) means to the user, and the remedy.
    pub fn explain(self, error: &io::Error) -> (String, String) {
        // An error of the system has not come from the decoder.
        if self == Self::None || error.raw_os_error().is_some() {
            return (
                format!("cannot read: {error}"),
                "check the file and its disk".into(),
            );
        }
        let name = self.name();
        let text = error.to_string();
        let remedy = if error.kind() == io::ErrorKind::OutOfMemory
            || text.contains("requires too much memory")
        {
            format!("it needs more memory than files may; decompress it first ({name} -d)")
        } else if error.kind() == io::ErrorKind::Unsupported {
            format!("decompress it first ({name} -d)")
        } else {
            format!("it is damaged or cut short ({name} -t tells): fetch it again")
        };
        let problem = format!("cannot decompress the {name} data: {error}");
        (problem, remedy)
    }
}

/// The members of a gzip file, one after the other, and the zeros after the last one that tapes and
/// block devices leave there; [`flate2::read::MultiGzDecoder`] takes those for damage. `None` after
/// the end.
struct GzipMembers<R>(Option<GzDecoder<R>>);

impl<R: BufRead> Read for GzipMembers<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let Some(member) = self.0.take() else { break };
            self.0 = next_member(member.into_inner())?;
        }
        Ok(0)
    }
}

fn next_member<R: BufRead>(mut raw: R) -> io::Result<Option<GzDecoder<R>>> {
    let mut padded = false;
    loop {
        let bytes = raw.fill_buf()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        if zeros < bytes.len() {
            break;
        }
        padded = true;
        raw.consume(zeros);
    }
    let bytes = raw.fill_buf()?;
    if padded || bytes[0] != 0x1f {
        let problem = "what follows a member is neither another one nor zeros";
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    Ok(Some(GzDecoder::new(raw)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn decode(compression: Compression, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut decoded = Vec::new();
        let mut decoder = compression.decoder(io::Cursor::new(bytes))?;
        decoder.read_to_end(&mut decoded).map(|_| decoded)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn zeros_after_gzip_data_are_padding_and_else_damage() {
        let padded = [gzip(b"one "), gzip(b"two"), vec![0; 70_000]].concat();
        assert_eq!(decode(Compression::Gzip, padded).unwrap(), b"one two");
        for after in [&b"junk"[..], b"\0\0junk", &[0; 70_000]] {
            let bytes = [&gzip(b"one"), after, b"\x1f\x8b"].concat();
            let error = decode(Compression::Gzip, bytes).unwrap_err();
            assert!(error.to_string().contains("neither another"), "{error}");
        }
        let cut = [gzip(b"one"), gzip(b"two")[..8].to_vec()].concat();
        assert!(decode(Compression::Gzip, cut).is_err());
    }

    #[test]
    fn text_that_begins_like_bzip2_is_text() {
        assert_eq!(Compression::of(b"BZh9 is a key"), Compression::None);
        assert_eq!(
            Compression::of(b"BZh9\x17\x72\x45\x38\x50\x90\0\0"),
            Compression::Bzip2
        );
    }

    #[test]
    fn a_zstd_window_beyond_the_limit_is_no_damage() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(29).unwrap();
        encoder.write_all(&[b'x'; 1 << 20]).unwrap();
        let error = decode(Compression::Zstd, encoder.finish().unwrap()).unwrap_err();
        let (problem, remedy) = Compression::Zstd.explain(&error);
        assert!(
            remedy.contains("decompress it first (zstd -d)"),
            "{problem}; {remedy}"
        );
    }

    #[test]
    fn an_xz_dictionary_beyond_the_limit_is_not_allocated() {
        // A block header that asks for 4 GB.
        let header = b"\xfd7zXZ\0\0\x01\x69\x22\xde\x36\x02\0\x21\x01\x28\0\0\0";
        let checksum = crc32fast::hash(&header[12..]).to_le_bytes();
        let bytes = [&header[..], &checksum, &[0; 64]].concat();
        let error = decode(Compression::Xz, bytes).unwrap_err();
        let (problem, remedy) = Compression::Xz.explain(&error);
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory, "{problem}");
        assert!(remedy.contains("decompress it first (xz -d)"), "{remedy}");
    }
}
