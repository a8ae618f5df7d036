//! Software prefetch of the next weight panel.
//!
//! A product of few tokens waits for its weights. Two things bring them into the cache: the
//! hardware prefetcher, which is about twice as fast, but only while one stream of lines is read in
//! order and nothing else is; and prefetch instructions, which work beside computation, but are
//! dropped when more of them are in flight than the core can track. So kernels prefetch the first
//! part of the next panel, a few lines a step ([`Prefetcher`]), and the rest is read in order
//! ([`stream`]) just before it is used.

use crate::layout::Line;

/// Bytes of a cache line.
const LINE: usize = size_of::<Line>();

/// Prefetches bytes that the calling thread reads next, a few lines a step while a kernel computes.
///
/// The default prefetches nothing.
#[derive(Debug, Default)]
pub struct Prefetcher<'a> {
    bytes: &'a [u8],
    requested: usize,
    lines_per_step: usize,
}

impl<'a> Prefetcher<'a> {
    /// A prefetcher of `bytes`, of which none is requested yet.
    ///
    /// Each step requests `lines_per_step` cache lines. Kernels take one step for each block of
    /// columns while they pack a panel, and one for each block and term of a tile of tokens while
    /// they multiply it.
    #[inline]
    pub fn new(bytes: &'a [u8], lines_per_step: usize) -> Self {
        Prefetcher {
            bytes,
            requested: 0,
            lines_per_step,
        }
    }

    /// The bytes that have been requested so far, from the first on.
    #[inline]
    pub fn requested(&self) -> &'a [u8] {
        &self.bytes[..self.requested]
    }

    /// Requests the next lines.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "the scalar kernels prefetch nothing")
    )]
    #[inline(always)]
    pub(crate) fn step(&mut self) {
        if self.requested == self.bytes.len() {
            return;
        }
        let next = self.bytes.as_ptr().wrapping_add(self.requested);
        for line in 0..self.lines_per_step {
            prefetch(next.wrapping_add(line * LINE));
        }
        self.requested = (self.requested + self.lines_per_step * LINE).min(self.bytes.len());
    }
}

/// Prefetches the cache line at any address, mapped or not.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(crate) fn prefetch(line: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: every x86-64 CPU has the instruction. It is a hint: it reads nothing and faults at no
    // address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
}

/// Prefetches the cache line at any address into the second level of the cache.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(crate) fn prefetch_outer(line: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    // SAFETY: as in `prefetch`.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) }
}

/// Does nothing, as [`prefetch`].
#[cfg(all(target_arch = "x86_64", miri))]
#[inline(always)]
pub(crate) fn prefetch_outer(_line: *const u8) {}

/// How many bytes ahead the rows of a scan are prefetched: a page, because the hardware prefetcher stops at the
/// end of each.
const SCAN_AHEAD: usize = 4096;

/// How many bytes after the next block of rows a product prefetches. A core has few requests of prefetch
/// instructions in flight, so they must begin long before the rows are read: with less the products of 16 queries
/// take a quarter longer.
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code))]
pub(crate) const BLOCK_AHEAD: usize = 16 << 10;

/// Prefetches what a scan of rows in order reads [`SCAN_AHEAD`] bytes after `rows + offset`.
#[inline(always)]
pub(crate) fn prefetch_scan(rows: *const u8, offset: usize) {
    prefetch(rows.wrapping_add(SCAN_AHEAD + offset));
}

/// Does nothing: this target has no prefetch instruction.
#[cfg(any(not(target_arch = "x86_64"), miri))]
#[inline(always)]
pub(crate) fn prefetch(_line: *const u8) {}

/// Reads every cache line of `bytes` in order, so that they are in the cache for a reader that does
/// not read them in order.
#[inline]
pub fn stream(bytes: &[u8]) {
    let lines = bytes.iter().step_by(LINE);
    std::hint::black_box(lines.fold(0, |all, byte| all | byte));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_request_all_bytes_once_and_stop_at_the_end() {
        let bytes = [0; 2 * 3 * LINE + 1];
        let mut prefetcher = Prefetcher::new(&bytes, 3);
        assert_eq!(prefetcher.requested().len(), 0);
        prefetcher.step();
        assert_eq!(prefetcher.requested().len(), 3 * LINE);
        for _ in 0..3 {
            prefetcher.step();
        }
        assert_eq!(prefetcher.requested(), bytes);
    }
}
