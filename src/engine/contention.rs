//! Whether short texts are better run on one of two threads for a while, because another program
//! takes a CPU.
//!
//! A pass over a short text is some hundred jobs of a few microseconds. If another program takes a
//! CPU, a thread that is inside a job loses it for milliseconds and all others wait, again and
//! again; a single thread loses little, because the scheduler moves it to the CPU that is free.
//!
//! A pass is *disturbed* if the calling thread did not run for a while: it was preempted, or parked
//! waiting for a worker that was. After a few disturbed passes in a row the next ones run on a
//! single thread, then one tries both again. Each try that is disturbed doubles the number of
//! single-threaded passes, so that tries are too rare to show in the 99th percentile.

use std::time::{Duration, Instant};

/// Tokens of the longest batch that runs on a single thread: the jobs of longer ones outlast most
/// disturbances, and half a CPU helps them.
const SHORT: usize = 16;
/// With more threads, running on one would lose more than they lose by waiting for each other.
const THREADS: usize = 2;
/// Time off the CPU that makes a pass disturbed: less than any time slice of another program, more
/// than the spinning and wake-up that a pass may see on an idle machine.
const LOST: Duration = Duration::from_millis(1);
/// Single-threaded passes after the first disturbances.
const FIRST: u32 = 16;
/// Single-threaded passes at most.
const MOST: u32 = 512;
/// What a disturbed pass adds to the score; an undisturbed one takes off 1.
const DISTURBED: u32 = 4;
/// The score from which passes run on a single thread: four disturbed ones, or nearly, in a row.
/// Two happen on a machine that only builds something now and then, where single-threaded passes
/// would cost more.
const CONTENDED: u32 = 14;

/// Decides from the last short passes on two threads whether the next ones use both.
#[derive(Clone, Copy, Debug)]
pub(super) struct ContentionMonitor {
    score: u32,
    /// Passes still to run on a single thread.
    remaining: u32,
    /// Single-threaded passes of the next time.
    next: u32,
}

impl Default for ContentionMonitor {
    fn default() -> Self {
        Self {
            score: 0,
            remaining: 0,
            next: FIRST,
        }
    }
}

impl ContentionMonitor {
    /// Whether a pass over `tokens` tokens, for which there are `threads` threads, should run on
    /// the calling thread only.
    pub fn prefer_single_thread(&mut self, tokens: usize, threads: usize) -> bool {
        let single = tokens <= SHORT && threads == THREADS && self.remaining > 0;
        self.remaining -= u32::from(single);
        single
    }

    /// Records a pass over `tokens` tokens on all threads, and the time that the calling thread did
    /// not run.
    pub fn record(&mut self, tokens: usize, off_cpu: Duration) {
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
        if self.score >= CONTENDED {
            // One more disturbed pass suffices after the single-threaded ones.
            self.score = CONTENDED - DISTURBED;
            self.remaining = self.next;
            self.next = (2 * self.next).min(MOST);
        }
    }
}

/// Measures how long the calling thread does not run.
pub(super) struct OffCpuTimer {
    wall: Instant,
    cpu: Option<Duration>,
}

impl OffCpuTimer {
    /// Starts measuring.
    pub fn start() -> Self {
        Self {
            wall: Instant::now(),
            cpu: cpu_time(),
        }
    }

    /// The time that the thread did not run since the start, parked or preempted; 0 where the
    /// system does not say.
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

    /// Runs passes of 4 tokens, of which those on both threads lose `off_cpu`; returns how many ran
    /// on both.
    fn on_both(monitor: &mut ContentionMonitor, passes: usize, off_cpu: Duration) -> usize {
        let both = (0..passes).filter(|_| {
            let both = !monitor.prefer_single_thread(4, 2);
            if both {
                monitor.record(4, off_cpu);
            }
            both
        });
        both.count()
    }

    #[test]
    fn disturbed_passes_lead_to_single_threaded_ones_until_quiet() {
        let mut monitor = ContentionMonitor::default();
        assert_eq!(on_both(&mut monitor, 100, Duration::ZERO), 100);
        // 4 at first, then one after 16, 32, 64, … on a single thread.
        assert_eq!(on_both(&mut monitor, 4 + 16 + 1 + 32 + 1 + 64, LOST), 6);
        assert!(on_both(&mut monitor, 10_000, LOST) < 40);
        on_both(&mut monitor, MOST as usize, Duration::ZERO);
        assert_eq!(on_both(&mut monitor, 100, Duration::ZERO), 100);
    }

    #[test]
    fn rare_disturbances_and_long_texts_change_nothing() {
        let mut monitor = ContentionMonitor::default();
        for _ in 0..100 {
            assert_eq!(on_both(&mut monitor, 1, LOST), 1);
            assert_eq!(on_both(&mut monitor, 9, Duration::ZERO), 9);
            assert!(!monitor.prefer_single_thread(1000, 2));
            monitor.record(1000, LOST);
        }
    }

    #[test]
    fn only_two_threads_become_one() {
        let mut monitor = ContentionMonitor::default();
        on_both(&mut monitor, 4, LOST);
        for threads in [1, 3, 64] {
            assert!(!monitor.prefer_single_thread(4, threads));
        }
        assert!(monitor.prefer_single_thread(4, 2));
    }

    #[test]
    fn sleeping_counts_as_off_the_cpu() {
        let timer = OffCpuTimer::start();
        std::thread::sleep(Duration::from_millis(20));
        if timer.cpu.is_some() {
            assert!(timer.off_cpu() >= Duration::from_millis(15));
        }
    }
}
