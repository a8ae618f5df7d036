//! Cutting text into words that merge by themselves, as the published patterns do.
//!
//! ```text
//! Qwen2:      (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
//! ModernBert: 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//! ```

use super::classes::{Class, class};

/// The rules of a pre-tokenizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Split {
    /// Each digit is a word, a letter takes the character before it.
    Qwen2,
    /// That of GPT-2.
    ModernBert,
}

/// What the words of a contraction end in.
const CONTRACTIONS: [&str; 7] = ["s", "t", "re", "ve", "m", "ll", "d"];

impl Split {
    /// Every one, and what files call it.
    pub const ALL: [(&'static str, Self); 2] =
        [("qwen2", Self::Qwen2), ("modern-bert", Self::ModernBert)];

    /// The length of the first word of a text that is not empty.
    ///
    /// It depends on nothing before the text; and the first word of a text that goes on with a space after
    /// another character than white space ends there at the latest.
    #[inline]
    pub fn first_word(self, text: &str) -> usize {
        let mut characters = text.chars();
        let Some(first) = characters.next() else {
            return 0;
        };
        let length = match self {
            Self::Qwen2 => qwen2(text, first),
            Self::ModernBert => modern_bert(text, first),
        };
        length.unwrap_or_else(|| white_space(text))
    }
}

fn qwen2(text: &str, first: char) -> Option<usize> {
    if first == '\''
        && let Some(length) = contraction(text, true)
    {
        return Some(length);
    }
    let (kind, after) = (class(first), first.len_utf8());
    match kind {
        Class::Letter => return Some(after + run(&text[after..], Class::Letter)),
        Class::Number => return Some(after),
        _ => {}
    }
    if !matches!(first, '\r' | '\n') {
        let letters = run(&text[after..], Class::Letter);
        if letters > 0 {
            return Some(after + letters);
        }
    }
    let space = usize::from(first == ' ');
    let others = run(&text[space..], Class::Other);
    if others > 0 {
        let end = space + others;
        let after = text[end..].trim_start_matches(['\r', '\n']);
        return Some(text.len() - after.len());
    }
    // White space up to the last line break in it.
    let spaces = &text[..run(text, Class::Space)];
    spaces.rfind(['\r', '\n']).map(|last| last + 1)
}

fn modern_bert(text: &str, first: char) -> Option<usize> {
    if first == '\''
        && let Some(length) = contraction(text, false)
    {
        return Some(length);
    }
    let space = usize::from(first == ' ');
    let kind = class(text[space..].chars().next()?);
    (kind != Class::Space).then(|| space + run(&text[space..], kind))
}

/// The length of a contraction at the beginning of a text that begins with an apostrophe.
fn contraction(text: &str, any_case: bool) -> Option<usize> {
    CONTRACTIONS.into_iter().find_map(|ending| {
        let mut rest = text[1..].chars();
        let mut length = 1;
        for letter in ending.chars() {
            let character = rest.next()?;
            // The long s is an s in another case.
            let same = character == letter
                || any_case
                    && (character.eq_ignore_ascii_case(&letter)
                        || letter == 's' && character == '\u{17F}');
            if !same {
                return None;
            }
            length += character.len_utf8();
        }
        Some(length)
    })
}

/// White space, of which the last character is left to what follows it, if it is not the only one.
fn white_space(text: &str) -> usize {
    let length = run(text, Class::Space);
    if length == text.len() {
        return length;
    }
    match text[..length].char_indices().next_back() {
        Some((last, _)) if last > 0 => last,
        _ => length,
    }
}

/// The length of the run of characters of a class that the text begins with.
#[inline]
fn run(text: &str, kind: Class) -> usize {
    let other = text.char_indices().find(|&(_, c)| class(c) != kind);
    other.map_or(text.len(), |(index, _)| index)
}
