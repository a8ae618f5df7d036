//! The records of a file of delimited fields, as in RFC 4180: a quoted field may contain delimiters,
//! line ends and doubled quotes, and a quote anywhere else is an error.
//!
//! A record with an error is given up alone. If a quote is not closed, or closed where it cannot
//! be, the lines after the one at which it began are read again, as records of their own:
//! whatever the quote was meant to enclose, no row disappears into another.
//!
//! Neither `csv-core` nor Arrow's CSV reader can do this. They take every file for valid: they
//! read text after a closing quote as part of the field, and an open quote to the end of the file.

use std::io;

use crate::dialect::Rules;
use crate::error::Result;
use crate::formats::lookahead::Lookahead;
use crate::source::{BYTE_ORDER_MARK, Stream};

/// The records of a stream, one at a time and of bounded size.
pub struct Records {
    input: Lookahead,
    rules: Rules,
    limit: usize,
    /// Whether a carriage return alone ends a line, as in the first line of the file.
    carriage_returns: Option<bool>,
    /// What ends a run of ordinary bytes, outside and inside of quotes.
    special: [[bool; 256]; 2],
    /// The number of the line at which the next record begins.
    line: u64,
    /// The bytes of the record that was read last, with its line end.
    length: usize,
    fields: Vec<Field>,
    /// How many fields the record has, of which `fields` holds those asked for.
    count: usize,
}

/// A record that [`Records::next`] has read.
pub struct Record {
    /// The line at which it began.
    pub line: u64,
    /// How many fields it has.
    pub fields: usize,
    /// Whether it is a line without a byte.
    pub is_blank: bool,
    /// Why its fields cannot be used, as messages say it after "the row".
    pub problem: Option<String>,
}

/// A field's place in the record, without its quotes.
#[derive(Clone, Copy)]
struct Field {
    start: usize,
    end: usize,
    quoted: bool,
    /// Whether there are doubled quotes or escapes in it.
    marked: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Unquoted,
    Quoted,
    /// Behind a quote in a quoted field.
    Closed,
}

/// How the reading of a record ended.
enum End {
    /// The bytes of content, and the bytes with the line end.
    Complete(usize, usize),
    /// What is wrong, seen at an offset.
    Wrong(Wrong, usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Quote,
    AfterQuote,
    Unclosed,
    CarriageReturn,
    Escape,
    TooLong,
}

impl Records {
    /// The records of a stream, those of more than `limit` bytes apart.
    pub fn new(stream: Stream, rules: Rules, limit: usize) -> Self {
        let mut special = [[false; 256]; 2];
        let [unquoted, quoted] = &mut special;
        for byte in [b'\n', b'\r']
            .into_iter()
            .chain(rules.quote)
            .chain(rules.escape)
        {
            unquoted[usize::from(byte)] = true;
            quoted[usize::from(byte)] = true;
        }
        unquoted[usize::from(rules.delimiter)] = true;
        Self {
            input: Lookahead::new(stream),
            rules,
            limit,
            carriage_returns: None,
            special,
            line: 1,
            length: 0,
            fields: Vec::new(),
            count: 0,
        }
    }

    /// The stream.
    pub fn stream(&self) -> &Stream {
        self.input.stream()
    }

    /// Reads a record, and remembers the places of up to `most_fields` of its fields.
    pub fn next(&mut self, most_fields: usize) -> Result<Option<Record>> {
        let record = self.read(most_fields);
        record.map_err(|error| self.input.stream().error(error))
    }

    fn read(&mut self, most_fields: usize) -> io::Result<Option<Record>> {
        self.input.consume(std::mem::take(&mut self.length));
        if !self.input.fill(1)? {
            return Ok(None);
        }
        // Files put together have one in the middle.
        let marked = self.input.bytes()[0] == BYTE_ORDER_MARK[0];
        if marked
            && self.input.fill(BYTE_ORDER_MARK.len())?
            && self.input.bytes().starts_with(BYTE_ORDER_MARK)
        {
            self.input.consume(BYTE_ORDER_MARK.len());
        }
        let line = self.line;
        let mut lines = Lines::default();
        let end = self.parse(most_fields, &mut lines)?;
        self.carriage_returns.get_or_insert(false);
        let mut record = Record {
            line,
            fields: self.count,
            is_blank: false,
            problem: None,
        };
        match end {
            End::Complete(content, length) => {
                self.length = length;
                self.line += lines.count + 1;
                record.is_blank = content == 0;
                if content > self.limit {
                    record.problem = Some(lanewise_lines::too_long(content as u64, self.limit));
                }
            }
            End::Wrong(wrong, at) => {
                record.problem = Some(self.recover(wrong, at, &lines)?);
            }
        }
        Ok(Some(record))
    }

    /// Goes to the line after the one at which its first quoted field over several lines began, or
    /// else behind this line; returns what is wrong.
    fn recover(&mut self, wrong: Wrong, at: usize, lines: &Lines) -> io::Result<String> {
        let mut bytes = at as u64;
        if let Some((end, count)) = lines.quoted {
            self.input.consume(end);
            self.line += count;
        } else {
            self.line += lines.count + 1;
            self.input.consume(at);
            let carriage_returns = self.carriage_returns == Some(true);
            let is_end = |byte| byte == b'\n' || carriage_returns && byte == b'\r';
            bytes += self.input.skip_line(is_end)?;
        }
        let shown = |byte: Option<u8>| byte.map_or(' ', char::from);
        let (quote, escape) = (shown(self.rules.quote), shown(self.rules.escape));
        let remedy = format!(
            "inside of quoted fields {quote} is doubled, and the setting `quote` none takes it for text"
        );
        Ok(match wrong {
            Wrong::TooLong if lines.quoted.is_none() => lanewise_lines::too_long(bytes, self.limit),
            Wrong::Unclosed | Wrong::TooLong => {
                let within = match wrong {
                    Wrong::Unclosed => "before the end of the file".into(),
                    _ => format!("within the limit of {} bytes", self.limit),
                };
                format!("has a quote that is not closed {within}; {remedy}")
            }
            Wrong::Quote => {
                format!("has a quote in a field that does not begin with one; {remedy}")
            }
            Wrong::AfterQuote => format!("has text after a closing quote; {remedy}"),
            Wrong::CarriageReturn => {
                "has a carriage return outside of quotes, and other lines end otherwise".into()
            }
            Wrong::Escape => format!("ends with the escape character {escape}"),
        })
    }

    /// Finds the end of the record and its fields.
    fn parse(&mut self, most_fields: usize, lines: &mut Lines) -> io::Result<End> {
        let Rules {
            delimiter,
            quote,
            escape,
            ..
        } = self.rules;
        self.fields.clear();
        self.count = 0;
        let mut state = State::FieldStart;
        let mut field = Field::at(0);
        let mut at = 0;
        loop {
            let bytes = self.input.bytes();
            let ended = self.input.has_ended();
            while let Some(&byte) = bytes.get(at) {
                let next = bytes.get(at + 1).copied();
                if next.is_none() && !ended && self.special[0][usize::from(byte)] {
                    // What it means depends on the next byte.
                    break;
                }
                let is_quote = Some(byte) == quote;
                if Some(byte) == escape && state != State::Closed {
                    let escaped = match (next, bytes.get(at + 2)) {
                        (None, _) => return Ok(End::Wrong(Wrong::Escape, at)),
                        (Some(b'\r'), None) if !ended => break,
                        (Some(b'\r'), Some(b'\n')) => 3,
                        _ => 2,
                    };
                    at += escaped;
                    if matches!(bytes[at - 1], b'\n') {
                        lines.add(at, state);
                    }
                    field.marked = true;
                    if state == State::FieldStart {
                        state = State::Unquoted;
                    }
                } else if state == State::Quoted {
                    if is_quote {
                        state = State::Closed;
                        field.end = at;
                        at += 1;
                    } else if byte == b'\n'
                        || byte == b'\r'
                            && self.carriage_returns == Some(true)
                            && next != Some(b'\n')
                    {
                        at += 1;
                        lines.add(at, state);
                    } else {
                        at += 1 + ordinary(&bytes[at + 1..], &self.special[1]);
                    }
                } else if is_quote {
                    match state {
                        State::FieldStart => {
                            state = State::Quoted;
                            field.quoted = true;
                            field.start = at + 1;
                        }
                        State::Closed => {
                            state = State::Quoted;
                            field.marked = true;
                        }
                        _ => return Ok(End::Wrong(Wrong::Quote, at)),
                    }
                    at += 1;
                } else if byte == delimiter {
                    self.count += 1;
                    if self.fields.len() < most_fields {
                        self.fields.push(field.ending(state, at));
                    }
                    at += 1;
                    field = Field::at(at);
                    state = State::FieldStart;
                } else if let Some(length) = self.line_end(byte, next) {
                    self.carriage_returns
                        .get_or_insert(length == 1 && byte == b'\r' && next.is_some());
                    self.count += 1;
                    if self.fields.len() < most_fields {
                        self.fields.push(field.ending(state, at));
                    }
                    return Ok(End::Complete(at, at + length));
                } else if state == State::Closed {
                    return Ok(End::Wrong(Wrong::AfterQuote, at));
                } else if byte == b'\r' && quote.is_some() {
                    return Ok(End::Wrong(Wrong::CarriageReturn, at));
                } else {
                    state = State::Unquoted;
                    at += 1 + ordinary(&bytes[at + 1..], &self.special[0]);
                }
            }
            // A line end and the first byte after it do not count.
            if at > self.limit + 2 {
                return Ok(End::Wrong(Wrong::TooLong, at));
            }
            if ended {
                if state == State::Quoted {
                    return Ok(End::Wrong(Wrong::Unclosed, at));
                }
                self.count += 1;
                if self.fields.len() < most_fields {
                    self.fields.push(field.ending(state, at));
                }
                return Ok(End::Complete(at, at));
            }
            self.input.more()?;
        }
    }

    /// The length of the line end that begins with this byte, if one does.
    fn line_end(&self, byte: u8, next: Option<u8>) -> Option<usize> {
        match (byte, next) {
            (b'\n', _) => Some(1),
            (b'\r', Some(b'\n')) => Some(2),
            (b'\r', None) => Some(1),
            (b'\r', _) => (self.carriage_returns != Some(false)).then_some(1),
            _ => None,
        }
    }

    /// A field of the record that was read last, by its number from 0, without quotes and escapes;
    /// `None` if it is the `\N` that databases write for null.
    ///
    /// # Errors
    /// An escape that means nothing, as messages say it after the name of the field.
    pub fn field(&self, number: usize) -> Result<Option<Vec<u8>>, String> {
        let field = self.fields[number];
        let bytes = &self.input.bytes()[field.start..field.end];
        if !field.marked {
            return Ok(Some(bytes.to_vec()));
        }
        if let Some(escape) = self.rules.escape
            && !field.quoted
            && bytes == [escape, b'N']
        {
            return Ok(None);
        }
        let mut text = Vec::with_capacity(bytes.len());
        let mut rest = bytes.iter().copied();
        while let Some(byte) = rest.next() {
            if Some(byte) == self.rules.escape {
                text.push(self.escaped(rest.next())?);
            } else {
                text.push(byte);
                if field.quoted && Some(byte) == self.rules.quote {
                    // The second one of two.
                    rest.next();
                }
            }
        }
        Ok(Some(text))
    }

    fn escaped(&self, byte: Option<u8>) -> Result<u8, String> {
        let special = [
            Some(self.rules.delimiter),
            self.rules.quote,
            self.rules.escape,
        ];
        match byte {
            Some(b'n') => Ok(b'\n'),
            Some(b'r') => Ok(b'\r'),
            Some(b't') => Ok(b'\t'),
            // The quote also where fields have none, as Python writes it.
            Some(b'\n' | b'\r' | b'"' | b'\'') => Ok(byte.unwrap_or_default()),
            Some(byte) if special.contains(&Some(byte)) => Ok(byte),
            _ => {
                let escape = char::from(self.rules.escape.unwrap_or_default());
                let byte = char::from(byte.unwrap_or_default()).escape_default();
                Err(format!("has {escape}{byte}, which is no known escape"))
            }
        }
    }
}

/// How many bytes from the first one on are not special.
fn ordinary(bytes: &[u8], special: &[bool; 256]) -> usize {
    let end = bytes.iter().position(|&byte| special[usize::from(byte)]);
    end.unwrap_or(bytes.len())
}

/// Line ends inside of a record.
#[derive(Default)]
struct Lines {
    count: u64,
    /// Where the first line ends that does so inside of quotes, and its number in the record, from
    /// 1. To go back behind escaped line ends too would take time with the square of their number.
    quoted: Option<(usize, u64)>,
}

impl Lines {
    fn add(&mut self, end: usize, state: State) {
        self.count += 1;
        if state == State::Quoted {
            self.quoted.get_or_insert((end, self.count));
        }
    }
}

impl Field {
    fn at(start: usize) -> Self {
        Self {
            start,
            end: start,
            quoted: false,
            marked: false,
        }
    }

    /// The field before the delimiter or line end at `at`.
    fn ending(self, state: State, at: usize) -> Self {
        let end = if state == State::Closed { self.end } else { at };
        Self { end, ..self }
    }
}
