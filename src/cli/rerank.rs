//! `lanewise rerank`: texts in the order in which they answer a query.

use std::io::{self, BufWriter, Write};

use clap::{Args, ValueEnum};
use lanewise::{Reranker, Score};
use serde::Serialize;

use super::Outcome;
use super::failure::{Failure, report};
use super::options::{ModelOptions, OverflowPolicy, RunOptions};
use super::texts::{Text, Texts};

/// Put texts into the order in which they answer a query, with a reranker
///
/// A reranker reads the query together with each text, which takes longer than comparing vectors and is more
/// exact: give it the best texts of a search. The model is one such as ms-marco-MiniLM or bge-reranker, made
/// by `lanewise convert` from its directory. Without texts as arguments they are read from standard input,
/// one a line.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  lanewise rerank -m reranker.gguf \"largest moons\" \"Jupiter has four.\" \"A river arrives.\""
)]
pub struct Arguments {
    /// What is looked for. A query or text that begins with a hyphen comes after --
    query: String,
    /// The texts to be put into order
    texts: Vec<String>,
    /// Print the texts in the order given, instead of the best first
    #[arg(long)]
    keep_order: bool,
    /// Print at most this many, the best
    #[arg(long, value_name = "N", conflicts_with = "keep_order")]
    top: Option<usize>,
    /// Print scores before the function that makes them numbers from 0 to 1
    #[arg(long)]
    logits: bool,
    /// How results are written
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// What happens to a text that is too long together with the query
    #[arg(long, value_enum, default_value_t = OverflowPolicy::Truncate)]
    overflow: OverflowPolicy,
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    run: RunOptions,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// The score, a tab and the text on one line
    Text,
    /// An object with index, score, logit, tokens and text on one line; the first text has index 0
    Jsonl,
}

/// A scored text.
#[derive(Serialize)]
struct Row {
    index: usize,
    score: f32,
    logit: f32,
    tokens: usize,
    text: String,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let builder = arguments.run.builder();
    let reranker = builder
        .overflow(arguments.overflow.try_into()?)
        .open_reranker(arguments.model.path()?)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut texts = Texts::new(&arguments.texts, 1);
    let mut outcome = Outcome::Complete;
    let mut ranked: Vec<Row> = Vec::new();
    while let Some(batch) = texts.next_batch()? {
        let (rows, complete) = score(&reranker, &arguments.query, batch)?;
        if !complete {
            outcome = Outcome::SomeTextsFailed;
        }
        if arguments.keep_order {
            for row in &rows {
                write_row(&mut out, arguments, row).map_err(Failure::output)?;
            }
            out.flush().map_err(Failure::output)?;
            continue;
        }
        ranked.extend(rows);
        // A stable sort: equals stay in their order.
        ranked.sort_by(|a, b| b.logit.total_cmp(&a.logit));
        ranked.truncate(arguments.top.unwrap_or(usize::MAX));
    }
    for row in &ranked {
        write_row(&mut out, arguments, row).map_err(Failure::output)?;
    }
    out.flush().map_err(Failure::output)?;
    Ok(outcome)
}

/// The scores of those texts that can be scored, and whether these are all; the others, and those that are
/// too long, are reported.
fn score(reranker: &Reranker, query: &str, batch: Vec<Text>) -> Result<(Vec<Row>, bool), Failure> {
    let count = batch.len();
    let mut usable = Vec::with_capacity(count);
    for text in batch {
        let (index, place) = (text.index, text.place());
        let problem = match text.content {
            Ok(content) => match reranker.check(query, &content) {
                Ok(()) => {
                    usable.push((index, place, content));
                    continue;
                }
                Err(error) => error.to_string(),
            },
            Err(problem) => problem,
        };
        report(format_args!("{place}: {problem}; left out"));
    }
    let contents: Vec<&str> = usable.iter().map(|(_, _, text)| text.as_str()).collect();
    let scores = reranker.score(query, &contents)?;
    let complete = usable.len() == count;
    let rows = usable.into_iter().zip(scores);
    let rows = rows.map(
        |(
            (index, place, text),
            Score {
                score,
                logit,
                usage,
            },
        )| {
            if usage.truncated {
                report(format_args!(
                    "{place}: is too long together with the query, only {} tokens of both are read",
                    usage.tokens
                ));
            }
            Row {
                index,
                score,
                logit,
                tokens: usage.tokens,
                text,
            }
        },
    );
    Ok((rows.collect(), complete))
}

fn write_row(out: &mut impl Write, arguments: &Arguments, row: &Row) -> io::Result<()> {
    match arguments.format {
        Format::Text => {
            let score = if arguments.logits {
                row.logit
            } else {
                row.score
            };
            writeln!(out, "{score:.6}\t{}", row.text)
        }
        Format::Jsonl => {
            serde_json::to_writer(&mut *out, row)?;
            writeln!(out)
        }
    }
}
