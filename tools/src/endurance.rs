//! Many threads share one embedder for a long time: no growth, no drift, no wrong vector.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use lanewise::{Embedder, find_model};
use lanewise_testkit::random::Random;

/// Growth of memory after the warm-up that is still none.
const GROWTH: u64 = 1 << 20;
/// How far the speed of the second half may fall below that of the first, as a part of it.
const DRIFT: f64 = 0.1;
/// How long the first reports count as warm-up.
const WARM_UP: Duration = Duration::from_secs(30);
/// Lengths of the texts, in words of a token or two; short ones come more often, and the last is
/// cut to what the model takes, so that it fills a pass.
const WORDS: [usize; 13] = [1, 2, 3, 5, 8, 12, 20, 33, 60, 120, 300, 900, 2048];

/// Texts in the largest batch.
const LARGEST_BATCH: usize = 8;

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Minutes in all, the warm-up of half a minute included
    #[arg(long, default_value_t = 30.0, value_parser = positive)]
    pub minutes: f64,
    /// Threads that share the embedder
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub callers: u32,
    /// Threads of the embedder [default: as many as the machine allows]
    #[arg(short, long)]
    pub threads: Option<usize>,
    /// The model file [default: as `lanewise embed` finds it]
    #[arg(short, long)]
    pub model: Option<PathBuf>,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if (0.1..=100_000.0).contains(&minutes) => Ok(minutes),
        _ => Err("must be a number of minutes from 0.1".into()),
    }
}

/// What was done and seen by one point of time.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    at: Duration,
    calls: u64,
    tokens: u64,
    /// Anonymous memory of the process, in bytes: what it allocated, not the file's pages.
    memory: u64,
}

/// A text and the bits that it must have each time.
struct Expected {
    text: String,
    tokens: usize,
    vector: Vec<f32>,
}

/// Runs for the time asked for, prints a line a minute, and says at the end what grew or drifted.
///
/// # Errors
/// If the model cannot be used, a vector is wrong, memory grew by more than 1 MiB after the
/// warm-up, or the tokens a second of the second half are below those of the first by more than a
/// tenth.
pub fn run(options: &Options, out: &mut impl Write) -> Result<(), String> {
    let mut builder = Embedder::builder();
    if let Some(threads) = options.threads {
        builder = builder.threads(threads);
    }
    let embedder = match &options.model {
        Some(path) => builder.open(path),
        None => find_model().and_then(|path| builder.open(path)),
    };
    let embedder = embedder.map_err(|error| error.to_string())?;
    let expected = expected(&embedder)?;

    let end = Duration::from_secs_f64(60.0 * options.minutes);
    let start = Instant::now();
    let done = AtomicBool::new(false);
    let (calls, tokens) = (AtomicU64::new(0), AtomicU64::new(0));
    let sample = || {
        Ok::<_, String>(Sample {
            at: start.elapsed(),
            calls: calls.load(Relaxed),
            tokens: tokens.load(Relaxed),
            memory: anonymous_memory()?,
        })
    };
    thread::scope(|scope| {
        let call = |seed: u32| {
            let result = call_until(&done, &embedder, &expected, seed.into(), |batch| {
                calls.fetch_add(1, Relaxed);
                tokens.fetch_add(batch, Relaxed);
            });
            // One wrong vector ends the run.
            done.store(result.is_err() || done.load(Relaxed), Relaxed);
            result
        };
        let callers: Vec<_> = (0..options.callers)
            .map(|seed| scope.spawn(move || call(seed)))
            .collect();
        let samples = watch(end, &done, sample, out);
        done.store(true, Relaxed);
        for caller in callers {
            caller.join().map_err(|_| "a caller panicked")??;
        }
        judge(&samples?, out)
    })
}

/// The texts of the run, and their vectors alone.
fn expected(embedder: &Embedder) -> Result<Vec<Expected>, String> {
    let words = [
        "river", "moon", "seven", "the", "of", "quiet", "ngapo", "Bücher", "море", "東京", "42",
        "\n",
    ];
    let mut random = Random(1);
    let texts = (0..10).flat_map(|_| WORDS).map(|count| {
        let text: Vec<&str> = (0..count)
            .map(|_| words[random.below(words.len())])
            .collect();
        text.join(" ")
    });
    texts
        .map(|text| {
            let embedding = embedder.embed(&*text).map_err(|error| error.to_string())?;
            Ok(Expected {
                text,
                tokens: embedding.usage.tokens,
                vector: embedding.vector,
            })
        })
        .collect()
}

/// Embeds texts alone and in batches until `done`, and compares every bit. The first batch is the
/// largest that there can be: chance would bring it after minutes, and the working space that it
/// needs is no growth.
fn call_until(
    done: &AtomicBool,
    embedder: &Embedder,
    expected: &[Expected],
    seed: u64,
    count: impl Fn(u64),
) -> Result<(), String> {
    let mut random = Random(seed);
    let longest = expected.iter().max_by_key(|expected| expected.tokens);
    let mut batch: Vec<&Expected> = longest.into_iter().cycle().take(LARGEST_BATCH).collect();
    while !done.load(Relaxed) {
        let texts: Vec<&str> = batch.iter().map(|expected| &*expected.text).collect();
        let vectors = embedder
            .embed_batch(&texts)
            .map_err(|error| error.to_string())?;
        for (vector, expected) in vectors.iter().zip(&batch) {
            let bits = |vector: &[f32]| vector.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            if bits(&vector.vector) != bits(&expected.vector) {
                let start: String = expected.text.chars().take(60).collect();
                let size = batch.len();
                return Err(format!(
                    "a wrong vector for {start:?}, in a batch of {size}"
                ));
            }
        }
        count(batch.iter().map(|expected| expected.tokens as u64).sum());
        let size = [1, 1, 1, 2, 4, LARGEST_BATCH][random.below(6)];
        batch.clear();
        batch.extend((0..size).map(|_| &expected[random.below(expected.len())]));
    }
    Ok(())
}

/// Takes a sample at the end of the warm-up and then each minute, and prints it.
fn watch(
    end: Duration,
    done: &AtomicBool,
    sample: impl Fn() -> Result<Sample, String>,
    out: &mut impl Write,
) -> Result<Vec<Sample>, String> {
    let mut samples: Vec<Sample> = Vec::new();
    let mut last = sample()?;
    let mut next = WARM_UP.min(end / 4);
    while !done.load(Relaxed) && last.at < end {
        let now = sample()?;
        if now.at < next.min(end) {
            thread::sleep(Duration::from_millis(100));
            continue;
        }
        let seconds = (now.at - last.at).as_secs_f64();
        let rate = (now.tokens - last.tokens) as f64 / seconds;
        let grown = now.memory as i64 - samples.first().unwrap_or(&now).memory as i64;
        writeln!(
            out,
            "{:5.1} min: {:8} calls, {rate:7.0} tokens/s, {:.1} MB of its own, {:+.2} MB since the warm-up",
            now.at.as_secs_f64() / 60.0,
            now.calls,
            now.memory as f64 / 1e6,
            grown as f64 / 1e6,
        )
        .and_then(|()| out.flush())
        .map_err(|error| format!("standard output: cannot write: {error}"))?;
        samples.push(now);
        last = now;
        next = now.at + Duration::from_secs(60).min(end / 4);
    }
    Ok(samples)
}

/// Compares the halves of a run after its warm-up.
fn judge(samples: &[Sample], out: &mut impl Write) -> Result<(), String> {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        return Err("the run ended before its warm-up".into());
    };
    let middle = samples[samples.len() / 2];
    let rate = |from: &Sample, to: &Sample| {
        (to.tokens - from.tokens) as f64 / (to.at - from.at).as_secs_f64().max(1e-3)
    };
    let (before, after) = (rate(first, &middle), rate(&middle, last));
    let grown = last.memory.saturating_sub(first.memory);
    let _ = writeln!(
        out,
        "{} calls, every vector as expected; {before:.0} then {after:.0} tokens/s; memory grew by {:.2} MB",
        last.calls,
        grown as f64 / 1e6
    );
    if grown > GROWTH {
        return Err(format!("memory grew by {grown} bytes"));
    }
    if after < (1.0 - DRIFT) * before {
        return Err("the second half was slower than the first by more than a tenth".into());
    }
    Ok(())
}

/// Anonymous resident memory of this process, in bytes.
fn anonymous_memory() -> Result<u64, String> {
    const PATH: &str = "/proc/self/status";
    let status = fs::read_to_string(PATH).map_err(|error| format!("{PATH}: {error}"))?;
    let kilobytes = status.lines().find_map(|line| {
        line.strip_prefix("RssAnon:")?
            .trim()
            .strip_suffix(" kB")?
            .parse()
            .ok()
    });
    kilobytes
        .map(|kilobytes: u64| kilobytes << 10)
        .ok_or_else(|| format!("{PATH}: RssAnon is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(tokens: [u64; 5], memory: [u64; 5]) -> Vec<Sample> {
        let samples = tokens.into_iter().zip(memory).zip(1..);
        samples
            .map(|((tokens, memory), second)| Sample {
                at: Duration::from_secs(second),
                calls: tokens,
                tokens,
                memory,
            })
            .collect()
    }

    #[test]
    fn growth_and_drift_fail_a_run_and_steady_ones_pass() {
        let steady = [100, 200, 300, 400, 500];
        let judge = |tokens, memory| judge(&samples(tokens, memory), &mut Vec::new());
        assert_eq!(judge(steady, [50 << 20; 5]), Ok(()));
        let growing = [0, 1, 2, 3, 4].map(|n| n * 300_000);
        assert!(judge(steady, growing).unwrap_err().contains("memory grew"));
        let slowing = [100, 200, 300, 350, 400];
        assert!(judge(slowing, [0; 5]).unwrap_err().contains("slower"));
        assert!(super::judge(&[], &mut Vec::new()).is_err());
    }
}
