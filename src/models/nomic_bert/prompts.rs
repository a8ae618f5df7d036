//! The words that models of this kind were trained to see before a text: they always need some.

use crate::gguf::Gguf;
use crate::models::{Prompts, bert, names};
use crate::{Prompt, Result};

/// Those of nomic-embed-text (its model card).
const NOMIC: [(Prompt, &str); 4] = [
    (Prompt::Query, "search_query: "),
    (Prompt::Document, "search_document: "),
    (Prompt::Clustering, "clustering: "),
    (Prompt::Classification, "classification: "),
];

/// Those of snowflake-arctic-embed-m-long, which has the same architecture.
const ARCTIC_LONG: [(Prompt, &str); 2] = [(Prompt::Query, bert::REPRESENT), (Prompt::Document, "")];

/// The prompts of the model of a file: those it states, or those of nomic-embed-text unless its name says
/// that it is another model.
pub(super) fn prompts(gguf: &Gguf) -> Result<Prompts> {
    if let Some(prompts) = Prompts::of_file(gguf)? {
        return Ok(prompts);
    }
    let arctic = |words: &[&str]| words.contains(&"arctic").then_some(());
    Ok(match names::find(gguf, arctic) {
        Some(()) => Prompts::fixed(&ARCTIC_LONG),
        None => Prompts::fixed(&NOMIC),
    })
}
