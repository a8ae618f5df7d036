//! `tokenizer.json` of Hugging Face's tokenizers.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, FETCH_AGAIN, Result, input};
use crate::files::{self, MAX_TOKENIZER};

/// More tokens or merges than any tokenizer has.
const MAX_ENTRIES: usize = 1 << 22;
/// The longest description of a step, in bytes: a table of characters has 320 KB.
const MAX_STEP: usize = 4 << 20;

/// A tokenizer as its file has it.
pub struct TokenizerFile {
    pub path: PathBuf,
    pub added: Vec<Added>,
    /// The steps before and after the model, `Null` where there is none.
    pub normalizer: Value,
    pub pre_tokenizer: Value,
    pub post_processor: Value,
    pub model: Model,
}

/// A token that is found in the text before anything else.
#[derive(serde::Deserialize)]
pub struct Added {
    pub id: u64,
    pub content: Box<str>,
    #[serde(default)]
    pub special: bool,
}

/// What kind of model a tokenizer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    WordPiece,
    Unigram,
    Bpe,
    Other,
}

/// The model, with the fields of every kind of it.
#[derive(serde::Deserialize)]
pub struct Model {
    /// Absent in old files, where the fields say it.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub unk_token: Option<String>,
    pub unk_id: Option<u64>,
    pub continuing_subword_prefix: Option<String>,
    pub max_input_chars_per_word: Option<u64>,
    #[serde(default)]
    pub byte_fallback: bool,
    #[serde(default)]
    pub vocab: Vocab,
    #[serde(default)]
    pub merges: Merges,
}

/// Tokens with their ids and, of Unigram, their scores.
#[derive(Default)]
pub struct Vocab(pub Vec<(Box<str>, u64, f64)>);

/// Pairs of tokens, by rank.
#[derive(Default)]
pub struct Merges(pub Vec<(Box<str>, Box<str>)>);

#[derive(serde::Deserialize)]
struct Written<'a> {
    #[serde(default)]
    added_tokens: List<Added>,
    #[serde(borrow)]
    normalizer: Option<&'a RawValue>,
    #[serde(borrow)]
    pre_tokenizer: Option<&'a RawValue>,
    #[serde(borrow)]
    post_processor: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
}

impl TokenizerFile {
    pub fn read(path: PathBuf) -> Result<Self> {
        let bytes = files::bytes(&path, MAX_TOKENIZER)?;
        let written: Written = files::parse(&path, &bytes)?;
        let model = written
            .model
            .ok_or_else(|| input(&path, "model", "is missing", FETCH_AGAIN))?;
        Ok(Self {
            added: written.added_tokens.0,
            normalizer: step(&path, "normalizer", written.normalizer)?,
            pre_tokenizer: step(&path, "pre_tokenizer", written.pre_tokenizer)?,
            post_processor: step(&path, "post_processor", written.post_processor)?,
            model: files::parse(&path, model.get().as_bytes())?,
            path,
        })
    }

    /// The added tokens alone: a tokenizer's whole model takes much more memory.
    pub fn read_added(path: &Path) -> Result<Vec<Added>> {
        let bytes = files::bytes(path, MAX_TOKENIZER)?;
        let written: Written = files::parse(path, &bytes)?;
        Ok(written.added_tokens.0)
    }

    pub fn error(&self, field: &str, problem: impl Into<String>, remedy: &str) -> Error {
        input(&self.path, field, problem, remedy)
    }

    /// Whether a token is an added one.
    pub fn added(&self, text: &str) -> Option<&Added> {
        self.added.iter().find(|added| &*added.content == text)
    }

    /// What kind of model it is.
    pub fn kind(&self) -> Kind {
        match self.model.kind.as_deref() {
            Some("WordPiece") => Kind::WordPiece,
            Some("Unigram") => Kind::Unigram,
            Some("BPE") => Kind::Bpe,
            Some(_) => Kind::Other,
            // Files of tokenizers before 0.10.
            None if self.model.unk_id.is_some() => Kind::Unigram,
            None if !self.model.merges.0.is_empty() => Kind::Bpe,
            None => Kind::WordPiece,
        }
    }

    /// The error for a model of a kind that the family does not have.
    pub fn unsupported(&self, kind: Kind, expected: &str) -> Error {
        let written = self.model.kind.as_deref();
        let problem = match written {
            Some(written) => format!("is {written:.60?}, not {expected}"),
            None => format!("is {kind:?}, not {expected}"),
        };
        let remedy = "use a model with the usual tokenizer of its family";
        self.error("model.type", problem, remedy)
    }

    /// The id of a token.
    pub fn id(&self, text: &str) -> Option<u32> {
        let mut vocab = self.model.vocab.0.iter();
        let id = self.added(text).map(|added| added.id);
        let id = id.or_else(|| Some(vocab.find(|(token, ..)| &**token == text)?.1));
        id.and_then(|id| u32::try_from(id).ok())
    }

    /// The tokens that the post-processor puts before and after a text.
    pub fn ends(&self) -> (Vec<&str>, Vec<&str>) {
        ends(&self.post_processor)
    }
}

fn step(path: &Path, field: &str, written: Option<&RawValue>) -> Result<Value> {
    let text = written.map_or("null", RawValue::get);
    if text.len() > MAX_STEP {
        let problem = format!("has {} bytes, more than the {MAX_STEP} of any", text.len());
        return Err(input(path, field, problem, FETCH_AGAIN));
    }
    files::parse(path, text.as_bytes())
}

fn ends(step: &Value) -> (Vec<&str>, Vec<&str>) {
    match step["type"].as_str() {
        Some("TemplateProcessing") => {
            let pieces = step["single"].as_array().map_or(&[][..], Vec::as_slice);
            let is_text = |piece: &Value| piece.get("Sequence").is_some();
            let at = pieces.iter().position(is_text).unwrap_or(pieces.len());
            let (before, after) = pieces.split_at(at);
            (
                before.iter().filter_map(special).collect(),
                after.iter().filter_map(special).collect(),
            )
        }
        Some("BertProcessing" | "RobertaProcessing") => {
            let [cls, sep] = ["cls", "sep"].map(|field| step[field][0].as_str());
            (cls.into_iter().collect(), sep.into_iter().collect())
        }
        Some("Sequence") => {
            let steps = step["processors"].as_array().map_or(&[][..], Vec::as_slice);
            steps
                .iter()
                .map(ends)
                .fold(Default::default(), |(mut a, mut b), (c, d)| {
                    a.extend(c);
                    b.extend(d);
                    (a, b)
                })
        }
        _ => Default::default(),
    }
}

/// The token that a piece of a template stands for.
fn special(piece: &Value) -> Option<&str> {
    piece["SpecialToken"]["id"].as_str()
}

/// A list of bounded length.
struct List<T>(Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// Takes elements until the end or the limit.
fn bounded<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(mut list: A) -> Result<Vec<T>, A::Error> {
    let mut values = Vec::new();
    while let Some(value) = list.next_element()? {
        check_count(values.len())?;
        values.push(value);
    }
    Ok(values)
}

fn check_count<E: de::Error>(count: usize) -> Result<(), E> {
    match count < MAX_ENTRIES {
        true => Ok(()),
        false => Err(E::custom(format!("more than {MAX_ENTRIES} entries"))),
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
            type Value = List<T>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<List<T>, A::Error> {
                bounded(list).map(List)
            }
        }
        deserializer.deserialize_seq(Elements(std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for Vocab {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tokens;
        impl<'de> Visitor<'de> for Tokens {
            type Value = Vocab;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("tokens with ids, or pairs of a token and its score")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocab, A::Error> {
                let mut tokens = Vec::new();
                while let Some((text, id)) = map.next_entry()? {
                    check_count(tokens.len())?;
                    tokens.push((text, id, 0.0));
                }
                Ok(Vocab(tokens))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vocab, A::Error> {
                let pairs: Vec<(Box<str>, f64)> = bounded(list)?;
                let pairs = pairs.into_iter().zip(0..);
                Ok(Vocab(
                    pairs.map(|((text, score), id)| (text, id, score)).collect(),
                ))
            }
        }
        deserializer.deserialize_any(Tokens)
    }
}

impl<'de> Deserialize<'de> for Merges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let List(merges) = List::<Merge>::deserialize(deserializer)?;
        Ok(Self(
            merges.into_iter().map(|merge| (merge.0, merge.1)).collect(),
        ))
    }
}

/// `["a", "b"]`, or `"a b"` in old files.
struct Merge(Box<str>, Box<str>);

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pair;
        impl<'de> Visitor<'de> for Pair {
            type Value = Merge;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("two tokens")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Merge, E> {
                match text.split_once(' ') {
                    Some((left, right)) => Ok(Merge(left.into(), right.into())),
                    None => Err(E::custom("a merge without a space")),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Merge, A::Error> {
                let (left, right) = (list.next_element()?, list.next_element()?);
                match (left, right) {
                    (Some(left), Some(right)) => Ok(Merge(left, right)),
                    _ => Err(de::Error::invalid_length(1, &self)),
                }
            }
        }
        deserializer.deserialize_any(Pair)
    }
}
