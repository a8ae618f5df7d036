//! Canonical composition (NFC), by the tables of the `tokenizers` library, which are those of Unicode 9.

use unicode_normalization::char::canonical_combining_class;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// The composed form of a text, in `composed` if it is another one. Where the text is composed already, the
/// second value is true.
pub(super) fn compose<'a>(text: &'a str, composed: &'a mut String) -> (&'a str, bool) {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        return (text, true);
    }
    composed.clear();
    let mut rest = text;
    while !rest.is_empty() {
        let known = rest.find(is_later).unwrap_or(rest.len());
        composed.extend(rest[..known].nfc());
        let mut after = rest[known..].chars();
        composed.extend(after.next());
        rest = after.as_str();
    }
    let same = text == composed;
    (composed, same)
}

/// The bytes of a text whose composed form begins with `composed` bytes: as many as surely belong to them.
pub(super) fn decomposed_length(text: &str, composed: usize) -> usize {
    let (mut at, mut sum) = (0, 0);
    let mut part = String::new();
    while at < text.len() {
        // A part that composes by itself: up to a character that combines with nothing before it.
        let mut later = text[at..].char_indices().skip(1);
        let end = later.find(|&(_, character)| begins_anew(character));
        let end = end.map_or(text.len(), |(index, _)| at + index);
        sum += compose(&text[at..end], &mut part).0.len();
        if sum > composed {
            break;
        }
        at = end;
    }
    at
}

/// Whether a character combines with nothing before it, and is composed by itself.
pub(super) fn begins_anew(character: char) -> bool {
    let one = || std::iter::once(character);
    canonical_combining_class(character) == 0 && is_nfc_quick(one()) == IsNormalized::Yes
}

/// Whether a character combines with others, but was added after Unicode 9: to the library it is an ordinary
/// one.
fn is_later(character: char) -> bool {
    let code = u32::from(character);
    let index = LATER.partition_point(|&(_, last)| last < code);
    LATER.get(index).is_some_and(|&(first, _)| first <= code)
}

/// What combines with other characters since Unicode 10 or later.
#[rustfmt::skip]
static LATER: [(u32, u32); 71] = [
    (0x05C8, 0x05C9), (0x07FD, 0x07FD), (0x0897, 0x089F), (0x08CA, 0x08D3), (0x09FE, 0x09FE), (0x0C3C, 0x0C3C),
    (0x0D3B, 0x0D3C), (0x0EBA, 0x0EBA), (0x1715, 0x1715), (0x1ABF, 0x1AF0), (0x1DF6, 0x1DFA), (0xA82C, 0xA82C),
    (0x105C9, 0x105C9), (0x105D2, 0x105D2), (0x105DA, 0x105DA), (0x105E4, 0x105E4), (0x10D24, 0x10D27),
    (0x10D69, 0x10D6D), (0x10EAB, 0x10EAC), (0x10ECB, 0x10ECF), (0x10EF0, 0x10EFB), (0x10EFD, 0x10EFF),
    (0x10F46, 0x10F50), (0x10F82, 0x10F85), (0x11070, 0x11070), (0x1133B, 0x1133B), (0x11382, 0x11385),
    (0x1138B, 0x1138B), (0x1138E, 0x1138E), (0x11390, 0x11391), (0x113B8, 0x113B8), (0x113BB, 0x113BB),
    (0x113C2, 0x113C2), (0x113C5, 0x113C5), (0x113C7, 0x113C9), (0x113CE, 0x113D0), (0x1145E, 0x1145E),
    (0x11839, 0x1183A), (0x11930, 0x11930), (0x11935, 0x11935), (0x11938, 0x11938), (0x1193D, 0x1193E),
    (0x11943, 0x11943), (0x119E0, 0x119E0), (0x11A34, 0x11A34), (0x11A47, 0x11A47), (0x11A99, 0x11A99),
    (0x11D42, 0x11D42), (0x11D44, 0x11D45), (0x11D97, 0x11D97), (0x11F41, 0x11F42), (0x1611E, 0x16129),
    (0x1612F, 0x1612F), (0x16D63, 0x16D63), (0x16D67, 0x16D6A), (0x16FF0, 0x16FF1), (0x1D127, 0x1D128),
    (0x1D250, 0x1D252), (0x1D25B, 0x1D25C), (0x1D25F, 0x1D25F), (0x1D280, 0x1D281), (0x1E08F, 0x1E08F),
    (0x1E130, 0x1E136), (0x1E2AE, 0x1E2AE), (0x1E2EC, 0x1E2EF), (0x1E4EC, 0x1E4EF), (0x1E5EE, 0x1E5EF),
    (0x1E6E3, 0x1E6E3), (0x1E6E6, 0x1E6E6), (0x1E6EE, 0x1E6EF), (0x1E6F5, 0x1E6F5),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_composed_as_unicode_9_has_it() {
        let mut composed = String::new();
        for (text, expected) in [
            ("e\u{301}", "é"),
            ("a\u{307}\u{323}", "ạ\u{307}"),
            ("가", "가"),
            ("\u{212B}", "Å"),
            // Since Unicode 13 these two compose, and since 11 the mark has a place in the order.
            ("\u{11935}\u{11930}", "\u{11935}\u{11930}"),
            ("e\u{9FE}\u{323}\u{301}", "e\u{9FE}\u{323}\u{301}"),
        ] {
            assert_eq!(compose(text, &mut composed).0, expected);
        }
        assert_eq!(
            compose("\u{1E9B}\u{323}", &mut composed),
            ("\u{1E9B}\u{323}", true)
        );
    }

    #[test]
    fn lengths_of_decomposed_text_are_of_whole_parts() {
        let text = "e\u{301}a\u{308}x";
        let lengths = [0, 1, 2, 3, 4, 5].map(|composed| decomposed_length(text, composed));
        assert_eq!(lengths, [0, 0, 3, 3, 6, 7]);
    }
}
