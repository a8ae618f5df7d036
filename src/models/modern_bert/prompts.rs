//! The words that models of this kind were trained to see before a text, by their names: some none.

use crate::gguf::Gguf;
use crate::models::{Prompts, names};
use crate::{Prompt, Result};

/// The prompts of the model of a file: those it states, or those of its model card.
pub(super) fn prompts(gguf: &Gguf) -> Result<Prompts> {
    if let Some(prompts) = Prompts::of_file(gguf)? {
        return Ok(prompts);
    }
    Ok(names::find(gguf, of_words).unwrap_or_default())
}

fn of_words(words: &[&str]) -> Option<Prompts> {
    let named = |parts: &[&str]| parts.iter().all(|part| words.contains(part));
    let [query, document] = if named(&["modernbert", "embed"]) {
        ["search_query: ", "search_document: "]
    } else if named(&["gte", "modernbert"]) || named(&["granite", "embedding"]) {
        ["", ""]
    } else {
        return None;
    };
    Some(Prompts::fixed(&[
        (Prompt::Query, query),
        (Prompt::Document, document),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_models_give_the_prompts_of_their_cards() {
        for (name, expected) in [
            (
                "modernbert-embed-base",
                Some(["search_query: ", "search_document: "]),
            ),
            ("gte-modernbert-base", Some(["", ""])),
            ("Granite Embedding English R2", Some(["", ""])),
            ("ModernBERT base", None),
        ] {
            let prompts = names::of(name, of_words);
            let texts = prompts.map(|prompts| {
                [Prompt::Query, Prompt::Document]
                    .map(|prompt| prompts.text(prompt, None).unwrap().into_owned())
            });
            assert_eq!(
                texts,
                expected.map(|texts| texts.map(String::from)),
                "{name}"
            );
        }
    }
}
