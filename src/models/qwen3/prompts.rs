//! What Qwen3-Embedding reads before texts (its model card).

use crate::gguf::Gguf;
use crate::models::{PromptText, Prompts};
use crate::{Prompt, Result};

/// The instruction of queries if there is no other.
const TASK: &str = "Given a web search query, retrieve relevant passages that answer the query";

const BEFORE_TASK: &str = "Instruct: ";
const AFTER_TASK: &str = "\nQuery:";

/// The prompts of the model of a file: those it states, or those of the model card.
pub(super) fn prompts(gguf: &Gguf) -> Result<Prompts> {
    let stated = Prompts::of_file(gguf)?;
    Ok(stated.map_or_else(of_card, |stated| stated.map_fixed(instructed)))
}

fn of_card() -> Prompts {
    Prompts::new([
        (Prompt::Query, with_task(TASK)),
        (Prompt::Document, PromptText::Fixed("".into())),
    ])
}

fn with_task(task: &str) -> PromptText {
    PromptText::Instructed {
        before: BEFORE_TASK,
        task: task.to_owned().into(),
        after: AFTER_TASK,
    }
}

/// A text of a file that has an instruction.
fn instructed(text: &str) -> Option<PromptText> {
    let task = text.strip_prefix(BEFORE_TASK)?.strip_suffix(AFTER_TASK)?;
    Some(with_task(task))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_have_an_instruction_and_documents_none() {
        let mut prompts = of_card();
        let card = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:";
        let query = |prompts: &Prompts| {
            let text = prompts.text(Prompt::Query, None).unwrap();
            text.into_owned()
        };
        assert_eq!(query(&prompts), card);
        assert_eq!(prompts.text(Prompt::Document, None).unwrap(), "");
        prompts.instruct("Find a moon").unwrap();
        assert_eq!(query(&prompts), "Instruct: Find a moon\nQuery:");
        let stated = Prompts::fixed(&[(Prompt::Query, "Instruct: Sort\nQuery:")]);
        let mut stated = stated.map_fixed(instructed);
        stated.instruct("Find a moon").unwrap();
        assert_eq!(query(&stated), "Instruct: Find a moon\nQuery:");
    }

    #[test]
    fn an_instruction_is_refused_where_none_is_read() {
        let message = |mut prompts: Prompts, text| {
            let error = prompts.instruct(text).unwrap_err();
            error.to_string()
        };
        let message_of_others = message(Prompts::fixed(&[(Prompt::Query, "query: ")]), "Sort");
        assert!(message_of_others.contains("reads no instructions"));
        assert!(message(of_card(), " ").starts_with("instruction: is empty"));
    }
}
