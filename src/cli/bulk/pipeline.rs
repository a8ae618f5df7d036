//! The threads of a run: one reads rows and makes tokens of them, the calling one computes with the engine's own threads,
//! and one writes the spool. Bounded channels between them keep the memory flat and the order of the rows.

mod read;
mod write;

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use lanewise::{Embedder, Prompt};

use super::batch::Batch;
use super::input::Rows;
use super::interrupt;
use super::progress::Progress;
use super::settings::Settings;
use super::spool::{SpoolWriter, Summary};
use crate::cli::failure::Failure;
use crate::cli::options::OverflowPolicy;

/// Batches that wait between two threads. One is enough that neither waits for a slow moment of the other, and rows of
/// many bytes take memory in each.
const WAITING: usize = 1;
/// How soon Ctrl-C is seen while no row comes.
const TICK: Duration = Duration::from_millis(200);

/// What a run does with every text.
#[derive(Debug, Clone)]
pub struct Task {
    /// The prompt.
    pub prompt: Prompt,
    /// The title that every document gets.
    pub title: Option<String>,
    /// What is done with texts that are too long.
    pub overflow: OverflowPolicy,
    /// Tokens of a batch at most.
    pub batch_tokens: usize,
}

/// Vectors of a batch, one a window.
struct Computed {
    batch: Batch,
    vectors: Vec<f32>,
}

/// How a run ended.
pub enum End {
    /// All rows are in the spool.
    Complete,
    /// Ctrl-C was pressed; what had been computed is in the spool.
    Interrupted,
}

/// Embeds the rows that follow those in the spool.
pub fn run(
    embedder: &Arc<Embedder>,
    task: Task,
    settings: &Settings,
    done: &Summary,
    rows: Rows,
    spool: SpoolWriter,
    progress: &mut Progress,
) -> Result<End, Failure> {
    let (to_engine, from_reader) = sync_channel::<Batch>(WAITING);
    let (to_writer, from_engine) = sync_channel::<Computed>(WAITING);
    let first = match done.tally.rows {
        0 => settings.shard.first(),
        _ => done.next_index,
    };
    let reader = read::Reader::new(Arc::clone(embedder), task, rows, settings.shard, to_engine);
    let reader = spawn("lanewise-read", move || reader.run(first))?;
    let writer = write::Writer::new(settings, embedder.dims(), spool);
    let writer = spawn("lanewise-write", move || writer.run(from_engine))?;

    let mut computed = Ok(());
    let mut interrupted = false;
    loop {
        interrupted = interrupted || interrupt::asked();
        if interrupted {
            break;
        }
        let batch = match from_reader.recv_timeout(TICK) {
            Ok(batch) => batch,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let mut vectors = vec![0.0; batch.windows.len() * embedder.dims()];
        computed = embedder.embed_encoded(&batch.windows, &mut vectors);
        if computed.is_err() {
            break;
        }
        progress.batch(&batch);
        if to_writer.send(Computed { batch, vectors }).is_err() {
            break;
        }
    }
    drop((from_reader, to_writer));
    let mut spool = join(writer)?;
    computed?;
    if interrupted {
        // The reader may wait for input that never comes; it has nothing that would have to be ended.
        spool.sync()?;
        return Ok(End::Interrupted);
    }
    match join(reader)? {
        Some(total) => spool.end(total)?,
        None => spool.sync()?,
    }
    Ok(End::Complete)
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>, Failure> {
    let thread = thread::Builder::new().name(name.into()).spawn(work);
    thread.map_err(|error| Failure::usage(format!("the system refuses a thread: {error}")))
}

/// What the thread returned; its panic goes on here.
fn join<T>(thread: thread::JoinHandle<T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
