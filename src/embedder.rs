//! Texts in, vectors out: the whole library in one type.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::models::{Model, Prompts};
use crate::packed::{self, PackedState, Place};
use crate::shared_runtime::SharedRuntime;
use crate::tokenizer::Tokenizer;
use crate::{Error, Prompt, Result};

/// Tokens handed to the runtime at once, but always at least one text: bounds the lists of a call.
pub const TOKENS_PER_CALL: usize = 8192;

/// What to do with a text that has more tokens than the model has positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// Embed its beginning, and say so in [`Usage::truncated`].
    #[default]
    Truncate,
    /// Refuse it.
    Error,
}

/// A text and what it is embedded for. A `&str` becomes one without a prompt.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// What the model reads before the text.
    pub prompt: Prompt,
    /// The title of a [`Prompt::Document`]; other prompts have no place for one, nor has every model.
    pub title: Option<&'a str>,
    /// The text itself; it may be empty.
    pub text: &'a str,
}

impl<'a> Input<'a> {
    /// A text with a prompt and no title.
    pub fn new(prompt: Prompt, text: &'a str) -> Self {
        Self {
            prompt,
            title: None,
            text,
        }
    }

    /// A search query.
    pub fn query(text: &'a str) -> Self {
        Self::new(Prompt::Query, text)
    }

    /// A text for queries to find.
    pub fn document(title: Option<&'a str>, text: &'a str) -> Self {
        Self {
            title,
            ..Self::new(Prompt::Document, text)
        }
    }
}

impl<'a> From<&'a str> for Input<'a> {
    fn from(text: &'a str) -> Self {
        Self::new(Prompt::Raw, text)
    }
}

/// How much of a text was embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Tokens that the model read: the prompt and the special ones at both ends counted.
    pub tokens: usize,
    /// Whether the text went on after them.
    pub truncated: bool,
}

/// A vector, and how much of the text it represents.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// [`Embedder::dims`] values; their squares sum to 1.
    pub vector: Vec<f32>,
    /// What was read of the text.
    pub usage: Usage,
}

/// A text's tokens, ready for [`Embedder::embed_encoded`] of the embedder that made them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    ids: Vec<u32>,
    truncated: bool,
}

impl Encoded {
    /// The tokens, the special ones at both ends included.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// How much of the text they are.
    pub fn usage(&self) -> Usage {
        Usage {
            tokens: self.ids.len(),
            truncated: self.truncated,
        }
    }
}

/// How long the parts of [`EmbedderBuilder::open`](crate::EmbedderBuilder::open) took.
#[derive(Debug, Clone, Copy)]
pub struct OpeningTimes {
    /// Mapping the file and checking its header.
    pub map: Duration,
    /// Indexing the vocabulary and, at the same time, mapping the pages of the weights, which of
    /// packed ones checks them.
    pub index: Duration,
    /// Starting the threads and allocating scratch.
    pub start: Duration,
}

/// An open model that turns texts into vectors of unit length.
///
/// Threads can share one: calls run one after the other, and each uses all threads of the embedder.
/// A text's vector has the same bits alone or in a batch and with any number of threads. A process
/// forked between calls can go on using it.
///
/// ```no_run
/// use lanewise::{Embedder, Input, cosine};
///
/// # fn main() -> lanewise::Result<()> {
/// let embedder = Embedder::open(lanewise::find_model()?)?;
///
/// let query = embedder.embed_query("Which planet has the largest moons?")?;
/// let answers = embedder.embed_batch(&[
///     Input::document(None, "Jupiter carries four large moons."),
///     Input::document(Some("Rivers"), "A river does not hurry, and yet it arrives."),
/// ])?;
/// let [near, far] = [0, 1].map(|i| cosine(&query.vector, &answers[i].vector));
/// assert!(near > far);
///
/// // Into a buffer of your own:
/// let mut vector = vec![0.0; embedder.dims()];
/// let usage = embedder.embed_into("Hello world", &mut vector)?;
/// assert_eq!((usage.tokens, usage.truncated), (4, false));
/// # Ok(())
/// # }
/// ```
pub struct Embedder {
    pub(crate) model: Arc<dyn Model>,
    pub(crate) tokenizer: Box<dyn Tokenizer>,
    pub(crate) prompts: Prompts,
    pub(crate) runtime: SharedRuntime,
    pub(crate) dims: usize,
    pub(crate) overflow: Overflow,
    pub(crate) opening_times: OpeningTimes,
    pub(crate) packed_place: Option<Place>,
    pub(crate) packed_state: PackedState,
}

impl Embedder {
    /// The length of the vectors.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// The path of the model's file, as it was opened.
    pub fn model_path(&self) -> &Path {
        self.model.gguf().path()
    }

    /// The most tokens of a text that the model reads, the special ones at both ends included.
    pub fn context(&self) -> usize {
        self.model.shape().context
    }

    /// The prompts that the model knows, [`Prompt::Raw`] first.
    pub fn prompts(&self) -> impl Iterator<Item = Prompt> + '_ {
        self.prompts.known()
    }

    /// What the model reads before a text that is embedded for `prompt`; only documents have a
    /// title.
    ///
    /// # Errors
    /// If the model does not know the prompt, or there is a title and the model has no place for one.
    pub fn prompt_text(&self, prompt: Prompt, title: Option<&str>) -> Result<Cow<'_, str>> {
        self.prompts.text(prompt, title)
    }

    /// The model: its file, hyperparameters and weights.
    #[doc(hidden)]
    pub fn model(&self) -> &dyn Model {
        &*self.model
    }

    /// The tokenizer of the model's file.
    #[doc(hidden)]
    pub fn tokenizer(&self) -> &dyn Tokenizer {
        &*self.tokenizer
    }

    /// How long the parts of opening took.
    pub fn opening_times(&self) -> OpeningTimes {
        self.opening_times
    }

    /// What became of the packed weights.
    #[doc(hidden)]
    pub fn packed_state(&self) -> &PackedState {
        &self.packed_state
    }

    /// Bytes of files that may become resident while embedding: of the model's, less the matrices
    /// that are read from packed weights, and of these.
    #[doc(hidden)]
    pub fn mapped_bytes(&self) -> u64 {
        let file = self.model.gguf().file_len();
        let PackedState::Used { bytes, .. } = self.packed_state else {
            return file;
        };
        let matrices = self.model.matrices();
        let replaced = matrices.of_products().map(|matrix| matrix.range().len());
        (file + bytes as u64).saturating_sub(replaced.sum::<usize>() as u64)
    }

    /// Writes the packed weights for those who open the model later, unless this embedder uses them
    /// or does without them. Takes about a second.
    ///
    /// Returns the path of the file, `None` if none is written.
    ///
    /// # Errors
    /// If the file cannot be written or the model changed meanwhile. The embedder stays usable.
    pub fn write_packed_weights(&self) -> Result<Option<PathBuf>> {
        self.write_packed_weights_with(|_| ())
    }

    /// [`write_packed_weights`](Self::write_packed_weights), which calls `started` with the path
    /// before the work is done.
    #[doc(hidden)]
    pub fn write_packed_weights_with(
        &self,
        started: impl FnOnce(&Path),
    ) -> Result<Option<PathBuf>> {
        match &self.packed_place {
            Some(place) if self.packed_state.may_be_written() => {
                packed::write(&*self.model, place, started)
            }
            _ => Ok(None),
        }
    }

    /// What is wrong with a text of more tokens than the model reads, as messages say it after the
    /// text's name.
    #[doc(hidden)]
    pub fn overflow_problem(&self) -> String {
        let context = self.context();
        format!("has more than the {context} tokens that the model reads")
    }

    /// Embeds a text without a prompt, or any [`Input`].
    ///
    /// # Errors
    /// If the model does not know the prompt, or the text is too long and [`Overflow::Error`] is set.
    pub fn embed<'a>(&self, input: impl Into<Input<'a>>) -> Result<Embedding> {
        let mut vector = vec![0.0; self.dims];
        let usage = self.embed_into(input, &mut vector)?;
        Ok(Embedding { vector, usage })
    }

    /// Embeds a search query.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    pub fn embed_query(&self, text: &str) -> Result<Embedding> {
        self.embed(Input::query(text))
    }

    /// Embeds a text for queries to find, with its title if it has one.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    pub fn embed_document(&self, title: Option<&str>, text: &str) -> Result<Embedding> {
        self.embed(Input::document(title, text))
    }

    /// Embeds any number of texts; the vectors are in their order.
    ///
    /// # Errors
    /// As [`embed`](Self::embed), and then no text is embedded.
    pub fn embed_batch<'a, I>(&self, inputs: &[I]) -> Result<Vec<Embedding>>
    where
        I: Into<Input<'a>> + Copy,
    {
        let mut vectors = vec![0.0; inputs.len() * self.dims];
        let usages = self.embed_batch_into(inputs, &mut vectors)?;
        let rows = vectors.chunks_exact(self.dims);
        Ok(rows
            .zip(usages)
            .map(|(row, usage)| Embedding {
                vector: row.to_vec(),
                usage,
            })
            .collect())
    }

    /// Embeds a text into a buffer of [`dims`](Self::dims) values.
    ///
    /// # Errors
    /// As [`embed`](Self::embed), or if the buffer is of another length.
    pub fn embed_into<'a>(&self, input: impl Into<Input<'a>>, out: &mut [f32]) -> Result<Usage> {
        let encoded = self.encode(input)?;
        self.embed_encoded(std::slice::from_ref(&encoded), out)?;
        Ok(encoded.usage())
    }

    /// Embeds any number of texts into a buffer of [`dims`](Self::dims) values for each, in their
    /// order.
    ///
    /// # Errors
    /// As [`embed_into`](Self::embed_into), and then no text is embedded.
    pub fn embed_batch_into<'a, I>(&self, inputs: &[I], out: &mut [f32]) -> Result<Vec<Usage>>
    where
        I: Into<Input<'a>> + Copy,
    {
        let encoded = inputs
            .iter()
            .map(|&input| self.encode(input))
            .collect::<Result<Vec<_>>>()?;
        self.embed_encoded(&encoded, out)?;
        Ok(encoded.iter().map(Encoded::usage).collect())
    }

    /// The tokens that the model would read for a text: the first half of embedding it, for those
    /// who want to treat texts that are too long one by one.
    ///
    /// # Errors
    /// If the model does not know the prompt, or the text is too long and [`Overflow::Error`] is set.
    pub fn encode<'a>(&self, input: impl Into<Input<'a>>) -> Result<Encoded> {
        let input = input.into();
        let text = self
            .prompts
            .prompted(input.prompt, input.title, input.text)?;
        let (ids, complete) = self.tokenizer.encode_between_ends(&text, self.context());
        if !complete && self.overflow == Overflow::Error {
            return Err(Error::Argument {
                name: "text".into(),
                problem: self.overflow_problem(),
                remedy: "split or shorten it, or allow truncation".into(),
            });
        }
        Ok(Encoded {
            ids,
            truncated: !complete,
        })
    }

    /// The tokens that a caller has made: they are read as they are, and no special ones are added.
    ///
    /// # Errors
    /// If there are none, more than the model reads, or one that is outside the vocabulary.
    pub fn encode_ids(&self, ids: Vec<u32>) -> Result<Encoded> {
        let (context, vocabulary) = (self.context(), self.tokenizer.vocabulary_len());
        let outside = ids.iter().find(|&&id| id as usize >= vocabulary);
        let (problem, remedy) = match outside {
            _ if ids.is_empty() => ("there are none".into(), "give at least one".into()),
            _ if ids.len() > context => (
                format!("there are {}, and the model reads {context}", ids.len()),
                "give fewer".into(),
            ),
            Some(id) => (
                format!("{id} is outside the vocabulary of {vocabulary}"),
                "give ids of this model's tokenizer, or the text".into(),
            ),
            None => {
                return Ok(Encoded {
                    ids,
                    truncated: false,
                });
            }
        };
        Err(Error::Argument {
            name: "ids".into(),
            problem,
            remedy,
        })
    }

    /// The first `dims` values of a whole vector as one of unit length, as the model was trained to be cut: the
    /// vector that an embedder with [`dims`](crate::EmbedderBuilder::dims) gives.
    ///
    /// # Errors
    /// If the vector is not whole, the model has no vectors of this length, or nothing but zeros would be left.
    pub fn shorten(&self, vector: &[f32], dims: usize) -> Result<Vec<f32>> {
        let width = self.model.shape().width;
        let dims = self.model.dims().checked(Some(dims))?;
        if vector.len() != width {
            return Err(Error::Argument {
                name: "vector".into(),
                problem: format!("has {} values", vector.len()),
                remedy: format!("give a whole one, of {width}"),
            });
        }
        let mut row = vec![0.0; dims];
        self.cut(vector, &mut row)?;
        Ok(row)
    }

    /// `row` becomes the first values of a whole vector, of unit length.
    fn cut(&self, full: &[f32], row: &mut [f32]) -> Result<()> {
        if row.len() == full.len() {
            row.copy_from_slice(full);
            return Ok(());
        }
        self.model.shorten(full, row);
        match row[0].is_finite() {
            true => Ok(()),
            false => Err(Error::Argument {
                name: "dims".into(),
                problem: format!("the first {} values of a vector are all 0", row.len()),
                remedy: "use longer vectors with this model".into(),
            }),
        }
    }

    /// The bytes of `text` that its tokens stand for, which were made with `prefix` in front of it:
    /// where to go on after them. At least one character of a text that is not empty.
    #[doc(hidden)]
    pub fn bytes_read(&self, prefix: &str, text: &str, encoded: &Encoded) -> usize {
        let within = self.tokenizer.between_ends(&encoded.ids);
        let read = match prefix.is_empty() {
            true => self.tokenizer.bytes_of(text, within),
            false => self
                .tokenizer
                .bytes_of(&format!("{prefix}{text}"), within)
                .saturating_sub(prefix.len()),
        };
        let first = text.chars().next().map_or(0, char::len_utf8);
        text.floor_char_boundary(read).max(first)
    }

    /// The second half of embedding: tokens into a buffer of [`dims`](Self::dims) values for each
    /// text, in their order. The texts go through the model in calls of a bounded number of tokens.
    ///
    /// # Errors
    /// If the buffer is of another length, the model's file was changed since it was opened, its
    /// weights give no vector of unit length, there is no memory for scratch, or the process was
    /// forked while another thread was embedding. What `out` then holds is no embedding.
    pub fn embed_encoded(&self, texts: &[Encoded], out: &mut [f32]) -> Result<()> {
        let expected = texts.len() * self.dims;
        if out.len() != expected {
            return Err(Error::Argument {
                name: "out".into(),
                problem: format!("has {} values", out.len()),
                remedy: format!("give it {expected}: {} for each text", self.dims),
            });
        }
        let width = self.model.shape().width;
        let mut full = Vec::new();
        let mut rest = out;
        for call in calls(texts) {
            let ids: Vec<&[u32]> = call.iter().map(Encoded::ids).collect();
            let (rows, after) = rest.split_at_mut(call.len() * self.dims);
            rest = after;
            if self.dims == width {
                self.runtime.embed(&ids, rows)?;
                continue;
            }
            full.resize(call.len() * width, 0.0);
            self.runtime.embed(&ids, &mut full)?;
            for (row, full) in rows
                .chunks_exact_mut(self.dims)
                .zip(full.chunks_exact(width))
            {
                self.cut(full, row)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Embedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedder")
            .field("file", &self.model.gguf().path())
            .field("dims", &self.dims)
            .field("overflow", &self.overflow)
            .finish_non_exhaustive()
    }
}

/// Groups consecutive texts so that a group has at most [`TOKENS_PER_CALL`] tokens, or one text.
fn calls(texts: &[Encoded]) -> impl Iterator<Item = &[Encoded]> {
    let mut rest = texts;
    std::iter::from_fn(move || {
        let mut tokens = 0;
        let fitting = rest.iter().take_while(|text| {
            tokens += text.ids.len();
            tokens <= TOKENS_PER_CALL
        });
        let count = fitting.count().max(1).min(rest.len());
        let call = rest.split_off(..count)?;
        (count > 0).then_some(call)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(tokens: usize) -> Encoded {
        Encoded {
            ids: vec![0; tokens],
            truncated: false,
        }
    }

    #[test]
    fn calls_hold_every_text_once_in_order_and_within_the_budget() {
        let texts: Vec<Encoded> = [8000, 192, 1, 9000, 3, 8190, 2].map(encoded).into();
        let lengths: Vec<Vec<usize>> = calls(&texts)
            .map(|call| call.iter().map(|text| text.ids.len()).collect())
            .collect();
        assert_eq!(
            lengths,
            [vec![8000, 192], vec![1], vec![9000], vec![3], vec![8190, 2]]
        );
        assert_eq!(calls(&[]).count(), 0);
    }
}
