//! `lanewise tokenize`: what the model reads of texts.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use lanewise::internals::gguf::Gguf;
use lanewise::internals::models::{FAMILIES, Family};
use lanewise::internals::tokenizer::Tokenizer;
use serde::Serialize;

use super::Outcome;
use super::failure::{Failure, report};
use super::options::{ModelOptions, PromptOptions};
use super::texts::Texts;

/// Print the tokens of texts, without the special ones at both ends
///
/// The texts are the arguments or, without any, the lines of standard input. The model file needs
/// to have a vocabulary only.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lanewise tokenize \"Hello world\"\n  lanewise tokenize -- \"-1 degrees\""
)]
pub struct Arguments {
    /// Texts to cut into tokens; without any, one a line is read from standard input. One that begins
    /// with a hyphen comes after --
    texts: Vec<String>,
    #[command(flatten)]
    prompt: PromptOptions,
    /// How tokens are written
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    model: ModelOptions,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Each token's id and quoted piece; the tokens of a text on one line
    Text,
    /// An object with index, ids and pieces on one line
    Jsonl,
}

#[derive(Serialize)]
struct Row<'a> {
    index: usize,
    ids: &'a [u32],
    pieces: Vec<String>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let title = arguments.prompt.title()?;
    let gguf = Arc::new(Gguf::open(arguments.model.path()?)?);
    // A file with nothing but a vocabulary may name no architecture.
    let family = Family::of(&gguf).unwrap_or(FAMILIES[0]);
    let tokenizer = (family.tokenizer)(Arc::clone(&gguf))?;
    let mut prompts = (family.prompts)(&gguf)?;
    if let Some(instruction) = arguments.prompt.instruction()? {
        prompts.instruct(instruction)?;
    }
    let prompt = arguments.prompt.prompt;
    prompts.text(prompt, title)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut outcome = Outcome::Complete;
    let mut texts = Texts::new(&arguments.texts, 1);
    let mut ids = Vec::new();
    while let Some(batch) = texts.next_batch()? {
        for text in batch {
            ids.clear();
            match &text.content {
                Ok(content) => {
                    tokenizer.encode(&prompts.prompted(prompt, title, content)?, &mut ids);
                }
                Err(problem) => {
                    report(format_args!("{}: {problem}; left out", text.place()));
                    outcome = Outcome::SomeTextsFailed;
                    if matches!(arguments.format, Format::Jsonl) {
                        continue;
                    }
                }
            }
            let row = Row {
                index: text.index,
                ids: &ids,
                pieces: ids.iter().map(|&id| piece(&*tokenizer, id)).collect(),
            };
            write_row(&mut out, arguments.format, &row).map_err(Failure::output)?;
        }
        gguf.check_unchanged()?;
        out.flush().map_err(Failure::output)?;
    }
    Ok(outcome)
}

fn piece(tokenizer: &dyn Tokenizer, id: u32) -> String {
    String::from_utf8_lossy(tokenizer.piece(id).unwrap_or_default()).into_owned()
}

fn write_row(out: &mut impl Write, format: Format, row: &Row<'_>) -> io::Result<()> {
    match format {
        Format::Text => {
            for (i, (id, piece)) in row.ids.iter().zip(&row.pieces).enumerate() {
                let separator = if i == 0 { "" } else { "  " };
                write!(out, "{separator}{id} ")?;
                serde_json::to_writer(&mut *out, piece)?;
            }
            writeln!(out)
        }
        Format::Jsonl => {
            serde_json::to_writer(&mut *out, row)?;
            writeln!(out)
        }
    }
}
