//! What was measured, as a table.

use std::fmt;
use std::time::Duration;

use super::cases::{Bar, CASES, Case, Kind, Limit};
use super::faiss::Measured;

/// Seconds that all pairs of 100,000 rows may take on two threads.
const DUPLICATES_S: f64 = 30.0;

/// What was measured.
pub struct Report {
    pub(super) isa: &'static str,
    pub(super) threads: usize,
    pub(super) rows: usize,
    pub(super) dims: usize,
    pub(super) approximate: u32,
    pub(super) bytes_per_s: f64,
    pub(super) multiply_adds_per_s: f64,
    /// Medians, for each case.
    pub(super) times: Vec<Duration>,
    /// The least, for each case.
    pub(super) least: Vec<Duration>,
    pub(super) duplicate_rows: usize,
    pub(super) duplicates: Duration,
    pub(super) faiss: Vec<Measured>,
}

impl Report {
    /// Seconds that the limits of the machine allow at least.
    fn limit(&self, case: &Case) -> f64 {
        let values = (self.rows * self.dims) as f64;
        let bytes = match case.kind {
            Kind::F32 => 4.0 * values,
            Kind::I8 => values,
            Kind::Binary | Kind::TwoStages => values / 8.0,
        };
        match case.limit {
            Limit::Memory => bytes / self.bytes_per_s,
            Limit::Peak => case.queries as f64 * values / self.multiply_adds_per_s,
        }
    }

    /// The median of another case, in seconds.
    fn seconds(&self, kind: Kind, queries: usize) -> f64 {
        let at = CASES
            .iter()
            .position(|case| case.kind == kind && case.queries == queries);
        at.map_or(f64::NAN, |at| self.times[at].as_secs_f64())
    }

    /// What a case reaches of its bar, in words.
    fn reach(&self, case: &Case, time: f64) -> String {
        let (text, met) = match case.bar {
            Bar::None => return String::new(),
            Bar::OfLimit(bar) => {
                let of = match case.limit {
                    Limit::Memory => "bandwidth",
                    Limit::Peak => "peak",
                };
                let reached = self.limit(case) / time;
                (format!("{reached:.2} of {of}, bar {bar}"), reached >= bar)
            }
            Bar::OfOne(bar) => {
                let times = time / self.seconds(case.kind, 1);
                (format!("{times:.2} times one, bar {bar}"), times <= bar)
            }
            Bar::OfExact(bar) => {
                let times = self.seconds(Kind::I8, case.queries) / time;
                (
                    format!("{times:.1} times as fast as exact, bar {bar}"),
                    times >= bar,
                )
            }
        };
        format!("{text}{}", if met { "" } else { ": missed" })
    }
}

/// A table for people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}, threads: {}; {} vectors of {}, top {}; {:.1} GB/s read, {:.0} G INT8 multiply-adds/s; two stages: N = {}\n",
            self.isa,
            self.threads,
            self.rows,
            self.dims,
            super::K,
            self.bytes_per_s / 1e9,
            self.multiply_adds_per_s / 1e9,
            self.approximate,
        )?;
        writeln!(
            f,
            "vectors     queries  median ms   least ms  of one query  limit ms  of limit  reached"
        )?;
        for (case, (time, least)) in CASES.iter().zip(self.times.iter().zip(&self.least)) {
            let (time, limit) = (time.as_secs_f64(), self.limit(case));
            let line = format!(
                "{:10} {:8} {:10.2} {:10.2} {:13.2} {:9.2} {:9.2}  {}",
                case.kind.name(),
                case.queries,
                time * 1e3,
                least.as_secs_f64() * 1e3,
                time / self.seconds(case.kind, 1),
                limit * 1e3,
                limit / time,
                self.reach(case, time),
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        let rows = self.duplicate_rows as f64;
        let products = rows * rows / 2.0 * self.dims as f64;
        let (time, limit) = (
            self.duplicates.as_secs_f64(),
            products / self.multiply_adds_per_s,
        );
        writeln!(
            f,
            "duplicates among {rows} rows: {time:.2} s, {:.2} of peak, bar {DUPLICATES_S} s for 100,000 on two threads",
            limit / time,
        )?;
        for measured in &self.faiss {
            if measured.queries == 1 {
                writeln!(f)?;
            }
            let case = CASES.iter().zip(&self.times).find(|(case, _)| {
                case.kind.name() == measured.vectors && case.queries == measured.queries
            });
            write!(
                f,
                "{:10} {:8} {:10.2}  {}",
                measured.vectors, measured.queries, measured.median_ms, measured.engine,
            )?;
            match case {
                Some((_, time)) => {
                    let times = measured.median_ms / (time.as_secs_f64() * 1e3);
                    writeln!(f, ", {times:.1} times as long")?;
                }
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}
