//! What Qwen3-Embedding reads before texts (its model card).

use crate::gguf::Gguf;
use crate::models::Prompts;
use crate::{Prompt, Result};

/// What is before queries, with the instruction that is used if there is no other.
const QUERY: &str =
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:";

/// The prompts of the model of a file: those it states, or those of the model card.
pub(super) fn prompts(gguf: &Gguf) -> Result<Prompts> {
    let stated = Prompts::of_file(gguf)?;
    let card = || Prompts::fixed(&[(Prompt::Query, QUERY), (Prompt::Document, "")]);
    Ok(stated.unwrap_or_else(card))
}
