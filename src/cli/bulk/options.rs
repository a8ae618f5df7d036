//! The arguments of `lanewise embed` for whole files.

use std::path::PathBuf;

use clap::Args;

use super::input::InputFormat;
use super::memory::parse_bytes;
use super::output::OutputFormat;
use super::progress::ProgressKind;
use super::settings::Shard;
use super::vector::Precision;

/// Files in, a file out.
#[derive(Debug, Args)]
#[command(next_help_heading = "Whole files")]
pub struct BulkOptions {
    /// Files of rows to embed, compressed with gzip or zstd or not; - is standard input
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["texts", "format", "timings"], requires = "output")]
    pub input: Vec<PathBuf>,
    /// File for the vectors, in the order of the rows. While the run lasts, its rows are in FILE.partial, which takes about
    /// as much room again
    #[arg(long, value_name = "FILE", requires = "input")]
    pub output: Option<PathBuf>,
    /// Format of the input [default: what the file's name says]
    #[arg(long, value_enum, value_name = "FORMAT", requires = "input")]
    pub input_format: Option<InputFormat>,
    /// Format of the output [default: what the file's name says]
    #[arg(long, value_enum, value_name = "FORMAT", requires = "input")]
    pub output_format: Option<OutputFormat>,
    /// Column or JSON field with the text; dots lead into nested ones
    #[arg(long, value_name = "NAME", default_value = "text", requires = "input")]
    pub field: String,
    /// Column with the id, which the output has as `id`
    #[arg(long, value_name = "NAME", requires = "input")]
    pub id_field: Option<String>,
    /// Columns to carry along, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "input")]
    pub keep: Vec<String>,
    /// How the values of vectors are stored
    #[arg(long, value_enum, default_value_t = Precision::F32, requires = "input")]
    pub precision: Precision,
    /// Memory that the run may use, the pages of the model file counted
    #[arg(long, value_name = "BYTES", default_value = "1G", value_parser = parse_bytes, requires = "input")]
    pub max_memory: u64,
    /// Continue a run that was interrupted; the output is the same, byte for byte
    #[arg(long, requires = "input", conflicts_with = "force")]
    pub resume: bool,
    /// Replace the output, and an unfinished run's rows
    #[arg(long, requires = "input")]
    pub force: bool,
    /// Embed part i of n only, into FILE.shard-i-of-n for `lanewise merge`
    #[arg(long, value_name = "i/n", default_value_t = Shard::WHOLE, hide_default_value = true, requires = "input")]
    pub shard: Shard,
    /// How progress is shown
    #[arg(long, value_enum, default_value_t = ProgressKind::Auto, requires = "input")]
    pub progress: ProgressKind,
    /// Show neither progress nor summary
    #[arg(long, requires = "input")]
    pub quiet: bool,
}
