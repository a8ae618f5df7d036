//! Where a JSON value ends, whether it is one at all, and where the members asked for are in it.
//!
//! One pass does all three, and stops and goes on wherever the bytes at hand end. `serde_json`
//! would need the end to be known, and a pass for each member.

use std::ops::Range;

/// Arrays and objects that go on over a line end are nested no deeper. Without a limit, a file of
/// lines that each open an object would be read anew from each of them to its end.
const MOST_NESTED_LINES: usize = 128;
/// A longer number is none.
const MOST_DIGITS: usize = 1 << 16;

/// The members of an object that are looked for.
#[derive(Debug, Default)]
pub struct Names(pub Vec<String>);

/// A member that was found: the place of its value, and whether another one has the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The bytes of the value.
    pub value: Range<usize>,
    /// Whether the name occurs again.
    pub again: bool,
}

/// How far a scan has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Scan {
    /// The value ends before this offset.
    Complete(usize),
    /// The bytes end in the value.
    More,
    /// It is no JSON from this offset on.
    Wrong(usize, &'static str),
}

/// A scan of a value from its first byte.
#[derive(Default)]
pub struct Scanner {
    /// The byte to look at next.
    at: usize,
    /// `{` and `[` that are open.
    open: Vec<u8>,
    state: State,
    /// The beginning of the token that the bytes ended in, and whether it is a name.
    string: Option<(usize, bool)>,
    /// Line ends so far.
    pub lines: u64,
    /// The end of the first line.
    pub first_line_end: Option<usize>,
    /// The beginning of the last line.
    pub line_start: usize,
    /// For each of the names, the member of the outermost object.
    pub members: Vec<Option<Member>>,
    /// Which of the names the value that is being read belongs to.
    member: Option<usize>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Value,
    ValueOrEnd,
    Name,
    NameOrEnd,
    Colon,
    AfterValue,
}

/// Bytes of strings that mean something: quote, backslash, and what must be escaped.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        special[byte] = true;
        byte += 1;
    }
    special[b'"' as usize] = true;
    special[b'\\' as usize] = true;
    special
};

impl Scanner {
    /// Begins another value.
    pub fn restart(&mut self, names: &Names) {
        let (mut open, mut members) = (
            std::mem::take(&mut self.open),
            std::mem::take(&mut self.members),
        );
        open.clear();
        members.clear();
        members.resize(names.0.len(), None);
        *self = Self {
            open,
            members,
            ..Self::default()
        };
    }

    /// Scans `bytes`, which begin with the value and are those of the call before and more. `ended`
    /// says that no more come.
    pub fn run(&mut self, bytes: &[u8], ended: bool, names: &Names) -> Scan {
        match self.step(bytes, ended, names) {
            Ok(end) => Scan::Complete(end),
            Err(Stop::More) if ended => Scan::Wrong(bytes.len(), "the end comes too early"),
            Err(Stop::More) => Scan::More,
            Err(Stop::Wrong(at, reason)) => Scan::Wrong(at, reason),
        }
    }

    fn step(&mut self, bytes: &[u8], ended: bool, names: &Names) -> Result<usize, Stop> {
        loop {
            if self.string.is_some() {
                self.string(bytes, names)?;
                if self.open.is_empty() {
                    return Ok(self.at);
                }
            }
            let byte = *bytes.get(self.at).ok_or(Stop::More)?;
            match (byte, self.state) {
                (b' ' | b'\t' | b'\r', _) => self.at += 1,
                (b'\n', _) => {
                    self.at += 1;
                    self.lines += 1;
                    self.line_start = self.at;
                    self.first_line_end.get_or_insert(self.at);
                    self.check_depth()?;
                }
                (b'"', State::Value | State::ValueOrEnd) => self.string = Some((self.at, false)),
                (b'"', State::Name | State::NameOrEnd) => self.string = Some((self.at, true)),
                (b'}', State::NameOrEnd) | (b']', State::ValueOrEnd) => self.close(),
                (b'}' | b']', State::AfterValue) => {
                    // The brackets' ASCII codes: one ends what the one two before it begins.
                    if self.open.last() != Some(&(byte - 2)) {
                        return Err(Stop::Wrong(self.at, "another bracket is open"));
                    }
                    self.close();
                }
                (b',', State::AfterValue) => {
                    self.at += 1;
                    self.state = match self.open.last() {
                        Some(b'{') => State::Name,
                        _ => State::Value,
                    };
                }
                (b':', State::Colon) => {
                    self.at += 1;
                    self.state = State::Value;
                }
                (b'{' | b'[', State::Value | State::ValueOrEnd) => {
                    self.begin_value(self.at);
                    self.open.push(byte);
                    self.at += 1;
                    self.state = match byte {
                        b'{' => State::NameOrEnd,
                        _ => State::ValueOrEnd,
                    };
                    self.check_depth()?;
                }
                (_, State::Value | State::ValueOrEnd) => {
                    let end = scalar(bytes, self.at, ended)?;
                    self.begin_value(self.at);
                    self.at = end;
                    self.end_value();
                }
                (_, State::Name | State::NameOrEnd) => {
                    return Err(Stop::Wrong(self.at, "expected a name in double quotes"));
                }
                (_, State::Colon) => return Err(Stop::Wrong(self.at, "expected a colon")),
                (_, State::AfterValue) => {
                    return Err(Stop::Wrong(
                        self.at,
                        "expected a comma or a closing bracket",
                    ));
                }
            }
            if self.open.is_empty() && self.state == State::AfterValue {
                return Ok(self.at);
            }
        }
    }

    fn check_depth(&self) -> Result<(), Stop> {
        match self.lines > 0 && self.open.len() > MOST_NESTED_LINES {
            true => Err(Stop::Wrong(
                self.at,
                "more than 128 brackets are open over a line end",
            )),
            false => Ok(()),
        }
    }

    fn close(&mut self) {
        self.at += 1;
        self.open.pop();
        self.end_value();
    }

    /// The first byte of a value; a name that occurs again keeps its first one.
    fn begin_value(&mut self, at: usize) {
        if self.open.len() == 1
            && let Some(member) = self.member.and_then(|name| self.members[name].as_mut())
            && !member.again
        {
            member.value.start = at;
        }
    }

    fn end_value(&mut self) {
        self.state = State::AfterValue;
        if self.open.len() == 1
            && let Some(name) = self.member.take()
            && let Some(member) = &mut self.members[name]
            && !member.again
        {
            member.value.end = self.at;
        }
    }

    /// Goes on in the string.
    fn string(&mut self, bytes: &[u8], names: &Names) -> Result<(), Stop> {
        let Some((start, is_name)) = self.string else {
            return Ok(());
        };
        let mut at = self.at.max(start + 1);
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let Some(end) = rest.iter().position(|&byte| SPECIAL[usize::from(byte)]) else {
                self.at = bytes.len().max(start + 1);
                return Err(Stop::More);
            };
            at += end;
            match bytes[at] {
                b'"' => break,
                b'\\' => match escape(&bytes[at + 1..]) {
                    Some(Ok(length)) => at += 1 + length,
                    Some(Err(reason)) => return Err(Stop::Wrong(at, reason)),
                    None => {
                        self.at = at;
                        return Err(Stop::More);
                    }
                },
                b'\n' => return Err(Stop::Wrong(at, "a string does not end in its line")),
                _ => return Err(Stop::Wrong(at, "a control character in a string")),
            }
        }
        self.string = None;
        self.at = at + 1;
        if is_name {
            self.state = State::Colon;
            if self.open.len() == 1 {
                self.find_name(&bytes[start..self.at], names);
            }
        } else {
            self.begin_value(start);
            self.end_value();
        }
        Ok(())
    }

    /// Notes which of the names this one is, with its quotes.
    fn find_name(&mut self, quoted: &[u8], names: &Names) {
        let plain = &quoted[1..quoted.len() - 1];
        let found = if plain.contains(&b'\\') {
            let decoded: Option<String> = serde_json::from_slice(quoted).ok();
            decoded.and_then(|decoded| names.0.iter().position(|name| *name == decoded))
        } else {
            names.0.iter().position(|name| name.as_bytes() == plain)
        };
        self.member = found;
        if let Some(name) = found {
            match &mut self.members[name] {
                Some(member) => member.again = true,
                none => {
                    *none = Some(Member {
                        value: 0..0,
                        again: false,
                    })
                }
            }
        }
    }
}

enum Stop {
    More,
    Wrong(usize, &'static str),
}

/// The length of an escape behind its backslash; `None` if the bytes end in it.
fn escape(bytes: &[u8]) -> Option<Result<usize, &'static str>> {
    Some(match bytes.first()? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(1),
        b'u' => {
            let digits = &bytes[1..bytes.len().min(5)];
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                Err("an escape that is none")
            } else if digits.len() < 4 {
                return None;
            } else {
                Ok(5)
            }
        }
        _ => Err("an escape that is none"),
    })
}

/// The end of the number, `true`, `false` or `null` that begins at `at`.
fn scalar(bytes: &[u8], at: usize, ended: bool) -> Result<usize, Stop> {
    let rest = &bytes[at..];
    let is_part =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.' | b'_');
    let length = rest
        .iter()
        .take(MOST_DIGITS)
        .position(|byte| !is_part(byte));
    let token = &rest[..length.unwrap_or(rest.len().min(MOST_DIGITS))];
    if length.is_none() && token.len() < MOST_DIGITS && !ended {
        return Err(Stop::More);
    }
    let reason = match token {
        b"true" | b"false" | b"null" => return Ok(at + token.len()),
        _ if is_number(token) => return Ok(at + token.len()),
        b"NaN" | b"Infinity" | b"-Infinity" | b"nan" | b"inf" | b"-inf" => {
            "NaN and Infinity are no numbers of JSON: null is"
        }
        b"True" | b"False" | b"None" => "this is Python, not JSON: write true, false and null",
        b"" if rest[0] == b'\'' => "strings have double quotes",
        b"" => "expected a value",
        [b'-' | b'+' | b'.' | b'0'..=b'9', ..] => "this is no number of JSON",
        _ => "expected a value",
    };
    Err(Stop::Wrong(at, reason))
}

/// Whether a token is a number as JSON has them.
pub fn is_number(token: &[u8]) -> bool {
    let digits = |bytes: &[u8]| {
        bytes
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count()
    };
    let mut rest = token.strip_prefix(b"-").unwrap_or(token);
    let whole = digits(rest);
    if whole == 0 || whole > 1 && rest[0] == b'0' {
        return false;
    }
    rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let Some((b'e' | b'E', exponent)) = rest.split_first() {
        let exponent = match exponent.split_first() {
            Some((b'+' | b'-', digits)) => digits,
            _ => exponent,
        };
        let count = digits(exponent);
        if count == 0 {
            return false;
        }
        rest = &exponent[count..];
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The end of the value, or where and why it is none; the same in whatever pieces it comes.
    fn scan(json: &str) -> Result<usize, usize> {
        let run = |piece: usize| {
            let mut scanner = Scanner::default();
            let names = Names(vec!["text".into()]);
            scanner.restart(&names);
            let mut end = piece.min(json.len());
            loop {
                let ended = end == json.len();
                match scanner.run(&json.as_bytes()[..end], ended, &names) {
                    Scan::Complete(end) => return Ok(end),
                    Scan::Wrong(at, _) => return Err(at),
                    Scan::More => end = (end + piece).min(json.len()),
                }
            }
        };
        let whole = run(usize::MAX / 2);
        for piece in 1..6 {
            assert_eq!(run(piece), whole, "{json} in pieces of {piece}");
        }
        whole
    }

    #[test]
    fn a_value_ends_where_serde_json_says() {
        let values = [
            "{}",
            "[]",
            "{\"a\":1}",
            "{ \"a\" : [ 1 , -2.5e+3 , 0 , true , null , \"\\u00e9\\n\" ] }",
            "{\"a\":{\"b\":[[],{}]},\n\"text\":\"x\"}",
            "[1,2]",
            "\"x\"",
            "{\"text\":0}",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "[1,]",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":-}",
            "{\"a\":+1}",
            "{\"a\":1e}",
            "{\"a\":tru}",
            "{\"a\":truee}",
            "{\"a\":NaN}",
            "{\"a\":'x'}",
            "{a:1}",
            "{\"a\":1]",
            "[1}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12g4\"}",
            "{\"a\":\"\u{1}\"}",
            "{\"a\" 1}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":\"x}",
            "{\"a\":\"\\",
            "{1:2}",
            "[",
            "\"",
        ];
        for json in values {
            let valid = serde_json::from_str::<serde_json::Value>(json).is_ok();
            let found = scan(json);
            assert_eq!(found.is_ok(), valid, "{json}: {found:?}");
            if let Ok(end) = found {
                assert_eq!(end, json.len(), "{json}");
                assert_eq!(scan(&format!("{json} {{")), Ok(end), "{json}");
            }
        }
    }

    #[test]
    fn members_are_those_of_the_outermost_object() {
        let names = Names(["text", "id", "é", "none"].map(String::from).into());
        let json = "{\"x\":{\"text\":1},\"text\" : \"a\" ,\"i\\u0064\":[1, 2],\"é\":7,\"é\":8}";
        let mut scanner = Scanner::default();
        scanner.restart(&names);
        assert_eq!(
            scanner.run(json.as_bytes(), true, &names),
            Scan::Complete(json.len())
        );
        let found: Vec<_> = scanner
            .members
            .iter()
            .map(|member| {
                member
                    .as_ref()
                    .map(|member| (&json[member.value.clone()], member.again))
            })
            .collect();
        assert_eq!(
            found,
            [
                Some(("\"a\"", false)),
                Some(("[1, 2]", false)),
                Some(("7", true)),
                None
            ]
        );
    }
}
