//! The texts of one forward pass, and the layout of the buffers for them.

use std::collections::TryReserveError;
use std::ops::Range;

use lanewise_kernels::PANEL;

use super::scratch::reserve;
use super::shape::Shape;
use crate::{Error, Result};

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
    /// Whether a task of attention is a head, see [`super::one_head`].
    heads_are_tasks: bool,
    /// Longest text.
    pub(super) longest: usize,
    /// The token after the last one of each panel, and of each tile.
    pub(super) panel_ends: Vec<usize>,
    pub(super) tile_ends: Vec<usize>,
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
        let tokens: usize = texts.iter().map(|ids| ids.len()).sum();
        self.reserve(texts).map_err(|_| Error::Memory { tokens })?;
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
                    self.tile_ends.push(end);
                    self.tiles.push(QueryTile {
                        text: index,
                        panel: self.panels.len(),
                        tokens: start..end,
                    });
                }
                self.panel_ends.push(tokens.end);
                self.panels.push(KeyPanel { position, tokens });
            }
        }
        self.chunk = chunk(self.tokens(), threads);
        let means = MEAN_TERMS * texts.len();
        self.heads_are_tasks = self.panels.len() == 1 && heads_are_shared(shape, threads);
        let rows = match self.heads_are_tasks {
            true => means + tokens,
            false => chunk(means + tokens, threads),
        };
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

    /// Whether a task of attention is a head of the only text, which is of one key panel.
    pub(super) fn heads_are_tasks(&self) -> bool {
        self.heads_are_tasks
    }

    /// Makes room in every list.
    fn reserve(&mut self, texts: &[&[u32]]) -> Result<(), TryReserveError> {
        let panels = texts.iter().map(|ids| ids.len().div_ceil(PANEL)).sum();
        let tiles = panels * (PANEL / FEWEST_QUERY_TOKENS);
        reserve(&mut self.ids, texts.iter().map(|ids| ids.len()).sum())?;
        reserve(&mut self.texts, texts.len())?;
        reserve(&mut self.second_parts, texts.len())?;
        reserve(&mut self.first_panels, texts.len())?;
        reserve(&mut self.panels, panels)?;
        reserve(&mut self.tiles, tiles)?;
        reserve(&mut self.panel_ends, panels)?;
        reserve(&mut self.tile_ends, tiles)
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
        self.panel_ends.clear();
        self.tile_ends.clear();
    }
}

/// How many of `rows` rows a chunk takes, so that chunks are even and as many as threads can share.
fn chunk(rows: usize, threads: usize) -> usize {
    let threads = threads.min(rows / SHARED).max(1);
    let chunks = rows.div_ceil(CHUNK).next_multiple_of(threads);
    rows.div_ceil(chunks.max(1)).max(1)
}

/// Whether threads share the heads of each layer evenly, or nearly so.
fn heads_are_shared(shape: Shape, threads: usize) -> bool {
    let mut heads = shape.heads.into_iter().map(|shape| shape.kv_heads);
    threads > 1 && heads.all(|heads| heads.is_multiple_of(threads) || heads >= 8 * threads)
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
