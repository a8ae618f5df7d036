//! Texts with more tokens than the model reads: their beginning, or windows of all of it.

use lanewise::{Embedder, Encoded, Input};

use crate::cli::options::OverflowPolicy;

/// No text of so many bytes a token fits the model: its longest tokens (31 spaces) have 93. The tokenizer need not see the
/// rest, which keeps its memory small, and its time where a window after the other is taken from a long text.
const READ_BYTES_PER_TOKEN: usize = 128;

/// Tokens that the model reads at once.
pub struct Window {
    /// The tokens.
    pub encoded: Encoded,
    /// Whether the text goes on after them.
    pub more: bool,
}

/// The tokens of a text: one window, or several where it is split.
pub struct Windows<'a> {
    embedder: &'a Embedder,
    policy: OverflowPolicy,
    input: Input<'a>,
    done: bool,
}

impl<'a> Windows<'a> {
    /// The windows of the input's text.
    pub fn new(embedder: &'a Embedder, policy: OverflowPolicy, input: Input<'a>) -> Self {
        Self {
            embedder,
            policy,
            input,
            done: false,
        }
    }

    fn encode(&self, text: &'a str) -> lanewise::Result<Encoded> {
        self.embedder.encode(Input { text, ..self.input })
    }

    /// How many bytes of `text` the tokens stand for; at least one character's.
    fn bytes_read(&self, text: &str, encoded: &Encoded) -> usize {
        let ids = encoded.ids();
        let decoded = self.embedder.tokenizer().decode(&ids[1..ids.len() - 1]);
        let complete = decoded.utf8_chunks().next();
        let characters = complete.map_or(0, |chunk| chunk.valid().chars().count());
        // Characters and not bytes are counted because U+2581 is decoded as a space.
        let prefix = self.input.prompt.prefix(self.input.title).chars().count();
        let of_text = characters.saturating_sub(prefix).max(1);
        let end = text.char_indices().nth(of_text);
        end.map_or(text.len(), |(position, _)| position)
    }

    /// The first window of `text`, which does not fit, and where the next one begins: after white space, if there is
    /// some in the second half.
    fn split(&self, text: &'a str, encoded: Encoded) -> lanewise::Result<(Encoded, usize)> {
        let end = self.bytes_read(text, &encoded);
        let space = text[..end]
            .char_indices()
            .rev()
            .find(|(_, c)| c.is_whitespace());
        if let Some((position, space)) = space
            && position > end / 2
        {
            let cut = position + space.len_utf8();
            let shorter = self.encode(&text[..cut])?;
            if !shorter.usage().truncated {
                return Ok((shorter, cut));
            }
        }
        Ok((encoded, end))
    }
}

impl Iterator for Windows<'_> {
    type Item = lanewise::Result<Window>;

    fn next(&mut self) -> Option<Self::Item> {
        if std::mem::replace(&mut self.done, true) {
            return None;
        }
        let text = self.input.text;
        let context = self.embedder.model().config().context;
        let read = context.saturating_mul(READ_BYTES_PER_TOKEN);
        let head = &text[..text.floor_char_boundary(read)];
        let encoded = match self.encode(head) {
            Ok(encoded) => encoded,
            Err(error) => return Some(Err(error)),
        };
        let truncated = encoded.usage().truncated;
        let more = truncated || head.len() < text.len();
        if self.policy != OverflowPolicy::Split || !more {
            return Some(Ok(Window { encoded, more }));
        }
        let split = match truncated {
            true => self.split(head, encoded),
            false => Ok((encoded, head.len())),
        };
        Some(split.map(|(encoded, end)| {
            self.input.text = &text[end..];
            self.done = false;
            Window { encoded, more }
        }))
    }
}
