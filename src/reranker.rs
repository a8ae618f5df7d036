//! A query and texts in, scores out.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::embedder::{Overflow, TOKENS_PER_CALL, Usage};
use crate::models::{Model, ScoreFunction};
use crate::shared_runtime::SharedRuntime;
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};

/// An open model that reads a query together with a text and says how well the text answers it.
///
/// That is slower than comparing vectors, which are made of each text once, and more exact: people have the
/// best few texts of a search put into order so. Threads can share one: calls run one after the other. A
/// score has the same bits alone or in a batch and with any number of threads.
///
/// ```no_run
/// use lanewise::Reranker;
///
/// # fn main() -> lanewise::Result<()> {
/// let reranker = Reranker::open("ms-marco-minilm.gguf")?;
/// let texts = ["A river does not hurry.", "Jupiter carries four large moons."];
/// let scores = reranker.score("Which planet has the largest moons?", &texts)?;
/// assert!(scores[1].score > scores[0].score);
/// # Ok(())
/// # }
/// ```
pub struct Reranker {
    pub(crate) model: Arc<dyn Model>,
    pub(crate) tokenizer: Box<dyn Tokenizer>,
    pub(crate) runtime: SharedRuntime,
    pub(crate) function: ScoreFunction,
    pub(crate) overflow: Overflow,
}

/// How well a text answers a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The score, after the function that the model's file names: from 0 to 1 with the logistic function,
    /// which most have; any number without.
    pub score: f32,
    /// The score before that function, which tells apart what is nearly 0 or nearly 1.
    pub logit: f32,
    /// What was read of the two: query, text and special tokens.
    pub usage: Usage,
}

/// The tokens of a query and a text, and of the special tokens around them.
struct Pair {
    ids: Vec<u32>,
    /// The place of the first token that belongs to the text.
    second_part: usize,
    truncated: bool,
}

impl Reranker {
    /// The path of the model's file, as it was opened.
    pub fn model_path(&self) -> &Path {
        self.model.gguf().path()
    }

    /// Scores texts for a query; the scores are in the order of the texts.
    ///
    /// A pair of more tokens than the model reads is cut at the end of the longer of the two, and then of
    /// both, as the tokenizers library does with `longest_first`.
    ///
    /// # Errors
    /// If a pair is too long and [`Overflow::Error`] is set; the model's file was changed since it was
    /// opened, its weights give no score, there is no memory for scratch, or the process was forked while
    /// another thread was using the model.
    pub fn score<T: AsRef<str>>(&self, query: &str, texts: &[T]) -> Result<Vec<Score>> {
        let mut scores = Vec::with_capacity(texts.len());
        let query = self.tokens(query);
        let mut pairs: Vec<Pair> = Vec::new();
        let mut tokens = 0;
        for text in texts {
            let pair = self.pair(&query, text.as_ref())?;
            if !pairs.is_empty() && tokens + pair.ids.len() > TOKENS_PER_CALL {
                self.score_pairs(&pairs, &mut scores)?;
                pairs.clear();
                tokens = 0;
            }
            tokens += pair.ids.len();
            pairs.push(pair);
        }
        self.score_pairs(&pairs, &mut scores)?;
        Ok(scores)
    }

    /// Checks that [`score`](Self::score) takes a text, for those who want to treat texts that are too long one
    /// by one.
    ///
    /// # Errors
    /// If [`Overflow::Error`] is set and the text is too long.
    #[doc(hidden)]
    pub fn check(&self, query: &str, text: &str) -> Result<()> {
        match self.overflow {
            Overflow::Truncate => Ok(()),
            Overflow::Error => self.pair(&self.tokens(query), text).map(drop),
        }
    }

    fn score_pairs(&self, pairs: &[Pair], scores: &mut Vec<Score>) -> Result<()> {
        let ids: Vec<&[u32]> = pairs.iter().map(|pair| pair.ids.as_slice()).collect();
        let second_parts: Vec<usize> = pairs.iter().map(|pair| pair.second_part).collect();
        let mut logits = vec![0.0; pairs.len()];
        self.runtime.score(&ids, &second_parts, &mut logits)?;
        scores.extend(pairs.iter().zip(logits).map(|(pair, logit)| Score {
            score: self.function.apply(logit),
            logit,
            usage: Usage {
                tokens: pair.ids.len(),
                truncated: pair.truncated,
            },
        }));
        Ok(())
    }

    /// The first tokens of a text, one more than the model reads at most.
    fn tokens(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        let limit = self.model.shape().context + 1;
        self.tokenizer.encode_limited(text, limit, &mut ids);
        ids
    }

    /// `[CLS] query [SEP] text [SEP]`, or what the tokenizer has in their places.
    fn pair(&self, query: &[u32], text: &str) -> Result<Pair> {
        let context = self.model.shape().context;
        let between = self.tokenizer.between();
        let text = self.tokens(text);
        let mut ids = Vec::from_iter(self.tokenizer.bos());
        let room = context.saturating_sub(ids.len() + between.len() + 1);
        let [of_query, of_text] = fitting([query.len(), text.len()], room);
        let truncated = of_query < query.len() || of_text < text.len();
        if truncated && self.overflow == Overflow::Error {
            return Err(Error::Argument {
                name: "text".into(),
                problem: format!(
                    "has, with the query, more than the {context} tokens that the model reads"
                ),
                remedy: "split or shorten it, or allow truncation".into(),
            });
        }
        ids.extend(&query[..of_query]);
        ids.extend(between);
        let second_part = ids.len();
        ids.extend(&text[..of_text]);
        ids.push(self.tokenizer.eos());
        Ok(Pair {
            ids,
            second_part,
            truncated,
        })
    }
}

impl fmt::Debug for Reranker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reranker")
            .field("file", &self.model.gguf().path())
            .field("overflow", &self.overflow)
            .finish_non_exhaustive()
    }
}

/// How many tokens of two texts are kept where `room` are: the longer one is cut to what the shorter one
/// leaves; if both are longer than half of it, it is halved, and the longer one has the odd token. The rule
/// `LongestFirst` of the tokenizers library.
fn fitting(lengths: [usize; 2], room: usize) -> [usize; 2] {
    let [first, second] = lengths;
    let (shorter, longer) = (first.min(second), first.max(second));
    let longer = longer.min(room.saturating_sub(shorter).max(room - room / 2));
    let shorter = shorter.min(room - longer);
    match first > second {
        true => [longer, shorter],
        false => [shorter, longer],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_text_is_cut_first() {
        for (lengths, room, expected) in [
            ([3, 4], 10, [3, 4]),
            ([5, 5], 10, [5, 5]),
            ([3, 40], 10, [3, 7]),
            ([40, 3], 10, [7, 3]),
            ([40, 50], 10, [5, 5]),
            ([40, 50], 11, [5, 6]),
            ([50, 40], 11, [6, 5]),
            ([0, 50], 11, [0, 11]),
            ([6, 6], 11, [5, 6]),
            ([1, 1], 1, [0, 1]),
        ] {
            assert_eq!(fitting(lengths, room), expected, "{lengths:?} in {room}");
        }
    }
}
