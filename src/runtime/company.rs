//! Whether short texts are better run on one of two threads for a while, because another program
//! takes a CPU.
//!
//! A pass over a short text is some hundred jobs of a few microseconds. If another program takes a
//! CPU, a thread that is inside a job loses it for milliseconds and all others wait, again and
//! again; one thread alone loses little, because the scheduler moves it to the CPU that is free.
//! A pass is disturbed if the calling thread did not run for a while: it was put off its CPU or
//! parked for a worker that was. After a few of them in a row the next passes run alone, then one tries in
//! company again; each try that fails doubles the number alone, so that tries are too rare to show
//! in the 99th percentile.

use std::time::{Duration, Instant};

/// Tokens of the longest batch that runs alone: the jobs of longer ones outlast most disturbances,
/// and half a CPU helps them.
const SHORT: usize = 16;
/// With more threads one alone would lose more than they do by waiting for each other.
const THREADS: usize = 2;
/// Time off the CPU that makes a pass disturbed: less than any turn of another program, more than
/// the spin and wake-up that a pass may see on an idle machine.
const LOST: Duration = Duration::from_millis(1);
/// Passes alone after the first disturbances, and at most.
const FIRST: u32 = 16;
const MOST: u32 = 512;
/// What disturbances count for, undisturbed passes taking off 1 each.
const DISTURBED: u32 = 4;
/// From here on passes run alone: four disturbed ones, or nearly, in a row. Two are met on a machine
/// that only builds something now and then, and passes alone would cost it more.
const CROWDED: u32 = 14;

/// What the last short passes on two threads met.
#[derive(Clone, Copy, Debug)]
pub(super) struct Company {
    score: u32,
    /// Passes still to run alone.
    alone: u32,
    /// Passes to run alone next time.
    next: u32,
}

impl Default for Company {
    fn default() -> Self {
        Self {
            score: 0,
            alone: 0,
            next: FIRST,
        }
    }
}

impl Company {
    /// Whether a pass over so many tokens, for which there are so many threads, should run on the
    /// calling one alone.
    pub fn shuns(&mut self, tokens: usize, threads: usize) -> bool {
        let alone = tokens <= SHORT && threads == THREADS && self.alone > 0;
        self.alone -= u32::from(alone);
        alone
    }

    /// Takes note of a pass over so many tokens on all threads, and of the time that the calling
    /// one did not run.
    pub fn met(&mut self, tokens: usize, off_cpu: Duration) {
        if tokens > SHORT {
            return;
        }
        if off_cpu < LOST {
            self.score = self.score.saturating_sub(1);
            if self.score == 0 {
                self.next = FIRST;
            }
            return;
        }
        self.score += DISTURBED;
        if self.score >= CROWDED {
            // One more disturbance suffices after the passes alone.
            self.score = CROWDED - DISTURBED;
            self.alone = self.next;
            self.next = (2 * self.next).min(MOST);
        }
    }
}

/// Measures how long the calling thread does not run.
pub(super) struct Watch {
    wall: Instant,
    cpu: Option<Duration>,
}

impl Watch {
    pub fn start() -> Self {
        Self {
            wall: Instant::now(),
            cpu: cpu_time(),
        }
    }

    /// The time that it did not run since the start, parked or put off; 0 where the system does not
    /// tell.
    pub fn off_cpu(&self) -> Duration {
        match (self.cpu, cpu_time()) {
            (Some(start), Some(now)) => self
                .wall
                .elapsed()
                .saturating_sub(now.saturating_sub(start)),
            _ => Duration::ZERO,
        }
    }
}

/// The time that the calling thread has run so far.
fn cpu_time() -> Option<Duration> {
    #[cfg(target_os = "linux")]
    {
        use rustix::time::{ClockId, DynamicClockId, clock_gettime_dynamic};
        // `clock_gettime` panics where this clock is refused, as in some sandboxes.
        let time = clock_gettime_dynamic(DynamicClockId::Known(ClockId::ThreadCPUTime)).ok()?;
        Duration::try_from(time).ok()
    }
    #[cfg(not(target_os = "linux"))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs passes of 4 tokens, of which those in company take `off_cpu`; returns how many did.
    fn in_company(company: &mut Company, passes: usize, off_cpu: Duration) -> usize {
        let together = (0..passes).filter(|_| {
            let together = !company.shuns(4, 2);
            if together {
                company.met(4, off_cpu);
            }
            together
        });
        together.count()
    }

    #[test]
    fn passes_that_lose_time_give_way_to_ones_alone_and_come_back_once_none_is_lost() {
        let mut company = Company::default();
        assert_eq!(in_company(&mut company, 100, Duration::ZERO), 100);
        // 4 at first, then one after 16, 32, 64, … alone.
        assert_eq!(in_company(&mut company, 4 + 16 + 1 + 32 + 1 + 64, LOST), 6);
        assert!(in_company(&mut company, 10_000, LOST) < 40);
        in_company(&mut company, MOST as usize, Duration::ZERO);
        assert_eq!(in_company(&mut company, 100, Duration::ZERO), 100);
    }

    #[test]
    fn one_lost_time_among_many_passes_and_long_texts_change_nothing() {
        let mut company = Company::default();
        for _ in 0..100 {
            assert_eq!(in_company(&mut company, 1, LOST), 1);
            assert_eq!(in_company(&mut company, 9, Duration::ZERO), 9);
            assert!(!company.shuns(1000, 2));
            company.met(1000, LOST);
        }
    }

    #[test]
    fn only_two_threads_part() {
        let mut company = Company::default();
        in_company(&mut company, 4, LOST);
        for threads in [1, 3, 64] {
            assert!(!company.shuns(4, threads));
        }
        assert!(company.shuns(4, 2));
    }

    #[test]
    fn time_asleep_is_off_the_cpu_and_time_at_work_is_not() {
        let watch = Watch::start();
        std::thread::sleep(Duration::from_millis(20));
        if watch.cpu.is_some() {
            assert!(watch.off_cpu() >= Duration::from_millis(15));
        }
    }
}
