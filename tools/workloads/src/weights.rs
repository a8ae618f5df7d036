//! Q8_0 weights as in a file, in the cache or not.

use std::fmt;
use std::fs;

use lanewise_testkit::random::Random;

/// Whether the weights of a call are in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temperature {
    /// Each call reads different bytes, all of which have been evicted since they were last read.
    Cold,
    /// Each call reads the same bytes.
    Warm,
}

impl fmt::Display for Temperature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Temperature::Cold => "cold",
            Temperature::Warm => "warm",
        })
    }
}

/// A Q8_0 matrix, once or in as many copies as evict each other.
pub struct Weights {
    bytes: Vec<u8>,
    size: usize,
    next: usize,
}

impl Weights {
    /// Pseudo-random weights.
    pub fn new(rows: usize, columns: usize, temperature: Temperature) -> Self {
        let matrix = Random(1).q8_0(rows, columns);
        let copies = match temperature {
            Temperature::Cold => evicting_bytes().div_ceil(matrix.len()),
            Temperature::Warm => 1,
        };
        Weights {
            bytes: matrix.repeat(copies),
            size: matrix.len(),
            next: 0,
        }
    }

    /// The next copy.
    pub fn next(&mut self) -> &[u8] {
        let copy = &self.bytes[self.next..][..self.size];
        self.next = (self.next + self.size) % self.bytes.len();
        copy
    }
}

/// Bytes that replace all contents of the caches: twice the size of the last-level cache or, if the
/// system does not report it, more than most CPUs have.
fn evicting_bytes() -> usize {
    const AT_LEAST: usize = 128 << 20;
    let size = fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index3/size");
    let kilobytes = size
        .ok()
        .and_then(|size| size.trim().strip_suffix('K')?.parse::<usize>().ok());
    (2 * 1024 * kilobytes.unwrap_or_default()).max(AT_LEAST)
}
