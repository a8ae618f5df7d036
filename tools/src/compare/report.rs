//! What the comparison found, as a table and as JSON.

use std::fmt;

use serde::Serialize;

use super::engine::{Answer, Job};

/// The result, engine after engine in the order of `--engines`.
#[derive(Debug, Serialize)]
pub struct Report {
    threads: usize,
    cases: Vec<Case>,
    engines: Vec<Summary>,
}

/// A text or batch.
#[derive(Debug, Serialize)]
struct Case {
    texts: usize,
    tokens: usize,
    results: Vec<Timing>,
}

/// A case on an engine.
#[derive(Debug, Serialize)]
struct Timing {
    engine: &'static str,
    median_ms: f64,
    tokens_per_s: f64,
    /// The median divided by that of the first engine.
    ratio: f64,
    /// How many runs, over all turns, the median is of.
    runs: usize,
}

/// What is known of an engine beside times.
#[derive(Debug, Serialize)]
struct Summary {
    engine: &'static str,
    peak_mb: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cosine: Option<Cosine>,
}

/// Over all texts whose float32 vectors were given.
#[derive(Debug, Serialize)]
struct Cosine {
    mean: f64,
    minimum: f64,
}

impl Report {
    /// Puts together what each engine answered in each turn; vectors stand in the first answers.
    pub fn new<'a>(
        job: &Job,
        engines: impl Iterator<Item = (&'static str, &'a Vec<Answer>)>,
        golden: &[Vec<f32>],
    ) -> Self {
        let mut cases: Vec<Case> = job
            .cases
            .iter()
            .map(|texts| Case {
                texts: texts.len(),
                tokens: texts.iter().map(Vec::len).sum(),
                results: Vec::new(),
            })
            .collect();
        let mut summaries = Vec::new();
        for (engine, answers) in engines {
            for (index, case) in cases.iter_mut().enumerate() {
                let all = answers.iter().flat_map(|answer| &answer.times_ms[index]);
                let mut times: Vec<f64> = all.copied().collect();
                times.sort_by(f64::total_cmp);
                let median_ms = times[times.len() / 2];
                let first_ms = case
                    .results
                    .first()
                    .map_or(median_ms, |first| first.median_ms);
                case.results.push(Timing {
                    engine,
                    median_ms,
                    tokens_per_s: case.tokens as f64 / median_ms * 1e3,
                    ratio: median_ms / first_ms,
                    runs: times.len(),
                });
            }
            let peaks = answers.iter().map(|answer| answer.peak_mb);
            let vectors = answers.iter().flat_map(|answer| &answer.vectors);
            summaries.push(Summary {
                engine,
                peak_mb: peaks.fold(0.0, f64::max),
                cosine: Cosine::of(vectors.zip(golden)),
            });
        }
        Report {
            threads: job.threads,
            cases,
            engines: summaries,
        }
    }
}

impl Cosine {
    fn of<'a>(pairs: impl Iterator<Item = (&'a Vec<f32>, &'a Vec<f32>)>) -> Option<Self> {
        let cosines: Vec<f64> = pairs.map(|(left, right)| cosine(left, right)).collect();
        let minimum = cosines.iter().copied().min_by(f64::total_cmp)?;
        Some(Cosine {
            mean: cosines.iter().sum::<f64>() / cosines.len() as f64,
            minimum,
        })
    }
}

/// The cosine of vectors of any length: [`lanewise::cosine`] takes unit ones.
fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let product = |a: &[f32], b: &[f32]| -> f64 {
        let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
        products.sum()
    };
    product(left, right) / (product(left, left) * product(right, right)).sqrt()
}

/// A table for people, a column an engine.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} threads; median ms and, in brackets, that divided by the first engine's\n",
            self.threads
        )?;
        write!(f, "{:>12}", "tokens")?;
        for summary in &self.engines {
            write!(f, " {:>20}", summary.engine)?;
        }
        for case in &self.cases {
            let name = match case.texts {
                1 => case.tokens.to_string(),
                texts => format!("{} in {texts}", case.tokens),
            };
            write!(f, "\n{name:>12}")?;
            for timing in &case.results {
                write!(f, " {:11.2} ({:6.2})", timing.median_ms, timing.ratio)?;
            }
        }
        write!(f, "\n\n{:>12}", "peak MB")?;
        for summary in &self.engines {
            write!(f, " {:20.0}", summary.peak_mb)?;
        }
        let cosines = |part: fn(&Cosine) -> f64| {
            let of = move |summary: &Summary| summary.cosine.as_ref().map(part);
            self.engines.iter().filter_map(of)
        };
        for (name, part) in [
            ("mean cosine", (|cosine| cosine.mean) as fn(&Cosine) -> f64),
            ("minimum", |cosine| cosine.minimum),
        ] {
            if cosines(part).next().is_some() {
                write!(f, "\n{name:>12}")?;
            }
            for value in cosines(part) {
                write!(f, " {value:20.6}")?;
            }
        }
        writeln!(f)
    }
}
