//! Checks of Parquet's footer and page headers before the parquet crate reads them: it allocates as
//! much memory as they state.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::fields::{self, FILE_METADATA, PAGE_HEADER};
use super::thrift::Thrift;

/// The largest page that is read. Writers aim at 1 MB, but some end a page only after a thousand
/// rows.
const MOST_PAGE_BYTES: i64 = 1 << 30;
/// Most page headers fit into this.
const USUAL_HEADER_BYTES: usize = 1 << 10;
/// The longest page header; they are long by the statistics in them, which writers cut at 4 KB or
/// less.
const MOST_HEADER_BYTES: usize = 1 << 16;
/// How deep columns may be nested; reading a schema takes stack for each level.
const MOST_NESTED: usize = 64;

/// The end of a file: the length of the footer and four bytes of magic.
const TAIL_BYTES: u64 = 8;

/// A Parquet file whose footer and page headers are checked.
pub struct PagedFile {
    file: File,
    length: u64,
}

impl PagedFile {
    /// A file to read pages from, its footer having been checked.
    pub fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, length })
    }

    /// Checks the footer, and returns what in it is not read. Other magic bytes are left to the
    /// parquet crate to name.
    pub fn check_footer(&self) -> Result<Option<Unread>> {
        let tail_start = self.length.checked_sub(TAIL_BYTES);
        let Some(tail_start) = tail_start.filter(|&start| start > 0) else {
            return Err(ParquetError::EOF(format!("only {} bytes", self.length)));
        };
        let tail = self.get_bytes(tail_start, TAIL_BYTES as usize)?;
        if tail.ends_with(b"PARE") {
            return Ok(Some(Unread::Encrypted));
        }
        let Some((footer_bytes, b"PAR1")) = tail.split_first_chunk() else {
            return Ok(None);
        };
        let footer_bytes = u32::from_le_bytes(*footer_bytes);
        let start = tail_start.checked_sub(footer_bytes.into());
        let start = start.ok_or_else(|| {
            ParquetError::EOF(format!(
                "a footer of {footer_bytes} bytes is not in the file"
            ))
        })?;
        let footer = self.get_bytes(start, footer_bytes as usize)?;
        check_footer(&footer).map_err(ParquetError::General)
    }

    /// The memory that reading a column chunk takes, which lies in `length` bytes from `start` on:
    /// a page as it is stored, what it becomes, and beside it the page before and the dictionary.
    pub fn memory_for_chunk(&self, start: u64, length: u64) -> Result<u64> {
        let end = start.saturating_add(length).min(self.length);
        let mut position = start;
        let (mut stored, mut pages, mut dictionary) = (0, [0, 0], 0);
        while position < end {
            // Damage is reported when the page is read.
            let Some((header, header_bytes)) = self.header_at(position)? else {
                break;
            };
            stored = header.compressed_bytes.max(stored);
            if header.is_dictionary {
                dictionary = header.uncompressed_bytes.max(dictionary);
            } else {
                pages[1] = header.uncompressed_bytes.max(pages[1]);
                pages.sort_unstable_by(|a, b| b.cmp(a));
            }
            position += header_bytes + u64::try_from(header.compressed_bytes).unwrap_or(0);
        }
        let bytes = [stored, pages[0], pages[1], dictionary];
        Ok(bytes.iter().map(|&bytes| bytes.max(0) as u64).sum())
    }

    /// A page header and its length; `None` if there is no valid one.
    fn header_at(&self, start: u64) -> Result<Option<(Header, u64)>> {
        for most in [USUAL_HEADER_BYTES, MOST_HEADER_BYTES] {
            let mut bytes = Vec::with_capacity(most);
            self.at(start)?.take(most as u64).read_to_end(&mut bytes)?;
            let mut header = Header::default();
            let mut thrift = Thrift::new(&bytes);
            if read_header(&mut thrift, &mut header).is_some() {
                return Ok(Some((header, (bytes.len() - thrift.left()) as u64)));
            }
        }
        Ok(None)
    }

    fn at(&self, start: u64) -> Result<File> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(start))?;
        Ok(file)
    }
}

impl Length for PagedFile {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for PagedFile {
    type T = HeaderReader<File>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(HeaderReader {
            inner: BufReader::with_capacity(MOST_HEADER_BYTES, self.at(start)?),
            checked: false,
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let end = start.checked_add(length as u64);
        if end.is_none_or(|end| end > self.length) {
            let message = format!("{length} bytes at {start} are not all in the file");
            return Err(ParquetError::EOF(message));
        }
        let mut bytes = Vec::with_capacity(length);
        self.at(start)?
            .take(length as u64)
            .read_to_end(&mut bytes)?;
        if bytes.len() < length {
            return Err(ParquetError::EOF("the file became shorter".into()));
        }
        Ok(bytes.into())
    }
}

/// Reads from a page header on; the header is checked at the first read.
pub struct HeaderReader<R> {
    inner: BufReader<R>,
    checked: bool,
}

impl<R: Read> Read for HeaderReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.checked {
            self.checked = true;
            check_header(self.inner.fill_buf()?).map_err(io::Error::other)?;
        }
        let count = self.inner.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            // The parquet crate does not notice the end of the file when it skips, and would skip a
            // list of any length.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(count)
    }
}

/// What a sound file may have that is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// Its footer or columns of it are encrypted.
    Encrypted,
    /// A compression of this number.
    Codec(i32),
    /// An encoding of this number.
    Encoding(i32),
}

/// The largest numbers of `CompressionCodec` and `Encoding` that the parquet crate knows.
const LAST_CODEC: i32 = 7;
const LAST_ENCODING: i32 = 9;

/// Refuses a footer (`FileMetaData` of parquet.thrift) with fields of other kinds than they should
/// have, or whose schema would take more memory or stack than it has bytes. Returns what is not
/// read, of which the parquet crate would say that it is damage.
fn check_footer(bytes: &[u8]) -> Result<Option<Unread>, String> {
    let damaged = "the footer is damaged";
    fields::check(&mut Thrift::new(bytes), FILE_METADATA).ok_or(damaged)?;
    let mut schema = Schema::default();
    read_footer(&mut Thrift::new(bytes), &mut schema).ok_or(damaged)?;
    let mut open = Vec::new();
    for &children in &schema.children {
        if let Some(last) = open.last_mut() {
            *last -= 1;
        }
        if children > schema.children.len() as i64 {
            return Err("the schema names more columns than it has".into());
        }
        if children > 0 {
            open.push(children);
        }
        if open.len() > MOST_NESTED {
            return Err(format!("columns are nested more than {MOST_NESTED} deep"));
        }
        while open.last() == Some(&0) {
            open.pop();
        }
    }
    Ok(schema.unread)
}

#[derive(Default)]
struct Schema {
    /// How many children each element of the schema has, from the root on, depth first.
    children: Vec<i64>,
    unread: Option<Unread>,
}

fn read_footer(thrift: &mut Thrift<'_>, schema: &mut Schema) -> Option<()> {
    const SCHEMA: i64 = 2;
    const NUM_CHILDREN: i64 = 5;
    const ROW_GROUPS: i64 = 4;
    const ENCRYPTION_ALGORITHM: i64 = 8;
    let mut id = 0;
    while let Some(kind) = thrift.field(&mut id)? {
        match id {
            SCHEMA => {}
            ROW_GROUPS => {
                let (_, groups) = thrift.list()?;
                (0..groups).try_for_each(|_| read_group(thrift, schema))?;
                continue;
            }
            _ => {
                if id == ENCRYPTION_ALGORITHM {
                    schema.unread = Some(Unread::Encrypted);
                }
                thrift.skip(kind)?;
                continue;
            }
        }
        schema.children.clear();
        let (_, count) = thrift.list()?;
        for _ in 0..count {
            let mut children = 0;
            let mut inner_id = 0;
            while let Some(kind) = thrift.field(&mut inner_id)? {
                match inner_id {
                    NUM_CHILDREN => children = thrift.int32()?.into(),
                    _ => thrift.skip(kind)?,
                }
            }
            schema.children.push(children);
        }
    }
    Some(())
}

/// Looks for compressions and encodings in a row group that the parquet crate does not know.
fn read_group(thrift: &mut Thrift<'_>, schema: &mut Schema) -> Option<()> {
    const COLUMNS: i64 = 1;
    const METADATA: i64 = 3;
    const ENCODINGS: i64 = 2;
    const CODEC: i64 = 4;
    let mut id = 0;
    while let Some(kind) = thrift.field(&mut id)? {
        if id != COLUMNS {
            thrift.skip(kind)?;
            continue;
        }
        let (_, columns) = thrift.list()?;
        for _ in 0..columns {
            let mut id = 0;
            while let Some(kind) = thrift.field(&mut id)? {
                if id != METADATA {
                    thrift.skip(kind)?;
                    continue;
                }
                let mut id = 0;
                while let Some(kind) = thrift.field(&mut id)? {
                    match id {
                        ENCODINGS => {
                            let (_, encodings) = thrift.list()?;
                            for _ in 0..encodings {
                                let encoding = thrift.int32()?;
                                if !(0..=LAST_ENCODING).contains(&encoding) {
                                    schema.unread.get_or_insert(Unread::Encoding(encoding));
                                }
                            }
                        }
                        CODEC => {
                            let codec = thrift.int32()?;
                            if !(0..=LAST_CODEC).contains(&codec) {
                                schema.unread.get_or_insert(Unread::Codec(codec));
                            }
                        }
                        _ => thrift.skip(kind)?,
                    }
                }
            }
        }
    }
    Some(())
}

/// Refuses a page header that would reserve memory for more than a page can have.
fn check_header(bytes: &[u8]) -> Result<(), String> {
    let mut header = Header::default();
    read_header(&mut Thrift::new(bytes), &mut header)
        .ok_or("a page header is damaged, or longer than 64 KiB")?;
    if header.uncompressed_bytes > MOST_PAGE_BYTES {
        return Err(format!(
            "a page of {} bytes, where at most {MOST_PAGE_BYTES} are taken",
            header.uncompressed_bytes
        ));
    }
    // A dictionary's entries take a byte each at least.
    if header.dictionary_values > header.uncompressed_bytes {
        return Err(format!(
            "a dictionary of {} values in {} bytes",
            header.dictionary_values, header.uncompressed_bytes
        ));
    }
    Ok(())
}

/// The numbers in a page header that memory is reserved by.
#[derive(Default)]
struct Header {
    uncompressed_bytes: i64,
    compressed_bytes: i64,
    dictionary_values: i64,
    is_dictionary: bool,
}

/// Reads a whole `PageHeader` of parquet.thrift; the largest counts of a field that is repeated.
fn read_header(thrift: &mut Thrift<'_>, header: &mut Header) -> Option<()> {
    const UNCOMPRESSED_PAGE_SIZE: i64 = 2;
    const COMPRESSED_PAGE_SIZE: i64 = 3;
    const DICTIONARY_PAGE_HEADER: i64 = 7;
    fields::check(&mut thrift.clone(), PAGE_HEADER)?;
    let mut id = 0;
    while let Some(kind) = thrift.field(&mut id)? {
        match id {
            UNCOMPRESSED_PAGE_SIZE => {
                header.uncompressed_bytes = header.uncompressed_bytes.max(thrift.int32()?.into());
            }
            COMPRESSED_PAGE_SIZE => {
                header.compressed_bytes = header.compressed_bytes.max(thrift.int32()?.into());
            }
            DICTIONARY_PAGE_HEADER => {
                header.is_dictionary = true;
                read_dictionary_header(thrift, header)?;
            }
            _ => thrift.skip(kind)?,
        }
    }
    Some(())
}

fn read_dictionary_header(thrift: &mut Thrift<'_>, header: &mut Header) -> Option<()> {
    const NUM_VALUES: i64 = 1;
    let mut id = 0;
    while let Some(kind) = thrift.field(&mut id)? {
        if id == NUM_VALUES {
            // The parquet crate reads the number as unsigned.
            let values = i64::from(thrift.int32()? as u32);
            header.dictionary_values = header.dictionary_values.max(values);
        } else {
            thrift.skip(kind)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zigzag(value: u32) -> Vec<u8> {
        let mut value = u64::from(value) << 1;
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    /// Fields 1 to 3 (a dictionary page of these sizes), and 7 with its number of values.
    fn header(uncompressed: u32, values: u32) -> Vec<u8> {
        let sizes = [vec![0x15, 4, 0x15], zigzag(uncompressed), vec![0x15, 20]].concat();
        [sizes, vec![0x4c, 0x15], zigzag(values), vec![0x15, 0, 0, 0]].concat()
    }

    #[test]
    fn sizes_that_a_page_cannot_have_are_refused() {
        assert_eq!(check_header(&header(1 << 30, 1 << 20)), Ok(()));
        let large = check_header(&header((1 << 30) + 1, 1)).unwrap_err();
        assert!(large.contains("1073741825 bytes"));
        let many = check_header(&header(1000, 1001)).unwrap_err();
        assert!(many.contains("1001 values in 1000 bytes"));
        let whole = header(1000, 10);
        for end in 0..whole.len() {
            assert!(check_header(&whole[..end]).is_err());
        }
    }

    /// The parquet crate reads a known field as what it should be, so it would take other bytes for
    /// the next field.
    #[test]
    fn known_fields_of_other_kinds_are_refused() {
        let start = header(1000, 10);
        let start = &start[..start.len() - 1];
        let with = |field: &[u8]| check_header(&[start, field, &[0]].concat());
        // After field 7: a header of the second version as a struct, an unknown field of any kind.
        assert_eq!(with(&[0x1c, 0x15, 2, 0]), Ok(()));
        assert_eq!(with(&[0x25, 2]), Ok(()));
        // The same as a number, and a number in it as a struct.
        assert!(with(&[0x15, 2]).is_err());
        assert!(with(&[0x1c, 0x1c, 0, 0]).is_err());
        // A size that the parquet crate cuts to 32 bits; an identifier that it cuts to 16.
        assert!(with(&[0x05, 4, 0xfe, 0xff, 0xff, 0xff, 0x1f]).is_err());
        assert!(with(&[0x05, 0x84, 0x80, 0x08, 2]).is_err());
        // A list of truth values, of which the parquet crate skips none.
        assert!(with(&[0x29, 0x22, 1, 1]).is_err());
    }

    /// A footer whose schema's elements have these numbers of children.
    fn footer(children: &[u32]) -> Vec<u8> {
        assert!(children.len() < 128);
        let mut bytes = vec![0x15, 2, 0x19, 0xfc, children.len() as u8];
        for &count in children {
            bytes.push(0x55);
            bytes.extend(zigzag(count));
            bytes.push(0);
        }
        bytes.push(0);
        bytes
    }

    #[test]
    fn a_schema_of_impossible_shape_is_refused() {
        assert_eq!(check_footer(&footer(&[2, 0, 1, 0])), Ok(None));
        assert_eq!(check_footer(&footer(&[1; MOST_NESTED])), Ok(None));
        let deep = check_footer(&footer(&[1; MOST_NESTED + 1])).unwrap_err();
        assert!(deep.contains("nested"), "{deep}");
        let many = check_footer(&footer(&[u32::MAX / 2, 0])).unwrap_err();
        assert!(many.contains("more columns"), "{many}");
        assert!(check_footer(&footer(&[1, 0])[..5]).is_err());
    }

    #[test]
    fn a_footer_with_a_field_of_another_kind_is_refused() {
        let start = footer(&[1, 0]);
        let start = &start[..start.len() - 1];
        let with = |field: &[u8]| check_footer(&[start, field, &[0]].concat());
        // After field 2: a number of rows; no row groups; who made it.
        assert_eq!(with(&[0x16, 2]), Ok(None));
        assert_eq!(with(&[0x29, 0x0c]), Ok(None));
        assert_eq!(with(&[0x48, 1, b'a']), Ok(None));
        // The number as a binary; row groups as numbers, as one struct; who made it as a list of
        // 2^31 - 1 truth values.
        assert!(with(&[0x18, 1, 2]).is_err());
        assert!(with(&[0x29, 0x15, 2]).is_err());
        assert!(with(&[0x2c, 0]).is_err());
        assert!(with(&[0x49, 0xf1, 0xff, 0xff, 0xff, 0xff, 7]).is_err());
        // A row group whose number of rows is a struct, and whose column has statistics of another
        // kind.
        assert!(with(&[0x29, 0x1c, 0x3c, 0, 0]).is_err());
        assert!(with(&[0x29, 0x1c, 0x19, 0x1c, 0x3c, 0xc5, 2, 0, 0, 0]).is_err());
    }

    #[test]
    fn encryption_and_unknown_numbers_are_told_from_damage() {
        let start = footer(&[1, 0]);
        let start = &start[..start.len() - 1];
        let with = |field: &[u8]| check_footer(&[start, field, &[0]].concat());
        // Field 8, a union.
        assert_eq!(with(&[0x6c, 0x1c, 0, 0]), Ok(Some(Unread::Encrypted)));
        // Row groups of one column, with encodings and a codec (zigzag).
        let column = |encoding, codec| {
            with(&[
                0x29, 0x1c, 0x19, 0x1c, 0x3c, 0x29, 0x15, encoding, 0x25, codec, 0, 0, 0,
            ])
        };
        assert_eq!(column(18, 14), Ok(None));
        assert_eq!(column(20, 14), Ok(Some(Unread::Encoding(10))));
        assert_eq!(column(18, 16), Ok(Some(Unread::Codec(8))));
    }
}
