//! `lanewise embed`: texts to vectors.

use std::io::{self, BufWriter};
use std::time::{Duration, Instant};

use clap::Args;
use lanewise::{Embedder, Encoded, Input};

use super::Outcome;
use super::failure::{Failure, report};
use super::options::{ModelOptions, OverflowPolicy, PromptOptions, RunOptions, VectorOptions};
use super::output::{Format, Row, Writer};
use super::packed;
use super::texts::{Text, Texts};

const AFTER_HELP: &str = "\
Examples:
  lanewise embed \"Hello world\"
  printf 'one text\\nanother\\n' | lanewise embed --format jsonl";

/// What follows with whole files.
const AFTER_HELP_BULK: &str = "
  printf '{\"id\":1,\"text\":\"one text\"}\\n{\"id\":2,\"text\":\"another\"}\\n' >corpus.jsonl
  lanewise embed --prompt document --input corpus.jsonl --id-field id --output vectors.parquet

Beside OUTPUT there may be OUTPUT.rejects.jsonl (rows without a vector, and why), OUTPUT.ids.jsonl \
(what goes with the rows of .npy) and OUTPUT.meta.json (what the vectors are, for formats that \
cannot say it themselves). A run that was interrupted in any way goes on with the same command and \
--resume, if input, model and settings are the same; an output that is complete is recognized. No \
input is written over, and no file that a run did not write without --force.";

/// Print the vectors of texts, or embed whole files
///
/// The texts are the arguments or, without any, the lines of standard input, which are embedded as
/// they come. A text may be empty. With --input and --output, the rows of files.
#[derive(Debug, Args)]
#[command(after_help = after_help())]
pub struct Arguments {
    /// Texts to embed; without any, one a line is read from standard input. One that begins with a
    /// hyphen comes after --
    texts: Vec<String>,
    #[command(flatten)]
    prompt: PromptOptions,
    /// How vectors are written
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// What to do with texts of more tokens than the model reads (`lanewise info` shows how many)
    #[arg(long, value_enum, default_value_t = OverflowPolicy::Truncate)]
    overflow: OverflowPolicy,
    #[command(flatten)]
    vector: VectorOptions,
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    run: RunOptions,
    /// Print on standard error where the time from start to exit went
    #[arg(long)]
    timings: bool,
    #[cfg(feature = "bulk")]
    #[command(flatten)]
    files: super::embed_files::FileOptions,
}

fn after_help() -> String {
    match cfg!(feature = "bulk") {
        true => [AFTER_HELP, AFTER_HELP_BULK].concat(),
        false => AFTER_HELP.into(),
    }
}

/// Time spent on all texts together.
#[derive(Default)]
struct Times {
    read: Duration,
    encode: Duration,
    forward: Duration,
    write: Duration,
}

/// Adds the time that `work` takes to `total`.
fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *total += start.elapsed();
    result
}

/// Runs the command in a process that began at `start`.
pub fn run(arguments: &Arguments, start: Instant) -> Result<Outcome, Failure> {
    let title = arguments.prompt.title()?;
    #[cfg(feature = "bulk")]
    if !arguments.files.input.is_empty() {
        return super::embed_files::run(&super::embed_files::Arguments {
            files: &arguments.files,
            prompt: &arguments.prompt,
            title,
            overflow: arguments.overflow,
            vector: &arguments.vector,
            model: &arguments.model,
            run: &arguments.run,
        });
    }
    let run = &arguments.run;
    let builder = arguments.prompt.apply(run.builder_that_writes_later()?)?;
    let builder = arguments.vector.apply(builder);
    let embedder = builder
        .overflow(arguments.overflow.try_into()?)
        .open(arguments.model.path()?)?;
    packed::report_ignored(embedder.packed_state());
    // Once, and not for every text, if the model does not know the prompt.
    embedder.prompt_text(arguments.prompt.prompt, title)?;

    let mut times = Times::default();
    let mut outcome = Outcome::Complete;
    let mut texts = Texts::new(&arguments.texts, 1);
    let out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut writer =
        Writer::new(out, arguments.format, embedder.dims()).map_err(Failure::output)?;
    let mut vectors = Vec::new();
    while let Some(batch) = timed(&mut times.read, || texts.next_batch())? {
        let (usable, encoded) = timed(&mut times.encode, || {
            encode(&embedder, &batch, |text| Input {
                title,
                ..Input::new(arguments.prompt.prompt, text)
            })
        });
        if usable.len() < batch.len() {
            outcome = Outcome::SomeTextsFailed;
        }
        vectors.resize(encoded.len() * embedder.dims(), 0.0);
        timed(&mut times.forward, || {
            embedder.embed_encoded(&encoded, &mut vectors)
        })?;
        timed(&mut times.write, || -> io::Result<()> {
            let embedded = encoded.iter().zip(vectors.chunks_exact(embedder.dims()));
            let mut rows = usable.iter().zip(embedded).peekable();
            for text in &batch {
                match rows.next_if(|(usable, _)| usable.index == text.index) {
                    Some((_, (encoded, embedding))) => writer.row(&Row {
                        index: text.index,
                        tokens: encoded.usage().tokens,
                        embedding,
                    })?,
                    None => writer.gap()?,
                }
            }
            writer.flush()
        })
        .map_err(Failure::output)?;
    }
    timed(&mut times.write, || writer.finish()).map_err(Failure::output)?;
    if arguments.timings {
        print_timings(&embedder, &times, start.elapsed());
    }
    // After all output, which waits for nothing.
    packed::write(&embedder, run.packed_weights()?);
    Ok(outcome)
}

/// Those texts that can be embedded, and their tokens; the others, and those that are too long, are
/// reported.
pub fn encode<'a>(
    embedder: &Embedder,
    batch: &'a [Text],
    input: impl Fn(&'a str) -> Input<'a>,
) -> (Vec<&'a Text>, Vec<Encoded>) {
    let encode = |text: &'a Text| {
        let content = text.content.as_ref().map_err(String::clone)?;
        embedder
            .encode(input(content))
            .map_err(|error| error.to_string())
    };
    let (mut texts, mut all) = (Vec::new(), Vec::new());
    for text in batch {
        match encode(text) {
            Ok(encoded) => {
                if encoded.usage().truncated {
                    report(format_args!(
                        "{}: is too long, only its first {} tokens are embedded",
                        text.place(),
                        encoded.usage().tokens
                    ));
                }
                texts.push(text);
                all.push(encoded);
            }
            Err(problem) => report(format_args!("{}: {problem}; left out", text.place())),
        }
    }
    (texts, all)
}

/// One line, so that a script can collect those of many runs.
fn print_timings(embedder: &Embedder, times: &Times, total: Duration) {
    let opening = embedder.opening_times();
    let parts = [
        ("map file", opening.map),
        ("index tokens", opening.index),
        ("start threads", opening.start),
        ("read", times.read),
        ("encode", times.encode),
        ("forward", times.forward),
        ("write", times.write),
    ];
    let known: Duration = parts.iter().map(|&(_, time)| time).sum();
    let rest = [("other", total.saturating_sub(known)), ("total", total)];
    let line: Vec<String> = parts
        .iter()
        .chain(&rest)
        .map(|(name, time)| format!("{name} {:.3}", 1e3 * time.as_secs_f64()))
        .collect();
    report(format_args!("ms: {}", line.join(", ")));
}
