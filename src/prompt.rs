//! What texts are embedded for.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use crate::{Error, Result};

/// What a text is embedded for, which decides the words that a model reads before it. Vectors
/// compare best when both sides carry the prompt the model was trained with: a
/// [`Query`](Prompt::Query) against [`Document`](Prompt::Document)s, say.
///
/// Which of them a model knows, and the words, are the model's: [`Embedder::prompts`](crate::Embedder::prompts).
///
/// `FromStr` takes the names of tasks that models' configurations use, in any case and with spaces,
/// hyphens or underscores: `STS`, `Retrieval-query`, `fact checking`. Any other name is that of a prompt
/// which only some models know, such as `s2s query`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Prompt {
    /// Nothing in front: the text as it is.
    #[default]
    Raw,
    /// A search query.
    Query,
    /// A text to be found by queries; it may have a title.
    Document,
    /// A question whose answer is sought.
    QuestionAnswering,
    /// A claim to be checked against documents.
    FactChecking,
    /// A request in words for a piece of code.
    CodeRetrieval,
    /// A text to be sorted into given classes.
    Classification,
    /// A text to be grouped with similar ones.
    Clustering,
    /// One of two sentences whose meanings are compared.
    SentenceSimilarity,
    /// A text to be summarised.
    Summarization,
    /// What the file of a model calls so: its name in small letters, words joined by hyphens.
    Named(PromptName),
}

/// The name of a prompt that only some models know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PromptName(&'static str);

/// Bytes of a name, far more than any has.
const LONGEST_NAME: usize = 64;

/// Names that are kept, which are never freed; more than a program needs that opens all models there are.
const MOST_NAMES: usize = 4096;

impl PromptName {
    /// A name in the form in which names are compared. Each different one is kept once.
    fn new(name: &str) -> Option<Self> {
        static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
        if name.len() > LONGEST_NAME {
            return None;
        }
        let words = name.split([' ', '-', '_']).filter(|word| !word.is_empty());
        let name = words.collect::<Vec<_>>().join("-").to_lowercase();
        if name.is_empty() || name.chars().any(char::is_control) {
            return None;
        }
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get(name.as_str()) {
            return Some(Self(known));
        }
        if names.len() >= MOST_NAMES {
            return None;
        }
        let name: &'static str = name.leak();
        names.insert(name);
        Some(Self(name))
    }
}

/// A prompt's value, its own name, and its other names.
struct Entry {
    prompt: Prompt,
    name: &'static str,
    aliases: &'static [&'static str],
}

const fn entry(prompt: Prompt, name: &'static str, aliases: &'static [&'static str]) -> Entry {
    Entry {
        prompt,
        name,
        aliases,
    }
}

/// Every prompt that is not only some models'.
const TABLE: [Entry; 10] = [
    entry(Prompt::Raw, "raw", &["none"]),
    entry(
        Prompt::Query,
        "query",
        &[
            "search result",
            "Retrieval",
            "Retrieval-query",
            "BitextMining",
            "Reranking",
            "search query",
        ],
    ),
    entry(
        Prompt::Document,
        "document",
        &["Retrieval-document", "passage", "search document"],
    ),
    entry(Prompt::QuestionAnswering, "question-answering", &[]),
    entry(
        Prompt::FactChecking,
        "fact-checking",
        &["fact-verification"],
    ),
    entry(
        Prompt::CodeRetrieval,
        "code-retrieval",
        &["InstructionRetrieval"],
    ),
    entry(
        Prompt::Classification,
        "classification",
        &["MultilabelClassification"],
    ),
    entry(Prompt::Clustering, "clustering", &[]),
    entry(
        Prompt::SentenceSimilarity,
        "sentence-similarity",
        &["STS", "PairClassification"],
    ),
    entry(Prompt::Summarization, "summarization", &["summarisation"]),
];

impl Prompt {
    /// Every prompt but those that only some models know, [`Prompt::Raw`] first.
    pub fn all() -> impl Iterator<Item = Prompt> {
        TABLE.iter().map(|entry| entry.prompt)
    }

    /// Its entry in the table, if it has one.
    fn entry(self) -> Option<&'static Entry> {
        TABLE.iter().find(|entry| entry.prompt == self)
    }

    /// The name by which messages and help call it.
    pub fn name(self) -> &'static str {
        match (self, self.entry()) {
            (_, Some(entry)) => entry.name,
            (Self::Named(PromptName(name)), None) => name,
            (_, None) => "",
        }
    }

    /// Its other names, as in the model's configuration.
    pub fn aliases(self) -> &'static [&'static str] {
        self.entry().map_or(&[], |entry| entry.aliases)
    }
}

impl fmt::Display for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Two names are the same when their letters are.
fn letters(name: &str) -> impl Iterator<Item = char> {
    name.chars()
        .filter(|c| !matches!(c, ' ' | '-' | '_'))
        .map(|c| c.to_ascii_lowercase())
}

impl FromStr for Prompt {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = TABLE.iter().find(|entry| {
            std::iter::once(&entry.name)
                .chain(entry.aliases)
                .any(|known| letters(known).eq(letters(name)))
        });
        let named = || PromptName::new(name).map(Self::Named);
        known.map(|entry| entry.prompt).or_else(named).ok_or_else(|| {
            Error::Argument {
                name: "prompt".into(),
                problem: format!("'{}' is no name of one", name.escape_debug()),
                remedy: format!(
                    "use one of the model, of at most {LONGEST_NAME} letters, such as query or document"
                ),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_task_gives_its_prompt() {
        for (name, prompt) in [
            ("raw", Prompt::Raw),
            ("query", Prompt::Query),
            ("Retrieval", Prompt::Query),
            ("Retrieval-query", Prompt::Query),
            ("BitextMining", Prompt::Query),
            ("Reranking", Prompt::Query),
            ("document", Prompt::Document),
            ("Retrieval-document", Prompt::Document),
            ("question answering", Prompt::QuestionAnswering),
            ("fact checking", Prompt::FactChecking),
            ("code retrieval", Prompt::CodeRetrieval),
            ("InstructionRetrieval", Prompt::CodeRetrieval),
            ("Classification", Prompt::Classification),
            ("MultilabelClassification", Prompt::Classification),
            ("Clustering", Prompt::Clustering),
            ("STS", Prompt::SentenceSimilarity),
            ("PairClassification", Prompt::SentenceSimilarity),
            ("Summarization", Prompt::Summarization),
        ] {
            assert_eq!(name.parse::<Prompt>().unwrap(), prompt, "{name}");
        }
    }

    #[test]
    fn names_are_read_in_any_case_and_with_any_separator() {
        for name in ["FACT_CHECKING", "fact checking", "factChecking"] {
            assert_eq!(name.parse::<Prompt>().unwrap(), Prompt::FactChecking);
        }
    }

    #[test]
    fn other_names_are_those_of_some_models() {
        let prompt = "S2P_Query".parse::<Prompt>().unwrap();
        assert_eq!(prompt.name(), "s2p-query");
        assert_eq!("s2p query".parse::<Prompt>().unwrap(), prompt);
        assert_ne!("s2s query".parse::<Prompt>().unwrap(), prompt);
        assert!(prompt.aliases().is_empty());
        for wrong in ["", " -", "a\nb", &"a".repeat(65)] {
            let message = wrong.parse::<Prompt>().unwrap_err().to_string();
            assert!(message.contains("is no name of one"), "{message}");
        }
    }
}
