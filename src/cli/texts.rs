//! The texts of a command: its arguments, or the lines of standard input as they come, or of a file.

use std::fmt;
#[cfg(feature = "bulk")]
use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read};
#[cfg(feature = "bulk")]
use std::path::Path;

use super::failure::{Failure, report};

/// A batch ends here, so that the memory in use does not depend on the input. More texts at a time
/// would not be faster: this is several forward calls' worth.
const BATCH_BYTES: usize = 1 << 17;
const BATCH_TEXTS: usize = 1024;

/// The longest line, far beyond what the model can read of one; the rest of it is skipped.
const LINE_BYTES: usize = 1 << 24;

/// What a pipe gives at a time; also how far a batch of short lines can reach.
const BUFFER_BYTES: usize = 1 << 16;

/// A text, or why there is none in its place.
#[derive(Debug, PartialEq, Eq)]
pub struct Text {
    /// Its number, from 0.
    pub index: usize,
    /// The text, or what is wrong with it.
    pub content: Result<String, String>,
    place: Place,
}

impl Text {
    /// Its place, for messages.
    pub fn place(&self) -> Place {
        self.place
    }
}

/// The place of a text, counted from 1 as editors do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Among the arguments.
    Argument(usize),
    /// In standard input.
    Line(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Argument(number) => write!(f, "text {number}"),
            Place::Line(number) => write!(f, "line {number}"),
        }
    }
}

/// All texts in batches: those of the arguments, then those of standard input or of a file.
pub struct Texts {
    given: Vec<String>,
    lines: Option<BufReader<Box<dyn Read>>>,
    /// What the lines are read from.
    source: String,
    lines_read: usize,
    next_index: usize,
}

impl Texts {
    /// The arguments; if there are fewer than `wanted`, followed by the lines of standard input.
    pub fn new(arguments: &[String], wanted: usize) -> Self {
        let lines = (arguments.len() < wanted).then(|| {
            let input = io::stdin();
            if input.is_terminal() {
                report(format_args!(
                    "reading texts from the terminal, one a line; Ctrl-D ends them"
                ));
            }
            buffered(input)
        });
        Self {
            given: arguments.to_vec(),
            lines,
            source: "standard input".into(),
            lines_read: 0,
            next_index: 0,
        }
    }

    /// The lines of a file.
    #[cfg(feature = "bulk")]
    pub fn of_file(path: &Path) -> Result<Self, Failure> {
        let source = path.display().to_string();
        let file = File::open(path).map_err(|error| Failure::input(&source, &error))?;
        Ok(Self {
            given: Vec::new(),
            lines: Some(buffered(file)),
            source,
            lines_read: 0,
            next_index: 0,
        })
    }

    /// The next texts: as many as are there without waiting, within the limits of a batch. `None`
    /// after the last.
    pub fn next_batch(&mut self) -> Result<Option<Vec<Text>>, Failure> {
        let mut batch = Vec::new();
        for (content, number) in std::mem::take(&mut self.given).into_iter().zip(1..) {
            batch.push(self.text(Place::Argument(number), Ok(content)));
        }
        let mut bytes = 0;
        while bytes < BATCH_BYTES && batch.len() < BATCH_TEXTS && (batch.is_empty() || self.ready())
        {
            let line = self.read_line();
            let line = line.map_err(|error| Failure::input(&self.source, &error))?;
            let Some(content) = line else {
                break;
            };
            bytes += content.as_ref().map_or(0, String::len);
            self.lines_read += 1;
            batch.push(self.text(Place::Line(self.lines_read), content));
        }
        Ok(Some(batch).filter(|batch| !batch.is_empty()))
    }

    fn text(&mut self, place: Place, content: Result<String, String>) -> Text {
        self.next_index += 1;
        Text {
            index: self.next_index - 1,
            content,
            place,
        }
    }

    /// Whether a whole line is there already.
    fn ready(&self) -> bool {
        let lines = self.lines.as_ref();
        lines.is_some_and(|lines| lines.buffer().contains(&b'\n'))
    }

    /// A line without its ending, `\n` or `\r\n`.
    fn read_line(&mut self) -> io::Result<Option<Result<String, String>>> {
        let Some(lines) = &mut self.lines else {
            return Ok(None);
        };
        lanewise_lines::read_line(lines, LINE_BYTES)
    }
}

fn buffered(input: impl Read + 'static) -> BufReader<Box<dyn Read>> {
    BufReader::with_capacity(BUFFER_BYTES, Box::new(input))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8]) -> Vec<Result<String, String>> {
        let mut texts = Texts {
            given: vec!["given".into()],
            lines: Some(buffered(io::Cursor::new(input.to_vec()))),
            source: "a test".into(),
            lines_read: 0,
            next_index: 0,
        };
        let mut all = Vec::new();
        while let Some(batch) = texts.next_batch().unwrap() {
            for text in batch {
                assert_eq!(text.index, all.len());
                all.push(text.content);
            }
        }
        all.remove(0).unwrap();
        all
    }

    #[test]
    fn every_line_is_a_text_with_or_without_an_ending() {
        assert_eq!(all(b""), []);
        assert_eq!(all(b"\n"), [Ok("".into())]);
        assert_eq!(
            all(b"a\r\n\nb\rc"),
            ["a", "", "b\rc"].map(|line| Ok(line.into()))
        );
    }

    #[test]
    fn a_line_that_cannot_be_used_leaves_the_others() {
        let mut input = vec![b'x'; LINE_BYTES + 1];
        input.extend(b"\nfine\nbad \xff\nlast");
        let lines = all(&input);
        assert!(lines[0].as_ref().unwrap_err().contains("longer"));
        assert_eq!(lines[1], Ok("fine".into()));
        assert!(lines[2].as_ref().unwrap_err().contains("byte 5"));
        assert_eq!(lines[3], Ok("last".into()));
        input = vec![b'x'; LINE_BYTES];
        input.push(b'\n');
        assert_eq!(all(&input)[0].as_ref().map(String::len), Ok(LINE_BYTES));
    }

    #[test]
    fn a_batch_is_bounded() {
        let input = "a line\n".repeat(5 * BATCH_TEXTS / 2);
        let mut texts = Texts {
            given: Vec::new(),
            lines: Some(buffered(io::Cursor::new(input))),
            source: "a test".into(),
            lines_read: 0,
            next_index: 0,
        };
        let mut total = 0;
        while let Some(batch) = texts.next_batch().unwrap() {
            assert!(batch.len() <= BATCH_TEXTS);
            total += batch.len();
        }
        assert_eq!(total, 5 * BATCH_TEXTS / 2);
    }
}
