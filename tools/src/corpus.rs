//! A corpus to try bulk work on: documents in ten languages with an id and a few columns, the same
//! for the same seed.

mod languages;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use clap::{Args, ValueEnum};
use lanewise_testkit::random::Random;
use languages::LANGUAGES;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde::Serialize;

/// The shortest document in tokens, `<bos>` and `<eos>` included; words are counted, so it is about
/// that.
const SHORTEST: u32 = 8;
const SENTENCE_WORDS: usize = 12;
/// Rows of a Parquet row group.
const GROUP_ROWS: usize = 10_000;

/// What to generate.
#[derive(Debug, Args)]
pub struct Options {
    /// The file to write
    out: PathBuf,
    /// How many documents
    #[arg(long, default_value_t = 100_000)]
    rows: u64,
    #[arg(long, value_enum)]
    format: Format,
    /// About how many tokens the longest documents have, the shortest having 8
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(i64::from(SHORTEST)..))]
    longest: u32,
    /// Another seed gives other documents
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// How documents are written. Lines have the text only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Parquet,
    Jsonl,
    Csv,
    Lines,
}

#[derive(Debug, PartialEq, Serialize)]
struct Document {
    id: String,
    text: String,
    language: &'static str,
    year: i64,
    rating: f64,
}

/// Writes the corpus.
pub fn write(options: &Options) -> Result<(), String> {
    let result = File::create(&options.out).and_then(|file| {
        let documents = (0..options.rows).map(|row| document(options.seed, row, options.longest));
        let writer = BufWriter::new(file);
        match options.format {
            Format::Parquet => write_parquet(writer, documents),
            Format::Jsonl => write_jsonl(writer, documents),
            Format::Csv => write_csv(writer, documents),
            Format::Lines => write_lines(writer, documents),
        }
    });
    result.map_err(|error| cannot_write(&options.out, &error))
}

fn cannot_write(out: &Path, error: &io::Error) -> String {
    format!("{}: cannot write: {error}", out.display())
}

/// A document of a log-uniform length: many short ones, few long ones, as in most collections.
fn document(seed: u64, row: u64, longest: u32) -> Document {
    let mut random = Random(seed ^ row.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let language = &LANGUAGES[random.below(LANGUAGES.len())];
    let (shortest, longest) = (f64::from(SHORTEST), f64::from(longest));
    let tokens = shortest * (longest / shortest).powf(random.fraction());
    let words = ((tokens - 2.0) / language.tokens_per_word).max(1.0) as usize;
    let mut text = String::new();
    let mut sentence = 0;
    for word in 0..words {
        if sentence > 0 {
            text += language.space;
        }
        // The square makes the first words of the list the common ones.
        let rank = random.fraction().powi(2) * language.words.len() as f64;
        text += language.words[rank as usize];
        sentence += 1;
        if word + 1 == words || sentence > 3 && random.below(SENTENCE_WORDS) == 0 {
            text += language.stop;
            sentence = 0;
        }
    }
    text.truncate(text.trim_end().len());
    Document {
        id: format!("doc-{row:08}"),
        text,
        language: language.code,
        year: 1950 + random.below(75) as i64,
        rating: random.below(501) as f64 / 100.0,
    }
}

fn write_lines(mut out: impl Write, documents: impl Iterator<Item = Document>) -> io::Result<()> {
    for document in documents {
        writeln!(out, "{}", document.text)?;
    }
    out.flush()
}

fn write_jsonl(mut out: impl Write, documents: impl Iterator<Item = Document>) -> io::Result<()> {
    for document in documents {
        serde_json::to_writer(&mut out, &document)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn write_csv(out: impl Write, documents: impl Iterator<Item = Document>) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    for document in documents {
        writer.serialize(document)?;
    }
    writer.flush()
}

fn write_parquet(
    out: impl Write + Send,
    documents: impl Iterator<Item = Document>,
) -> io::Result<()> {
    let mut documents = documents.peekable();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(Default::default()))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .build();
    let schema = record_batch(&[])?.schema();
    let mut writer = ArrowWriter::try_new(out, schema, Some(properties))?;
    while documents.peek().is_some() {
        let group: Vec<Document> = documents.by_ref().take(GROUP_ROWS).collect();
        writer.write(&record_batch(&group)?)?;
    }
    writer.close()?;
    Ok(())
}

fn record_batch(documents: &[Document]) -> io::Result<RecordBatch> {
    let strings = |of: fn(&Document) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(documents.iter().map(of)))
    };
    let years = documents.iter().map(|document| document.year);
    let ratings = documents.iter().map(|document| document.rating);
    let batch = RecordBatch::try_from_iter([
        ("id", strings(|document| &document.id)),
        ("text", strings(|document| &document.text)),
        ("language", strings(|document| document.language)),
        ("year", Arc::new(Int64Array::from_iter_values(years))),
        ("rating", Arc::new(Float64Array::from_iter_values(ratings))),
    ]);
    batch.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_depends_on_seed_and_row_only() {
        assert_eq!(document(7, 3, 256), document(7, 3, 256));
        assert_ne!(document(7, 3, 256).text, document(8, 3, 256).text);
        assert_ne!(document(7, 3, 256).text, document(7, 4, 256).text);
    }

    #[test]
    fn every_language_and_length_occurs() {
        let documents: Vec<Document> = (0..1000).map(|row| document(0, row, 256)).collect();
        for language in &LANGUAGES {
            assert!(
                documents
                    .iter()
                    .any(|document| document.language == language.code)
            );
        }
        let shortest = documents.iter().map(|document| document.text.len()).min();
        let longest = documents.iter().map(|document| document.text.len()).max();
        assert!(shortest < Some(60) && longest > Some(900));
        assert!(
            documents
                .iter()
                .all(|document| !document.text.contains('\n'))
        );
    }
}
