//! The words that models of this kind were trained to see before a text.
//!
//! Few files state them, and not every model has them: else they are known by the name of the model.

use crate::gguf::Gguf;
use crate::models::{Prompts, names};
use crate::{Prompt, Result};

/// What BGE, Arctic Embed and mxbai read before queries.
pub const REPRESENT: &str = "Represent this sentence for searching relevant passages: ";

/// Parts of a model's name, and what it reads before queries and before documents.
struct Entry {
    parts: &'static [&'static str],
    query: &'static str,
    document: &'static str,
}

const fn entry(
    parts: &'static [&'static str],
    query: &'static str,
    document: &'static str,
) -> Entry {
    Entry {
        parts,
        query,
        document,
    }
}

/// The models of model cards; the first whose parts are all in the name counts.
const TABLE: [Entry; 13] = [
    entry(&["all", "minilm"], "", ""),
    entry(&["bge", "en"], REPRESENT, ""),
    entry(&["e5", "small", "v2"], "query: ", "passage: "),
    entry(&["e5", "base", "v2"], "query: ", "passage: "),
    entry(&["e5", "large", "v2"], "query: ", "passage: "),
    entry(&["multilingual", "e5", "small"], "query: ", "passage: "),
    entry(&["multilingual", "e5", "base"], "query: ", "passage: "),
    entry(&["multilingual", "e5", "large"], "query: ", "passage: "),
    entry(&["bge", "m3"], "", ""),
    entry(&["gte", "small"], "", ""),
    entry(&["gte", "base"], "", ""),
    entry(&["gte", "large"], "", ""),
    entry(&["mxbai", "embed", "large"], REPRESENT, ""),
];

/// Arctic Embed, whose later large and long models are of other kinds.
const ARCTIC: [Entry; 4] = [
    entry(&["arctic", "embed", "xs"], REPRESENT, ""),
    entry(&["arctic", "embed", "s"], REPRESENT, ""),
    entry(&["arctic", "embed", "m"], REPRESENT, ""),
    entry(&["arctic", "embed", "l"], REPRESENT, ""),
];

/// The prompts of the model of a file: those it states, or by its name there or, without one, the file's
/// own.
pub(super) fn prompts(gguf: &Gguf) -> Result<Prompts> {
    if let Some(prompts) = Prompts::of_file(gguf)? {
        return Ok(prompts);
    }
    Ok(names::find(gguf, of_name).unwrap_or_default())
}

fn of_name(words: &[&str]) -> Option<Prompts> {
    // These read the task of each query.
    if words.contains(&"instruct") {
        return None;
    }
    let named = |entry: &&Entry| entry.parts.iter().all(|part| words.contains(part));
    let of_arctic = || {
        let other_kind = words.contains(&"long") || words.contains(&"v2");
        let entry = ARCTIC.iter().find(named)?;
        (!other_kind).then_some(entry)
    };
    let entry = TABLE.iter().find(named).or_else(of_arctic)?;
    Some(Prompts::fixed(&[
        (Prompt::Query, entry.query),
        (Prompt::Document, entry.document),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_models_give_the_prompts_of_their_cards() {
        for (names, query, document) in [
            (&["all-MiniLM-L6-v2", "All MiniLM L12 v2"][..], "", ""),
            (&["bge-small-en-v1.5", "Bge Base En V1.5"], REPRESENT, ""),
            (&["e5-small-v2", "E5 Large v2"], "query: ", "passage: "),
            (&["multilingual-e5-large"], "query: ", "passage: "),
            (&["gte-base", "bge-m3"], "", ""),
            (
                &["snowflake-arctic-embed-m", "Snowflake Arctic Embed L"],
                REPRESENT,
                "",
            ),
            (&["mxbai-embed-large-v1"], REPRESENT, ""),
        ] {
            for name in names {
                let prompts =
                    names::of(name, of_name).unwrap_or_else(|| panic!("{name} is not known"));
                assert_eq!(prompts.text(Prompt::Query, None).unwrap(), query, "{name}");
                assert_eq!(
                    prompts.text(Prompt::Document, None).unwrap(),
                    document,
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn names_of_other_models_give_none() {
        for name in [
            "",
            "BERT base uncased",
            "multilingual-e5-large-instruct",
            "arctic-embed-l-v2.0",
            "arctic-embed-m-long",
        ] {
            assert_eq!(names::of(name, of_name), None, "{name}");
        }
    }
}
