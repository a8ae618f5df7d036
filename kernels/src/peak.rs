//! What the machine could do at best: the measures that kernels are held against.
//!
//! The functions only do the work; whoever calls them takes the time.

use crate::Isa;
use std::hint::black_box;

/// Multiplies and adds INT8 values in registers for `iterations` rounds, with the multiply of the kernels of `isa`, and
/// returns how many multiply-adds that were.
///
/// # Panics
///
/// If this CPU does not support `isa`.
pub fn int8_peak(isa: Isa, iterations: u64) -> u64 {
    assert!(isa.is_supported(), "this CPU does not support {isa}");
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: supported, as asserted above.
        Isa::Avx512 => unsafe { x86::vpdpbusd(iterations) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: supported, as asserted above.
        Isa::Avx2 => unsafe { x86::vpmaddwd(iterations) },
        _ => plain(iterations),
    }
}

/// Reads all of `region` with the loads of `isa`, and returns the wrapping sum of its values.
///
/// # Panics
///
/// If this CPU does not support `isa`.
pub fn read(isa: Isa, region: &[u64]) -> u64 {
    assert!(isa.is_supported(), "this CPU does not support {isa}");
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: supported, as asserted above.
        Isa::Avx512 => unsafe { x86::sum_avx512(region) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: supported, as asserted above.
        Isa::Avx2 => unsafe { x86::sum_avx2(region) },
        _ => sum(region),
    }
}

/// A dot product of bytes that the compiler may vectorise as far as it may in the scalar kernels.
fn plain(iterations: u64) -> u64 {
    const VALUES: usize = 256;
    let (left, right) = ([3i8; VALUES], [-5i8; VALUES]);
    let mut total = 0i32;
    for _ in 0..iterations {
        // Hidden from the compiler each round, or it would multiply once for all of them.
        let (left, right) = (black_box(&left), black_box(&right));
        let products = left
            .iter()
            .zip(right)
            .map(|(&a, &b)| i32::from(a) * i32::from(b));
        total = total.wrapping_add(products.sum());
    }
    black_box(total);
    iterations * VALUES as u64
}

/// The compiler makes full-width loads and several sums in flight of this, and gathers of anything cleverer.
#[inline(always)]
fn sum(region: &[u64]) -> u64 {
    region.iter().fold(0, |sum, &value| sum.wrapping_add(value))
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    /// Two multipliers with a latency of 4 or 5 cycles need 10 sums in flight; 24 leave no doubt.
    const SUMS_512: usize = 24;
    /// A multiply and an addition a step, and 16 registers in all.
    const SUMS_256: usize = 12;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub fn vpdpbusd(iterations: u64) -> u64 {
        let left = black_box(_mm512_set1_epi8(3));
        let right = black_box(_mm512_set1_epi8(-5));
        let mut sums = [_mm512_setzero_si512(); SUMS_512];
        for _ in 0..iterations {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, left, right);
            }
        }
        black_box(sums);
        iterations * (SUMS_512 * 64) as u64
    }

    #[target_feature(enable = "avx2")]
    pub fn vpmaddwd(iterations: u64) -> u64 {
        let right = black_box(_mm256_set1_epi16(-5));
        let mut sums = black_box([_mm256_set1_epi16(3); SUMS_256]);
        for _ in 0..iterations {
            for sum in &mut sums {
                // The sum itself is multiplied: a product that stays the same would leave the loop.
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(*sum, right));
            }
        }
        black_box(sums);
        iterations * (SUMS_256 * 16) as u64
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub fn sum_avx512(region: &[u64]) -> u64 {
        super::sum(region)
    }

    #[target_feature(enable = "avx2")]
    pub fn sum_avx2(region: &[u64]) -> u64 {
        super::sum(region)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_supported_set_counts_its_work_and_reads_everything() {
        let region: Vec<u64> = (0..1000).collect();
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_supported()) {
            assert_eq!(int8_peak(isa, 20), 2 * int8_peak(isa, 10), "{isa}");
            assert_eq!(read(isa, &region), 999 * 500, "{isa}");
        }
    }
}
