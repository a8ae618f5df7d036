//! The objects of a stream of JSON, each alone, and what is wrong where there is none.
//!
//! Objects follow each other, a line each or several on a line or one over several lines, or are
//! the elements of arrays. If one is malformed, reading goes on
//!
//! - behind its line, if that is where the error is, or, in an array, behind the bracket that
//!   closes it in this line, else at the next object in this line;
//! - otherwise at the next line that is not indented deeper than the one where it began, or
//!   behind the bracket that this line begins with.

use std::io;

use super::scan::{Names, Scan, Scanner};
use crate::error::Result;
use crate::formats::lookahead::Lookahead;
use crate::source::{BYTE_ORDER_MARK, Stream};

/// Brackets that may be open in a malformed object for its end to be looked for.
const MOST_NESTED: usize = 128;
/// The ends of malformed elements are looked for in vain in at most this many times the bytes read so
/// far, and this many more: a hostile file may have millions of them in a line.
const VAIN_FACTOR: u64 = 8;
const VAIN_BYTES: u64 = 1 << 20;

/// The values of a stream.
pub struct Values {
    input: Lookahead,
    limit: usize,
    names: Names,
    scanner: Scanner,
    /// The number of the line of the next byte.
    line: u64,
    /// How many bytes of that line have been consumed.
    column: usize,
    /// How many spaces and tabs that line begins with.
    indentation: usize,
    /// The array whose elements are being read.
    array: Option<Array>,
    /// The bytes of the object that was read last.
    length: usize,
    /// Bytes in which the ends of malformed elements were looked for in vain.
    vain: u64,
}

struct Array {
    /// The line at which it begins.
    line: u64,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    First,
    BehindElement,
    BehindComma,
    /// Where reading goes on behind what was malformed.
    Anywhere,
}

/// What [`Values::next`] has found.
pub struct Found {
    /// The line at which it begins.
    pub line: u64,
    /// How many bytes of that line come before it.
    pub column: usize,
    /// Why it is no object.
    pub problem: Option<String>,
}

impl Values {
    /// The values of a stream, those of more than `limit` bytes apart; members of these names are
    /// looked for.
    pub fn new(stream: Stream, limit: usize, names: Names) -> Self {
        Self {
            input: Lookahead::new(stream),
            limit,
            names,
            scanner: Scanner::default(),
            line: 1,
            column: 0,
            indentation: 0,
            array: None,
            length: 0,
            vain: 0,
        }
    }

    /// The stream.
    pub fn stream(&self) -> &Stream {
        self.input.stream()
    }

    /// The object that was found last, and the scan of it.
    pub fn object(&self) -> (&[u8], &Scanner, &Names) {
        (
            &self.input.bytes()[..self.length],
            &self.scanner,
            &self.names,
        )
    }

    /// The next object, or what is where one ought to be.
    pub fn next(&mut self) -> Result<Option<Found>> {
        let found = self.read();
        found.map_err(|error| self.input.stream().error(error))
    }

    fn read(&mut self) -> io::Result<Option<Found>> {
        self.consume_value();
        loop {
            let Some(byte) = self.skip_space()? else {
                let Some(array) = self.array.take() else {
                    return Ok(None);
                };
                if array.place == Place::Anywhere {
                    return Ok(None);
                }
                let problem = format!(
                    "the array that begins in line {} does not end: the file is cut short",
                    array.line
                );
                return Ok(Some(self.found(Some(problem))));
            };
            let Some(array) = &mut self.array else {
                if byte == b'[' && self.holds_objects()? {
                    self.array = Some(Array {
                        line: self.line,
                        place: Place::First,
                    });
                    self.consume(1);
                    continue;
                }
                return self.value().map(Some);
            };
            match (byte, array.place) {
                (b',', Place::BehindElement | Place::Anywhere) => {
                    array.place = Place::BehindComma;
                    self.consume(1);
                }
                (b']', place) => {
                    self.array = None;
                    let found = self.found(
                        (place == Place::BehindComma)
                            .then(|| "the array has a comma before its closing bracket".into()),
                    );
                    self.consume(1);
                    if found.problem.is_some() {
                        return Ok(Some(found));
                    }
                }
                (b'{', Place::BehindElement) => {
                    array.place = Place::BehindComma;
                    return Ok(Some(self.found(Some(
                        "a comma is missing between the elements of the array".into(),
                    ))));
                }
                (_, Place::BehindElement) => {
                    let problem = "expected a comma or the array's closing bracket";
                    let found = self.found(Some(self.malformed(0, problem)));
                    self.skip_in_array(0)?;
                    return Ok(Some(found));
                }
                (b'{', _) | (_, Place::First | Place::BehindComma) => {
                    array.place = Place::BehindElement;
                    return self.value().map(Some);
                }
                // What is left of something malformed.
                (_, Place::Anywhere) => self.skip_in_array(1)?,
            }
        }
    }

    /// Whether the array at hand has objects or nothing in it: one of other values is a row that is
    /// wrong, and not many.
    fn holds_objects(&mut self) -> io::Result<bool> {
        let mut at = 1;
        loop {
            match self.input.get(at)? {
                Some(b' ' | b'\t' | b'\r' | b'\n') if at <= self.limit => at += 1,
                found => return Ok(matches!(found, Some(b'{' | b']') | None)),
            }
        }
    }

    /// The value at hand, which ought to be an object.
    fn value(&mut self) -> io::Result<Found> {
        let mut found = self.found(None);
        let kind = match self.input.bytes()[0] {
            b'{' => None,
            b'[' => Some("an array"),
            b'"' => Some("a string"),
            b't' | b'f' => Some("true or false"),
            b'n' => Some("null"),
            _ => Some("a number"),
        };
        self.scanner.restart(&self.names);
        let end = loop {
            let (bytes, ended) = (self.input.bytes(), self.input.has_ended());
            match self.scanner.run(bytes, ended, &self.names) {
                Scan::Complete(end) => break Ok(end),
                Scan::Wrong(at, reason) => break Err((at, Some(reason))),
                Scan::More if bytes.len() > self.limit => break Err((bytes.len(), None)),
                Scan::More => {
                    self.input.more()?;
                }
            }
        };
        let end = end.and_then(|end| match end > self.limit {
            true => Err((end, None)),
            false => Ok(end),
        });
        match end {
            Ok(end) => {
                if self.array.is_none()
                    && let Some(at) = self.trailing(end, kind.is_some())?
                {
                    found.problem = Some(self.malformed(at, "trailing characters"));
                    self.length = end;
                    self.consume_value();
                    self.skip_line()?;
                } else if let Some(kind) = kind {
                    let what = match self.array {
                        Some(_) => "the element of the array is",
                        None => "the value is",
                    };
                    found.problem = Some(format!("{what} {kind}, not an object"));
                    self.length = end;
                    self.consume_value();
                } else {
                    self.length = end;
                }
            }
            Err((at, Some(reason))) => {
                found.problem = Some(self.malformed(at, reason));
                self.recover(at)?;
            }
            Err((at, None)) => {
                let bytes = self.skip_long(at)?;
                let problem = lanewise_lines::too_long(bytes, self.limit);
                found.problem = Some(format!("the object {problem}"));
            }
        }
        Ok(found)
    }

    /// Where something follows the value in its line, other than another object, which may only
    /// follow an object.
    fn trailing(&mut self, end: usize, alone: bool) -> io::Result<Option<usize>> {
        let mut at = end;
        loop {
            match self.input.get(at)? {
                Some(b' ' | b'\t' | b'\r') if at <= self.limit => at += 1,
                Some(b'\n') | None => return Ok(None),
                Some(b'{') if !alone => return Ok(None),
                Some(_) => return Ok(Some(at)),
            }
        }
    }

    fn found(&self, problem: Option<String>) -> Found {
        Found {
            line: self.line,
            column: self.column,
            problem,
        }
    }

    /// Says what is wrong at an offset from the beginning of the value.
    fn malformed(&self, at: usize, reason: &str) -> String {
        let (line, column) = match self.scanner.lines {
            0 => (self.line, self.column + at),
            lines => (
                self.line + lines,
                at.saturating_sub(self.scanner.line_start),
            ),
        };
        let column = column + 1;
        if line > self.line {
            format!("the object is not valid JSON (line {line}, column {column}: {reason})")
        } else if self.array.is_some() {
            format!("the element of the array is not a JSON object (column {column}: {reason})")
        } else {
            format!("the line is not a JSON object (column {column}: {reason})")
        }
    }

    /// Goes on behind a malformed value, in which the error is at an offset.
    fn recover(&mut self, at: usize) -> io::Result<()> {
        if let Some(end) = self.scanner.first_line_end {
            return self.skip_indented(end);
        }
        if self.array.is_none() {
            return self.skip_line();
        }
        if let Some(end) = self.closing_bracket()? {
            self.consume(end);
            return Ok(());
        }
        self.skip_in_array(at)
    }

    /// Goes on behind a value of which the first `at` bytes are more than the limit; returns how
    /// many it has.
    fn skip_long(&mut self, at: usize) -> io::Result<u64> {
        if let Some(end) = self.scanner.first_line_end {
            self.skip_indented(end)?;
            return Ok(at as u64);
        }
        let mut brackets = Brackets::default();
        let mut skipped = 0;
        loop {
            let bytes = self.input.bytes();
            let line_end = bytes.iter().position(|&byte| byte == b'\n');
            let line = &bytes[..line_end.unwrap_or(bytes.len())];
            let end = match self.array {
                Some(_) => brackets.end(line, 0).unwrap_or(None),
                None => None,
            };
            let here = end.unwrap_or(line.len());
            let done = end.is_some() || line_end.is_some();
            if let Some(array) = self.array.as_mut().filter(|_| end.is_none()) {
                array.place = Place::Anywhere;
            }
            self.consume(here);
            skipped += here as u64;
            if done || !self.input.more()? {
                return Ok(skipped);
            }
        }
    }

    /// The end of the value at hand by its brackets alone, if it is in this line.
    fn closing_bracket(&mut self) -> io::Result<Option<usize>> {
        if self.vain > VAIN_BYTES + VAIN_FACTOR * self.input.position() {
            return Ok(None);
        }
        let mut brackets = Brackets::default();
        let mut at = 0;
        loop {
            let bytes = self.input.bytes();
            let line_end = bytes[at..].iter().position(|&byte| byte == b'\n');
            let line = &bytes[..line_end.map_or(bytes.len(), |end| at + end)];
            let (end, length) = (brackets.end(line, at), line.len());
            if let Ok(Some(end)) = end {
                return Ok(Some(end));
            }
            let more = end.is_ok() && line_end.is_none() && length <= self.limit;
            if !more || !self.input.more()? {
                self.vain += length as u64;
                return Ok(None);
            }
            at = length;
        }
    }

    /// Goes to the next object in this line at least `from` bytes away, or to the next line.
    fn skip_in_array(&mut self, from: usize) -> io::Result<()> {
        if let Some(array) = &mut self.array {
            array.place = Place::Anywhere;
        }
        let mut from = from;
        loop {
            let bytes = self.input.bytes();
            let rest = bytes.get(from..).unwrap_or_default();
            let end = rest.iter().position(|byte| matches!(byte, b'{' | b'\n'));
            if let Some(end) = end {
                if rest[end] == b'\n' {
                    self.consume(from + end);
                    return self.skip_line();
                }
                self.consume(from + end);
                return Ok(());
            }
            let all = bytes.len();
            from = from.saturating_sub(all);
            self.consume(all);
            if !self.input.more()? {
                return Ok(());
            }
        }
    }

    /// Skips this line, which ends at an offset, those that are indented deeper, and the bracket
    /// that closes them.
    fn skip_indented(&mut self, line_end: usize) -> io::Result<()> {
        let base = self.indentation;
        self.input.consume(line_end);
        self.begin_line();
        if let Some(array) = &mut self.array {
            array.place = Place::Anywhere;
        }
        loop {
            let mut at = 0;
            let first = loop {
                match self.input.get(at)? {
                    Some(b' ' | b'\t') if at <= base => at += 1,
                    found => break found,
                }
            };
            match first {
                None => return Ok(()),
                Some(b'}') if at == base => {
                    self.consume(at + 1);
                    self.indentation = base;
                    return match &mut self.array {
                        None => self.skip_line(),
                        Some(array) => {
                            array.place = Place::BehindElement;
                            Ok(())
                        }
                    };
                }
                Some(b'\r' | b'\n') => self.skip_line()?,
                Some(_) if at > base => self.skip_line()?,
                Some(_) => return Ok(()),
            }
        }
    }

    /// Skips the rest of the line and its end.
    fn skip_line(&mut self) -> io::Result<()> {
        self.input.skip_line(|byte| byte == b'\n')?;
        self.begin_line();
        Ok(())
    }

    /// Skips white space, and the byte order marks at beginnings of lines; returns the byte after
    /// it.
    fn skip_space(&mut self) -> io::Result<Option<u8>> {
        loop {
            let bytes = self.input.bytes();
            let mut at = 0;
            while let Some(b' ' | b'\t' | b'\r' | b'\n') = bytes.get(at) {
                at += 1;
                if bytes[at - 1] == b'\n' {
                    self.line += 1;
                    (self.column, self.indentation) = (0, 0);
                } else {
                    self.indentation += usize::from(self.indentation == self.column);
                    self.column += 1;
                }
            }
            let next = bytes.get(at).copied();
            self.input.consume(at);
            match next {
                None if !self.input.more()? => return Ok(None),
                None => {}
                // Files put together have one in the middle.
                Some(byte)
                    if byte == BYTE_ORDER_MARK[0]
                        && self.column == 0
                        && self.input.fill(BYTE_ORDER_MARK.len())?
                        && self.input.bytes().starts_with(BYTE_ORDER_MARK) =>
                {
                    self.input.consume(BYTE_ORDER_MARK.len());
                }
                Some(byte) => return Ok(Some(byte)),
            }
        }
    }

    /// Consumes bytes of this line.
    fn consume(&mut self, count: usize) {
        self.input.consume(count);
        self.column += count;
    }

    fn begin_line(&mut self) {
        self.line += 1;
        (self.column, self.indentation) = (0, 0);
    }

    /// Consumes the value that was scanned last.
    fn consume_value(&mut self) {
        let length = std::mem::take(&mut self.length);
        self.input.consume(length);
        self.column = match self.scanner.lines {
            0 => self.column + length,
            lines if length > 0 => {
                self.line += lines;
                length - self.scanner.line_start
            }
            _ => self.column,
        };
    }
}

/// Brackets and strings, whatever else there is.
#[derive(Default)]
struct Brackets {
    open: Vec<u8>,
    in_string: bool,
    escaped: bool,
}

impl Brackets {
    /// Goes on at byte `from` of a line; returns the end of the bracket that was opened first, or
    /// an error if brackets do not match.
    fn end(&mut self, line: &[u8], from: usize) -> Result<Option<usize>, ()> {
        for (at, &byte) in line.iter().enumerate().skip(from) {
            if self.in_string {
                self.in_string = self.escaped || byte != b'"';
                self.escaped = !self.escaped && byte == b'\\';
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    self.open.push(byte);
                    if self.open.len() > MOST_NESTED {
                        return Err(());
                    }
                }
                b'}' | b']' => {
                    // The brackets' ASCII codes: one ends what the one two before it begins.
                    if self.open.pop() != Some(byte - 2) {
                        return Err(());
                    }
                    if self.open.is_empty() {
                        return Ok(Some(at + 1));
                    }
                }
                _ => {}
            }
        }
        Ok(None)
    }
}
