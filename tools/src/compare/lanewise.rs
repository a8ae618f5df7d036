//! Lanewise as one of the engines.

use std::io;
use std::time::Instant;

use lanewise::Embedder;
use lanewise::internals::Runtime;

use super::engine::{Answer, Job};
use super::text_of;

/// Answers one job from standard input: what [`ENGINE_COMMAND`](super::ENGINE_COMMAND) does.
///
/// # Errors
///
/// If the job cannot be read, or Lanewise cannot do it.
pub fn serve() -> Result<(), String> {
    let job: Job = serde_json::from_reader(io::stdin().lock()).map_err(text_of)?;
    let builder = Embedder::builder().threads(job.threads);
    let settings = builder.runtime_options().map_err(text_of)?;
    // With packed weights where there are some, as a user has them.
    let (model, _) = builder.open_model(&job.model, &settings).map_err(text_of)?;
    let width = model.shape().width;
    let mut runtime = Runtime::new(model, &settings).map_err(text_of)?;
    let mut vectors = Vec::new();
    let mut embed = |texts: &[&[u32]]| {
        vectors.resize(texts.len() * width, 0.0);
        runtime.embed(texts, &mut vectors).map_err(text_of)?;
        Ok::<_, String>(vectors.clone())
    };

    let mut times_ms = Vec::new();
    for case in &job.cases {
        let texts: Vec<&[u32]> = case.iter().map(Vec::as_slice).collect();
        embed(&texts[..1])?;
        let mut times = Vec::new();
        let mut again = true;
        while again {
            let start = Instant::now();
            embed(&texts)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
            let spent_ms: f64 = times.iter().sum();
            again = times.len() < job.runs as usize && spent_ms < job.seconds * 1e3;
        }
        times_ms.push(times);
    }
    let peak_mb = peak_mb().ok_or("/proc/self/status has no VmHWM; compare needs Linux")?;
    let vectors = job.embedded.iter().map(|ids| embed(&[ids]));
    let answer = Answer {
        times_ms,
        peak_mb,
        vectors: vectors.collect::<Result<_, _>>()?,
    };
    serde_json::to_writer(io::stdout().lock(), &answer).map_err(text_of)
}

fn peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}
