//! The threads of a run: one reads and encodes rows, the calling one embeds them (with the engine's
//! own threads), and one writes the spool. Bounded channels between them bound the memory and keep
//! the order of the rows.

mod passes;
mod read;
mod write;

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use crate::batch::{Batch, Origin};
use crate::cancel::CancelToken;
use crate::embed::Embed;
use crate::error::{Error, Result};
use crate::identity::InputWatch;
use crate::input::Rows;
use crate::known::{Known, Place};
use crate::progress::Progress;
use crate::settings::Settings;
use crate::shard::Shard;
use crate::spool::{SpoolWriter, Summary};
use crate::windows::OverflowPolicy;

pub use write::KnownVectors;

/// Batches that wait between two threads. One is enough to absorb a slow moment of either, and each
/// may take much memory.
const WAITING: usize = 1;
/// How soon cancellation is noticed while waiting for input.
const TICK: Duration = Duration::from_millis(200);

/// The settings of the reading thread.
#[derive(Debug, Clone, Copy)]
struct Task {
    /// What to do with texts that are too long.
    overflow: OverflowPolicy,
    /// Which rows are read.
    shard: Shard,
    /// Tokens of a batch at most.
    batch_tokens: usize,
}

/// A batch and its vectors, one per window.
struct Computed<E: Embed> {
    batch: Batch<E>,
    vectors: Vec<f32>,
}

/// Vectors that were not computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Saved {
    /// Those taken from other outputs.
    pub reused: u64,
    /// Those of texts that the input had before.
    pub repeated: u64,
}

impl Saved {
    fn count(&mut self, origin: Origin) {
        match origin {
            Origin::Computed { .. } => {}
            Origin::Known(Place::Reused(_)) => self.reused += 1,
            Origin::Known(Place::Run(_)) => self.repeated += 1,
        }
    }
}

/// The inputs of a run.
pub struct Work<'a, E> {
    /// The model.
    pub embedder: &'a Arc<E>,
    /// The run's settings.
    pub settings: &'a Settings,
    /// How far earlier runs have come.
    pub done: &'a Summary,
    /// Tokens of a batch at most.
    pub batch_tokens: usize,
    /// The input files, whose rows are taken only as long as they stay the same.
    pub watch: InputWatch,
}

/// What the pipeline reads and appends to.
pub struct Files {
    /// The input.
    pub rows: Rows,
    /// The texts whose vectors are known.
    pub known: Known,
    /// Their vectors.
    pub vectors: KnownVectors,
    /// The spool.
    pub spool: SpoolWriter,
}

/// Embeds the rows that follow those in the spool; returns how many vectors were not computed.
///
/// If this is cancelled or fails, what has been computed is in the spool.
pub fn run<E: Embed>(
    work: &Work<'_, E>,
    files: Files,
    cancel: &CancelToken,
    progress: &mut dyn Progress,
) -> Result<Saved> {
    let (embedder, settings, done) = (work.embedder, work.settings, work.done);
    let (to_engine, from_reader) = sync_channel::<Batch<E>>(WAITING);
    let (to_writer, from_engine) = sync_channel::<Computed<E>>(WAITING);
    let first = match done.tally.rows {
        0 => settings.shard.first(),
        _ => done.next_index,
    };
    let task = Task {
        overflow: settings.space.overflow,
        shard: settings.shard,
        batch_tokens: work.batch_tokens,
    };
    let Files {
        rows,
        known,
        vectors,
        spool,
    } = files;
    let reader = read::Reader::new(Arc::clone(embedder), task, rows, known, to_engine);
    let reader = reader.watching(work.watch.clone());
    let reader = spawn("lanewise-read", move || reader.run(first))?;
    let writer = write::Writer::new(settings, embedder.dims(), spool, vectors);
    let writer = spawn("lanewise-write", move || writer.run(from_engine))?;

    let mut saved = Saved::default();
    let mut computed = Ok(());
    let mut passes = passes::Passes::new(&**embedder);
    let mut cancelled = false;
    loop {
        cancelled = cancelled || cancel.is_cancelled();
        if cancelled {
            break;
        }
        let mut batch = match from_reader.recv_timeout(TICK) {
            Ok(batch) => batch,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let mut vectors = vec![0.0; batch.windows.len() * embedder.dims()];
        match passes.embed(&**embedder, &batch.windows, &mut vectors, cancel) {
            Ok(done) if done < batch.windows.len() => {
                batch.truncate(done);
                vectors.truncate(done * embedder.dims());
            }
            Ok(_) => {}
            Err(error) => {
                computed = Err(error);
                break;
            }
        }
        batch.rows.iter().for_each(|row| saved.count(row.origin));
        progress.advance(batch.step());
        if to_writer.send(Computed { batch, vectors }).is_err() {
            break;
        }
    }
    drop((from_reader, to_writer));
    let mut spool = join(writer)?;
    computed.map_err(|error| Error::Embed(Box::new(error)))?;
    if cancelled {
        // The reader is not joined: it may wait for input that never comes, and has nothing to
        // clean up.
        spool.sync()?;
        return Err(Error::Cancelled);
    }
    match join(reader)? {
        Some(total) => spool.end(total)?,
        None => spool.sync()?,
    }
    Ok(saved)
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>> {
    let thread = thread::Builder::new().name(name.into()).spawn(work);
    thread.map_err(|error| Error::argument(format!("the system refuses a thread: {error}")))
}

/// The thread's result; its panic is resumed here.
fn join<T>(thread: thread::JoinHandle<T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
