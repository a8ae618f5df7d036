//! What a user sees of a run: a bar on a terminal, or lines, or nothing; and a summary at the end.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use lanewise_bulk::{Message, Progress, Report, Saved, Step, Tally};

use super::failure::report;
use super::{bulk, rss};

/// How often a line is printed.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// The length of the bar, for the whole input.
const PARTS: u64 = 1_000_000;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressKind {
    /// A bar if standard error is a terminal, else nothing but the summary
    Auto,
    /// A line every ten seconds
    Plain,
}

/// Shows the progress of one run on standard error.
pub struct ProgressDisplay {
    kind: ProgressKind,
    quiet: bool,
    shown: Shown,
    start: Instant,
    total: Option<u64>,
    /// What earlier runs had done.
    before: u64,
    rows: u64,
    tokens: u64,
}

enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines { next: Instant },
}

impl Progress for ProgressDisplay {
    fn notice(&mut self, message: &Message) {
        report(format_args!("{}", message.with_names(&bulk::option)));
    }

    fn begin(&mut self, total: Option<u64>, before: u64) {
        self.start = Instant::now();
        (self.total, self.before) = (total, before);
        self.shown = match self.kind {
            _ if self.quiet => Shown::Nothing,
            ProgressKind::Plain => Shown::Lines {
                next: self.start + LINE_INTERVAL,
            },
            ProgressKind::Auto if io::stderr().is_terminal() => Shown::Bar(bar()),
            ProgressKind::Auto => Shown::Nothing,
        };
    }

    fn advance(&mut self, step: Step) {
        self.rows += step.rows;
        self.tokens += step.tokens;
        let done = self.done(step.expected_rows);
        match &mut self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => {
                let overall = done.map_or(0.0, |done| done.overall);
                bar.set_position((overall * PARTS as f64) as u64);
                let bar = bar.clone();
                bar.set_message(self.message(done));
            }
            Shown::Lines { next } if Instant::now() >= *next => {
                *next = Instant::now() + LINE_INTERVAL;
                report(format_args!("{}", self.message(done)));
            }
            Shown::Lines { .. } => {}
        }
    }

    fn end(&mut self, complete: bool) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
        if complete && !self.quiet {
            report(format_args!("{}", self.end_message()));
        }
    }
}

impl ProgressDisplay {
    /// A display of a run that has not begun yet.
    pub fn new(kind: ProgressKind, quiet: bool) -> Self {
        Self {
            kind,
            quiet,
            shown: Shown::Nothing,
            start: Instant::now(),
            total: None,
            before: 0,
            rows: 0,
            tokens: 0,
        }
    }

    /// How many of the rows are done; of as many as are `expected`, if their number is not known.
    fn done(&self, expected: Option<u64>) -> Option<Done> {
        let rows = self.before + self.rows;
        let total = self.total.or(expected)?.max(rows).max(1);
        let of_this_run = total.saturating_sub(self.before).max(1);
        Some(Done {
            total,
            overall: rows as f64 / total as f64,
            of_this_run: self.rows as f64 / of_this_run as f64,
        })
    }

    /// What the bar or line says.
    fn message(&self, done: Option<Done>) -> String {
        let seconds = self.start.elapsed().as_secs_f64();
        let rows = self.before + self.rows;
        let about = if self.total.is_some() { "" } else { "about " };
        let of = done.map_or(String::new(), |done| format!(" of {about}{}", done.total));
        let left = done
            .filter(|done| done.of_this_run > 0.0)
            .map(|done| seconds * (1.0 / done.of_this_run - 1.0).max(0.0));
        let left = left.map_or(String::new(), |left| format!(", {} left", duration(left)));
        let memory =
            rss::resident().map_or(String::new(), |(now, _)| format!(", {} MB", now >> 20));
        let rate = self.rate(seconds);
        format!("{rows} rows{of}, {rate}{left}{memory}")
    }

    /// The time and rate of this run.
    fn end_message(&self) -> String {
        let seconds = self.start.elapsed().as_secs_f64();
        let rate = self.rate(seconds);
        format!("{} in this run, {rate}", duration(seconds))
    }

    /// What was done in a second: tokens, or rows where none were read.
    fn rate(&self, seconds: f64) -> String {
        let (count, what) = match self.tokens {
            0 => (self.rows, "rows"),
            tokens => (tokens, "tokens"),
        };
        format!("{:.0} {what}/s", count as f64 / seconds.max(1e-9))
    }
}

/// How far a run has come; fractions from 0 to 1.
#[derive(Clone, Copy)]
struct Done {
    /// All rows there are.
    total: u64,
    overall: f64,
    /// Of what this run has to do.
    of_this_run: f64,
}

/// Does `work`, and says what it is on a terminal if it takes more than a second.
pub fn shown_if_long<T>(what: &'static str, work: impl FnOnce() -> T) -> T {
    let (done, waits) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if waits.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                let shown = ProgressBar::new_spinner().with_message(what);
                shown.enable_steady_tick(Duration::from_millis(200));
                // Ends with an error, when the other end is gone.
                let _ = waits.recv();
                shown.finish_and_clear();
            }
        });
        let result = work();
        drop(done);
        result
    })
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {percent:>3}% {msg}");
    let bar = ProgressBar::new(PARTS);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Says what came of a run or merge. Rows that have no vector are mentioned to whoever wants it
/// quiet, too, as the exit code tells of them.
pub fn report_end(done: &Report, quiet: bool) {
    let output = done.output.display();
    let rejected = done.tally.rejected;
    if done.was_complete {
        report(format_args!("{output}: is complete"));
    } else if !quiet {
        let saved = saved(done.saved);
        report(format_args!("{output}: {}{saved}", summary(&done.tally)));
    }
    if rejected > 0 {
        let rows = counted(rejected, "row");
        match &done.rejects {
            Some(rejects) => {
                let rejects = rejects.display();
                report(format_args!("{rows} rejected: {rejects} says why"));
            }
            None => report(format_args!("{rows} rejected: the merged output says why")),
        }
    }
}

/// What a whole run came to, and the memory that this process took.
fn summary(tally: &Tally) -> String {
    let vectors = tally.rows.saturating_sub(tally.rejected);
    let mut summary = [counted(vectors, "vector"), counted(tally.tokens, "token")].join(", ");
    for (count, what) in [
        (tally.truncated, "of the beginning of a text only"),
        (tally.split, "averaged from windows"),
    ] {
        if count > 0 {
            summary += &format!(", {count} {what}");
        }
    }
    if let Some((_, peak)) = rss::resident() {
        summary += &format!("; at most {} MB of memory", peak >> 20);
    }
    summary
}

/// What this run did not have to compute, to follow [`summary`].
fn saved(saved: Saved) -> String {
    let mut text = String::new();
    for (count, what) in [
        (saved.reused, "reused"),
        (saved.repeated, "of texts that came before"),
    ] {
        if count > 0 {
            text += &format!("; {} {what}", counted(count, "vector"));
        }
    }
    text
}

/// A number of things.
fn counted(count: u64, thing: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_count_and_not_the_bytes_read_ahead() {
        let mut display = ProgressDisplay::new(ProgressKind::Auto, true);
        display.rows = 261;
        assert!(display.done(None).is_none());
        assert!(display.message(None).starts_with("261 rows, "));
        let done = display.done(Some(402)).unwrap();
        assert!((done.overall - 0.65).abs() < 0.01 && done.overall == done.of_this_run);
        assert!(
            display
                .message(Some(done))
                .starts_with("261 rows of about 402, ")
        );
        // What earlier runs did takes no time in this one.
        (display.before, display.total) = (1000, Some(1522));
        let done = display.done(None).unwrap();
        assert!(
            (done.of_this_run - 0.5).abs() < 0.01,
            "{}",
            done.of_this_run
        );
        assert!(
            display
                .message(Some(done))
                .starts_with("1261 rows of 1522, ")
        );
        // More rows than expected.
        display.total = None;
        assert_eq!(display.done(Some(7)).unwrap().overall, 1.0);
    }

    #[test]
    fn durations_are_short() {
        assert_eq!(duration(2.51), "2.5 s");
        assert_eq!(duration(61.0), "1 min 1 s");
        assert_eq!(duration(7260.0), "2 h 1 min");
    }
}
