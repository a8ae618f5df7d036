//! Lines of bounded length, read from anything.

use std::io::{self, BufRead, Read};

/// The next line without its ending, `\n` or `\r\n`, or what is wrong with it; `None` after the
/// last. A line of more than `limit` bytes is skipped to its end and not kept.
///
/// # Errors
/// If the reader fails.
pub fn read_line(
    reader: &mut impl BufRead,
    limit: usize,
) -> io::Result<Option<Result<String, String>>> {
    let mut line = Vec::new();
    let limit_and_ending = limit as u64 + 2;
    if reader.take(limit_and_ending).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let mut rest = 0;
    if line.pop_if(|&mut byte| byte == b'\n').is_some() {
        line.pop_if(|&mut byte| byte == b'\r');
    } else if line.len() > limit {
        rest = skip_line(reader)?;
    }
    if line.len() > limit {
        return Ok(Some(Err(too_long(line.len() as u64 + rest, limit))));
    }
    Ok(Some(text(line)))
}

/// Reads past the end of the line; returns the number of bytes before it, without `\n`.
///
/// # Errors
/// If the reader fails.
pub fn skip_line(reader: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let end = buffer.iter().position(|&byte| byte == b'\n');
        let used = end.map_or(buffer.len(), |end| end + 1);
        let finished = end.is_some() || buffer.is_empty();
        skipped += (used - usize::from(end.is_some())) as u64;
        reader.consume(used);
        if finished {
            return Ok(skipped);
        }
    }
}

/// The bytes as text.
///
/// # Errors
/// The position of the first byte that is not UTF-8, as messages say it after the name of the text.
pub fn text(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        format!("is not valid UTF-8 (byte {})", valid + 1)
    })
}

/// What is wrong with a text or row of too many bytes, as messages say it after its name.
pub fn too_long(bytes: u64, limit: usize) -> String {
    format!("is {bytes} bytes long, longer than the limit of {limit} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_counts_the_line_without_its_ending() {
        for ending in ["", "\n", "\r\n"] {
            let input = format!("four{ending}");
            let line = |limit| read_line(&mut input.as_bytes(), limit).unwrap().unwrap();
            assert_eq!(line(4), Ok("four".into()), "{ending:?}");
            assert!(
                line(3).unwrap_err().contains("limit of 3 bytes"),
                "{ending:?}"
            );
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_measured_and_skipped() {
        let input = [&[b'x'; 1000][..], b"\nnext"].concat();
        let mut reader = io::BufReader::with_capacity(7, &input[..]);
        let line = read_line(&mut reader, 10).unwrap().unwrap();
        assert!(line.unwrap_err().starts_with("is 1000 bytes long"));
        assert_eq!(
            read_line(&mut reader, 10).unwrap().unwrap().unwrap(),
            "next"
        );
        assert!(read_line(&mut reader, 10).unwrap().is_none());
    }
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
