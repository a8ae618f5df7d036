//! Embeds the lines of standard input in batches, into one buffer that the program owns and reuses.
//!
//! ```text
//! tools/get-model
//! cargo run --release --example batch <README.md
//! ```

use std::error::Error;
use std::io;

use lanewise::{Embedder, find_model};

/// Texts in a batch. Lanewise splits a batch into passes by itself; this bounds the buffer.
const BATCH: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let embedder = Embedder::builder().dims(256).open(find_model()?)?;
    let dims = embedder.dims();
    let mut buffer = vec![0.0; BATCH * dims];

    let lines: Vec<String> = io::stdin().lines().collect::<Result<_, _>>()?;
    for (batch, lines) in lines.chunks(BATCH).enumerate() {
        let texts: Vec<&str> = lines.iter().map(String::as_str).collect();
        // One vector of `dims` values after the other, in the order of the texts.
        let vectors = &mut buffer[..texts.len() * dims];
        let usages = embedder.embed_batch_into(&texts, vectors)?;
        for (row, (vector, usage)) in vectors.chunks_exact(dims).zip(&usages).enumerate() {
            let line = batch * BATCH + row + 1;
            println!("line {line}: {} tokens, {:?}…", usage.tokens, &vector[..3]);
        }
    }
    Ok(())
}
