//! What texts are embedded for.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// What a text is embedded for, which decides the words that a model reads before it. Vectors
/// compare best when both sides carry the prompt the model was trained with: a
/// [`Query`](Prompt::Query) against [`Document`](Prompt::Document)s, say.
///
/// Which of them a model knows, and the words, are the model's: [`Embedder::prompts`](crate::Embedder::prompts).
///
/// `FromStr` takes the names of tasks that models' configurations use, in any case and with spaces,
/// hyphens or underscores: `STS`, `Retrieval-query`, `fact checking`.
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

/// In the order of the variants, so that a variant is an index.
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
    /// Every prompt, [`Prompt::Raw`] first.
    pub fn all() -> impl Iterator<Item = Prompt> {
        TABLE.iter().map(|entry| entry.prompt)
    }

    /// The name by which messages and help call it.
    pub fn name(self) -> &'static str {
        TABLE[self as usize].name
    }

    /// Its other names, as in the model's configuration.
    pub fn aliases(self) -> &'static [&'static str] {
        TABLE[self as usize].aliases
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
        TABLE
            .iter()
            .find(|entry| {
                std::iter::once(&entry.name)
                    .chain(entry.aliases)
                    .any(|known| letters(known).eq(letters(name)))
            })
            .map(|entry| entry.prompt)
            .ok_or_else(|| Error::Argument {
                name: "prompt".into(),
                problem: format!("there is none called '{name}'"),
                remedy: format!(
                    "use one of {}",
                    Prompt::all()
                        .map(Prompt::name)
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
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
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let message = "quary".parse::<Prompt>().unwrap_err().to_string();
        assert!(
            message.contains("'quary'") && message.contains("sentence-similarity"),
            "{message}"
        );
    }

    #[test]
    fn the_table_is_in_the_order_of_the_variants() {
        for (i, prompt) in Prompt::all().enumerate() {
            assert_eq!(prompt as usize, i);
        }
    }
}
