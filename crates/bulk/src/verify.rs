//! Embedding rows of an output again, and comparing every bit.

use std::path::PathBuf;

use lanewise_vectors::Number;

use crate::cancel::CancelToken;
use crate::digest::DigestBuilder;
use crate::embed::Embed;
use crate::error::{Error, Result};
use crate::input::Rows;
use crate::progress::{Progress, Step};
use crate::read_budget::ReadBudget;
use crate::read_options::ReadOptions;
use crate::row::{Reading, Row};
use crate::space::Space;
use crate::stored::{Stored, StoredRow, Texts};
use crate::windows::{OverflowPolicy, WindowMean, Windows};

/// Which rows of an output are embedded again.
#[derive(Debug, Clone)]
pub struct VerifyJob {
    /// The output: Parquet, Arrow, JSONL or `.npy`.
    pub output: PathBuf,
    /// What was embedded, and how it is read; without it, the texts that the output carries.
    pub input: Option<(Vec<PathBuf>, ReadOptions)>,
    /// The column that has the texts, of the input or the output, where it is not the one that the
    /// run took them from.
    pub field: Option<String>,
    /// How many rows, chosen at random but always the same; `None` for all.
    pub sample: Option<u64>,
    /// The memory for a piece of the output that must be in memory as a whole.
    pub budget: ReadBudget,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Rows of the output.
    pub rows: u64,
    /// Rows that were embedded again.
    pub checked: u64,
    /// Rows whose text is read differently now, or whose vector is another.
    pub different: u64,
    /// The first of them: which row, and how it differs.
    pub named: Vec<String>,
}

/// Rows that are named.
const MOST_NAMED: usize = 20;

impl VerifyJob {
    /// The space that the output states, for opening the model.
    ///
    /// # Errors
    /// If the file cannot be read or is no output.
    pub fn space(&self) -> Result<Space> {
        Stored::open(&self.output, Texts::Unread, self.budget).map(|stored| stored.space)
    }

    /// Embeds the rows again with a model whose vectors are of `space`.
    ///
    /// # Errors
    /// If the output is of another space, a file cannot be read or is no output, the output has no
    /// texts, the model fails, or the token is cancelled. Rows that are different are no error.
    pub fn run<E: Embed>(
        &self,
        embedder: &E,
        space: &Space,
        cancel: &CancelToken,
        progress: &mut dyn Progress,
    ) -> Result<Verified> {
        let texts = match (&self.input, &self.field) {
            (Some(_), _) => Texts::Unread,
            (None, Some(column)) => Texts::Column(column),
            (None, None) => Texts::Carried,
        };
        let stored = Stored::open(&self.output, texts, self.budget)?;
        if let Some((name, theirs, ours)) = stored.space.difference(space) {
            return Err(Error::file(
                &self.output,
                format!(
                    "its vectors are of another space: {name} is {theirs} there and {ours} here"
                ),
                "verify it with the model and the version that it was made with",
            ));
        }
        let rows = match self.sample {
            None => 0,
            Some(_) => count(
                Stored::open(&self.output, Texts::Unread, self.budget)?,
                cancel,
            )?,
        };
        let total = self.sample.map(|most| most.min(rows));
        progress.begin(total, 0);
        let mut check = Check {
            embedder,
            overflow: stored.space.overflow,
            space: stored.space.clone(),
            pending: Vec::new(),
            windows: Vec::new(),
            tokens: 0,
            mean: WindowMean::new(embedder.dims()),
            verified: Verified::default(),
            progress,
        };
        let mut input = match &self.input {
            Some((files, options)) => {
                let field = self.field.as_ref().unwrap_or(&stored.field).clone();
                let options = ReadOptions {
                    field,
                    ..options.clone()
                };
                Some(Rows::open(files, options)?)
            }
            None => None,
        };
        let mut choice = self.sample.map(|most| Sample::new(most, rows));
        for row in stored {
            cancel.check()?;
            let mut row = row?;
            check.verified.rows += 1;
            if choice.as_mut().is_some_and(|choice| !choice.takes_next()) {
                continue;
            }
            let text = match &mut input {
                Some(input) => Some(text_at(input, row.index)?),
                None => row.text.take().map(Ok),
            };
            check.add(row, text.unwrap_or_else(|| Err("it has no text".into())))?;
        }
        check.flush()?;
        check.progress.end(true);
        Ok(check.verified)
    }
}

/// The number of rows.
fn count(stored: Stored, cancel: &CancelToken) -> Result<u64> {
    let mut rows = 0;
    for row in stored {
        cancel.check()?;
        row?;
        rows += 1;
    }
    Ok(rows)
}

/// The text of row `index` of the input, after the rows that were read before.
fn text_at(input: &mut Rows, index: u64) -> Result<Result<String, String>> {
    let before = input.next_index();
    let Some(skip) = index.checked_sub(before) else {
        return Ok(Err("it is not in the order of the input".into()));
    };
    if input.skip_rows(skip)? < skip {
        return Ok(Err(format!(
            "the input has {} rows only",
            input.next_index()
        )));
    }
    match input.next().transpose()? {
        Some(Row { outcome, .. }) => Ok(outcome),
        None => Ok(Err(format!("the input has {index} rows only"))),
    }
}

/// Takes `left` of `rows` rows, each choice with the same chance (selection sampling).
struct Sample {
    left: u64,
    rows: u64,
    state: u64,
}

impl Sample {
    fn new(most: u64, rows: u64) -> Self {
        Self {
            left: most.min(rows),
            rows,
            state: 0,
        }
    }

    fn takes_next(&mut self) -> bool {
        let Some(after) = self.rows.checked_sub(1) else {
            return false;
        };
        let takes = self.random() % self.rows < self.left;
        self.rows = after;
        self.left -= u64::from(takes);
        takes
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014).
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Rows that wait to be embedded together.
struct Check<'a, E: Embed> {
    embedder: &'a E,
    overflow: OverflowPolicy,
    space: Space,
    /// Each with its windows.
    pending: Vec<(StoredRow, Reading)>,
    windows: Vec<E::Encoded>,
    tokens: usize,
    mean: WindowMean,
    verified: Verified,
    progress: &'a mut dyn Progress,
}

impl<E: Embed> Check<'_, E> {
    fn add(&mut self, row: StoredRow, text: Result<String, String>) -> Result<()> {
        let read = text.and_then(|text| self.read(&text));
        match read {
            Ok(reading) => self.pending.push((row, reading)),
            Err(problem) => {
                self.verified.checked += 1;
                self.different(&row, &problem);
            }
        }
        if self.tokens as u64 >= self.embedder.memory().tokens_per_call {
            self.flush()?;
        }
        Ok(())
    }

    fn read(&mut self, text: &str) -> Result<Reading, String> {
        let mut reading = Reading::default();
        let mut digest = DigestBuilder::default();
        for window in Windows::new(self.embedder, self.overflow, text) {
            let window = window.map_err(|error| error.to_string())?;
            if window.more && self.overflow == OverflowPolicy::Error {
                return Err(format!("the text {}", self.embedder.overflow_problem()));
            }
            reading.truncated = window.more;
            reading.tokens += window.usage.tokens as u64;
            reading.windows += 1;
            digest.add(E::ids(&window.encoded));
            self.tokens += window.usage.tokens;
            self.windows.push(window.encoded);
        }
        reading.digest = digest.finish();
        Ok(reading)
    }

    fn flush(&mut self) -> Result<()> {
        self.progress.advance(Step {
            rows: self.pending.len() as u64,
            tokens: self.tokens as u64,
            expected_rows: None,
        });
        let dims = self.embedder.dims();
        let windows = std::mem::take(&mut self.windows);
        let mut vectors = vec![0.0; windows.len() * dims];
        if !windows.is_empty() {
            let embedded = self.embedder.embed(&windows, &mut vectors);
            embedded.map_err(|error| Error::Embed(Box::new(error)))?;
        }
        self.tokens = 0;
        let mut computed = vectors.chunks_exact(dims).zip(&windows);
        for (row, reading) in std::mem::take(&mut self.pending) {
            let own = computed.by_ref().take(reading.windows as usize);
            let mut vector = Vec::new();
            for (one, window) in own {
                match reading.windows {
                    1 => vector = one.to_vec(),
                    _ => self.mean.add(one, E::usage(window).tokens),
                }
            }
            if reading.windows != 1 {
                vector = self.mean.take();
            }
            self.verified.checked += 1;
            if let Some(problem) = difference(&self.space, &row, reading, &vector) {
                self.different(&row, &problem);
            }
        }
        Ok(())
    }

    fn different(&mut self, row: &StoredRow, problem: &str) {
        self.verified.different += 1;
        if self.verified.named.len() < MOST_NAMED {
            let id = row.id.as_ref().map(|id| format!(" (id {id})"));
            let id = id.unwrap_or_default();
            let named = format!("row {}{id}: {problem}", row.index);
            self.verified.named.push(named);
        }
    }
}

/// How a row differs from what it would be now.
fn difference(space: &Space, row: &StoredRow, now: Reading, vector: &[f32]) -> Option<String> {
    let then = row.embedded.reading;
    if then != now {
        return Some(match then.tokens == now.tokens {
            true => "its text has other tokens now".to_owned(),
            false => format!(
                "its text had {} tokens, and has {} now",
                then.tokens, now.tokens
            ),
        });
    }
    let mut bytes = Vec::new();
    let scale = space.precision.encode(vector, &mut bytes);
    if (scale.to_bits(), &bytes) == (row.embedded.scale.to_bits(), &row.embedded.vector) {
        return None;
    }
    let numbers = |bytes: &[u8]| -> Vec<Number> {
        let parts = space.precision.parts(space.dims);
        parts
            .flat_map(|(precision, part)| precision.decode(&bytes[part]).collect::<Vec<_>>())
            .collect()
    };
    let (then, now) = (numbers(&row.embedded.vector), numbers(&bytes));
    let pairs = then.iter().zip(&now);
    let mut others = pairs.enumerate().filter(|(_, (then, now))| then != now);
    Some(match others.next() {
        Some((first, (then, now))) => format!(
            "{} of {} numbers differ, the first is number {first}: {then}, and {now} now",
            1 + others.count(),
            space.precision.numbers(space.dims)
        ),
        None => format!("its scale is {}, and {scale} now", row.embedded.scale),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_as_many_rows_as_it_should_all_over_the_file() {
        for (most, rows) in [(0, 10), (1, 10), (3, 10), (10, 10), (20, 10), (500, 1000)] {
            let mut sample = Sample::new(most, rows);
            let taken: Vec<u64> = (0..rows).filter(|_| sample.takes_next()).collect();
            assert_eq!(taken.len() as u64, most.min(rows));
            assert!(!sample.takes_next());
            if most == 500 {
                let early = taken.iter().filter(|&&row| row < 500).count();
                assert!((200..300).contains(&early), "{early}");
            }
        }
    }
}
