//! The command that writes a tiny model.

use std::path::PathBuf;

use lanewise_testkit::gguf_writer::Encoding;
use lanewise_testkit::tiny_model;

/// What the model is like.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The GGUF file to write
    out: PathBuf,
    /// How matrices are stored; norms are always f32
    #[arg(long = "type", value_enum, default_value_t = Matrices::Q8_0)]
    encoding: Matrices,
    /// Leave the two dense heads out
    #[arg(long)]
    no_dense: bool,
    /// Leave rope.freq_base_swa out
    #[arg(long)]
    no_swa_base: bool,
    /// Another seed gives other weights
    #[arg(long, default_value_t = tiny_model::Options::default().seed)]
    seed: u64,
    /// Layers; every sixth is global
    #[arg(long, default_value_t = tiny_model::Options::default().layers, value_parser = clap::value_parser!(u32).range(1..=64))]
    layers: u32,
    /// Values of an embedding; a multiple of 32
    #[arg(long, default_value_t = tiny_model::Options::default().hidden, value_parser = parse_multiple_of_32)]
    hidden: u32,
    /// Values between the halves of a feed-forward layer; a multiple of 32
    #[arg(long, default_value_t = tiny_model::Options::default().feed_forward, value_parser = parse_multiple_of_32)]
    feed_forward: u32,
    /// Query heads
    #[arg(long, default_value_t = tiny_model::Options::default().heads, value_parser = clap::value_parser!(u32).range(1..=64))]
    heads: u32,
    /// Key/value heads; must divide the query heads
    #[arg(long, default_value_t = tiny_model::Options::default().kv_heads, value_parser = clap::value_parser!(u32).range(1..=64))]
    kv_heads: u32,
    /// Values of a head; a multiple of 32
    #[arg(long, default_value_t = tiny_model::Options::default().head_dim, value_parser = parse_multiple_of_32)]
    head_dim: u32,
    /// Positions at most
    #[arg(long, default_value_t = tiny_model::Options::default().context, value_parser = clap::value_parser!(u32).range(3..=131_072))]
    context: u32,
    /// Window of local layers, halved to each side
    #[arg(long, default_value_t = tiny_model::Options::default().sliding_window, value_parser = clap::value_parser!(u32).range(1..=131_072))]
    sliding_window: u32,
}

/// How matrices are stored.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Matrices {
    #[value(name = "q8_0")]
    Q8_0,
    F32,
    F16,
    Bf16,
}

fn parse_multiple_of_32(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(number @ 1..=4096) if u32::is_multiple_of(number, 32) => Ok(number),
        _ => Err("must be a multiple of 32 from 32 to 4096".into()),
    }
}

/// Writes the model.
///
/// # Errors
/// If the file cannot be written.
pub fn run(options: &Options) -> Result<(), String> {
    let encoding = match options.encoding {
        Matrices::Q8_0 => Encoding::Q8_0,
        Matrices::F32 => Encoding::F32,
        Matrices::F16 => Encoding::F16,
        Matrices::Bf16 => Encoding::Bf16,
    };
    let model = tiny_model::Options {
        encoding,
        no_dense: options.no_dense,
        no_swa_base: options.no_swa_base,
        seed: options.seed,
        layers: options.layers,
        hidden: options.hidden,
        feed_forward: options.feed_forward,
        heads: options.heads,
        kv_heads: options.kv_heads,
        head_dim: options.head_dim,
        context: options.context,
        sliding_window: options.sliding_window,
    };
    tiny_model::write(&options.out, &model)
        .map_err(|error| format!("{}: cannot write: {error}", options.out.display()))
}
