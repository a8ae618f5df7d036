//! How well threads would share the work of a pass: from the code that cuts it into tasks, for any
//! number of threads, on any machine.

use std::fmt::Write as _;
use std::path::PathBuf;

use lanewise::find_model;
use lanewise::internals::engine::{Batch, Job};
use lanewise::internals::models::{self, Model};
use lanewise_pool::MAX_THREADS;
use lanewise_testkit::texts::text;

/// Said after the options.
pub const AFTER_HELP: &str = "\
balance     mean work / most work of a thread, in multiply-adds or, where there are none, in values
efficiency  time of one thread / (threads × time), time being that of the kernels in multiply-adds,
            packing included, with threads that are equally fast and begin each job at once
share       of the time of a layer";

/// What to forecast.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Numbers of threads
    #[arg(short, long, value_delimiter = ',', default_value = "2,12,32,96", value_parser = clap::value_parser!(u16).range(1..=MAX_THREADS as i64))]
    threads: Vec<u16>,
    /// Lengths of the text, in tokens, both ends counted
    #[arg(long, value_delimiter = ',', default_value = "4,16,128,512,2048", value_parser = clap::value_parser!(u32).range(2..=2048))]
    tokens: Vec<u32>,
    /// The model file [default: as `lanewise embed` finds it]
    #[arg(short, long)]
    model: Option<PathBuf>,
}

/// The jobs of the same name, of all layers together.
struct Row {
    name: &'static str,
    tasks: usize,
    /// The worst of them.
    balance: f64,
    /// Of one thread, and of all.
    times: [u64; 2],
}

/// A table for each number of threads and tokens.
///
/// # Errors
///
/// If the model cannot be read, or takes no text of that length.
pub fn run(options: &Options) -> Result<String, String> {
    let path = options.model.clone().map_or_else(find_model, Ok);
    let model = path.and_then(models::open).map_err(text_of)?;
    let mut out = String::new();
    for &threads in &options.threads {
        for &tokens in &options.tokens {
            let rows = rows(&*model, threads.into(), tokens as usize)?;
            write_table(&mut out, &rows, threads.into(), tokens).map_err(text_of)?;
        }
    }
    Ok(out)
}

fn rows(model: &dyn Model, threads: usize, tokens: usize) -> Result<Vec<Row>, String> {
    let shape = model.shape();
    let ids = text(tokens, shape.vocabulary, 0);
    let jobs = |threads, layer| -> Result<Vec<Job>, String> {
        let mut batch = Batch::default();
        batch.set(0, &[&ids], shape, threads).map_err(text_of)?;
        Ok(model.jobs_of_layer(&batch, threads, layer))
    };
    let mut rows: Vec<Row> = Vec::new();
    for layer in 0..model.summary().layers {
        for (job, alone) in jobs(threads, layer)?.iter().zip(jobs(1, layer)?) {
            let times = [alone.time(1), job.time(threads)];
            let balance = job.balance(threads);
            match rows.iter_mut().find(|row| row.name == job.name) {
                Some(row) => {
                    row.balance = row.balance.min(balance);
                    row.times = [0, 1].map(|which| row.times[which] + times[which]);
                }
                None => rows.push(Row {
                    name: job.name,
                    tasks: job.tasks.len(),
                    balance,
                    times,
                }),
            }
        }
    }
    Ok(rows)
}

fn write_table(
    out: &mut String,
    rows: &[Row],
    threads: usize,
    tokens: u32,
) -> Result<(), std::fmt::Error> {
    let sum = |which: usize| rows.iter().map(|row| row.times[which]).sum::<u64>();
    let efficiency = |[alone, shared]: [u64; 2]| alone as f64 / (threads as f64 * shared as f64);
    let title = format!("{threads} threads, {tokens} tokens");
    writeln!(out, "{title:26} tasks  balance  efficiency  share")?;
    for row in rows {
        writeln!(
            out,
            "{:26} {:5} {:8.2} {:11.2} {:5.0} %",
            row.name,
            row.tasks,
            row.balance,
            efficiency(row.times),
            100.0 * row.times[1] as f64 / sum(1) as f64,
        )?;
    }
    let whole = efficiency([sum(0), sum(1)]);
    writeln!(out, "{:26} {whole:26.2}   100 %\n", "a layer")
}

fn text_of(error: impl std::fmt::Display) -> String {
    error.to_string()
}
