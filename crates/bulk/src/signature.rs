//! Files that are no text and that nothing here reads, recognized by how they begin.

use crate::compression::Compression;
use crate::format::InputFormat;
use crate::message::{Message, Setting, message};

/// What a file is, and what to do about it.
pub type Recognized = (String, Message);

/// What the (decompressed) bytes of any input must not be.
pub fn unreadable(head: &[u8]) -> Option<Recognized> {
    archive(head)
        .or_else(|| other_compression(head))
        .or_else(|| document(head))
        .or_else(|| encoding(head))
}

/// What the bytes of a text file must not be: a format that is read, but under its own name.
pub fn columnar(head: &[u8]) -> Option<Recognized> {
    let format = |format: &str| message!["give ", Setting::InputFormat, format!(" {format}")];
    let (name, remedy) = if is_parquet(head) {
        ("a Parquet file", format("parquet"))
    } else if head.starts_with(b"ARROW1") {
        ("an Arrow file", format("arrow"))
    } else if head.starts_with(b"\xff\xff\xff\xff") && head.get(7) == Some(&0) {
        ("an Arrow stream", format("arrow"))
    } else {
        return None;
    };
    Some((format!("is {name}"), remedy))
}

/// What a file that is to be Parquet or Arrow IPC is instead.
pub fn not_of_format(format: InputFormat, head: &[u8]) -> Option<Recognized> {
    match format {
        InputFormat::Parquet if head.starts_with(b"PAR1") || head.starts_with(b"PARE") => None,
        InputFormat::Parquet if head.len() >= 4 => columnar(head).or_else(|| {
            let remedy = message!["give the format that it has with ", Setting::InputFormat];
            Some(("is no Parquet file: those begin with PAR1".into(), remedy))
        }),
        InputFormat::Arrow if is_parquet(head) => columnar(head),
        _ => None,
    }
}

/// Data that was compressed once more.
pub fn compressed_twice(outer: Compression, head: &[u8]) -> Option<Recognized> {
    let inner = Compression::of(head);
    if outer == Compression::None || inner == Compression::None {
        return None;
    }
    let [outer, inner] = [outer, inner].map(Compression::name);
    Some((
        format!("is compressed twice: {inner} data inside of {outer} data"),
        format!("decompress it once ({outer} -d)").into(),
    ))
}

/// Plain ASCII at the beginning is a signature only before bytes that no text has.
fn before_binary(head: &[u8], magic: &[u8]) -> bool {
    let next = head.strip_prefix(magic).unwrap_or_default();
    let is_binary = |&byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | b'\r');
    next.iter().take(8).any(is_binary)
}

fn is_parquet(head: &[u8]) -> bool {
    before_binary(head, b"PAR1") || before_binary(head, b"PARE")
}

fn recognized(name: &str, remedy: impl Into<Message>) -> Option<Recognized> {
    Some((format!("is {name}"), remedy.into()))
}

fn archive(head: &[u8]) -> Option<Recognized> {
    let has = |part: &[u8]| head.windows(part.len()).any(|window| window == part);
    let table = "save the table as CSV in the program that made it";
    if [b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"]
        .iter()
        .any(|magic| head.starts_with(*magic))
    {
        return if has(b"xl/") || has(b"opendocument.spreadsheet") {
            recognized("a spreadsheet (Excel or OpenDocument)", table)
        } else if has(b"word/") || has(b"opendocument.text") {
            recognized("a word processor's document", "save its text as plain text")
        } else if has(b".npy") {
            recognized("a NumPy archive", "write its texts as JSONL or Parquet")
        } else if has(b"[Content_Types].xml") {
            recognized(
                "an Office document",
                "save it as CSV or plain text in the program that made it",
            )
        } else {
            recognized(
                "a zip archive",
                "unpack it (unzip), and give the files in it",
            )
        };
    }
    if head.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
        return recognized("an old Office document (such as .xls)", table);
    }
    let unpack = "unpack it, and give the files in it";
    if head.get(257..262) == Some(b"ustar") {
        recognized(
            "a tar archive",
            "unpack it (tar -xf), and give the files in it",
        )
    } else if head.starts_with(b"7z\xbc\xaf\x27\x1c") {
        recognized("a 7z archive", unpack)
    } else if head.starts_with(b"Rar!\x1a\x07") {
        recognized("a RAR archive", unpack)
    } else {
        None
    }
}

fn other_compression(head: &[u8]) -> Option<Recognized> {
    let (name, remedy) =
        if head.starts_with(b"\x04\x22\x4d\x18") || head.starts_with(b"\x02\x21\x4c\x18") {
            ("lz4", "decompress it first (lz4 -d)")
        } else if head.starts_with(b"\x5d\0\0") {
            ("LZMA", "decompress it first (xz -d)")
        } else if head.starts_with(b"LZIP\x01") {
            ("lzip", "decompress it first (lzip -d)")
        } else if head.starts_with(b"\x89LZO\0") {
            ("lzop", "decompress it first (lzop -d)")
        } else if head.starts_with(b"\x1f\x9d") {
            ("compress", "decompress it first (gzip -d)")
        } else if head.starts_with(b"\xff\x06\0\0sNaPpY") {
            ("Snappy", "decompress it first (snzip -d)")
        } else {
            return None;
        };
    Some((
        format!("is compressed with {name}, which is not read"),
        remedy.into(),
    ))
}

fn document(head: &[u8]) -> Option<Recognized> {
    if head.starts_with(b"SQLite format 3\0") {
        recognized(
            "an SQLite database",
            "export a table (sqlite3 -csv -header FILE 'SELECT …')",
        )
    } else if head.starts_with(b"FEA1\0") {
        recognized(
            "a Feather file of version 1",
            "read it with a release of pyarrow or R's arrow that still can, and write it as version 2 or Parquet",
        )
    } else if head.starts_with(b"\x93NUMPY") {
        recognized("a NumPy array", "write the texts as JSONL or Parquet")
    } else if head.starts_with(b"%PDF-") {
        recognized("a PDF document", "extract its text (pdftotext)")
    } else if head.starts_with(b"Obj\x01") {
        recognized("an Avro file", "convert it to Parquet or JSONL")
    } else if before_binary(head, b"ORC") {
        recognized("an ORC file", "convert it to Parquet or JSONL")
    } else if head.starts_with(b"\x89HDF\r\n\x1a\n") {
        recognized("an HDF5 file", "write the texts as JSONL or Parquet")
    } else if before_binary(head, b"GGUF") {
        recognized("a GGUF model", "give a file of texts")
    } else if head.starts_with(b"version https://git-lfs.github.com/spec/") {
        recognized(
            "a pointer of Git LFS and not the file itself",
            "fetch the file (git lfs pull)",
        )
    } else {
        None
    }
}

/// Texts in another encoding than UTF-8.
fn encoding(head: &[u8]) -> Option<Recognized> {
    let name = match head {
        [0xff, 0xfe, 0, 0, ..] => "UTF-32LE",
        [0, 0, 0xfe, 0xff, ..] => "UTF-32BE",
        [0xff, 0xfe, ..] => "UTF-16LE",
        [0xfe, 0xff, ..] => "UTF-16BE",
        _ => return without_mark(head),
    };
    Some(converted(name, name.trim_end_matches(['L', 'B', 'E'])))
}

/// Zeros on one side of every unit. Where a text has another script than Latin, its spaces and line
/// ends still have them.
fn without_mark(head: &[u8]) -> Option<Recognized> {
    let head = &head[..head.len().min(512) / 4 * 4];
    let mut zeros = [0; 4];
    for (place, &byte) in head.iter().enumerate() {
        zeros[place % 4] += usize::from(byte == 0);
    }
    let units = head.len() / 4;
    let most = |count: usize| count > units / 2;
    // Zeros elsewhere, such as those of a damaged disk, are on both sides.
    let many = |count: usize| count > 0 && count * 4 >= units;
    let [a, b, c, d] = zeros;
    let name = if a == 0 && most(c) && d == units {
        "UTF-32LE"
    } else if d == 0 && most(b) && a == units {
        "UTF-32BE"
    } else if a + c == 0 && many(b + d) {
        "UTF-16LE"
    } else if b + d == 0 && many(a + c) {
        "UTF-16BE"
    } else {
        return None;
    };
    Some(converted(name, name))
}

fn converted(name: &str, iconv: &str) -> Recognized {
    (
        format!("is {name} text"),
        format!("convert it with iconv -f {iconv} -t UTF-8").into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(head: &[u8]) -> Option<String> {
        let found = unreadable(head).or_else(|| columnar(head));
        found.map(|(problem, _)| problem)
    }

    #[test]
    fn text_that_begins_like_another_format_is_text() {
        for text in [
            "PAR1: the first",
            "ORC\nELF\n",
            "GGUF is a format",
            "FEA1,x",
            "7z",
            "PK",
            "LZIP",
        ] {
            assert_eq!(name(text.as_bytes()), None, "{text}");
        }
        assert_eq!(name(b""), None);
        assert_eq!(name(b"a\0b c d e f g h i j k l m n o p q r s t"), None);
        assert_eq!(name("日本語のテキスト".as_bytes()), None);
    }

    #[test]
    fn utf_16_and_32_are_recognized_without_a_mark() {
        let wide = |text: &str, width: usize, big: bool| -> Vec<u8> {
            let units = text.chars().map(|c| u32::from(c).to_le_bytes());
            let units = units.flat_map(|mut unit| {
                let unit = &mut unit[..width];
                if big {
                    unit.reverse();
                }
                unit.to_vec()
            });
            units.collect()
        };
        for text in [
            "{\"text\":\"x\"}\n",
            "id,text\n1,жить\n",
            "жить жить\nжить\n",
        ] {
            for (width, big, expected) in [
                (2, false, "UTF-16LE"),
                (2, true, "UTF-16BE"),
                (4, false, "UTF-32LE"),
                (4, true, "UTF-32BE"),
            ] {
                let found = name(&wide(text, width, big)).unwrap_or_default();
                assert_eq!(found, format!("is {expected} text"), "{text}");
            }
        }
    }
}
