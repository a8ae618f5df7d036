//! Texts with more tokens than the model reads: the beginning is embedded, or windows that cover
//! the text, whose vectors are averaged.

use serde::{Deserialize, Serialize};

use crate::embed::{Embed, Usage};

/// No text with this many bytes a token fits the model: its longest tokens (31 spaces) have 93. The
/// tokenizer need not see the rest, which keeps its memory small, and its time where window after
/// window is taken from a long text.
const READ_BYTES_PER_TOKEN: usize = 128;

/// What to do with texts of more tokens than the model reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverflowPolicy {
    /// Embed the beginning, and say so.
    Truncate,
    /// Reject the row.
    Error,
    /// Embed all of it in windows, and average their vectors by tokens.
    Split,
}

/// Tokens that the model reads at once.
pub struct Window<T> {
    /// The tokens.
    pub encoded: T,
    /// How many they are.
    pub usage: Usage,
    /// Whether the text goes on after them.
    pub more: bool,
}

/// The tokens of a text: one window, or several where it is split.
pub struct Windows<'a, E> {
    embedder: &'a E,
    policy: OverflowPolicy,
    /// `None` after the last window.
    rest: Option<&'a str>,
}

impl<'a, E: Embed> Windows<'a, E> {
    /// The windows of a text.
    pub fn new(embedder: &'a E, policy: OverflowPolicy, text: &'a str) -> Self {
        Self {
            embedder,
            policy,
            rest: Some(text),
        }
    }

    /// The first window of `text`, which does not fit, and where the next one begins: after white
    /// space, if there is some in the second half.
    fn split(&self, text: &str, encoded: E::Encoded) -> Result<(E::Encoded, usize), E::Error> {
        let end = self.embedder.bytes_read(text, &encoded);
        let space = text[..end]
            .char_indices()
            .rev()
            .find(|(_, c)| c.is_whitespace());
        if let Some((position, space)) = space
            && position > end / 2
        {
            let cut = position + space.len_utf8();
            let shorter = self.embedder.encode(&text[..cut])?;
            if !E::usage(&shorter).truncated {
                return Ok((shorter, cut));
            }
        }
        Ok((encoded, end))
    }

    fn window(&mut self, text: &'a str) -> Result<Window<E::Encoded>, E::Error> {
        let read = self.embedder.context().saturating_mul(READ_BYTES_PER_TOKEN);
        let head = &text[..text.floor_char_boundary(read)];
        let mut encoded = self.embedder.encode(head)?;
        let truncated = E::usage(&encoded).truncated;
        let more = truncated || head.len() < text.len();
        if self.policy == OverflowPolicy::Split && more {
            let mut end = head.len();
            if truncated {
                (encoded, end) = self.split(head, encoded)?;
            }
            self.rest = Some(&text[end..]);
        }
        Ok(Window {
            usage: E::usage(&encoded),
            encoded,
            more,
        })
    }
}

impl<E: Embed> Iterator for Windows<'_, E> {
    type Item = Result<Window<E::Encoded>, E::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest.take()?;
        Some(self.window(text))
    }
}

/// The mean of the vectors of a text's windows, weighted by their tokens, at unit length.
pub struct WindowMean {
    sum: Vec<f64>,
}

impl WindowMean {
    /// A mean of vectors of `dims` values.
    pub fn new(dims: usize) -> Self {
        Self {
            sum: vec![0.0; dims],
        }
    }

    /// Adds the vector of a window.
    pub fn add(&mut self, vector: &[f32], tokens: usize) {
        for (sum, &value) in self.sum.iter_mut().zip(vector) {
            *sum += f64::from(value) * tokens as f64;
        }
    }

    /// The mean of what was added since the last call; zeros if nothing was.
    pub fn take(&mut self) -> Vec<f32> {
        let squares = self.sum.iter().map(|value| value * value);
        let norm = squares.sum::<f64>().sqrt();
        let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
        let mean = self.sum.iter().map(|value| (value * scale) as f32);
        let mean = mean.collect();
        self.sum.fill(0.0);
        mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A word is a token, and four fit.
    struct Words;

    impl Embed for Words {
        type Encoded = (Vec<String>, bool);
        type Error = std::io::Error;

        fn dims(&self) -> usize {
            1
        }

        fn context(&self) -> usize {
            4
        }

        fn overflow_problem(&self) -> String {
            "has more than 4 words".into()
        }

        fn memory(&self) -> crate::ModelMemory {
            crate::ModelMemory {
                model_bytes: 0,
                bytes_per_token: 1,
                tokens_per_pass: 4,
                tokens_per_call: 8,
            }
        }

        fn encode(&self, text: &str) -> Result<Self::Encoded, Self::Error> {
            let words: Vec<String> = text.split_whitespace().map(String::from).collect();
            let truncated = words.len() > self.context();
            let words = words.into_iter().take(self.context()).collect();
            Ok((words, truncated))
        }

        fn usage((words, truncated): &Self::Encoded) -> Usage {
            Usage {
                tokens: words.len(),
                truncated: *truncated,
            }
        }

        fn ids(_: &Self::Encoded) -> &[u32] {
            &[]
        }

        fn bytes_read(&self, text: &str, (words, _): &Self::Encoded) -> usize {
            let last = words.last().expect("a text that does not fit has words");
            text.find(last.as_str()).expect("words are distinct") + last.len()
        }

        fn embed(&self, _: &[Self::Encoded], _: &mut [f32]) -> Result<(), Self::Error> {
            Ok(())
        }
    }

    fn windows(policy: OverflowPolicy, text: &str) -> Vec<(String, bool)> {
        Windows::new(&Words, policy, text)
            .map(|window| window.unwrap())
            .map(|window| (window.encoded.0.join(" "), window.more))
            .collect()
    }

    #[test]
    fn a_text_that_fits_is_one_window() {
        for policy in [
            OverflowPolicy::Truncate,
            OverflowPolicy::Error,
            OverflowPolicy::Split,
        ] {
            assert_eq!(windows(policy, "a b c d"), [("a b c d".into(), false)]);
            assert_eq!(windows(policy, ""), [(String::new(), false)]);
        }
    }

    #[test]
    fn windows_cover_a_text_that_is_split() {
        let all = windows(OverflowPolicy::Split, "aa bb cc dd ee ff gg hh ii");
        let texts: Vec<&str> = all.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts.join(" "), "aa bb cc dd ee ff gg hh ii");
        assert!(all.len() > 2);
        let more: Vec<bool> = all.iter().map(|&(_, more)| more).collect();
        assert_eq!(more.iter().filter(|&&more| !more).count(), 1);
        assert_eq!(more.last(), Some(&false));
    }

    #[test]
    fn only_the_beginning_of_a_truncated_text_is_encoded() {
        let all = windows(OverflowPolicy::Truncate, "a b c d e f");
        assert_eq!(all, [("a b c d".into(), true)]);
    }

    #[test]
    fn the_mean_of_windows_has_unit_length() {
        let mut mean = WindowMean::new(2);
        mean.add(&[1.0, 0.0], 3);
        mean.add(&[0.0, 1.0], 4);
        assert_eq!(mean.take(), [0.6, 0.8]);
        assert_eq!(mean.take(), [0.0, 0.0]);
    }
}
