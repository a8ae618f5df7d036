//! Embeds two texts and prints their cosine similarity.
//!
//! ```text
//! tools/get-model
//! cargo run --release --example compare -- "The cat sleeps." "A cat is asleep."
//! ```

use std::error::Error;

use lanewise::{Embedder, Input, Prompt, cosine, find_model};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(first), Some(second), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: compare TEXT TEXT".into());
    };

    let embedder = Embedder::open(find_model()?)?;
    // The model was trained with a prompt for each task; both sides take the same one here.
    let embed = |text| embedder.embed(Input::new(Prompt::SentenceSimilarity, text));
    let (first, second) = (embed(&first)?, embed(&second)?);
    println!("{:.4}", cosine(&first.vector, &second.vector));
    Ok(())
}
