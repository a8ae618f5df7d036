//! What the comparison found, as a table and as JSON.

use std::fmt;

use lanewise::internals::Limits;
use lanewise::internals::models::Model;
use serde::Serialize;

use super::engine::{Answer, Job};

/// The result, engine after engine in the order of `--engines`.
#[derive(Debug, Serialize)]
pub struct Report {
    threads: usize,
    limit: Limit,
    cases: Vec<Case>,
    engines: Vec<Summary>,
}

/// What the machine allows: the best of what was measured in every turn.
#[derive(Clone, Debug, Serialize)]
pub struct Limit {
    bandwidth_gb_per_s: f64,
    peak_gmac_per_s: f64,
    /// The least time that each case could take.
    #[serde(skip)]
    case_ms: Vec<f64>,
}

impl Limit {
    /// The limit of each case of texts as ids.
    pub fn new(model: &dyn Model, turns: &[Limits], cases: &[Vec<Vec<u32>>]) -> Self {
        let best = |rate: fn(&Limits) -> f64| turns.iter().map(rate).fold(0.0, f64::max);
        let limits = Limits {
            weight_bytes: turns.first().map_or(0, |limits| limits.weight_bytes),
            bytes_per_s: best(|limits| limits.bytes_per_s),
            multiply_adds_per_s: best(|limits| limits.multiply_adds_per_s),
        };
        let case_ms = cases.iter().map(|texts| {
            let limit = limits.forward_pass(model, texts.iter().map(Vec::len));
            limit.as_secs_f64() * 1e3
        });
        Limit {
            bandwidth_gb_per_s: limits.bytes_per_s / 1e9,
            peak_gmac_per_s: limits.multiply_adds_per_s / 1e9,
            case_ms: case_ms.collect(),
        }
    }
}

/// A text or batch.
#[derive(Debug, Serialize)]
struct Case {
    texts: usize,
    tokens: usize,
    limit_ms: f64,
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
    /// The limit of the machine divided by the median.
    fraction: f64,
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
        limit: Limit,
        engines: impl Iterator<Item = (&'static str, &'a Vec<Answer>)>,
        golden: &[Vec<f32>],
    ) -> Self {
        let mut cases: Vec<Case> = job
            .cases
            .iter()
            .zip(&limit.case_ms)
            .map(|(texts, &limit_ms)| Case {
                texts: texts.len(),
                tokens: texts.iter().map(Vec::len).sum(),
                limit_ms,
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
                    fraction: case.limit_ms / median_ms,
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
            limit,
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
            "{} threads; median ms, then (that divided by the first engine's, fraction of the limit);\n\
             the limit is that of {:.1} GB/s and {:.0} G INT8 multiply-adds/s, the best of all turns\n",
            self.threads, self.limit.bandwidth_gb_per_s, self.limit.peak_gmac_per_s
        )?;
        write!(f, "{:>12} {:>9}", "tokens", "limit")?;
        for summary in &self.engines {
            write!(f, " {:>23}", summary.engine)?;
        }
        for case in &self.cases {
            let name = match case.texts {
                1 => case.tokens.to_string(),
                texts => format!("{} in {texts}", case.tokens),
            };
            write!(f, "\n{name:>12} {:9.2}", case.limit_ms)?;
            for timing in &case.results {
                write!(
                    f,
                    " {:9.2} ({:5.2}, {:4.2})",
                    timing.median_ms, timing.ratio, timing.fraction
                )?;
            }
        }
        write!(f, "\n\n{:>12} {:9}", "peak MB", "")?;
        for summary in &self.engines {
            write!(f, " {:23.0}", summary.peak_mb)?;
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
                write!(f, "\n{name:>12} {:9}", "")?;
            }
            for value in cosines(part) {
                write!(f, " {value:23.6}")?;
            }
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_its_ratio_and_its_fraction_of_the_limit() {
        let job = Job {
            model: "model.gguf".into(),
            threads: 2,
            runs: 1,
            seconds: 1.0,
            cases: vec![vec![vec![2, 1]]],
            embedded: Vec::new(),
        };
        let limit = Limit {
            bandwidth_gb_per_s: 40.0,
            peak_gmac_per_s: 500.0,
            case_ms: vec![3.0],
        };
        let answers = [4.0, 10.0].map(|time| {
            vec![Answer {
                times_ms: vec![vec![time]],
                peak_mb: 1.0,
                vectors: Vec::new(),
            }]
        });
        let engines = ["Lanewise", "another"].into_iter().zip(&answers);
        let text = Report::new(&job, limit, engines, &[]).to_string();
        assert!(text.contains("40.0 GB/s and 500 G INT8"), "{text}");
        assert!(text.contains(" 4.00 ( 1.00, 0.75)"), "{text}");
        assert!(text.contains(" 10.00 ( 2.50, 0.30)"), "{text}");
    }
}
