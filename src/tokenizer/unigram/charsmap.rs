//! The table by which characters are replaced before anything else: a trie of keys, and their texts.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

/// Bytes of a table that are accepted. The one of XLM-RoBERTa has 237,539.
const MAX_BYTES: usize = 1 << 24;
/// The longest replacement accepted, in bytes, which is what keeps normalizing linear whatever the table:
/// one of XLM-RoBERTa's has 33.
const MAX_REPLACEMENT: usize = 256;
/// Clusters from this length on, in bytes, are no keys; their characters may be.
const LONG_CLUSTER: usize = 6;

/// The replacements, as SentencePiece stores them: the length of a double array in bytes, the array, and
/// texts that end with NUL.
pub(super) struct Charsmap {
    /// A node is entered by the exclusive or of its parent's offset with a byte, which its label repeats.
    units: Vec<u32>,
    texts: String,
    /// Whether each character of ASCII stays as it is.
    kept: [bool; 128],
}

impl Charsmap {
    /// Reads a table.
    ///
    /// # Errors
    /// What is wrong with it. Whether all its nodes and texts are within it is seen when they are used:
    /// what is not there replaces nothing.
    pub(super) fn new(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MAX_BYTES {
            let length = bytes.len();
            return Err(format!(
                "has {length} bytes, but at most {MAX_BYTES} are supported"
            ));
        }
        let damaged = || "is damaged".to_owned();
        let (length, rest) = bytes.split_first_chunk().ok_or_else(damaged)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (units, texts) = rest.split_at_checked(length).ok_or_else(damaged)?;
        let (units, partial) = units.as_chunks();
        if units.is_empty() || !partial.is_empty() || texts.last() != Some(&0) {
            return Err(damaged());
        }
        // A copy, because the bytes of the map may change at any time.
        let texts = String::from_utf8(texts.to_vec());
        let texts = texts.map_err(|_| "has replacements that are not UTF-8".to_owned())?;
        if let Some(long) = texts.split('\0').find(|text| text.len() > MAX_REPLACEMENT) {
            let length = long.len();
            return Err(format!(
                "has a replacement of {length} bytes, but at most {MAX_REPLACEMENT} are supported"
            ));
        }
        let mut charsmap = Self {
            units: units.iter().map(|&unit| u32::from_le_bytes(unit)).collect(),
            texts,
            kept: [false; 128],
        };
        charsmap.kept = std::array::from_fn(|code| {
            let character = char::from(code as u8);
            charsmap
                .replacement(character.encode_utf8(&mut [0; 4]))
                .is_none()
        });
        Ok(charsmap)
    }

    /// Bytes of heap that it takes.
    pub(super) fn heap_size(&self) -> usize {
        size_of::<u32>() * self.units.capacity() + self.texts.capacity()
    }

    /// The replacement of the shortest key that `text` begins with.
    fn replacement(&self, text: &str) -> Option<&str> {
        let mut node = offset(*self.units.first()?);
        for byte in text.bytes().take_while(|&byte| byte != 0) {
            node ^= usize::from(byte);
            let unit = *self.units.get(node)?;
            if unit & 0x8000_00FF != u32::from(byte) {
                return None;
            }
            node ^= offset(unit);
            if unit & 1 << 8 != 0 {
                let start = (self.units.get(node)? & 0x7FFF_FFFF) as usize;
                let text = self.texts.get(start..)?;
                return text.split('\0').next();
            }
        }
        None
    }

    /// Shows `visit` the characters of a text after their replacement, each with the bytes of the text that
    /// have been read once it and those before it have: of a replacement only the last one counts, but for
    /// white space after it. Ends where `visit` returns `false`.
    ///
    /// The rule is that of the tokenizers library: of a grapheme cluster of less than six bytes the shortest
    /// key that it begins with stands for all of it; where there is none, and in longer clusters, each
    /// character is replaced or kept.
    pub(super) fn normalize(&self, text: &str, mut visit: impl FnMut(char, usize) -> bool) {
        let bytes = text.as_bytes();
        // Nothing joins a character of ASCII with another one but CR with LF.
        let is_alone = |at: usize| {
            bytes[at].is_ascii() && bytes[at] != b'\r' && bytes.get(at + 1).is_none_or(u8::is_ascii)
        };
        let mut at = 0;
        while at < bytes.len() {
            if is_alone(at) {
                let goes_on = match self.kept[usize::from(bytes[at])] {
                    true => visit(char::from(bytes[at]), at + 1),
                    false => self.normalize_cluster(&text[at..=at], at, &mut visit),
                };
                if !goes_on {
                    return;
                }
                at += 1;
                continue;
            }
            for cluster in text[at..].graphemes(true) {
                if !self.normalize_cluster(cluster, at, &mut visit) {
                    return;
                }
                at += cluster.len();
                if at < bytes.len() && is_alone(at) {
                    break;
                }
            }
        }
    }

    fn normalize_cluster(
        &self,
        cluster: &str,
        start: usize,
        visit: &mut impl FnMut(char, usize) -> bool,
    ) -> bool {
        if cluster.len() < LONG_CLUSTER
            && let Some(text) = self.replacement(cluster)
        {
            return replace(text, start..start + cluster.len(), visit);
        }
        cluster.char_indices().all(|(offset, character)| {
            let (start, length) = (start + offset, character.len_utf8());
            match self.replacement(&cluster[offset..][..length]) {
                Some(text) => replace(text, start..start + length, visit),
                None => visit(character, start + length),
            }
        })
    }
}

/// Shows `visit` the characters that stand for a range of the text.
fn replace(text: &str, range: Range<usize>, visit: &mut impl FnMut(char, usize) -> bool) -> bool {
    let last = text.trim_end().len();
    text.char_indices().all(|(offset, character)| {
        let is_read = offset + character.len_utf8() >= last;
        visit(character, if is_read { range.end } else { range.start })
    })
}

/// Where the children of a node are, less their labels.
fn offset(unit: u32) -> usize {
    ((unit >> 10) << ((unit & 0x200) >> 6)) as usize
}
