//! What measures, compares, converts and checks Lanewise.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lanewise_tools::{
    asmcheck, compare, corpus, endurance, hostile, icount, instructions, neighbor, roofline,
    schedule, search_bench, tiny_model,
};

#[derive(Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a small model of EmbeddingGemma's architecture, with pseudo-random weights, for tests
    TinyModel(tiny_model::Options),
    /// Make malformed models, and check that each is refused with a clear message
    Hostile(hostile::Options),
    /// Write a corpus of generated documents in ten languages, to try bulk work on
    Corpus(corpus::Options),
    /// Hold the forward pass against the machine's read bandwidth and INT8 peak
    Roofline(roofline::Options),
    /// Forecast how well any number of threads would share the work of a layer
    #[command(after_help = schedule::AFTER_HELP)]
    Schedule(schedule::Options),
    /// Hold exact vector search against the machine's read bandwidth and INT8 peak, and against FAISS
    SearchBench(search_bench::Options),
    /// Run Lanewise and other engines, llama.cpp first of all, in turns on the same file, texts and
    /// threads
    #[command(after_help = compare::AFTER_HELP)]
    Compare(compare::Options),
    /// Embed from several threads for minutes, and watch memory, speed and every vector
    Endurance(endurance::Options),
    /// Time a short text while another thread takes a CPU
    #[command(alias = "neighbour")]
    Neighbor(neighbor::Options),
    /// Lanewise as one of the engines of compare
    #[command(name = compare::ENGINE_COMMAND, hide = true)]
    CompareEngine,
    /// Count the instructions of the AVX-VNNI and AVX-512 kernels by single-stepping them
    Icount(icount::Options),
    /// A kernel that icount steps
    #[command(name = icount::CHILD_COMMAND, hide = true)]
    IcountChild(icount::ChildOptions),
    /// Read the compiled code and hold each kernel's loops to what the committed table claims
    Asmcheck(asmcheck::Options),
    /// Count the instructions of scalar and AVX2 kernels under valgrind, and compare or accept
    Instructions(instructions::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::TinyModel(options) => tiny_model::run(&options),
        Command::Hostile(options) => hostile::run(&options).map(|list| print!("{list}")),
        Command::Corpus(options) => corpus::write(&options),
        Command::Roofline(options) => run_roofline(&options),
        Command::Schedule(options) => schedule::run(&options).map(|tables| print!("{tables}")),
        Command::SearchBench(options) => {
            search_bench::measure(&options).map(|report| print!("{report}"))
        }
        Command::Compare(options) => compare::compare(&options).map(|table| print!("{table}")),
        Command::Endurance(options) => endurance::run(&options, &mut std::io::stdout()),
        Command::Neighbor(options) => neighbor::measure(&options)
            .map(|report| print!("{report}"))
            .map_err(|error| error.to_string()),
        Command::CompareEngine => compare::serve(),
        Command::Icount(options) => icount::run(options).map(|text| print!("{text}")),
        Command::IcountChild(options) => icount::run_child(&options),
        Command::Asmcheck(options) => asmcheck::run(&options).map(|text| print!("{text}")),
        Command::Instructions(options) => instructions::run(options).map(|text| print!("{text}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("lanewise-tools: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run_roofline(options: &roofline::Options) -> Result<(), String> {
    let report = roofline::measure(options).map_err(|error| error.to_string())?;
    if options.json {
        let json = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
        println!("{json}");
    } else {
        print!("{report}");
    }
    Ok(())
}
