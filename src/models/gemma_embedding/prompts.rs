//! The words that EmbeddingGemma was trained to see before a text (its model card and
//! `config_sentence_transformers.json`).

use std::borrow::Cow;

use crate::Prompt;
use crate::models::{PromptText, Prompts};

/// What the model reads before a text. A document's prompt has the title in place of `none`; other
/// prompts have none.
pub fn prompts() -> Prompts {
    let document = PromptText::Titled {
        before: "title: ",
        untitled: "none",
        after: " | text: ",
    };
    let fixed = |text| PromptText::Fixed(Cow::Borrowed(text));
    Prompts::new([
        (Prompt::Query, fixed("task: search result | query: ")),
        (Prompt::Document, document),
        (
            Prompt::QuestionAnswering,
            fixed("task: question answering | query: "),
        ),
        (Prompt::FactChecking, fixed("task: fact checking | query: ")),
        (
            Prompt::CodeRetrieval,
            fixed("task: code retrieval | query: "),
        ),
        (
            Prompt::Classification,
            fixed("task: classification | query: "),
        ),
        (Prompt::Clustering, fixed("task: clustering | query: ")),
        (
            Prompt::SentenceSimilarity,
            fixed("task: sentence similarity | query: "),
        ),
        (
            Prompt::Summarization,
            fixed("task: summarization | query: "),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prompt_is_known() {
        assert!(prompts().known().eq(Prompt::all()));
    }

    #[test]
    fn a_title_is_part_of_documents_only() {
        let prompts = prompts();
        let text = |prompt, title| prompts.text(prompt, title).unwrap();
        assert_eq!(
            text(Prompt::Document, Some("Moons")),
            "title: Moons | text: "
        );
        assert_eq!(text(Prompt::Document, None), "title: none | text: ");
        for prompt in Prompt::all().filter(|&prompt| prompt != Prompt::Document) {
            assert_eq!(text(prompt, Some("Moons")), text(prompt, None));
        }
    }
}
