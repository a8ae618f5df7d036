//! Tokens that are matched literally.

use std::collections::TryReserveError;

use super::SPACE;

/// No node, or no token.
const NONE: u32 = u32::MAX;
/// All added tokens together, in bytes; bounds the trie. EmbeddingGemma has 76,000.
const MAX_BYTES: usize = 1 << 22;

/// The tokens that split a text before anything merges, in a trie.
pub(super) struct AddedTokens {
    /// The node of each first byte.
    roots: [u32; 256],
    nodes: Vec<Node>,
    /// The token for a run of U+2581, by its length, from 2 on; a single one is an ordinary
    /// character.
    space_runs: Vec<Option<u32>>,
    bytes: usize,
}

struct Node {
    byte: u8,
    /// The token that ends here.
    id: u32,
    first_child: u32,
    sibling: u32,
}

impl AddedTokens {
    pub(super) fn new() -> Self {
        Self {
            roots: [NONE; 256],
            nodes: Vec::new(),
            space_runs: Vec::new(),
            bytes: 0,
        }
    }

    /// Makes room for a token that is to be inserted.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub(super) fn reserve(&mut self, token: &[u8]) -> Result<(), TryReserveError> {
        // A space may become a U+2581.
        self.nodes.try_reserve(SPACE.len_utf8() * token.len())
    }

    /// Adds a token that is matched as it is spelt.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub(super) fn insert_as_it_is(&mut self, token: &[u8], id: u32) -> Result<(), String> {
        self.check(token, id)?;
        self.insert_literally(token, id);
        Ok(())
    }

    /// Adds a token. Of equal ones the first stays, and an empty one matches nothing. A run of two
    /// spaces or more, in either spelling, is matched as a run of U+2581.
    ///
    /// # Errors
    /// What is wrong, if the token is not UTF-8 or the tokens become too many.
    pub(super) fn insert(&mut self, token: &[u8], id: u32) -> Result<(), String> {
        let text = self.check(token, id)?;
        let length = text.chars().count();
        let all = |space| text.chars().all(|character| character == space);
        if length >= 2 && (all(' ') || all(SPACE)) {
            if self.space_runs.len() <= length {
                self.space_runs.resize(length + 1, None);
            }
            self.space_runs[length].get_or_insert(id);
            self.insert_literally(SPACE.to_string().repeat(length).as_bytes(), id);
        } else {
            self.insert_literally(token, id);
        }
        Ok(())
    }

    fn check(&mut self, token: &[u8], id: u32) -> Result<String, String> {
        // A copy, because the bytes of the map may change at any time.
        let text = String::from_utf8(token.to_vec()).map_err(|_| {
            format!(
                "added token {id}, \"{}\", is not UTF-8",
                token.escape_ascii()
            )
        })?;
        self.bytes += token.len();
        if self.bytes > MAX_BYTES {
            return Err(format!("holds over {MAX_BYTES} bytes of added tokens"));
        }
        Ok(text)
    }

    fn insert_literally(&mut self, token: &[u8], id: u32) {
        let Some((&first, rest)) = token.split_first() else {
            return;
        };
        if self.roots[first as usize] == NONE {
            self.roots[first as usize] = self.add(first);
        }
        let mut node = self.roots[first as usize];
        for &byte in rest {
            node = self.child(node, byte).unwrap_or_else(|| {
                let child = self.add(byte);
                let parent = &mut self.nodes[node as usize];
                let sibling = std::mem::replace(&mut parent.first_child, child);
                self.nodes[child as usize].sibling = sibling;
                child
            });
        }
        let end = &mut self.nodes[node as usize].id;
        if *end == NONE {
            *end = id;
        }
    }

    fn add(&mut self, byte: u8) -> u32 {
        self.nodes.push(Node {
            byte,
            id: NONE,
            first_child: NONE,
            sibling: NONE,
        });
        self.nodes.len() as u32 - 1 // `MAX_BYTES` bounds the nodes
    }

    #[inline]
    fn child(&self, node: u32, byte: u8) -> Option<u32> {
        let mut child = self.nodes[node as usize].first_child;
        while child != NONE {
            let node = &self.nodes[child as usize];
            if node.byte == byte {
                return Some(child);
            }
            child = node.sibling;
        }
        None
    }

    /// The leftmost token in `text`, of those that begin there the longest: start, end and id.
    #[inline]
    pub(super) fn find(&self, text: &[u8]) -> Option<(usize, usize, u32)> {
        text.iter().enumerate().find_map(|(start, &byte)| {
            if self.roots[byte as usize] == NONE {
                return None;
            }
            let (length, id) = self.at(&text[start..]).last()?;
            Some((start, start + length, id))
        })
    }

    /// Each token that `text` begins with, the shortest first: its length and id.
    #[inline]
    pub(super) fn at(&self, text: &[u8]) -> impl Iterator<Item = (usize, u32)> {
        let root = text.first().map(|&byte| self.roots[byte as usize]);
        let mut node = root.filter(|&root| root != NONE);
        let mut length = 0;
        std::iter::from_fn(move || {
            loop {
                let index = node?;
                length += 1;
                node = text.get(length).and_then(|&byte| self.child(index, byte));
                let id = self.nodes[index as usize].id;
                if id != NONE {
                    return Some((length, id));
                }
            }
        })
    }

    /// The token that is spelt `text`.
    pub(super) fn whole(&self, text: &[u8]) -> Option<u32> {
        let (&first, rest) = text.split_first()?;
        let root = Some(self.roots[first as usize]).filter(|&root| root != NONE);
        let mut bytes = rest.iter();
        let node = bytes.try_fold(root?, |node, &byte| self.child(node, byte))?;
        Some(self.nodes[node as usize].id).filter(|&id| id != NONE)
    }

    /// The stretches of a text between tokens, each with the token after it.
    pub(super) fn stretches<'a>(
        &'a self,
        text: &'a str,
    ) -> impl Iterator<Item = (&'a str, Option<u32>)> {
        let mut rest = text;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            // In valid UTF-8 a token that is valid UTF-8 begins and ends between characters.
            let (start, after, id) = match self.find(rest.as_bytes()) {
                Some((start, after, id)) => (start, after, Some(id)),
                None => (rest.len(), rest.len(), None),
            };
            let stretch = &rest[..start];
            rest = &rest[after..];
            Some((stretch, id))
        })
    }

    /// The longest token for the beginning of a run of U+2581: the length it covers, and its id.
    #[inline]
    pub(super) fn longest_space_run(&self, length: usize) -> Option<(usize, u32)> {
        let longest = length.min(self.space_runs.len().saturating_sub(1));
        (2..=longest)
            .rev()
            .find_map(|run| Some((run, self.space_runs[run]?)))
    }

    /// Bytes of heap that the tokens take.
    pub(super) fn heap_size(&self) -> usize {
        size_of::<Node>() * self.nodes.capacity()
            + size_of::<Option<u32>>() * self.space_runs.capacity()
    }
}
