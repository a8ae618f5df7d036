//! Tokens that are matched literally.

/// No node, or no token.
const NONE: u32 = u32::MAX;

/// A trie over the tokens that split a text before anything merges.
#[derive(Debug)]
pub(super) struct AddedTokens {
    /// The node of each first byte.
    roots: [u32; 256],
    nodes: Vec<Node>,
}

#[derive(Debug)]
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
        }
    }

    /// Adds a token. Of equal ones the first stays, and an empty one matches nothing.
    pub(super) fn insert(&mut self, token: &[u8], id: u32) {
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
        self.nodes.len() as u32 - 1 // `MAX_ADDED` bounds the nodes
    }

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
    pub(super) fn find(&self, text: &[u8]) -> Option<(usize, usize, u32)> {
        text.iter().enumerate().find_map(|(start, &byte)| {
            let mut node = Some(self.roots[byte as usize]).filter(|&root| root != NONE);
            let mut end = start;
            let mut longest = None;
            while let Some(index) = node {
                end += 1;
                let id = self.nodes[index as usize].id;
                if id != NONE {
                    longest = Some((start, end, id));
                }
                node = text.get(end).and_then(|&byte| self.child(index, byte));
            }
            longest
        })
    }

    /// Bytes of heap that the trie takes.
    pub(super) fn heap_size(&self) -> usize {
        size_of::<Node>() * self.nodes.capacity()
    }
}
