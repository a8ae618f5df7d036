//! Semantic search: prints the lines of a file that answer a question best.
//!
//! ```text
//! tools/get-model
//! cargo run --release --example search -- README.md "How much memory does it take?"
//! ```

use std::error::Error;
use std::fs;

use lanewise::{Embedder, Input, cosine, find_model};

/// Lines to print.
const BEST: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(question), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: search FILE QUESTION".into());
    };
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let lines: Vec<(usize, &str)> = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty())
        .collect();

    let embedder = Embedder::open(find_model()?)?;
    // A question and the documents that may answer it carry different prompts.
    let query = embedder.embed_query(&question)?;
    let documents: Vec<Input> = lines
        .iter()
        .map(|(_, line)| Input::document(None, line))
        .collect();
    let embeddings = embedder.embed_batch(&documents)?;

    let mut ranked: Vec<(f32, usize, &str)> = embeddings
        .iter()
        .zip(&lines)
        .map(|(embedding, &(number, line))| {
            (cosine(&query.vector, &embedding.vector), number, line)
        })
        .collect();
    ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    for (similarity, number, line) in ranked.into_iter().take(BEST) {
        println!("{similarity:.4}  {path}:{number}: {line}");
    }
    Ok(())
}
