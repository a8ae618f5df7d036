//! Asking for memory before it is read.
//!
//! A product of few tokens waits for its weights. Two things bring them in: the hardware's own prefetcher, about twice as
//! fast, but only while one stream of lines is read in order and nothing else; and prefetch instructions, which work
//! beside computing, but are dropped when more are under way than the core can track. So kernels ask for the first part
//! of what comes next, a few lines a step ([`Ahead`]), and the rest is [streamed in](stream) just before it is used.

/// Bytes of a cache line.
const LINE: usize = 64;

/// Bytes that the calling thread reads next, asked for a few lines at a time while a kernel computes.
#[derive(Debug, Default)]
pub struct Ahead<'a> {
    bytes: &'a [u8],
    asked: usize,
    /// Lines a step.
    lines: usize,
}

impl<'a> Ahead<'a> {
    /// Nothing asked for yet. A step, in which `lines` are, is a block of 32 columns of packing, or of a tile of tokens of a
    /// product.
    pub fn new(bytes: &'a [u8], lines: usize) -> Self {
        Ahead {
            bytes,
            asked: 0,
            lines,
        }
    }

    /// The first bytes, those that have been asked for.
    pub fn asked(&self) -> &'a [u8] {
        &self.bytes[..self.asked]
    }

    /// Asks for the next lines.
    #[inline(always)]
    pub(crate) fn step(&mut self) {
        if self.asked == self.bytes.len() {
            return;
        }
        let next = self.bytes.as_ptr().wrapping_add(self.asked);
        for line in 0..self.lines {
            prefetch(next.wrapping_add(line * LINE));
        }
        self.asked = (self.asked + self.lines * LINE).min(self.bytes.len());
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(crate) fn prefetch(line: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: part of every x86-64, and a hint: it reads nothing and faults at no address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
}

#[cfg(any(not(target_arch = "x86_64"), miri))]
#[inline(always)]
pub(crate) fn prefetch(_line: *const u8) {}

/// Reads every line of `bytes` in order, so that they are in the cache for a reader that jumps about in them.
pub fn stream(bytes: &[u8]) {
    let lines = bytes.iter().step_by(LINE);
    std::hint::black_box(lines.fold(0, |all, byte| all | byte));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_ask_for_all_bytes_once_and_stop_at_the_end() {
        let bytes = [0; 2 * 3 * LINE + 1];
        let mut ahead = Ahead::new(&bytes, 3);
        assert_eq!(ahead.asked().len(), 0);
        ahead.step();
        assert_eq!(ahead.asked().len(), 3 * LINE);
        for _ in 0..3 {
            ahead.step();
        }
        assert_eq!(ahead.asked(), bytes);
    }
}
