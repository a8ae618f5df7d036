//! The texts of one forward pass, and the layout of the buffers for them.

use std::collections::TryReserveError;
use std::ops::Range;

use lanewise_kernels::PANEL;

use super::scratch::reserve;
use crate::{Error, Result};

/// The dimensions of a model that decide how its batches are laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Values of the residual stream, and of a vector; a multiple of 32.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Values of a head; a multiple of 32.
    pub head_dim: usize,
    /// The most tokens of a text.
    pub context: usize,
    /// Tokens of the vocabulary: ids are below it.
    pub vocabulary: usize,
}

impl Shape {
    /// Values of all query heads of a token together.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Values of all key heads of a token together, and as many of its value heads.
    pub fn key_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Query heads that share a key/value head.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }
}

/// Tokens a chunk of quantized activations holds at most: a multiple of the 6 of a tile, with all
/// its blocks (48 × 960 bytes for 768 columns) small beside the L2 cache, so that products with
/// many panels find it there.
const CHUNK: usize = 48;

/// Fewest rows that are a chunk of their own only to give another thread work: tiles of fewer wait
/// for the latency of their sums.
const SHARED: usize = 4;

/// Tokens whose attention is one task: times 3 heads they fill two tiles of 12 rows.
pub(super) const QUERY_TOKENS: usize = 8;

/// The fewest of them, half a tile, for which keys are read as often as for two tiles.
const FEWEST_QUERY_TOKENS: usize = 2;

/// Tasks a thread that even out that tokens near the ends of a text see half as many keys in local
/// layers as others.
const QUERY_TASKS: usize = 8;

/// Tokens of a batch from which on its attention takes long enough to even it out.
const EVEN_QUERIES: usize = 128;

/// Rows of one INT8 term that together hold the mean of a text's values; see [`super::attention`].
pub const MEAN_TERMS: usize = 2;

/// Up to 32 consecutive tokens of one text: one panel of keys.
pub(crate) struct KeyPanel {
    /// Position in its text of the first token.
    pub position: usize,
    /// Its tokens in the batch.
    pub tokens: Range<usize>,
}

/// A few consecutive tokens of one key panel, whose attention is computed together.
pub(crate) struct QueryTile {
    pub text: usize,
    pub panel: usize,
    pub tokens: Range<usize>,
}

/// Texts laid end to end; all lists are kept from batch to batch, so that a repeated size allocates
/// nothing.
#[derive(Default)]
pub struct Batch {
    shape: Shape,
    ids: Vec<u32>,
    texts: Vec<Range<usize>>,
    /// Where the second part of each text begins, counted from its first token; empty if no text has one.
    second_parts: Vec<usize>,
    /// First key panel of each text.
    pub(super) first_panels: Vec<usize>,
    pub(super) panels: Vec<KeyPanel>,
    pub(super) tiles: Vec<QueryTile>,
    /// Tokens a chunk of quantized activations.
    pub(super) chunk: usize,
    /// Rows a chunk of quantized attention output: [`MEAN_TERMS`] a text, then the tokens.
    pub(super) attended_chunk: usize,
    /// Longest text.
    pub(super) longest: usize,
    /// Ends of each panel's part in the buffers of queries, their scales, keys and theirs.
    pub(super) query_ends: Vec<usize>,
    pub(super) query_scale_ends: Vec<usize>,
    pub(super) key_ends: Vec<usize>,
    pub(super) key_scale_ends: Vec<usize>,
    /// Ends of the scales and means of the values of each (text, panel of 32 channels).
    pub(super) value_scale_ends: Vec<usize>,
    /// Ends of each tile's attention output.
    pub(super) attended_ends: Vec<usize>,
}

impl Batch {
    /// Takes the texts of the next forward pass; messages call the first one `number`.
    pub fn set(
        &mut self,
        number: usize,
        texts: &[&[u32]],
        shape: Shape,
        threads: usize,
    ) -> Result<()> {
        self.clear();
        self.shape = shape;
        let width = shape.query_width();
        let value_panels = shape.key_width() / PANEL;
        self.reserve(texts, value_panels)
            .map_err(|_| Error::Memory {
                tokens: texts.iter().map(|ids| ids.len()).sum(),
            })?;
        let tokens: usize = texts.iter().map(|ids| ids.len()).sum();
        let query_tokens = query_tokens(tokens, threads);
        for (index, ids) in texts.iter().enumerate() {
            check(number + index, ids, shape)?;
            let first = self.ids.len();
            self.ids.extend_from_slice(ids);
            self.texts.push(first..self.ids.len());
            self.longest = self.longest.max(ids.len());
            self.first_panels.push(self.panels.len());
            for position in (0..ids.len()).step_by(PANEL) {
                let end = (position + PANEL).min(ids.len());
                let tokens = first + position..first + end;
                for start in tokens.clone().step_by(query_tokens) {
                    let end = (start + query_tokens).min(tokens.end);
                    self.attended_ends.push(end * width);
                    self.tiles.push(QueryTile {
                        text: index,
                        panel: self.panels.len(),
                        tokens: start..end,
                    });
                }
                self.query_ends.push(tokens.end * width);
                self.query_scale_ends.push(tokens.end * shape.heads);
                self.panels.push(KeyPanel { position, tokens });
                let panels = self.panels.len() * shape.kv_heads;
                self.key_ends.push(panels * shape.head_dim / 2 * PANEL);
                self.key_scale_ends.push(panels * PANEL);
            }
            for _ in 0..value_panels {
                push_after(&mut self.value_scale_ends, 2 * PANEL);
            }
        }
        self.chunk = chunk(self.tokens(), threads);
        let means = MEAN_TERMS * texts.len();
        let rows = chunk(means + self.tokens(), threads);
        // No chunk begins between the rows of one text's mean: all of them are in the first one, or
        // chunks are even.
        self.attended_chunk = if means <= rows {
            rows
        } else {
            rows.next_multiple_of(MEAN_TERMS)
        };
        Ok(())
    }

    /// The shape of the model whose batch it is.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The ids of all texts, one after the other.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The tokens of each text, as a range of [`ids`](Self::ids).
    pub fn texts(&self) -> &[Range<usize>] {
        &self.texts
    }

    /// Says where the second part of each text begins, counted from its first token.
    ///
    /// # Panics
    /// If these are not as many as the texts.
    pub fn set_second_parts(&mut self, starts: &[usize]) {
        assert_eq!(starts.len(), self.texts.len(), "one start a text");
        self.second_parts.extend_from_slice(starts);
    }

    /// Whether a token, of a text of this batch, belongs to the second part of it.
    pub fn is_in_second_part(&self, text: usize, token: usize) -> bool {
        let start = self.second_parts.get(text);
        start.is_some_and(|start| token - self.texts[text].start >= *start)
    }

    /// Tokens of all texts.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Tokens of the longest text.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Tokens of a chunk of quantized activations.
    pub fn chunk(&self) -> usize {
        self.chunk
    }

    /// Makes room in every list.
    fn reserve(&mut self, texts: &[&[u32]], value_panels: usize) -> Result<(), TryReserveError> {
        let panels = texts.iter().map(|ids| ids.len().div_ceil(PANEL)).sum();
        let tiles = panels * (PANEL / FEWEST_QUERY_TOKENS);
        reserve(&mut self.ids, texts.iter().map(|ids| ids.len()).sum())?;
        reserve(&mut self.texts, texts.len())?;
        reserve(&mut self.second_parts, texts.len())?;
        reserve(&mut self.first_panels, texts.len())?;
        reserve(&mut self.panels, panels)?;
        reserve(&mut self.tiles, tiles)?;
        reserve(&mut self.attended_ends, tiles)?;
        for ends in [
            &mut self.query_ends,
            &mut self.query_scale_ends,
            &mut self.key_ends,
            &mut self.key_scale_ends,
        ] {
            reserve(ends, panels)?;
        }
        reserve(&mut self.value_scale_ends, texts.len() * value_panels)
    }

    /// The texts that tokens of a range belong to, each with its tokens there.
    pub fn texts_within(
        &self,
        tokens: Range<usize>,
    ) -> impl Iterator<Item = (usize, Range<usize>)> + '_ {
        let first = self.texts.partition_point(|text| text.end <= tokens.start);
        let texts = self.texts.iter().enumerate().skip(first);
        texts
            .take_while(move |(_, text)| text.start < tokens.end)
            .map(move |(index, text)| {
                (
                    index,
                    text.start.max(tokens.start)..text.end.min(tokens.end),
                )
            })
    }

    fn clear(&mut self) {
        self.ids.clear();
        self.texts.clear();
        self.second_parts.clear();
        self.first_panels.clear();
        self.panels.clear();
        self.tiles.clear();
        self.longest = 0;
        for ends in [
            &mut self.query_ends,
            &mut self.query_scale_ends,
            &mut self.key_ends,
            &mut self.key_scale_ends,
            &mut self.value_scale_ends,
            &mut self.attended_ends,
        ] {
            ends.clear();
        }
    }
}

/// How many of `rows` rows a chunk takes, so that chunks are even and as many as threads can share.
fn chunk(rows: usize, threads: usize) -> usize {
    let threads = threads.min(rows / SHARED).max(1);
    let chunks = rows.div_ceil(CHUNK).next_multiple_of(threads);
    rows.div_ceil(chunks.max(1)).max(1)
}

/// Tokens whose attention is one task: the most of which each thread gets [`QUERY_TASKS`] tasks.
fn query_tokens(tokens: usize, threads: usize) -> usize {
    let mut each = QUERY_TOKENS;
    while tokens >= EVEN_QUERIES
        && each > FEWEST_QUERY_TOKENS
        && tokens / each < QUERY_TASKS * threads
    {
        each /= 2;
    }
    each
}

fn push_after(ends: &mut Vec<usize>, length: usize) {
    ends.push(ends.last().copied().unwrap_or(0) + length);
}

fn check(index: usize, ids: &[u32], shape: Shape) -> Result<()> {
    let refuse = |problem: String, remedy: &str| {
        Err(Error::Argument {
            name: format!("text {index}"),
            problem,
            remedy: remedy.into(),
        })
    };
    if ids.is_empty() {
        return refuse("it has no ids".into(), "give at least the special tokens");
    }
    if ids.len() > shape.context {
        let (length, context) = (ids.len(), shape.context);
        return refuse(
            format!("{length} ids are more than the model's {context}"),
            "truncate the text",
        );
    }
    match ids.iter().find(|id| **id as usize >= shape.vocabulary) {
        Some(id) => refuse(
            format!("id {id} is outside the vocabulary of {}", shape.vocabulary),
            "use the tokenizer of this file",
        ),
        None => Ok(()),
    }
}
