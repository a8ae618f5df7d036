//! The words that EmbeddingGemma was trained to see before a text (its model card and
//! `config_sentence_transformers.json`).

use std::borrow::Cow;

use crate::Prompt;

/// What the model reads before a text. A document's prompt has the title in place of `none`; other
/// prompts have none.
pub(super) fn prompt_text(prompt: Prompt, title: Option<&str>) -> Cow<'static, str> {
    let text = match prompt {
        Prompt::Raw => "",
        Prompt::Query => "task: search result | query: ",
        Prompt::Document => {
            return format!("title: {} | text: ", title.unwrap_or("none")).into();
        }
        Prompt::QuestionAnswering => "task: question answering | query: ",
        Prompt::FactChecking => "task: fact checking | query: ",
        Prompt::CodeRetrieval => "task: code retrieval | query: ",
        Prompt::Classification => "task: classification | query: ",
        Prompt::Clustering => "task: clustering | query: ",
        Prompt::SentenceSimilarity => "task: sentence similarity | query: ",
        Prompt::Summarization => "task: summarization | query: ",
    };
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_part_of_documents_only() {
        let titled = |prompt| prompt_text(prompt, Some("Moons"));
        assert_eq!(titled(Prompt::Document), "title: Moons | text: ");
        assert_eq!(prompt_text(Prompt::Document, None), "title: none | text: ");
        for prompt in Prompt::all().filter(|&prompt| prompt != Prompt::Document) {
            assert_eq!(titled(prompt), prompt_text(prompt, None));
        }
    }
}
