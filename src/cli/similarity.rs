//! `lanewise similarity`: how close texts are to the first one.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

use clap::{Args, ValueEnum};
use lanewise::{Embedder, Input, Prompt, cosine};
use serde::Serialize;

use super::Outcome;
use super::embed::encode;
use super::failure::Failure;
use super::options::{ModelOptions, RunOptions, VectorOptions};
use super::packed;
use super::texts::{Text, Texts};

/// Print the cosine of the first text to each of the others
///
/// 1 is the same meaning, and 0 nothing in common. With fewer than two texts as arguments the
/// others are read from standard input, one a line.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  lanewise similarity --query \"largest moons\" \"Jupiter has four.\" \"A river arrives.\""
)]
pub struct Arguments {
    /// The text to compare with, then those that are compared. Texts that begin with a hyphen come
    /// after --
    texts: Vec<String>,
    /// The first text is a search query and the others are documents, each with the prompt for it
    #[arg(short, long, conflicts_with = "prompt")]
    query: bool,
    /// What queries are for, in a sentence, with --query or --prompt query: of Qwen3-Embedding
    #[arg(long, value_name = "TEXT")]
    instruction: Option<String>,
    /// What all the texts are for (see `lanewise embed --help`)
    #[arg(short, long, value_name = "NAME", default_value_t)]
    prompt: Prompt,
    /// Print the closest text first, instead of the order given
    #[arg(short, long)]
    rank: bool,
    /// How results are written
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    vector: VectorOptions,
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    run: RunOptions,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// The cosine, a tab and the text on one line
    Text,
    /// An object with index, cosine and text on one line; the first text has index 0
    Jsonl,
}

/// A compared text.
#[derive(Serialize)]
struct Row<'a> {
    index: usize,
    cosine: f32,
    text: Cow<'a, str>,
}

impl Row<'_> {
    fn into_owned(self) -> Row<'static> {
        Row {
            index: self.index,
            cosine: self.cosine,
            text: self.text.into_owned().into(),
        }
    }
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let builder = arguments.vector.apply(arguments.run.builder());
    // With a prompt for queries all texts are queries.
    let has_query = arguments.query || arguments.prompt == Prompt::Query;
    let builder = match &arguments.instruction {
        Some(_) if !has_query => {
            let message = "--instruction goes with --query or --prompt query only";
            return Err(Failure::usage(message));
        }
        Some(instruction) => builder.instruction(instruction),
        None => builder,
    };
    let embedder = builder.open(arguments.model.path()?)?;
    packed::report_ignored(embedder.packed_state());
    let (first_prompt, other_prompt) = match arguments.query {
        true => (Prompt::Query, Prompt::Document),
        false => (arguments.prompt, arguments.prompt),
    };

    let mut out = BufWriter::new(io::stdout().lock());
    let mut outcome = Outcome::Complete;
    let mut texts = Texts::new(&arguments.texts, 2);
    let mut reference: Option<Vec<f32>> = None;
    let mut compared = 0;
    let mut ranked = Vec::new();
    while let Some(batch) = texts.next_batch()? {
        let mut batch = batch.as_slice();
        let reference = match &reference {
            Some(reference) => reference,
            None => {
                let (first, others) = batch.split_at(1);
                batch = others;
                let (usable, vector) = embed(&embedder, first, first_prompt)?;
                if usable.is_empty() {
                    // Already reported, and nothing can be compared without it.
                    return Ok(Outcome::SomeTextsFailed);
                }
                reference.insert(vector)
            }
        };
        compared += batch.len();
        let (usable, vectors) = embed(&embedder, batch, other_prompt)?;
        if usable.len() < batch.len() {
            outcome = Outcome::SomeTextsFailed;
        }
        for (text, vector) in usable.iter().zip(vectors.chunks_exact(embedder.dims())) {
            let row = Row {
                index: text.index,
                cosine: cosine(reference, vector),
                text: text.content.as_deref().unwrap_or_default().into(),
            };
            if arguments.rank {
                ranked.push(row.into_owned());
            } else {
                write_row(&mut out, arguments.format, &row).map_err(Failure::output)?;
            }
        }
        out.flush().map_err(Failure::output)?;
    }
    if compared == 0 {
        return Err(Failure::usage(
            "similarity needs two texts or more, as arguments or one a line on standard input",
        ));
    }
    // A stable sort: equals stay in their order.
    ranked.sort_by(|a: &Row, b: &Row| b.cosine.total_cmp(&a.cosine));
    for row in &ranked {
        write_row(&mut out, arguments.format, row).map_err(Failure::output)?;
    }
    out.flush().map_err(Failure::output)?;
    Ok(outcome)
}

/// Those texts that can be embedded, and their vectors one after the other.
fn embed<'a>(
    embedder: &Embedder,
    batch: &'a [Text],
    prompt: Prompt,
) -> Result<(Vec<&'a Text>, Vec<f32>), Failure> {
    let (usable, encoded) = encode(embedder, batch, |text| Input::new(prompt, text));
    let mut vectors = vec![0.0; encoded.len() * embedder.dims()];
    embedder.embed_encoded(&encoded, &mut vectors)?;
    Ok((usable, vectors))
}

fn write_row(out: &mut impl Write, format: Format, row: &Row<'_>) -> io::Result<()> {
    match format {
        Format::Text => writeln!(out, "{:.6}\t{}", row.cosine, row.text),
        Format::Jsonl => {
            serde_json::to_writer(&mut *out, row)?;
            writeln!(out)
        }
    }
}
