//! Tokenizing.

use std::path::Path;
use std::sync::Arc;

use lanewise::internals::gguf::Gguf;
use lanewise::internals::tokenizer::{SentencePiece, Tokenizer};
use lanewise_testkit::tiny_model;

use super::{Amount, Prepared, Work};

/// Prose with what makes tokenizers work: capitals, digits, marks, accents, another script, runs of
/// spaces and lines.
const PARAGRAPH: &str = "The kettle on the stove began to sing just as the first snow of 1987 fell.  \
    A river does not hurry, and yet it arrives; \"Jupiter\" carries four large moons: Io, Europa, Ganymede & Callisto.\n\n\
    Déjà vu? Größe, naïve, 気温は3度でした。 fn main() {\n\t println!(\"{}\", 0.1 + 0.2);\n}\n";

/// Encodes a few paragraphs. `source` names where the vocabulary comes from.
pub fn tokenize(tokenizer: Arc<SentencePiece>, source: &str, paragraphs: usize) -> Work {
    let text = PARAGRAPH.repeat(paragraphs);
    Work::new(
        format!("tokenize/utf-8x{source}/{}", text.len()),
        Amount::Bytes(text.len() as u64),
        move || {
            Prepared::new(Vec::new(), move |ids| {
                ids.clear();
                tokenizer.encode(&text, ids);
            })
        },
    )
}

/// The tokenizer of the tiny test model, which is written to `path` first. Its index has the same
/// collisions each time, so that its instructions can be counted.
///
/// # Errors
///
/// If the file cannot be written or read.
pub fn tiny_tokenizer(path: &Path) -> lanewise::Result<SentencePiece> {
    tiny_model::write(path, &tiny_model::Options::default()).map_err(|source| {
        lanewise::Error::Io {
            path: path.to_owned(),
            action: "cannot write",
            source,
            remedy: "free some space or name another place".into(),
        }
    })?;
    SentencePiece::with_seed(Arc::new(Gguf::open(path)?), 0)
}
