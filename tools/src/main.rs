//! What measures, compares, converts and checks Lanewise.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lanewise_tools::tiny_model;

#[derive(Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a small model of EmbeddingGemma's architecture, with pseudo-random weights, for tests
    TinyModel {
        /// The GGUF file to write
        out: PathBuf,
        #[command(flatten)]
        options: tiny_model::Options,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::TinyModel { out, options } => tiny_model::write(&out, &options)
            .map_err(|error| format!("{}: cannot write: {error}", out.display())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("lanewise-tools: {message}");
            ExitCode::FAILURE
        }
    }
}
